//! The folder of the ledger: one JSON file a day, replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use tracing::warn;

use super::day::{Day, Days};
use super::period::Period;

/// Largest file that is read as a day, in bytes. 24 hours of a thousand sites take a tenth of it.
const DAY_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most files of one date that are set aside before the oldest name is used again.
const SET_ASIDE_MAX: u32 = 100;

/// The ending of a file that is being written; a crash may leave one.
const UNFINISHED: &str = ".tmp";

/// What the disk refused.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The folder cannot be made or listed.
    #[error("the ledger's folder {} cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A day cannot be read from the disk.
    #[error("the ledger's file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A day cannot be written.
    #[error("the ledger's file {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
}

/// The folder, open to its owner alone.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if need be, and removes what a crash left half written.
    pub(crate) fn open(path: PathBuf) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::Folder { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(Self(path))
    }

    /// Adds `more` to the day's file: reads it, writes the sum beside it and puts that in its place.
    pub(crate) fn add(&mut self, date: Date, more: &Day) -> Result<(), LedgerError> {
        let mut day = self.read_day(date)?.unwrap_or_default();
        day.merge(more);
        let path = self.path(date);
        let failed = |source| LedgerError::Write { path: path.clone(), source };
        let unfinished = self.write_unfinished(date, &day.to_json(date)).map_err(failed)?;
        fs::rename(unfinished, &path).map_err(failed)?;
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// The days of `period` that have a file.
    pub(crate) fn read(&mut self, period: Period) -> Result<Days, LedgerError> {
        let mut days = Days::default();
        for date in self.dates()? {
            if period.contains(date)
                && let Some(day) = self.read_day(date)?
            {
                days.entry(date).merge(&day);
            }
        }
        Ok(days)
    }

    /// Removes the days before `first` and says how many.
    pub(crate) fn remove_before(&mut self, first: Date) -> Result<usize, LedgerError> {
        let mut removed = 0;
        for date in self.dates()?.into_iter().filter(|date| *date < first) {
            let path = self.path(date);
            fs::remove_file(&path).map_err(|source| LedgerError::Write { path, source })?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Writes `content` durably under the unfinished name. A crash after this loses nothing: the day's file is as before.
    fn write_unfinished(&self, date: Date, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(format!("{date}{UNFINISHED}"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(path)
    }

    /// The day's file; none when there is none, or when it is not a day and was set aside.
    fn read_day(&self, date: Date) -> Result<Option<Day>, LedgerError> {
        let path = self.path(date);
        let failed = |source| LedgerError::Read { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut json = Vec::new();
        file.take(DAY_FILE_BYTES_MAX + 1).read_to_end(&mut json).map_err(failed)?;
        let why = if json.len() as u64 > DAY_FILE_BYTES_MAX {
            format!("it is larger than {DAY_FILE_BYTES_MAX} bytes")
        } else {
            match Day::from_json(&json, date) {
                Ok(day) => return Ok(Some(day)),
                Err(error) => error.to_string(),
            }
        };
        let aside = self.free_name_aside(date);
        warn!(file = %path.display(), aside = %aside.display(), why, "a day of the ledger is set aside; its counts start again");
        fs::rename(&path, &aside).map_err(failed)?;
        Ok(None)
    }

    fn free_name_aside(&self, date: Date) -> PathBuf {
        let name = |n: u32| self.0.join(format!("{date}.unreadable-{n}"));
        (1..SET_ASIDE_MAX).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(SET_ASIDE_MAX))
    }

    /// The dates that have a file, in no order.
    fn dates(&self) -> Result<Vec<Date>, LedgerError> {
        let failed = |source| LedgerError::Folder { path: self.0.clone(), source };
        let mut dates = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            dates.extend(date_of(&entry.map_err(failed)?.path()));
        }
        Ok(dates)
    }

    fn path(&self, date: Date) -> PathBuf {
        self.0.join(format!("{date}.json"))
    }
}

/// The date in a file's name, if it is the name of a day.
fn date_of(path: &Path) -> Option<Date> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use jiff::civil::date;

    use super::*;
    use crate::ledger::{Counts, SiteCounts};

    fn day(requests: u64) -> Day {
        let mut day = Day::default();
        let hit = Counts { requests, ..Counts::default() };
        day.add(8, Some("bilimland"), true, &SiteCounts { hit, ..SiteCounts::default() });
        day
    }

    #[test]
    fn a_crash_between_writing_and_renaming_loses_only_the_last_minute() {
        let temp = tempfile::tempdir().unwrap();
        let on = date(2026, 11, 21);
        let mut folder = Folder::open(temp.path().join("ledger")).unwrap();
        folder.add(on, &day(5)).unwrap();
        let unfinished = folder.write_unfinished(on, &day(7).to_json(on)).unwrap();
        drop(folder);

        let mut folder = Folder::open(temp.path().join("ledger")).unwrap();
        assert!(!unfinished.exists(), "what the crash left is removed");
        assert_eq!(folder.read_day(on).unwrap(), Some(day(5)));
        folder.add(on, &day(2)).unwrap();
        assert_eq!(folder.read_day(on).unwrap(), Some(day(7)));
    }

    #[test]
    fn a_torn_file_is_set_aside_and_counting_goes_on() {
        let temp = tempfile::tempdir().unwrap();
        let on = date(2026, 11, 21);
        let mut folder = Folder::open(temp.path().to_owned()).unwrap();
        folder.add(on, &day(5)).unwrap();
        let whole = fs::read(temp.path().join("2026-11-21.json")).unwrap();
        for round in 1..=2 {
            fs::write(temp.path().join("2026-11-21.json"), &whole[..whole.len() / 2]).unwrap();
            folder.add(on, &day(1)).unwrap();
            assert_eq!(folder.read_day(on).unwrap(), Some(day(1)));
            let aside = fs::read(temp.path().join(format!("2026-11-21.unreadable-{round}"))).unwrap();
            assert_eq!(aside, &whole[..whole.len() / 2]);
        }
    }

    #[test]
    fn files_are_the_owners_alone_and_old_days_go() {
        let temp = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(temp.path().join("ledger")).unwrap();
        for on in [date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 21)] {
            folder.add(on, &day(1)).unwrap();
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&temp.path().join("ledger")), 0o700);
        assert_eq!(mode(&temp.path().join("ledger/2026-11-21.json")), 0o600);
        assert_eq!(folder.remove_before(date(2026, 11, 20)).unwrap(), 1);
        let mut left = folder.dates().unwrap();
        left.sort();
        assert_eq!(left, [date(2026, 11, 20), date(2026, 11, 21)]);
    }
}
