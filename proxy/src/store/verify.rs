//! Comparing everything that is stored with its checksums: `bulaq store verify`.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::files::{Flaw, Found};
use super::name::{FileName, host_of};
use super::record::Damage;
use super::sums::{BLOCK_BYTES, BodyHasher, trailer_bytes};
use super::{Shared, Store};

/// What a verification found.
///
/// An incomplete response counts as a file, and of its bytes those that are here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files read.
    pub files: u64,
    /// Bytes of bodies read.
    pub bytes: u64,
    /// Files that were damaged, and are in the folder `damaged` now.
    pub damaged: Vec<DamagedFile>,
    /// Blocks of incomplete responses that are not what was written, and are missing again: a power cut can leave some.
    pub blocks_lost: u64,
    /// Files that could not be read for a reason that lies with the machine; they are where they were.
    pub unread: u64,
}

/// One damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedFile {
    /// Its name.
    pub id: String,
    /// The host that it was stored for, when its record could still be read.
    pub host: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

impl Store {
    /// Reads every stored file and compares it with its checksums; moves damaged ones to `damaged/`, so that they are
    /// fetched again. `progress` is told of the files read and of how many folders, in per cent.
    pub async fn verify(&self, mut progress: impl FnMut(u64, u8)) -> Verified {
        let mut verified = Verified::default();
        let shared = Arc::clone(&self.0);
        let folders =
            self.0.files.run_blocking(move || shared.files.folders().unwrap_or_default()).await.unwrap_or_default();
        let count = folders.len().max(1);
        for name in self.0.parts.names(&[]) {
            let shared = Arc::clone(&self.0);
            if let Ok(part) = self.0.files.run_blocking(move || shared.verify_part(name)).await {
                verified.add(part);
            }
            progress(verified.files, 0);
        }
        for (at, folder) in folders.into_iter().enumerate() {
            let shared = Arc::clone(&self.0);
            if let Ok(part) = self.0.files.run_blocking(move || shared.verify_folder(&folder)).await {
                verified.add(part);
            }
            progress(verified.files, u8::try_from((at + 1) * 100 / count).unwrap_or(100));
        }
        verified
    }
}

impl Verified {
    fn add(&mut self, part: Self) {
        self.files += part.files;
        self.bytes += part.bytes;
        self.blocks_lost += part.blocks_lost;
        self.unread += part.unread;
        self.damaged.extend(part.damaged);
    }
}

impl Shared {
    fn verify_folder(&self, folder: &Path) -> Verified {
        let mut verified = Verified::default();
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| FileName::parse(entry.file_name().to_str()?)) {
            let (host, flaw) = match self.files.read(name, 0) {
                Ok(found) => {
                    let host = host_of(&found.front.record.url).to_owned();
                    verified.bytes += found.front.record.body_bytes;
                    (Some(host), self.verify_body(name, &found).err())
                }
                Err(flaw) => (None, Some(flaw)),
            };
            verified.files += 1;
            match flaw {
                None => {}
                // Replaced or evicted since the folder was read.
                Some(Flaw::Missing) => verified.files -= 1,
                Some(Flaw::Failed(_)) => verified.unread += 1,
                Some(Flaw::Damaged(damage)) => {
                    self.drop_damaged(name, damage);
                    verified.damaged.push(DamagedFile { id: name.file_name(), host, why: damage.to_string() });
                }
            }
        }
        verified
    }

    fn verify_body(&self, name: FileName, found: &Found) -> Result<(), Flaw> {
        let (file, _) = self.files.disk.open(&self.files.path(name), false)?;
        let (record, layout) = (&found.front.record, found.front.layout);
        let mut hasher = BodyHasher::new();
        let mut buffer = vec![0; usize::try_from(BLOCK_BYTES.min(record.body_bytes)).expect("at most a block")];
        let mut at = 0;
        while at < record.body_bytes {
            let length = usize::try_from((record.body_bytes - at).min(BLOCK_BYTES)).expect("at most a block");
            self.read_all(&file, &mut buffer[..length], layout.body_offset + at)?;
            hasher.update(&buffer[..length]);
            at += length as u64;
        }
        let sums = hasher.finish();
        let mut trailer = vec![0; usize::try_from(trailer_bytes(record.body_bytes)).map_err(|_| Damage::Length)?];
        self.read_all(&file, &mut trailer, layout.body_offset + record.body_bytes)?;
        if sums.digest != record.digest || sums.trailer != trailer {
            return Err(Damage::Body.into());
        }
        Ok(())
    }

    fn read_all(&self, file: &File, buffer: &mut [u8], offset: u64) -> Result<(), Flaw> {
        let length = buffer.len();
        if self.files.disk.read_at(file, buffer, offset)? != length {
            return Err(Damage::Length.into());
        }
        Ok(())
    }
}
