//! Who an origin is: TLS with full verification, always.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulaq_allowlist::HostName;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::OriginError;
use crate::request::ForwardError;

/// Certificates in one file of extra roots; a bundle of a whole country has fewer than 200.
const ROOTS_PER_FILE_MAX: usize = 1000;

/// The roots that vouch for origins: the system's for all, and those that a site adds for that site alone.
pub(super) struct Tls {
    shared: Arc<ClientConfig>,
    own: HashMap<String, Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(extra_roots: &HashMap<String, Vec<PathBuf>>) -> Result<Self, OriginError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let system = system_roots();
        let mut own = HashMap::new();
        for (site, files) in extra_roots {
            let mut roots = system.clone();
            for file in files {
                add_file(&mut roots, site, file)?;
            }
            own.insert(site.clone(), config(roots, &provider)?);
        }
        Ok(Self { shared: config(system, &provider)?, own })
    }

    /// Proves that the other end of the socket is `host`. Nothing of a request is sent before that.
    pub(super) async fn handshake(
        &self,
        site: &str,
        host: &HostName,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ForwardError> {
        let config = self.own.get(site).unwrap_or(&self.shared);
        let name = ServerName::try_from(host.as_str().to_owned()).map_err(|error| tls_error(host, &error))?;
        TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(|error| of_io(host, &error))
    }
}

fn of_io(host: &HostName, error: &io::Error) -> ForwardError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => tls_error(host, tls),
        None => ForwardError::ConnectionTerminated { host: host.to_string() },
    }
}

fn tls_error(host: &HostName, error: &dyn std::error::Error) -> ForwardError {
    ForwardError::Tls { host: host.to_string(), detail: error.to_string() }
}

/// For a server of the school itself, such as a resolver: verified as origins are, with no protocol named.
pub(crate) fn verifying() -> Result<Arc<ClientConfig>, OriginError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::clone(&*config(system_roots(), &provider)?);
    config.alpn_protocols.clear();
    Ok(Arc::new(config))
}

/// The system's store, which the district can add to; when a machine has none, Mozilla's list of our build.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn add_file(roots: &mut RootCertStore, site: &str, file: &Path) -> Result<(), OriginError> {
    let refused = |detail: String| OriginError::ExtraRoot { site: site.to_owned(), file: file.to_owned(), detail };
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| refused(error.to_string()))?;
    let mut added = 0;
    for certificate in certificates.take(ROOTS_PER_FILE_MAX) {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        added += 1;
    }
    if added == 0 {
        return Err(refused("no certificate in it (PEM: -----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(())
}

fn config(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<ClientConfig>, OriginError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| OriginError::Tls { detail: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_extra_roots_must_have_some() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        for content in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            let roots = HashMap::from([("portal".to_owned(), vec![file.clone()])]);
            assert!(matches!(Tls::new(&roots), Err(OriginError::ExtraRoot { .. })), "{content:?}");
        }
    }
}
