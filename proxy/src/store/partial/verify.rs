//! Comparing what is stored in part with its sums, and listing it.

use super::super::Shared;
use super::super::files::Flaw;
use super::super::name::{FileName, IndexKey};
use super::super::verify::{DamagedFile, Verified};
use super::part::Used;

impl Shared {
    /// Reads every block that is here of one incomplete response. Those that are not right are missing from then on.
    pub(crate) fn verify_part(&self, name: FileName) -> Verified {
        let mut verified = Verified { files: 1, ..Verified::default() };
        let opened = {
            let _stripe = self.stripe(name.key.url());
            self.try_open_part(name)
        };
        match opened {
            Ok(part) => {
                for block in (0..part.blocks.count()).filter(|&block| part.blocks.is_held(block)) {
                    match part.read_checked(block) {
                        Ok(bytes) => verified.bytes += bytes.len() as u64,
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => verified.blocks_lost += 1,
                        Err(_) => verified.unread = 1,
                    }
                }
            }
            // Evicted, removed or complete by now.
            Err(Flaw::Missing) => verified.files = 0,
            Err(Flaw::Failed(_)) => verified.unread = 1,
            Err(Flaw::Damaged(damage)) => {
                verified.damaged.push(DamagedFile { id: name.file_name(), host: None, why: damage.to_string() });
            }
        }
        verified
    }

    /// Incomplete responses whose keys begin with `prefix` and come after `after`, in order.
    pub(crate) fn page_of_parts(&self, prefix: &[u8], after: Option<IndexKey>, max: usize) -> Vec<FileName> {
        let names = self.parts.names(prefix).into_iter();
        names.filter(|name| after.is_none_or(|after| name.key > after)).take(max).collect()
    }

    /// One of these, opened; none when it is gone or cannot be used.
    pub(crate) fn part_of_page(&self, name: FileName) -> Option<Used> {
        let _stripe = self.stripe(name.key.url());
        self.open_part(name)
    }
}
