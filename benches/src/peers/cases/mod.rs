//! The cases, each a question that every contender answers in turns.

mod crowd;
mod handshakes;
mod hits;
mod idle;
mod large;
mod memory;
mod million;
mod mixed;
mod morning;
mod pass;
mod prefetch;
mod restart;
mod splice;
mod steady;
mod story;
mod tails;
mod zipf;

use std::rc::Rc;
use std::time::Duration;

use super::contenders::{BUDGET, Budget, Contender, Home};
use super::figures::Figure;
use super::world::World;

/// A question.
pub(crate) trait Case {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// What happens, in a sentence.
    fn what(&self) -> String;

    /// The rows of its table, without figures yet.
    fn rows(&self) -> Vec<Figure>;

    /// In how many rounds it is asked, of those that were wished for. A case that takes minutes has fewer.
    fn rounds(&self, wished: u32) -> u32 {
        wished
    }

    /// Whether it is asked when nobody names it.
    fn is_usual(&self) -> bool {
        true
    }

    /// How long getting ready may take, and each turn, where steady load takes so many seconds. Whoever takes longer is
    /// ended: long enough for the slowest on a busy machine, and short enough that a run with one who hangs goes on.
    fn limit(&self, seconds: f64) -> Duration {
        Duration::from_secs(90) + Duration::from_secs_f64(seconds * 10.0)
    }

    /// Makes a contender ready for all its turns: started, filled and found to give the right bytes.
    ///
    /// # Errors
    /// What the contender can't do. It has no figures in this case then, and the reason is told.
    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>>;
}

/// A contender that is ready for one case. All of a case are ready at the same time, and only one has a turn.
pub(crate) trait Turns {
    /// One turn: a value for each row, by the row's name. Rows without a value stay empty.
    ///
    /// # Errors
    /// What went wrong: an answer that is not right, a hit that was none. The contender has no figures here then.
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>>;
}

/// What a case is played with.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    /// How long a turn with steady load takes.
    pub(crate) seconds: f64,
}

impl Scene<'_> {
    /// A contender with an empty store that is not started yet.
    ///
    /// # Errors
    /// When it can't be set up.
    pub(crate) fn settle(&self, contender: Contender) -> anyhow::Result<Home> {
        self.settle_with(contender, BUDGET)
    }

    /// The same with other limits than everybody has.
    ///
    /// # Errors
    /// As [`Scene::settle`].
    pub(crate) fn settle_with(&self, contender: Contender, budget: Budget) -> anyhow::Result<Home> {
        contender.settle(self.world, budget)
    }
}

/// What may be chosen on the command line about cases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// How many objects a full store has.
    pub(crate) objects: u32,
    /// How long the school morning takes.
    pub(crate) morning: Duration,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { objects: 100_000, morning: Duration::from_secs(60) }
    }
}

/// All cases, in the order of the table.
pub(crate) fn all(sizes: &Sizes) -> Vec<Box<dyn Case>> {
    let stores = Rc::new(memory::FullStores::new(sizes.objects));
    vec![
        Box::new(hits::TINY),
        Box::new(hits::SMALL),
        Box::new(hits::MEDIUM),
        Box::new(hits::SMALL_RATE),
        Box::new(mixed::Mixed),
        Box::new(large::RANGES),
        Box::new(large::WHOLE),
        Box::new(large::TLS),
        Box::new(hits::TLS_H1),
        Box::new(hits::TLS_H2),
        Box::new(hits::TLS_H2_ONE),
        Box::new(handshakes::FULL),
        Box::new(handshakes::RESUMED),
        Box::new(pass::PassDistinct),
        Box::new(pass::PassOne),
        Box::new(crowd::Crowd),
        Box::new(memory::Memory(Rc::clone(&stores))),
        Box::new(restart::Restart(stores)),
        Box::new(million::Million),
        Box::new(idle::Idle),
        Box::new(morning::Morning { length: sizes.morning }),
        Box::new(splice::Splice),
        Box::new(prefetch::Prefetch),
        Box::new(tails::Tails),
    ]
}
