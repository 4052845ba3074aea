//! What does a hit cost that was answered before: from the bytes of its head to the answer that is about to be written?

use std::rc::Rc;

use bulaq::benches::QuickSample;

use super::hit::{Rooms, arrival, request};
use super::{Kernel, Question, sample};

pub(super) const QUESTION: Question = Question { name: "a hit beneath hyper", kernels };

fn kernels() -> Vec<Kernel> {
    let rooms = Rc::new(Rooms::with_lessons(16));
    let uri = sample::uri(7);
    let response = rooms.respond(request(&uri));
    let mut head = format!("GET {} HTTP/1.1\r\n", uri.path()).into_bytes();
    for (name, value) in &sample::request_fields() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let sample = QuickSample::new(&rooms.repeats(), &arrival(), &head, &response);
    let sample = sample.expect("a fresh hit from memory may be repeated");
    vec![Kernel::new("10 KiB from memory", move || {
        let _open = &rooms;
        sample.is_answered()
    })]
}
