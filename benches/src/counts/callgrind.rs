//! Counting the instructions of single calls: a program runs its steps under valgrind, which writes down each call.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use super::Name;
use super::compare::Step;
use super::file::TakenWith;

/// Calls of each step that are counted. The middle one counts: now and then one call does work for many (a cache puts its
/// notes in order), and that is another question.
pub const CALLS: usize = 21;

/// Processes in which each step is counted. The standard library's tables are seeded anew in each, and what a look-up takes
/// differs by a few per cent with the seed; the middle one counts again.
pub const PROCESSES: usize = 5;

/// The function whose calls are counted, as valgrind spells it. In two ways: given the same pattern for both of its options,
/// callgrind 3.19 takes one of them.
const CALL_TOGGLES: &str = "--toggle-collect=*bulaq_counted_call*";
const CALL_IS_WRITTEN: &str = "--dump-after=counts::bulaq_counted_call*";

/// Why there are no counts.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// It is not installed.
    #[error("valgrind is missing: install it (apt-get install valgrind) and run this again")]
    NoValgrind,
    /// This processor is not one for which figures are committed.
    #[error("counts are kept for x86-64 with AVX2 only, and this processor is another: the figures would not compare")]
    OtherProcessor,
    /// It could not be run.
    #[error("valgrind could not be run")]
    Run(#[source] io::Error),
    /// The program under it failed.
    #[error("the steps of `{question}` failed under valgrind:\n{log}")]
    Steps {
        /// The question.
        question: String,
        /// What was written to the standard error output.
        log: String,
    },
    /// The calls that were made are not those that were counted.
    #[error(
        "of `{question}`, {made} calls were made and {counted} counted: is the counted function still there by its name?"
    )]
    Calls {
        /// The question.
        question: String,
        /// Calls that the program says it made.
        made: usize,
        /// Calls that valgrind wrote down.
        counted: usize,
    },
}

/// A program with steps to count.
pub struct Counter {
    /// The program; called with `--steps-of QUESTION` it makes [`CALLS`] calls of each step, and writes the steps' names to
    /// its output, one a line.
    pub program: PathBuf,
    /// A folder for what valgrind writes.
    pub folder: PathBuf,
}

impl Counter {
    /// Counts the steps of one question in the process of this number.
    ///
    /// # Errors
    /// [`CountError`] says what to do.
    pub fn count(&self, question: &str, process: usize) -> Result<Vec<Step>, CountError> {
        let folder = self.folder.join(question.replace(|it: char| !it.is_ascii_alphanumeric(), "-"));
        let folder = folder.join(process.to_string());
        fs::create_dir_all(&folder).map_err(CountError::Run)?;
        let out = folder.join("counts");
        let mut out_option = OsString::from("--callgrind-out-file=");
        out_option.push(&out);
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--quiet", "--collect-atstart=no", CALL_TOGGLES, CALL_IS_WRITTEN]);
        command.arg(out_option).arg(&self.program).arg("--steps-of").arg(question).stdin(Stdio::null());
        // What stands in the environment moves the stack, and may turn on a log.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TMPDIR", &self.folder);
        let output = match command.output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CountError::NoValgrind),
            output => output.map_err(CountError::Run)?,
        };
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(CountError::Steps { question: question.to_owned(), log });
        }
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        let names: Vec<&str> = names.lines().collect();
        let calls = calls_in(&out).map_err(CountError::Run)?;
        if calls.len() != names.len() * CALLS {
            let (made, counted) = (names.len() * CALLS, calls.len());
            return Err(CountError::Calls { question: question.to_owned(), made, counted });
        }
        let steps = names.iter().zip(calls.chunks(CALLS));
        Ok(steps.map(|(step, calls)| Step { name: Name::new(question, step), instructions: median(calls) }).collect())
    }
}

/// The instructions of each call, in order: valgrind writes a file for each, numbered from 1.
fn calls_in(out: &Path) -> io::Result<Vec<u64>> {
    let mut calls = Vec::new();
    loop {
        let mut path = out.as_os_str().to_owned();
        path.push(format!(".{}", calls.len() + 1));
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(calls),
            text => text?,
        };
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "a file of callgrind's without a sum");
        calls.push(instructions_in(&text).ok_or_else(unknown)?);
    }
}

fn instructions_in(text: &str) -> Option<u64> {
    let sum = text.lines().find_map(|line| line.strip_prefix("summary:"))?;
    sum.split_whitespace().next()?.parse().ok()
}

/// The steps of a question, each with the middle one of its counts in several processes.
pub fn middle(processes: &[Vec<Step>]) -> Vec<Step> {
    let Some(first) = processes.first() else { return Vec::new() };
    let middle = |step: &Step| {
        let same = processes.iter().flatten().filter(|other| other.name == step.name);
        let counts: Vec<u64> = same.map(|other| other.instructions).collect();
        Step { name: step.name.clone(), instructions: median(&counts) }
    };
    first.iter().map(middle).collect()
}

/// The middle one of some.
fn median(calls: &[u64]) -> u64 {
    let mut sorted = calls.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) / 2]
}

/// What decides how many instructions a program takes here.
///
/// # Errors
/// When valgrind is missing, or the processor is not one for which figures are kept.
pub fn taken_with() -> Result<TakenWith, CountError> {
    #[cfg(target_arch = "x86_64")]
    let has_avx2 = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let has_avx2 = false;
    if !has_avx2 {
        return Err(CountError::OtherProcessor);
    }
    let valgrind = match said_by("valgrind", &["--version"]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CountError::NoValgrind),
        said => said.map_err(CountError::Run)?,
    };
    let unknown = |_| "unknown".to_owned();
    Ok(TakenWith {
        rustc: said_by("rustc", &["--version"]).unwrap_or_else(unknown),
        libc: said_by("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(unknown),
        valgrind,
        processor: "x86-64 with AVX2".to_owned(),
    })
}

fn said_by(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_call_counts() {
        assert_eq!(median(&[7]), 7);
        assert_eq!(median(&[990, 114_606, 990, 991, 989]), 990);
        assert_eq!(median(&[1, 2, 3, 4]), 2);
    }

    #[test]
    fn the_middle_process_counts_for_each_step() {
        let process = |one, other| {
            let step = |step, instructions| Step { name: Name::new("q", step), instructions };
            vec![step("one", one), step("other", other)]
        };
        let steps = middle(&[process(3, 10), process(1, 30), process(2, 20)]);
        assert_eq!(steps, process(2, 20));
        assert_eq!(middle(&[]), []);
    }

    #[test]
    fn calls_are_read_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("counts");
        assert_eq!(calls_in(&out).unwrap(), []);
        for call in 1..=11_u64 {
            let text = format!("version: 1\npart: {call}\nevents: Ir\nsummary: {}\n\nfn=(1) a\n1 7\n", call * 100);
            fs::write(folder.path().join(format!("counts.{call}")), text).unwrap();
        }
        assert_eq!(calls_in(&out).unwrap(), (1..=11).map(|call| call * 100).collect::<Vec<_>>());
        fs::write(folder.path().join("counts.12"), "events: Ir\n").unwrap();
        assert_eq!(calls_in(&out).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
