//! Instructions of single steps, counted by valgrind and compared with the last ones (`counts.toml`).
//!
//! Time on a machine that others use says nothing about a few per cent; the number of instructions of one call does, and
//! is the same each time. `benches/counts.rs` makes the calls, this module judges what was counted.

mod callgrind;
mod compare;
mod file;

pub use callgrind::{CALLS, CountError, Counter, PROCESSES, middle, taken_with};
pub use compare::{Compared, Step, Verdict, accept, compare, report};
pub use file::{Committed, Counts, FileError, TakenWith};

/// Which step of which question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The question.
    pub question: String,
    /// The step within it.
    pub step: String,
}

impl Name {
    /// Both.
    pub fn new(question: &str, step: &str) -> Self {
        Self { question: question.to_owned(), step: step.to_owned() }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.question, self.step)
    }
}

/// A number with a comma between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut groups: Vec<&str> = Vec::new();
    if first > 0 {
        groups.push(&digits[..first]);
    }
    let mut rest = &digits[first..];
    while !rest.is_empty() {
        groups.push(&rest[..3]);
        rest = &rest[3..];
    }
    groups.join(",")
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")] {
            assert_eq!(super::grouped(number), text);
        }
    }
}
