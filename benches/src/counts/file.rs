//! The committed figures, with the reason for each.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::Name;

/// The committed file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Counts {
    /// What the last accepted figures were taken with.
    #[serde(default)]
    pub taken_with: TakenWith,
    /// The steps, in the order in which they are counted.
    #[serde(default, rename = "step")]
    pub steps: Vec<Committed>,
}

/// What decides how many instructions a program takes, besides its source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenWith {
    /// The compiler.
    pub rustc: String,
    /// The C library, which copies and allocates.
    pub libc: String,
    /// What counted.
    pub valgrind: String,
    /// The processor that valgrind shows to the program: some libraries choose their code by it.
    pub processor: String,
}

/// The figure of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Committed {
    /// The question.
    pub question: String,
    /// The step.
    pub step: String,
    /// Instructions of one call.
    pub instructions: u64,
    /// Why it is this figure and not the one before.
    pub reason: String,
    /// How much more is let pass, in per cent, where the usual 5 will not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_percent: Option<f64>,
    /// Why so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_reason: Option<String>,
}

/// How much more instructions than last time a step may take without a word, in per cent. The steps are exact to less than
/// one; what is left is for the compiler's changes of mind about code nearby.
const TOLERANCE_PERCENT: f64 = 5.0;

/// Why the committed figures cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not as it should be.
    #[error("{}: {what}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
}

const HEADER: &str = "\
# Instructions of single steps. `.ci/counts` counts them again and fails when one takes over 5 % more than here.
# Where that is meant: `.ci/counts --accept \"why\"` writes the new figures with that reason; commit them with the change.
";

impl Committed {
    /// Which step.
    pub fn name(&self) -> Name {
        Name::new(&self.question, &self.step)
    }

    /// How much more is let pass, in per cent.
    pub fn tolerance_percent(&self) -> f64 {
        self.tolerance_percent.unwrap_or(TOLERANCE_PERCENT)
    }
}

impl Counts {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there or not as it should be: a figure without a reason, a wider tolerance without one, a step twice.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = fs::read_to_string(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|what| FileError::Form { path: path.to_owned(), what })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let counts: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (at, step) in counts.steps.iter().enumerate() {
            let name = step.name();
            if step.reason.trim().is_empty() {
                return Err(format!("`{name}` has no reason for its figure"));
            }
            if step.tolerance_percent.is_some()
                && step.tolerance_reason.as_deref().is_none_or(|it| it.trim().is_empty())
            {
                return Err(format!("`{name}` has a tolerance of its own and no tolerance-reason"));
            }
            if !(0.0..=50.0).contains(&step.tolerance_percent()) {
                return Err(format!("the tolerance of `{name}` must be between 0 and 50 per cent"));
            }
            if counts.steps[..at].iter().any(|other| other.name() == name) {
                return Err(format!("`{name}` is there twice"));
            }
        }
        Ok(counts)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        fs::write(path, self.to_text()).map_err(|source| FileError::Io { path: path.to_owned(), source })
    }

    fn to_text(&self) -> String {
        let body = toml::to_string(self).expect("strings and numbers can be written as TOML");
        format!("{HEADER}\n{body}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: &str = "[[step]]\nquestion = \"q\"\nstep = \"s\"\ninstructions = 7\n";

    #[test]
    fn what_is_written_reads_back() {
        let text = format!(
            "{STEP}reason = \"first\"\n{}reason = \"r\"\ntolerance-percent = 9.5\ntolerance-reason = \"t\"\n",
            STEP.replace("\"s\"", "\"other\"")
        );
        let counts = Counts::parse(&text).unwrap();
        assert_eq!(counts.steps.len(), 2);
        assert_eq!(counts.steps[0].tolerance_percent(), TOLERANCE_PERCENT);
        assert_eq!(counts.steps[1].tolerance_percent(), 9.5);
        assert_eq!(Counts::parse(&counts.to_text()).unwrap(), counts);
    }

    #[test]
    fn a_figure_without_a_reason_is_refused() {
        for (text, wrong) in [
            (STEP.to_owned(), "missing field `reason`"),
            (format!("{STEP}reason = \" \""), "no reason"),
            (format!("{STEP}reason = \"r\"\ntolerance-percent = 8.0"), "no tolerance-reason"),
            (format!("{STEP}reason = \"r\"\ntolerance-percent = 80.0\ntolerance-reason = \"t\""), "between 0 and 50"),
            (format!("{STEP}reason = \"r\"\n{STEP}reason = \"r\""), "twice"),
            (format!("{STEP}reason = \"r\"\nseconds = 1"), "unknown field"),
        ] {
            let error = Counts::parse(&text).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn the_committed_figures_are_in_order() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.toml");
        let counts = Counts::read(&path).unwrap();
        assert!(!counts.steps.is_empty());
        assert_eq!(fs::read_to_string(&path).unwrap(), counts.to_text(), "as `--accept` writes it");
    }
}
