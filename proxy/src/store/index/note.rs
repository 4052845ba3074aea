//! The note that an orderly stop leaves: without it, or when its count is not the index's, the files are asked.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::disk::replace_file;

const FILE: &str = "note.json";

/// What was in the store at the last checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    /// Whether the store was closed after this; else it is a checkpoint in the middle of work.
    pub(crate) is_clean: bool,
    /// How many responses.
    pub(crate) responses: u64,
    /// What their files take of the disk.
    pub(crate) bytes: u64,
}

impl Note {
    /// Reads the note; a missing or unreadable one is none.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Makes sure that a note of an orderly stop does not outlive the start: works on a full disk too.
    pub(crate) fn take_back(dir: &Path) -> std::io::Result<()> {
        match std::fs::remove_file(dir.join(FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    pub(crate) fn write(&self, dir: &Path) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(self).expect("three plain values");
        replace_file(&dir.join(FILE), &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Note::read(dir.path()), None);
        let note = Note { is_clean: true, responses: 3, bytes: 4096 };
        note.write(dir.path()).unwrap();
        assert_eq!(Note::read(dir.path()), Some(note));
        Note::take_back(dir.path()).unwrap();
        Note::take_back(dir.path()).unwrap();
        assert_eq!(Note::read(dir.path()), None);
        std::fs::write(dir.path().join(FILE), b"{\"is_clean\":tru").unwrap();
        assert_eq!(Note::read(dir.path()), None);
    }
}
