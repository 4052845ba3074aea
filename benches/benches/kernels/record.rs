//! What does it cost to write down what a file begins with, and to read it again?

use std::rc::Rc;

use bulaq::benches::RecordSample;

use super::{Kernel, Question, sample};

pub(super) const QUESTION: Question = Question { name: "record of a stored response", kernels };

fn kernels() -> Vec<Kernel> {
    let uri = sample::uri(0).to_string();
    let sample = Rc::new(RecordSample::new(&uri, sample::stored_head().parts(), 10 << 10));
    let front = sample.encode();
    assert!(sample.is_read_from(&front), "a front that was written reads back");
    let writer = Rc::clone(&sample);
    vec![Kernel::new("encode", move || writer.encode()), Kernel::new("decode", move || sample.is_read_from(&front))]
}
