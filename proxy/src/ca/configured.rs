//! Certificates that the school has brought itself, before those that the box makes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulaq_allowlist::{HostName, Permit, TlsMode};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Ca, CaError};

/// A certificate of the school's own for some hosts, from a portal that cooperates or the district's own authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// For which hosts it is shown.
    pub hosts: Vec<HostName>,
    /// The chain, leaf first (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

/// What the box shows to clients of `terminate` sites.
#[derive(Debug, Default)]
pub struct Certificates {
    configured: HashMap<HostName, Arc<CertifiedKey>>,
    ca: Option<Arc<Ca>>,
}

impl Certificates {
    /// Reads the files; `ca` makes what they don't name. Without either, `terminate` sites are spliced.
    ///
    /// # Errors
    /// [`CaError::Configured`] names the file that cannot be used.
    pub fn new(files: &[CertificateFile], ca: Option<Arc<Ca>>) -> Result<Self, CaError> {
        let mut configured = HashMap::new();
        for file in files {
            let certified = read(file)?;
            configured.extend(file.hosts.iter().map(|host| (host.clone(), Arc::clone(&certified))));
        }
        Ok(Self { configured, ca })
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
        match (self.configured.get(host), &self.ca) {
            (Some(certified), _) => Ok(Arc::clone(certified)),
            (None, Some(ca)) => ca.certified_key(permit),
            (None, None) => Err(Arc::new(CaError::NotCovered { host: host.clone() })),
        }
    }

    /// The certificate for one of the box's own names: always the CA's, for it shows whether a device trusts that.
    ///
    /// # Errors
    /// [`CaError`] when there is no CA, or it does not cover the name.
    pub fn own_key(&self, host: &HostName) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        match &self.ca {
            Some(ca) => ca.own_key(host),
            None => Err(Arc::new(CaError::NotCovered { host: host.clone() })),
        }
    }
}

fn read(file: &CertificateFile) -> Result<Arc<CertifiedKey>, CaError> {
    let refuse = |path: &Path, detail: String| CaError::Configured { path: path.to_owned(), detail };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&file.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| refuse(&file.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&file.key).map_err(|error| refuse(&file.key, error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Also refuses an empty chain and a key that is not the certificate's.
    let certified =
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| refuse(&file.certificate, error.to_string()))?;
    Ok(Arc::new(certified))
}
