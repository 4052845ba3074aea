//! The root with its key, and the intermediate that works for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::mint::{self, RootSays, Validity};
use super::{CaError, Root, Scope, files};

/// An intermediate is made anew when it holds for less than this: longer than any leaf that it signs.
const INTERMEDIATE_MARGIN: Duration = Duration::from_secs(10 * 24 * 60 * 60);

/// No clock that says less can be right: nothing is signed by it. Boards without a battery wake in 1970.
const CLOCK_MIN: Duration = Duration::from_secs(1_767_225_600); // 2026-01-01

/// A root and, while there is something to vouch for, an intermediate.
pub(super) struct Authority {
    pub(super) root: Root,
    says: RootSays,
    root_issuer: Arc<Issuer<'static, KeyPair>>,
    /// Today's names, as far as the root covers them.
    pub(super) scope: Scope,
    pub(super) intermediate: Option<Intermediate>,
}

pub(super) struct Intermediate {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) validity: Validity,
}

impl Authority {
    /// Reads the root in `folder`; None when there is none.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, CaError> {
        let (pem_path, key_path) = (pem_path(folder), key_path(folder));
        let read = |path: &PathBuf| files::read(path).map_err(|source| CaError::File { path: path.clone(), source });
        let Some(pem) = read(&pem_path)? else {
            return Ok(None); // a key alone was never handed out: it is replaced
        };
        let key = read(&key_path)?.ok_or_else(|| CaError::KeyMissing { path: key_path.clone() })?;
        let key = KeyPair::from_pem(&key).map_err(|_| CaError::Damaged { path: key_path.clone(), what: "key" })?;
        let damaged = || CaError::Damaged { path: pem_path.clone(), what: "root certificate" };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged())?;
        let says = mint::read_root(&certificate).ok_or_else(damaged)?;
        if key.subject_public_key_info() != says.public_key {
            return Err(CaError::Damaged { path: key_path, what: "key of this root" });
        }
        Self::new(folder, &certificate, says, key).map(Some)
    }

    /// Makes a root for `scope` and writes it to `folder`.
    pub(super) fn make(folder: &Path, scope: &Scope, now: SystemTime) -> Result<Self, CaError> {
        if now < SystemTime::UNIX_EPOCH + CLOCK_MIN {
            return Err(CaError::Clock);
        }
        let key = mint::key()?;
        let certificate = mint::root(&key, scope, now)?;
        files::make_folder(folder).map_err(|source| CaError::File { path: folder.to_owned(), source })?;
        // The key first: a root without its key would have to be replaced by hand.
        for (path, text) in [(key_path(folder), key.serialize_pem()), (pem_path(folder), certificate.pem())] {
            files::write(&path, &text).map_err(|source| CaError::File { path, source })?;
        }
        let says = mint::read_root(certificate.der()).expect("what was just made is what we make");
        Self::new(folder, certificate.der(), says, key)
    }

    fn new(folder: &Path, certificate: &CertificateDer<'_>, says: RootSays, key: KeyPair) -> Result<Self, CaError> {
        let root = Root {
            pem_path: pem_path(folder),
            sha256: sha256_text(certificate),
            until: says.validity.until,
            scope: says.scope.clone(),
        };
        let root_issuer = Arc::new(Issuer::from_ca_cert_der(certificate, key)?);
        Ok(Self { root, says, root_issuer, scope: Scope::default(), intermediate: None })
    }

    /// The same root with a new intermediate for `scope`; with none when there is nothing to vouch for.
    pub(super) fn with_intermediate(&self, scope: Scope, now: SystemTime) -> Result<Self, CaError> {
        let root_validity = self.says.validity;
        if now < root_validity.from {
            return Err(CaError::Clock);
        }
        if !root_validity.holds(now, mint::LEAF_LIFE) {
            return Err(CaError::RootExpired);
        }
        let intermediate = if scope.is_empty() {
            None
        } else {
            let (certificate, issuer, validity) =
                mint::intermediate(mint::key()?, &scope, &self.root_issuer, root_validity, now)?;
            Some(Intermediate { certificate, issuer, validity })
        };
        let (root, says) = (self.root.clone(), self.says.clone());
        Ok(Self { root, says, root_issuer: Arc::clone(&self.root_issuer), scope, intermediate })
    }

    /// Whether its intermediate outlives a leaf that is made now.
    pub(super) fn works(&self, now: SystemTime) -> bool {
        let margin = |it: &Intermediate| {
            if it.validity.until == self.says.validity.until { mint::LEAF_LIFE } else { INTERMEDIATE_MARGIN }
        };
        self.intermediate.as_ref().is_some_and(|it| it.validity.holds(now, margin(it)))
    }
}

fn pem_path(folder: &Path) -> PathBuf {
    folder.join("root.pem")
}

fn key_path(folder: &Path) -> PathBuf {
    folder.join("root.key.pem")
}

/// SHA-256 as people compare it: pairs of hexadecimal digits with colons between.
fn sha256_text(bytes: &[u8]) -> String {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let hash = provider.cipher_suites.iter().find_map(|suite| match suite {
        rustls::SupportedCipherSuite::Tls13(suite) if suite.common.hash_provider.output_len() == 32 => {
            Some(suite.common.hash_provider)
        }
        _ => None,
    });
    let digest = hash.expect("TLS 1.3 demands TLS_AES_128_GCM_SHA256 of every implementation").hash(bytes);
    let pairs: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
