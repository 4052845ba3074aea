//! The configuration and the allowlist, as every command that needs them reads them.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bulaq_allowlist::{Allowlist, Diagnostic, Severity, limits};

use super::Refused;
use crate::config::{Config, ConfigError, LoadedConfig};

/// Where a configuration is looked for when none is named.
const PLACES: [&str; 2] = ["bulaq.toml", "/etc/bulaq/bulaq.toml"];

/// Which configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArg {
    /// The configuration; without it, bulaq.toml here, then /etc/bulaq/bulaq.toml
    #[arg(long, value_name = "FILE", env = "BULAQ_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    /// This one, for tests.
    #[cfg(test)]
    pub(super) fn at(path: PathBuf) -> Self {
        Self { config: Some(path) }
    }

    /// The configuration's file.
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        PLACES.iter().map(PathBuf::from).find(|path| path.exists()).with_context(|| {
            format!("no configuration: there is no {}; `bulaq init FOLDER` writes one", PLACES.join(" and no "))
        })
    }

    /// The configuration whose allowlist `file` is, or the one that was named; None when there is none that can be read.
    pub(super) fn of_allowlist(&self, file: &Path) -> Option<Config> {
        let config = Config::load(&self.path().ok()?).ok()?.config;
        let is_its = || Some(config.allowlist.canonicalize().ok()? == file.canonicalize().ok()?);
        (self.config.is_some() || is_its() == Some(true)).then_some(config)
    }

    /// Reads and checks the configuration, and tells its findings.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        let path = self.path()?;
        match Config::load(&path) {
            Ok(LoadedConfig { config, warnings }) => {
                tell(&warnings);
                Ok(config)
            }
            Err(ConfigError::Refused(refused)) => {
                tell(&refused.diagnostics);
                Err(Refused { what: path.display().to_string() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads the allowlist that a configuration names, and tells its findings.
pub(super) fn allowlist(path: &Path) -> anyhow::Result<Allowlist> {
    let name = path.display().to_string();
    match Allowlist::parse(&name, &text(path)?) {
        Ok(loaded) => {
            tell(&loaded.warnings);
            Ok(loaded.allowlist)
        }
        Err(rejected) => {
            tell(&rejected.diagnostics);
            if rejected.untold > 0 {
                eprintln!("… and {} more\n", rejected.untold);
            }
            Err(Refused { what: name }.into())
        }
    }
}

/// A file's text; of a file beyond the limit, just so much that the limit is seen.
fn text(path: &Path) -> anyhow::Result<String> {
    let file =
        std::fs::File::open(path).with_context(|| format!("the allowlist {} cannot be opened", path.display()))?;
    let mut text = String::new();
    file.take(limits::FILE_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("the allowlist {} cannot be read as text", path.display()))?;
    Ok(text)
}

/// Findings on standard error, errors last, where people look first.
fn tell(findings: &[Diagnostic]) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for severity in [Severity::Warning, Severity::Error] {
        for finding in findings.iter().filter(|finding| finding.severity() == severity) {
            eprintln!("{}\n", finding.render(colour));
        }
    }
}
