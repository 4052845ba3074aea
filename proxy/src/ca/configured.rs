//! Certificates that the operator has put in place for some hosts; they go before those that the box mints.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bulaq_allowlist::{HostName, Permit, TlsMode};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::files::{self, Who};
use super::{Ca, CaError};
use crate::portal::names::box_name;

/// A certificate of the school's own, from a portal that cooperates, the district's authority or a public one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// For which names it is shown.
    pub names: Vec<CertificateName>,
    /// The chain, leaf first (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM), readable by the service's account alone.
    pub key: PathBuf,
}

/// A name for which a certificate file is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// One host.
    Host(HostName),
    /// `*.name`: every host one label below, as a wildcard in a certificate has it (RFC 9525 §6.3).
    Below(HostName),
}

impl CertificateName {
    /// Reads `host.example` or `*.below.example`.
    ///
    /// # Errors
    /// As [`HostName::parse`], for what stands after the `*.`.
    pub fn parse(text: &str) -> Result<Self, bulaq_allowlist::HostNameError> {
        match text.strip_prefix("*.") {
            Some(above) => HostName::parse(above).map(Self::Below),
            None => HostName::parse(text).map(Self::Host),
        }
    }
}

type Configured = HashMap<CertificateName, Arc<CertifiedKey>>;

/// What the box shows to clients, and where it has it from.
#[derive(Debug, Default)]
pub struct Certificates {
    files: Vec<CertificateFile>,
    configured: ArcSwap<Configured>,
    /// What the files were like when they were last read.
    seen: Mutex<Vec<Stamp>>,
    ca: Option<Arc<Ca>>,
}

impl Certificates {
    /// Reads the files; `ca` makes what they don't name. Without either, `terminate` sites are spliced.
    ///
    /// # Errors
    /// [`CaError::Configured`] names the file that cannot be used, [`CaError::OpenToOthers`] a key that others can read.
    pub fn new(files: &[CertificateFile], ca: Option<Arc<Ca>>) -> Result<Self, CaError> {
        let seen = Mutex::new(stamps(files, ca.as_deref()));
        let certificates = Self { seen, ..Self::unread(files, ca) };
        match certificates.read_files().into_iter().next() {
            Some(error) => Err(error),
            None => Ok(certificates),
        }
    }

    /// Those of files that [`Certificates::reload`] is still to read; until then there are none but the CA's.
    pub fn unread(files: &[CertificateFile], ca: Option<Arc<Ca>>) -> Self {
        Self { files: files.to_vec(), ca, ..Self::default() }
    }

    /// Reads all files again, the CA's too, and gives what could not be used. What was there of such a file before then
    /// still holds. Reads files: not on an async thread.
    pub fn reload(&self) -> Vec<CaError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before reading: what changes meanwhile is then read once more and not overlooked.
        *seen = stamps(&self.files, self.ca.as_deref());
        let mut errors = self.read_files();
        if let Some(Err(error)) = self.ca.as_ref().map(|ca| ca.reload()) {
            errors.push(error);
        }
        errors
    }

    /// Reads the files of the configuration, each by itself: a broken one takes nothing from the others.
    fn read_files(&self) -> Vec<CaError> {
        let before = self.configured.load();
        let (mut configured, mut errors) = (Configured::new(), Vec::new());
        for file in &self.files {
            match read(file) {
                Ok(certified) => {
                    configured.extend(file.names.iter().map(|name| (name.clone(), Arc::clone(&certified))));
                }
                Err(error) => {
                    let known =
                        file.names.iter().filter_map(|name| Some((name.clone(), Arc::clone(before.get(name)?))));
                    configured.extend(known);
                    errors.push(error);
                }
            }
        }
        self.configured.store(Arc::new(configured));
        errors
    }

    /// The same if a file has another time, size or mode than when it was last read; None when all are as they were.
    pub fn reload_if_changed(&self) -> Option<Vec<CaError>> {
        let is_same =
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) == stamps(&self.files, self.ca.as_deref());
        (!is_same).then(|| self.reload())
    }

    /// The certificate for the permit's host.
    ///
    /// # Errors
    /// [`CaError`] when its site is not set to `terminate`, or neither a file nor the CA has one for it.
    pub fn certified_key(&self, permit: &Permit) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        let host = permit.host();
        if permit.site().tls() != TlsMode::Terminate {
            return Err(Arc::new(CaError::NotTerminated { host: host.clone() }));
        }
        match (self.configured_key(host), &self.ca) {
            (Some(certified), _) => Ok(certified),
            (None, Some(ca)) => ca.certified_key(permit),
            (None, None) => Err(not_covered(host)),
        }
    }

    /// The certificate for a name of the box itself, which no site has. For `bulaq.internal` and what is below it, it
    /// is always the CA's, so that a device that accepts it has shown that it trusts the CA; for other names a file's.
    ///
    /// # Errors
    /// [`CaError`] when there is none.
    pub fn own_key(&self, host: &HostName) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        if !host.is_at_or_below(box_name()) {
            return self.configured_key(host).ok_or_else(|| not_covered(host));
        }
        match &self.ca {
            Some(ca) => ca.own_key(host),
            None => Err(not_covered(host)),
        }
    }

    /// The certificate that a file has for this host: an exact name first, then a wildcard above it.
    pub fn configured_key(&self, host: &HostName) -> Option<Arc<CertifiedKey>> {
        let configured = self.configured.load();
        if configured.is_empty() {
            return None;
        }
        let above = host.as_str().split_once('.').and_then(|(_, above)| HostName::parse(above).ok());
        let exact = configured.get(&CertificateName::Host(host.clone()));
        exact.or_else(|| configured.get(&CertificateName::Below(above?))).cloned()
    }

    /// The CA.
    pub fn ca(&self) -> Option<&Arc<Ca>> {
        self.ca.as_ref()
    }
}

fn not_covered(host: &HostName) -> Arc<CaError> {
    Arc::new(CaError::NotCovered { host: host.clone() })
}

fn read(file: &CertificateFile) -> Result<Arc<CertifiedKey>, CaError> {
    let refuse = |path: &Path, detail: String| CaError::Configured { path: path.to_owned(), detail };
    let text = |path: &Path, who| {
        files::read(path, who)
            .and_then(|text| text.ok_or_else(|| refuse(path, "there is no such file".to_owned())))
            .map_err(|error| match error {
                CaError::File { path, source } => CaError::Configured { path, detail: source.to_string() },
                other => other,
            })
    };
    let certificate = text(&file.certificate, Who::All)?;
    let key = text(&file.key, Who::Owner)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(&file.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| refuse(&file.key, error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Also refuses an empty chain and a key that is not the certificate's.
    let certified =
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| refuse(&file.certificate, error.to_string()))?;
    Ok(Arc::new(certified))
}

/// Enough of a file to see that it is another one: inode, size, mode and time of change.
type Stamp = Option<(u64, u64, u32, i64, i64)>;

fn stamps(files: &[CertificateFile], ca: Option<&Ca>) -> Vec<Stamp> {
    let paths = files.iter().flat_map(|file| [file.certificate.clone(), file.key.clone()]);
    paths.chain(ca.into_iter().flat_map(Ca::files)).map(|path| stamp(&path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    Some((about.ino(), about.size(), about.mode(), about.ctime(), about.ctime_nsec()))
}
