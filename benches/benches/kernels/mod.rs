//! The steps of a hit and of a fill, one question a file. `speed` takes their time, `counts` their instructions.

mod allowlist;
mod decision;
mod head;
mod hit;
mod index;
mod memory;
mod quick;
mod record;
mod sample;

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

/// One step whose cost is asked for.
pub(crate) struct Kernel {
    /// What it is, within its question.
    pub(crate) name: &'static str,
    /// Makes what one run uses up; none when a run uses nothing up.
    pub(crate) prepare: Option<Box<dyn FnMut()>>,
    /// Runs once.
    pub(crate) run: Box<dyn FnMut()>,
    /// Whether a run is so short that its instructions can be counted in a simulated processor.
    pub(crate) is_counted: bool,
}

/// A question, and what it needs to be answered.
pub(crate) struct Question {
    /// In a few words.
    pub(crate) name: &'static str,
    /// Makes what its kernels work on.
    pub(crate) kernels: fn() -> Vec<Kernel>,
}

/// Every question.
pub(crate) const QUESTIONS: &[Question] = &[
    allowlist::QUESTION,
    decision::QUESTION,
    head::QUESTION,
    hit::QUESTION,
    index::QUESTION,
    memory::QUESTION,
    quick::QUESTION,
    record::QUESTION,
];

impl Kernel {
    /// A step that can be run again and again.
    pub(crate) fn new<T>(name: &'static str, mut run: impl FnMut() -> T + 'static) -> Self {
        let run = Box::new(move || drop(black_box(run())));
        Self { name, prepare: None, run, is_counted: true }
    }

    /// A step that uses something up, which is made before and not counted. What it gives is dropped, and that is counted.
    pub(crate) fn using<I: 'static, T>(
        name: &'static str,
        mut prepare: impl FnMut() -> I + 'static,
        mut run: impl FnMut(I) -> T + 'static,
    ) -> Self {
        let place: Rc<RefCell<Option<I>>> = Rc::default();
        let input = Rc::clone(&place);
        let prepare = Box::new(move || drop(place.borrow_mut().replace(prepare())));
        let run = Box::new(move || {
            let input = input.borrow_mut().take();
            drop(black_box(input.map(&mut run)));
        });
        Self { name, prepare: Some(prepare), run, is_counted: true }
    }

    /// The same, for `speed` only.
    pub(crate) fn not_counted(self) -> Self {
        Self { is_counted: false, ..self }
    }
}
