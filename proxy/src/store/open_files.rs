//! Open files of long bodies that are being read, so that a class that watches one video shares a descriptor.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use moka::sync::Cache;

use super::name::FileName;

/// Descriptors of long bodies that stay open between reads: the pictures and sounds of some lessons. Opening one anew takes a
/// thread that may wait for the disk, and the check of its identity. Connections leave room for as many (`ingress`).
const OPEN_MAX: u64 = 2048;

/// How long one stays open without a read.
const IDLE: Duration = Duration::from_secs(60);

/// Open files, by name.
///
/// The cache drops what was taken out of it when it comes to that, which on an idle box may be minutes later; until then
/// a descriptor would keep the room of a removed file. So each file stands in a place of its own that is emptied at once.
pub(crate) struct OpenFiles(Cache<FileName, Arc<ArcSwapOption<File>>>);

impl Default for OpenFiles {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(OPEN_MAX).time_to_idle(IDLE).build())
    }
}

impl OpenFiles {
    /// The file of this name, if it is open.
    pub(crate) fn get(&self, name: FileName) -> Option<Arc<File>> {
        self.0.get(&name)?.load_full()
    }

    /// Keeps a file open for those who read it next.
    pub(crate) fn keep(&self, name: FileName, file: Arc<File>) {
        self.0.insert(name, Arc::new(ArcSwapOption::new(Some(file))));
    }

    /// Closes a file, as soon as nobody reads from it any more.
    pub(crate) fn close(&self, name: FileName) {
        if let Some(place) = self.0.remove(&name) {
            place.store(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::name::{IndexKey, KEY_BYTES};

    #[test]
    fn a_file_is_closed_at_once() {
        let open = OpenFiles::default();
        let name = FileName { key: IndexKey([7; KEY_BYTES]), generation: 1 };
        let file = Arc::new(tempfile::tempfile().unwrap());
        open.keep(name, Arc::clone(&file));
        assert!(Arc::ptr_eq(&open.get(name).unwrap(), &file));
        open.close(name);
        assert!(open.get(name).is_none());
        assert_eq!(Arc::strong_count(&file), 1, "a descriptor keeps the room of a removed file");
    }
}
