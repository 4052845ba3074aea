//! The frontier on disk: what was found and what of it is done, one line each, so that a power cut resumes.
//!
//! A line is a checksum and JSON: `f00dcafe {"found":…}`. Reading stops at the first line that is cut or damaged; what
//! stands before it is a consistent state, because a page's links are written before the page is called done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The form of the lines. Another one is not read: the night starts anew.
const VERSION: u32 = 1;

/// Longest line: an address of 8 kB, twice for JSON's escapes.
const LINE_BYTES_MAX: u64 = 20 * 1024;

/// Bytes of a journal that are read; a night of half a million addresses writes about a fifth.
const JOURNAL_BYTES_MAX: u64 = 512 << 20;

/// How often the journal is marked and made durable. What was dealt with since then is asked for again after a power
/// cut, and found in the store.
const MARK_EVERY: Duration = Duration::from_secs(2);

/// How long after its content ended a response may still be on its way into the store: its file is made durable
/// first. What an interrupted night had stored within this time is asked for again, and found in the store or not.
const MARKS_UNSURE: usize = 15;

/// What happens in a night, as far as a resumption must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Event {
    /// The first line.
    Begin {
        /// [`VERSION`].
        version: u32,
        /// When the night began, in seconds since 1970.
        at: i64,
        /// The names that [`Event::Found`]'s `s` counts.
        sites: Vec<String>,
        /// Which of them are this night's, so that a night of others is not taken for it.
        tonight: Vec<String>,
    },
    /// An address to ask for.
    Found(Found),
    /// An address that is left out.
    #[serde(rename = "skip")]
    Skipped {
        /// The site on whose page it stands.
        s: u32,
        /// The address.
        u: String,
        /// Why.
        why: String,
    },
    /// Some time has passed since the last one ([`MARK_EVERY`]).
    Mark,
    /// What was done is not, after all: the store may have lost it with the power.
    Again {
        /// Its number.
        i: u32,
    },
    /// A found address is dealt with.
    Done {
        /// Its number.
        i: u32,
        /// How it ended.
        o: Outcome,
        /// Bytes of body that came from the origin.
        b: u64,
    },
}

/// An address to ask for. Short names: there are many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// Its number.
    pub(super) i: u32,
    /// The address.
    pub(super) u: String,
    /// What it is fetched as.
    pub(super) k: Role,
    /// Links from a start page.
    pub(super) d: u32,
    /// Steps from the page that needs it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) h: u8,
    /// Redirects that led to it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) r: u8,
    /// Its site, counted as in [`Event::Begin`].
    pub(super) s: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// What an address is fetched as; in the order in which a site's are asked for at the same depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    /// A sitemap that robots.txt or an index names.
    Sitemap,
    /// `/sitemap.xml`, which may not exist.
    GuessedSitemap,
    /// Needed to show a page.
    Requisite,
    /// A page.
    Page,
}

/// How an address ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// Fetched and stored.
    Stored,
    /// Stored before, fresh enough.
    Fresh,
    /// Stored before, unchanged.
    Revalidated,
    /// Left out on purpose.
    Skipped(String),
    /// Not stored, and it should be.
    Failed(String),
}

/// The journal of a night under way.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// None after it could not be written: the night goes on without.
    file: Option<File>,
    unwritten: Vec<u8>,
    marked: Instant,
}

impl Journal {
    /// A new journal, in place of an old one.
    pub(super) fn begin(path: PathBuf, at: Timestamp, sites: Vec<String>, tonight: Vec<String>) -> io::Result<Self> {
        let file = super::file::create_private(&path)?;
        let mut journal = Self { path, file: Some(file), unwritten: Vec::new(), marked: Instant::now() };
        journal.append(&Event::Begin { version: VERSION, at: at.as_second(), sites, tonight });
        Ok(journal)
    }

    /// The journal of an interrupted night with what it says, ready to go on; None when there is none to go on with.
    ///
    /// A damaged end is cut off, and what may not have reached the store is to be asked for again ([`Event::Again`]).
    pub(super) fn resume(path: PathBuf) -> io::Result<Option<(Self, Vec<Event>)>> {
        let mut file = match OpenOptions::new().read(true).write(true).mode(0o600).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut events, good_bytes) = read(&file)?;
        if !matches!(events.first(), Some(Event::Begin { version: VERSION, .. })) {
            return Ok(None);
        }
        file.set_len(good_bytes)?;
        file.seek(SeekFrom::Start(good_bytes))?;
        let mut journal = Self { path, file: Some(file), unwritten: Vec::new(), marked: Instant::now() };
        for i in unsure(&events) {
            let again = Event::Again { i };
            journal.append(&again);
            events.push(again);
        }
        Ok(Some((journal, events)))
    }

    /// Notes an event; written by the next [`Journal::write`].
    pub(super) fn append(&mut self, event: &Event) {
        if self.file.is_some() {
            let json = serde_json::to_vec(event).expect("events are numbers, text and lists of them");
            self.unwritten.extend_from_slice(format!("{:08x} ", crc32c::crc32c(&json)).as_bytes());
            self.unwritten.extend_from_slice(&json);
            self.unwritten.push(b'\n');
        }
    }

    /// Hands what was noted to the system. After an error the journal is given up, and the night goes on without it:
    /// a full disk should not end it.
    pub(super) fn write(&mut self) {
        let Some(file) = &mut self.file else { return };
        if !self.unwritten.is_empty() {
            if let Err(error) = file.write_all(&self.unwritten) {
                tracing::warn!(%error, path = %self.path.display(), "the night's frontier can't be written; after an interruption it starts anew");
                self.file = None;
            }
            self.unwritten.clear();
        }
    }

    /// A descriptor to make durable off the event loop, when it is time for that.
    pub(super) fn due_sync(&mut self) -> Option<File> {
        if self.marked.elapsed() < MARK_EVERY {
            return None;
        }
        self.marked = Instant::now();
        self.append(&Event::Mark);
        self.write();
        self.file.as_ref().and_then(|file| file.try_clone().ok())
    }

    /// Removes it: the night is over.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file = None;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Keeps it durably, for a resumption.
    pub(super) fn keep(mut self) -> io::Result<()> {
        self.write();
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

/// Where the journal lies in the nights' folder.
pub(super) fn path_in(folder: &Path) -> PathBuf {
    folder.join("frontier.journal")
}

/// What was called stored so shortly before the end that the store may not have it.
fn unsure(events: &[Event]) -> Vec<u32> {
    let marks = events.iter().enumerate().rev().filter(|(_, event)| matches!(event, Event::Mark));
    let from = marks.map(|(at, _)| at).nth(MARKS_UNSURE).unwrap_or(0);
    events[from..]
        .iter()
        .filter_map(|event| match event {
            Event::Done { i, o: Outcome::Stored, .. } => Some(*i),
            _ => None,
        })
        .collect()
}

/// The events up to the first damage, and how many bytes they take.
fn read(file: &File) -> io::Result<(Vec<Event>, u64)> {
    let mut reader = BufReader::new(io::Read::take(file, JOURNAL_BYTES_MAX));
    let mut events = Vec::new();
    let mut good_bytes = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        let Some(event) = parse(&line) else { return Ok((events, good_bytes)) };
        events.push(event);
        good_bytes += u64::try_from(read).expect("a line is short");
    }
}

