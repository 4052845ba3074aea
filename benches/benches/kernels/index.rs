//! What does it cost to ask the index for one of many stored responses?

use std::ops::Range;
use std::rc::Rc;

use bulaq::benches::IndexSample;

use super::{Kernel, Question, sample};

pub(super) const QUESTION: Question = Question { name: "index get", kernels };

/// Responses in the index. Instructions are counted in a simulated processor, which would fill a larger one for minutes.
const ROWS: usize = 4_096;

/// Responses asked for at a time: how far the engine has to look for one depends on how its pages fell, and evens out.
const ASKED: usize = 64;

fn kernels() -> Vec<Kernel> {
    let folder = tempfile::tempdir().expect("the folder for temporary files can be written");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a system that starts processes has what a runtime needs");
    let open = runtime.block_on(IndexSample::open(folder.path(), ROWS, |row| sample::uri(row).to_string()));
    let index = Rc::new(open.expect("an index opens in an empty folder"));
    let urls = |rows: Range<usize>| rows.map(|row| sample::uri(row).to_string()).collect::<Vec<_>>();
    let (here, absent) = (urls(1_000..1_000 + ASKED), urls(ROWS..ROWS + ASKED));
    let found = |urls: &[String]| urls.iter().filter(|url| index.has(url)).count();
    assert_eq!((found(&here), found(&absent)), (ASKED, 0), "the index has what was put into it");
    let same_index = Rc::clone(&index);
    vec![
        Kernel::new("64 URLs that are there", move || here.iter().all(|url| index.has(url))),
        Kernel::new("64 that are not", move || {
            let _kept = &folder;
            absent.iter().any(|url| same_index.has(url))
        }),
    ]
}
