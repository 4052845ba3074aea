//! What the demo says: colours and marks on a terminal, plain lines into a pipe.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Writes the demo's story on standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Show {
    has_colour: bool,
}

/// Select Graphic Rendition codes (ECMA-48 §8.3.117).
const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";

/// Width of the names of the steps.
const STEP_WIDTH: usize = 9;

impl Show {
    /// As fits where the output goes; `NO_COLOR` is obeyed.
    pub(crate) fn here() -> Self {
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { has_colour: io::stdout().is_terminal() && !wants_none }
    }

    /// The first line.
    pub(crate) fn title(self, title: &str) {
        self.line(format_args!("\n{}\n", self.style(BOLD, title)));
    }

    /// A step of the story: its name and what came of it.
    pub(crate) fn step(self, name: &str, text: impl Display) {
        let name = format!("{name:<STEP_WIDTH$}");
        self.line(format_args!("  {} {text}", self.style(CYAN, &name)));
    }

    /// A second line of a step.
    pub(crate) fn more(self, text: impl Display) {
        self.line(format_args!("  {:STEP_WIDTH$} {text}", ""));
    }

    /// An address to open, and what it shows.
    pub(crate) fn link(self, address: &str, what: &str) {
        self.line(format_args!(
            "  {:STEP_WIDTH$} {}  {}",
            "",
            self.style(BOLD, &format!("{address:<52}")),
            self.style(DIM, what)
        ));
    }

    /// A claim, and whether it held.
    pub(crate) fn claim(self, held: bool, text: impl Display) {
        let mark = if held { self.style(GREEN, "✔") } else { self.style(RED, "✘") };
        self.line(format_args!("  {mark} {text}"));
    }

    /// A block that is laid out already, moved in by two columns.
    pub(crate) fn block(self, text: &str) {
        for line in text.lines() {
            self.line(format_args!("{}", format!("  {line}").trim_end()));
        }
    }

    /// An empty line.
    pub(crate) fn gap(self) {
        self.line(format_args!(""));
    }

    fn style(self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A closed pipe is no failure of the demo: whoever read it has seen enough.
    fn line(self, line: std::fmt::Arguments<'_>) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// A short time for people: `12 ms`, `1.4 s`.
pub(crate) fn took(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis().max(1))
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (micros, shown) in [(10, "1 ms"), (12_900, "12 ms"), (999_999, "999 ms"), (1_440_000, "1.4 s")] {
            assert_eq!(took(Duration::from_micros(micros)), shown);
        }
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Show { has_colour: false }.style(GREEN, "x"), "x");
        assert_eq!(Show { has_colour: true }.style(GREEN, "x"), "\u{1b}[32mx\u{1b}[0m");
    }
}
