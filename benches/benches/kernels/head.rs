//! What does it cost to make the head of an answer from a stored one, with the age of now?

use super::{Kernel, Question, sample};

pub(super) const QUESTION: Question = Question { name: "head building", kernels };

fn kernels() -> Vec<Kernel> {
    let stored = sample::stored_head();
    let later = sample::now() + std::time::Duration::from_secs(90);
    vec![Kernel::new("the fields of a stored head, with Age", move || stored.reuse_headers(later))]
}
