//! `bulaq.toml`: as written, checked, and then as used.
//!
//! `written` reads values out of the text and gathers everything that is wrong with it, underlined; `sections`
//! makes of each table the typed options of the room that it is about; [`limits`] has every bound with its reason.
//! Nothing of the file travels further than this module, and all of it is checked before a socket opens.
//!
//! `docs/bulaq.example.toml` shows every key at its default; a test keeps it so.

pub mod limits;
pub mod quantity;
mod sections;
mod written;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bulaq_allowlist::{Diagnostic, HostPattern, Severity};
use jiff::tz::TimeZone;
use toml::de::DeTable;

use crate::ca::CertificateFile;
use crate::ingress::resolver::DnsOptions;
use crate::ingress::{IngressOptions, TrustOptions};
use crate::ledger::LedgerOptions;
use crate::origin::OriginOptions;
use crate::portal::proxy_pac::own_patterns;
use crate::prefetch::NightOptions;
use crate::prefetch::window::Window;
use crate::request::RequestOptions;
use crate::store::StoreOptions;
use written::{Report, Section};

/// Largest configuration that is read, in bytes. A real one has a page.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The configuration as used: every value checked, every path complete.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that says what the school permits.
    pub allowlist: PathBuf,
    /// The folder of everything that the box keeps.
    pub data: PathBuf,
    /// Where local times are local.
    pub time_zone: TimeZone,
    /// How many threads serve connections; 0 for one a processor.
    pub workers: usize,
    /// The doors, their limits, and the networks that see `Cache-Status`.
    pub ingress: IngressOptions,
    /// The resolver.
    pub dns: DnsOptions,
    /// Certificates for sites that are terminated, before those that the box mints.
    pub certificates: Vec<CertificateFile>,
    /// Which devices are known to trust the CA.
    pub trust: TrustOptions,
    /// The request path.
    pub request: RequestOptions,
    /// The store; its folder is in `data`.
    pub store: StoreOptions,
    /// The way out.
    pub origin: OriginOptions,
    /// The night's hours; none when nights are started by hand alone.
    pub window: Option<Window>,
    /// The night.
    pub night: NightOptions,
    /// The ledger.
    pub ledger: LedgerOptions,
    /// What is logged, in the words of `RUST_LOG`.
    pub log: String,
}

/// A configuration that can be used.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The configuration.
    pub config: Config,
    /// What in the file is likely not what was meant.
    pub warnings: Vec<Diagnostic>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The file is not a configuration, or asks for what cannot be.
    #[error("{0}")]
    Refused(RefusedConfig),
}

/// All that is wrong with a configuration.
#[derive(Debug)]
pub struct RefusedConfig {
    /// Every finding in the order of the file, warnings too.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for RefusedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.diagnostics.iter().filter(|finding| finding.severity() == Severity::Error);
        match errors.next() {
            Some(first) => write!(f, "{first}")?,
            None => f.write_str("the configuration is refused")?,
        }
        match errors.count() {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

impl Config {
    /// Reads and checks the file. Paths in it are taken from the file's own folder.
    ///
    /// # Errors
    /// [`ConfigError::Refused`] tells every problem at once, each with its place.
    pub fn load(path: &Path) -> Result<LoadedConfig, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(unreadable)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(unreadable(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes"))));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, folder).map_err(ConfigError::Refused)
    }

    /// Checks a configuration's text; `file` names it in messages, relative paths in it begin in `folder`.
    ///
    /// # Errors
    /// [`RefusedConfig`] has every finding.
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<LoadedConfig, RefusedConfig> {
        let report = Report::new(file, text);
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What else seems wrong in a text that is not TOML is mostly a consequence.
            for error in errors {
                report.error(&error.span().unwrap_or(0..0), error.message(), "not TOML", None);
            }
            return Err(RefusedConfig { diagnostics: report.finish() });
        }
        let root = Section::root(&report, tree.get_ref());
        let config = sections::config(&root, folder);
        root.done();
        let diagnostics = report.finish();
        if diagnostics.iter().any(|finding| finding.severity() == Severity::Error) {
            return Err(RefusedConfig { diagnostics });
        }
        Ok(LoadedConfig { config, warnings: diagnostics })
    }

    /// The defaults, with `folder` for relative paths: what an empty file means.
    pub fn defaults(folder: &Path) -> Self {
        let empty = DeTable::new();
        sections::config(&Section::root(&Report::new("", ""), &empty), folder)
    }

    /// The names that are the box's own, wherever names lead to the box, with those of the gateway. `localhost` is each device's.
    pub fn own_patterns(&self) -> Vec<HostPattern> {
        let gateway = self.ingress.gateway.iter();
        let gateway =
            gateway.flat_map(|domain| [HostPattern::Exact(domain.clone()), HostPattern::Suffix(domain.clone())]);
        own_patterns(&self.request.own_names).into_iter().chain(gateway).collect()
    }

    /// What an operator should know about the machine that the configuration points at: one sentence each.
    pub fn machine_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mode = |path: &Path| fs::metadata(path).map(|metadata| metadata.mode()).ok();
        if mode(&self.data).is_some_and(|mode| mode & 0o077 != 0) {
            let path = self.data.display();
            warnings.push(format!("the data folder {path} is open to other accounts; close it: chmod 700 {path}"));
        }
        warnings
    }
}

#[cfg(test)]
mod tests;
