//! What a box that serves has of the CA: the root's certificate, and the intermediate with its key. The root's key is
//! never read here, wherever it is.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::files::{self, Who};
use super::read::{self, Says};
use super::{CaError, Intermediate, Root};

/// A root and, once one was issued, an intermediate.
pub(super) struct Authority {
    pub(super) root: Root,
    pub(super) root_says: Says,
    pub(super) root_certificate: CertificateDer<'static>,
    pub(super) working: Option<Working>,
}

/// The intermediate with what it signs with.
pub(super) struct Working {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) says: Says,
    pub(super) about: Intermediate,
}

impl Authority {
    /// Reads `folder`; None when there is no root in it.
    ///
    /// # Errors
    /// [`CaError`] names the file that cannot be used.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, CaError> {
        let Some((certificate, says)) = root(folder)? else { return Ok(None) };
        let working = working(folder, (&certificate, &says))?;
        let root = describe_root(folder, &certificate, &says);
        Ok(Some(Self { root, root_says: says, root_certificate: certificate, working }))
    }

    /// Whether both have the same certificates.
    pub(super) fn is_same(&self, other: &Authority) -> bool {
        let certificate = |it: &Authority| it.working.as_ref().map(|working| working.certificate.clone());
        self.root_certificate == other.root_certificate && certificate(self) == certificate(other)
    }
}

/// The root certificate of `folder`.
pub(super) fn root(folder: &Path) -> Result<Option<(CertificateDer<'static>, Says)>, CaError> {
    let path = root_path(folder);
    let Some(pem) = files::read(&path, Who::All)? else { return Ok(None) };
    let damaged = || CaError::Damaged { path: path.clone(), what: "root certificate" };
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged())?;
    let says = read::ca_certificate(&certificate).ok_or_else(damaged)?;
    Ok(Some((certificate, says)))
}

/// What people must know of a root.
pub(super) fn describe_root(folder: &Path, certificate: &CertificateDer<'_>, says: &Says) -> Root {
    Root {
        pem_path: root_path(folder),
        sha256: sha256_text(certificate),
        from: says.validity.from,
        until: says.validity.until,
        scope: says.scope.clone(),
    }
}

fn working(folder: &Path, root: (&CertificateDer<'static>, &Says)) -> Result<Option<Working>, CaError> {
    let path = box_path(folder);
    let Some(pem) = files::read(&path, Who::Owner)? else { return Ok(None) };
    let damaged = || CaError::Damaged { path: path.clone(), what: "key with its intermediate certificate" };
    let key = key_of(&pem).ok_or_else(damaged)?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged())?;
    let says =
        read::check_intermediate(root, &certificate, &key).map_err(|why| CaError::Unfit { path: path.clone(), why })?;
    let about = describe_intermediate(&certificate, &says);
    let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
    Ok(Some(Working { certificate, issuer, says, about }))
}

pub(super) fn describe_intermediate(certificate: &CertificateDer<'_>, says: &Says) -> Intermediate {
    Intermediate {
        sha256: sha256_text(certificate),
        from: says.validity.from,
        until: says.validity.until,
        scope: says.scope.clone(),
    }
}

/// The first private key of a PEM text.
pub(super) fn key_of(pem: &str) -> Option<KeyPair> {
    KeyPair::try_from(&PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?).ok()
}

// ---- The files of the folder ----

/// The root certificate: public, to be installed on devices.
pub(super) fn root_path(folder: &Path) -> PathBuf {
    folder.join("root.pem")
}

/// The root's key under its passphrase; not on a box whose district keeps it.
pub(super) fn root_key_path(folder: &Path) -> PathBuf {
    folder.join("root.key.pem")
}

/// The box's key and intermediate certificate, in one file so that they change together.
pub(super) fn box_path(folder: &Path) -> PathBuf {
    folder.join("box.pem")
}

/// What the box asks its district for, and the key that waits for the answer.
pub(super) fn request_paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("request.pem"), folder.join("request.key.pem"))
}

/// Whether the clock can be right; boards without a battery wake in 1970. 2026-01-01 is before anything that was made.
pub(super) fn is_plausible(now: SystemTime) -> bool {
    const CLOCK_MIN_S: u64 = 1_767_225_600;
    now >= SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(CLOCK_MIN_S)
}

/// SHA-256 as people compare it: pairs of hexadecimal digits with colons between.
fn sha256_text(bytes: &[u8]) -> String {
    let pairs: Vec<String> = sha256(bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// SHA-256 by the TLS library.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let hash = provider.cipher_suites.iter().find_map(|suite| match suite {
        rustls::SupportedCipherSuite::Tls13(suite) if suite.common.hash_provider.output_len() == 32 => {
            Some(suite.common.hash_provider)
        }
        _ => None,
    });
    let digest = hash.expect("TLS 1.3 demands TLS_AES_128_GCM_SHA256 of every implementation").hash(bytes);
    digest.as_ref().to_vec()
}
