//! Why a target was missed: written by hand, by case and figure, beside the results.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// The explanations, by case and then by figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses(BTreeMap<String, BTreeMap<String, String>>);

impl Losses {
    /// # Errors
    /// When the file is not there, or not tables of texts.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        Self::parse(&text)
            .with_context(|| format!("{} is not `[case]` tables of `\"figure\" = \"why\"`", file.display()))
    }

    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(Self(toml::from_str(text)?))
    }

    /// Why this figure is as it is; none when nobody has said.
    pub(super) fn why(&self, case: &str, figure: &str) -> Option<&str> {
        let why = self.0.get(case)?.get(figure)?.trim();
        (!why.is_empty()).then_some(why)
    }

    /// All that are explained.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(case, figures)| figures.keys().map(move |figure| (case.as_str(), figure.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_are_found_by_case_and_figure() {
        let losses =
            Losses::parse("[tiny-hit]\n\"processor time\" = \"\"\"\nIt copies.\n\"\"\"\n\"p50\" = \" \"\n").unwrap();
        assert_eq!(losses.why("tiny-hit", "processor time"), Some("It copies."));
        assert_eq!(losses.why("tiny-hit", "p50"), None, "an empty one explains nothing");
        assert_eq!(losses.why("tiny-hit", "p99"), None);
        assert_eq!(losses.all().collect::<Vec<_>>(), [("tiny-hit", "p50"), ("tiny-hit", "processor time")]);
        assert!(Losses::parse("tiny-hit = 7").is_err());
    }
}
