//! What does it cost to find a hot response in memory?

use super::hit::Rooms;
use super::{Kernel, Question};

pub(super) const QUESTION: Question = Question { name: "memory look-up", kernels };

/// Responses in memory.
const LESSONS: usize = 64;

fn kernels() -> Vec<Kernel> {
    let rooms = Rooms::with_lessons(LESSONS);
    let (here, absent) = (rooms.key(LESSONS / 2), rooms.key(LESSONS));
    let (store, same_store) = (rooms.store(), rooms.store());
    assert!(store.find_in_memory(&here).is_some() && store.find_in_memory(&absent).is_none());
    vec![
        Kernel::new("a URL that is there", move || store.find_in_memory(&here)),
        Kernel::new("one that is not", move || {
            let _open = &rooms;
            same_store.find_in_memory(&absent)
        }),
    ]
}