fn parse(line: &[u8]) -> Option<Event> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = (line.get(..8)?, line.get(8..)?.strip_prefix(b" ")?);
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (crc32c::crc32c(json) == sum).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path) -> (PathBuf, Vec<Event>) {
        let path = path_in(folder);
        let at = Timestamp::from_second(1_800_000_000).expect("a moment");
        let mut journal =
            Journal::begin(path.clone(), at, vec!["a".into(), "b".into()], vec!["a".into()]).expect("begun");
        let found =
            |i: u32| Event::Found(Found { i, u: format!("http://a.kz/{i}?я"), k: Role::Page, d: 1, h: 0, r: 0, s: 0 });
        let mut events = vec![Event::Begin {
            version: VERSION,
            at: 1_800_000_000,
            sites: vec!["a".into(), "b".into()],
            tonight: vec!["a".into()],
        }];
        for i in 0..5 {
            events.push(found(i));
        }
        events.push(Event::Skipped { s: 1, u: "http://x.kz/".into(), why: "host-not-listed".into() });
        events.push(Event::Done { i: 0, o: Outcome::Stored, b: 1234 });
        events.push(Event::Done { i: 1, o: Outcome::Failed("404".into()), b: 0 });
        for event in &events[1..] {
            journal.append(event);
        }
        journal.keep().expect("kept");
        (path, events)
    }

    /// The events of the file, without what a resumption adds.
    fn believed(path: &Path) -> Vec<Event> {
        let events = Journal::resume(path.to_owned()).expect("read").map_or(Vec::new(), |(_, events)| events);
        events.into_iter().filter(|event| !matches!(event, Event::Again { .. })).collect()
    }

    #[test]
    fn what_was_written_is_read_again_and_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, mut events) = written(folder.path());
        let (mut journal, read) = Journal::resume(path.clone()).expect("read").expect("a night to go on with");
        events.push(Event::Again { i: 0 });
        assert_eq!(read, events, "what was stored a moment ago is asked for again");
        events.push(Event::Done { i: 2, o: Outcome::Fresh, b: 0 });
        journal.append(&events[events.len() - 1]);
        for _ in 0..MARKS_UNSURE {
            events.push(Event::Mark);
            journal.append(&Event::Mark);
        }
        events.push(Event::Done { i: 3, o: Outcome::Stored, b: 0 });
        journal.append(&events[events.len() - 1]);
        events.push(Event::Mark);
        journal.append(&Event::Mark);
        journal.keep().expect("kept");
        let (journal, read) = Journal::resume(path.clone()).expect("read").expect("a night to go on with");
        events.push(Event::Again { i: 3 });
        assert_eq!(read, events, "what is longer ago is believed");
        journal.finish().expect("removed");
        assert!(Journal::resume(path).expect("nothing is no error").is_none());
    }

    #[test]
    fn any_prefix_is_the_beginning_of_the_same_night() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, events) = written(folder.path());
        let whole = fs::read(&path).expect("bytes");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("cut");
            let read = believed(&path);
            assert_eq!(read, events[..read.len()], "cut at {cut}");
            let lines = whole[..cut].iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(read.len(), lines, "every whole line counts");
            // The damaged end is gone: what is appended next is read next time.
            if let Some((mut journal, _)) = Journal::resume(path.clone()).expect("read") {
                journal.append(&Event::Done { i: 4, o: Outcome::Stored, b: 1 });
                journal.keep().expect("kept");
                assert_eq!(believed(&path).len(), lines + 1);
            }
        }
    }

    #[test]
    fn damage_ends_what_is_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, events) = written(folder.path());
        let whole = fs::read(&path).expect("bytes");
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).expect("damaged");
            let read = believed(&path);
            assert_eq!(read, events[..read.len()]);
            assert!(read.len() < events.len());
        }
    }

    #[test]
    fn it_is_nobody_elses_to_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = written(folder.path());
        assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
