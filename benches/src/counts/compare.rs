//! Counted against committed: what is the same, what grew, what shrank; and how new figures are accepted.

use std::fmt::Write as _;

use super::file::{Committed, Counts, TakenWith};
use super::{Name, grouped};

/// New figures that differ by less than this are not written: the figure that is there is as good.
const WRITTEN_FROM_PERCENT: f64 = 1.0;

/// What was counted of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub name: Name,
    /// Instructions of one call.
    pub instructions: u64,
}

/// What the comparison says of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// As before, within the tolerance.
    Same,
    /// More than before and than is let pass: a failure.
    Grew,
    /// So much fewer that the committed figure would hide the next loss.
    Shrank,
    /// Never counted before: it wants a figure.
    New,
    /// Committed, and not counted any more.
    Gone,
}

impl Verdict {
    /// Whether nothing need be done.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Grew | Self::New | Self::Gone)
    }
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    name: Name,
    was: Option<u64>,
    is: Option<u64>,
    /// The verdict.
    pub verdict: Verdict,
}

fn growth_percent(was: u64, is: u64) -> f64 {
    (is as f64 - was as f64) * 100.0 / was.max(1) as f64
}

/// Compares what was counted with what is committed; `is_all` when every step was counted.
pub fn compare(committed: &Counts, counted: &[Step], is_all: bool) -> Vec<Compared> {
    let mut lines: Vec<Compared> = counted.iter().map(|step| compare_one(committed, step)).collect();
    let gone = committed.steps.iter().filter(|old| is_all && !counted.iter().any(|step| step.name == old.name()));
    lines.extend(gone.map(|old| Compared {
        name: old.name(),
        was: Some(old.instructions),
        is: None,
        verdict: Verdict::Gone,
    }));
    lines
}

fn compare_one(committed: &Counts, step: &Step) -> Compared {
    let old = committed.steps.iter().find(|old| old.name() == step.name);
    let verdict = match old {
        None => Verdict::New,
        Some(old) => {
            let growth = growth_percent(old.instructions, step.instructions);
            if growth > old.tolerance_percent() {
                Verdict::Grew
            } else if growth < -old.tolerance_percent() {
                Verdict::Shrank
            } else {
                Verdict::Same
            }
        }
    };
    let was = old.map(|old| old.instructions);
    Compared { name: step.name.clone(), was, is: Some(step.instructions), verdict }
}

/// The comparison as a table, with what to do.
pub fn report(lines: &[Compared], committed: &TakenWith, now: &TakenWith) -> String {
    let mut text = String::new();
    let width = lines.iter().map(|line| line.name.to_string().len()).max().unwrap_or_default();
    let shown = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), grouped);
    let _ = writeln!(text, "{:width$}  {:>12}  {:>12}", "instructions of one call", "committed", "now");
    for line in lines {
        let growth = line.was.zip(line.is).map(|(was, is)| format!("{:+.1} %", growth_percent(was, is)));
        let word = match line.verdict {
            Verdict::Same => "",
            Verdict::Grew => "GREW",
            Verdict::Shrank => "shrank",
            Verdict::New => "NEW",
            Verdict::Gone => "GONE",
        };
        let growth = growth.unwrap_or_default();
        let row = format!("{:width$}  {:>12}  {:>12}  {growth:>9}  {word}", line.name, shown(line.was), shown(line.is));
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let count = |is: fn(Verdict) -> bool| lines.iter().filter(|line| is(line.verdict)).count();
    let (failures, shrunk) = (count(Verdict::is_failure), count(|verdict| verdict == Verdict::Shrank));
    if shrunk > 0 {
        let _ = writeln!(
            text,
            "{shrunk} of them need fewer than committed: `.ci/counts --accept \"why\"` tightens the file, so that a later \
             loss is seen."
        );
    }
    if failures > 0 {
        let _ = writeln!(
            text,
            "{failures} of them need a look. Where it is meant: `.ci/counts --accept \"why\"`, and commit benches/counts.toml."
        );
        if committed != now {
            let _ =
                writeln!(text, "The committed figures were taken with {}; these with {}.", told(committed), told(now));
        }
    } else {
        let _ = writeln!(text, "No step takes more instructions than it may.");
    }
    text
}

