//! Figures with their targets, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

/// What a benchmark found.
pub(crate) struct Report {
    question: &'static str,
    figures: Vec<Figure>,
}

struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Exactly(wanted) => (value - wanted).abs() < f64::EPSILON,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {}", shown(*most)),
            Self::AtLeast(least) => write!(f, ">= {}", shown(*least)),
            Self::Exactly(wanted) => write!(f, "= {}", shown(*wanted)),
        }
    }
}

impl Report {
    pub(crate) fn new(question: &'static str) -> Self {
        Self { question, figures: Vec::new() }
    }

    /// A figure that is told and not judged.
    pub(crate) fn tell(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { what: what.into(), value, unit, target: None });
    }

    /// A figure that has a target.
    pub(crate) fn judge(&mut self, what: impl Into<String>, value: f64, unit: &'static str, target: Target) {
        self.figures.push(Figure { what: what.into(), value, unit, target: Some(target) });
    }

    /// Whether every target is met.
    pub(crate) fn is_met(&self) -> bool {
        self.figures.iter().all(Figure::is_met)
    }

    /// All of it, with what was measured and when.
    pub(crate) fn to_json(&self, commit: &str, date: &str) -> String {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let target = figure.target.map(|target| target.to_string());
                json!({
                    "what": figure.what, "value": figure.value, "unit": figure.unit,
                    "target": target, "met": figure.is_met(),
                })
            })
            .collect();
        format!(
            "{:#}\n",
            json!({
                "question": self.question, "commit": commit, "date": date, "met": self.is_met(), "figures": figures,
            })
        )
    }
}

impl Figure {
    fn is_met(&self) -> bool {
        self.target.is_none_or(|target| target.is_met(self.value))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.figures.iter().map(|figure| figure.what.len()).max().unwrap_or_default();
        for figure in &self.figures {
            let target = figure.target.map(|target| target.to_string()).unwrap_or_default();
            let verdict = match figure.target {
                None => "",
                Some(_) if figure.is_met() => "met",
                Some(_) => "MISSED",
            };
            let value = format!("{} {}", shown(figure.value), figure.unit);
            writeln!(f, "{:width$}  {value:>16}  {target:>10}  {verdict}", figure.what)?;
        }
        let verdict = if self.is_met() { "all targets are met" } else { "not all targets are met" };
        writeln!(f, "{}: {verdict}", self.question)
    }
}

/// Whole numbers without decimals, others with as many as say something.
fn shown(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value < 10.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1}")
    }
}

/// The value below which this share of the values lies.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}
