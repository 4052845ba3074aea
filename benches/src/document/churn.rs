//! The leak check on the page: what `churn --json` wrote.

use std::fmt::Write as _;

use serde::Deserialize;

use super::page::{shown, with_unit};

/// A day's churn in some minutes.
#[derive(Debug, Deserialize)]
pub(super) struct Churn {
    commit: String,
    date: String,
    met: bool,
    figures: Vec<Figure>,
}

#[derive(Debug, Deserialize)]
struct Figure {
    what: String,
    value: f64,
    unit: String,
    target: Option<String>,
    met: bool,
}

impl Churn {
    /// Its section of the page.
    pub(super) fn section(&self) -> String {
        let mut text = format!(
            "## A day's churn in ten minutes\n\nDoes the box grow? On a store of 64 MiB that is turned over many times, clients \
             of every kind come and go, good, slow and broken ones, over HTTP/1.1, TLS and HTTP/2; answers are validated and \
             purged. Growth is that of the line through all samples of the last two thirds. {}. ({}, commit {})\n\n",
            if self.met { "It is flat" } else { "**It is not flat**" },
            self.date,
            self.commit
        );
        text.push_str("| figure | | target | |\n| --- | ---: | --- | --- |\n");
        for figure in &self.figures {
            let verdict = match (&figure.target, figure.met) {
                (None, _) => "",
                (Some(_), true) => "met",
                (Some(_), false) => "**missed**",
            };
            let (name, target) = (with_unit(&figure.what, &figure.unit), figure.target.as_deref().unwrap_or_default());
            let target = target.replace("<=", "≤").replace(">=", "≥");
            let _ = writeln!(text, "| {name} | {} | {target} | {verdict} |", shown(figure.value));
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::document) fn churn(met: bool) -> Churn {
        let text = r#"{"question": "churn", "commit": "0123abc", "date": "today", "met": MET, "figures": [
            {"what": "handles at the beginning", "value": 30.0, "unit": "", "target": null, "met": true},
            {"what": "its growth", "value": 1.25, "unit": "MiB", "target": "<= 4", "met": MET}]}"#;
        serde_json::from_str(&text.replace("MET", if met { "true" } else { "false" })).unwrap()
    }

    #[test]
    fn what_grows_is_told() {
        let section = churn(true).section();
        for part in [
            "It is flat. (today, commit 0123abc)",
            "| handles at the beginning | 30 |  |  |",
            "| its growth, MiB | 1.25 | ≤ 4 | met |",
        ] {
            assert!(section.contains(part), "{part}\n---\n{section}");
        }
        let section = churn(false).section();
        assert!(section.contains("**It is not flat**") && section.contains("| ≤ 4 | **missed** |"), "{section}");
    }
}