fn told(with: &TakenWith) -> String {
    format!("{}, {}, {}, {}", with.rustc, with.libc, with.valgrind, with.processor)
}

/// The committed figures with those that moved replaced by what was counted, for this reason.
pub fn accept(committed: &Counts, counted: &[Step], reason: &str, now: TakenWith) -> Counts {
    let steps = counted.iter().map(|step| {
        let Some(old) = committed.steps.iter().find(|old| old.name() == step.name) else {
            return Committed {
                question: step.name.question.clone(),
                step: step.name.step.clone(),
                instructions: step.instructions,
                reason: reason.to_owned(),
                tolerance_percent: None,
                tolerance_reason: None,
            };
        };
        if growth_percent(old.instructions, step.instructions).abs() < WRITTEN_FROM_PERCENT {
            return old.clone();
        }
        Committed { instructions: step.instructions, reason: reason.to_owned(), ..old.clone() }
    });
    Counts { taken_with: now, steps: steps.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(figures: &[(&str, u64)]) -> Counts {
        let counted: Vec<Step> = figures.iter().map(|&(step, instructions)| counted(step, instructions)).collect();
        accept(&Counts::default(), &counted, "first", TakenWith::default())
    }

    fn counted(step: &str, instructions: u64) -> Step {
        Step { name: Name::new("q", step), instructions }
    }

    #[test]
    fn over_five_per_cent_more_is_a_failure() {
        for (was, is, verdict) in [
            (1_000, 1_000, Verdict::Same),
            (1_000, 1_050, Verdict::Same),
            (1_000, 1_051, Verdict::Grew),
            (1_000, 950, Verdict::Same),
            (1_000, 949, Verdict::Shrank),
            (0, 1, Verdict::Grew),
        ] {
            let lines = compare(&committed(&[("s", was)]), &[counted("s", is)], true);
            assert_eq!(lines[0].verdict, verdict, "{was} to {is}");
        }
        let mut wide = committed(&[("s", 1_000)]);
        wide.steps[0].tolerance_percent = Some(10.0);
        assert_eq!(compare(&wide, &[counted("s", 1_100)], true)[0].verdict, Verdict::Same);
    }

    #[test]
    fn new_and_lost_steps_want_a_word() {
        let lines = compare(&committed(&[("old", 9)]), &[counted("new", 9)], true);
        assert_eq!(lines.iter().map(|line| line.verdict).collect::<Vec<_>>(), [Verdict::New, Verdict::Gone]);
        assert!(lines.iter().all(|line| line.verdict.is_failure()));
        let some = compare(&committed(&[("old", 9), ("other", 9)]), &[counted("old", 9)], false);
        assert_eq!(some.len(), 1, "those that were not asked for are not missed");
    }

    #[test]
    fn the_report_says_which_and_by_how_much() {
        let now = TakenWith { rustc: "rustc 9".to_owned(), ..TakenWith::default() };
        let lines = compare(&committed(&[("a", 1_000), ("b", 1_000)]), &[counted("a", 1_200), counted("b", 500)], true);
        let text = report(&lines, &TakenWith::default(), &now);
        for part in ["q: a", "1,200", "+20.0 %  GREW", "-50.0 %  shrank", "1 of them need a look", "rustc 9"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let same = report(&compare(&committed(&[("a", 9)]), &[counted("a", 9)], true), &now, &now);
        assert!(same.contains("No step takes more") && !same.contains("rustc 9"), "{same}");
    }

    #[test]
    fn accepting_gives_the_moved_ones_the_reason() {
        let mut old = committed(&[("same", 1_000), ("grew", 1_000), ("gone", 5)]);
        old.steps[1].tolerance_percent = Some(7.0);
        let steps = [counted("same", 1_009), counted("grew", 1_100), counted("new", 7)];
        let new = accept(&old, &steps, "ranges are checked", TakenWith::default());
        let told: Vec<_> = new.steps.iter().map(|it| (it.step.as_str(), it.instructions, it.reason.as_str())).collect();
        assert_eq!(
            told,
            [("same", 1_000, "first"), ("grew", 1_100, "ranges are checked"), ("new", 7, "ranges are checked")]
        );
        assert_eq!(new.steps[1].tolerance_percent, Some(7.0), "a tolerance stays");
    }
}
