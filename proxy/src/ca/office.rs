//! What a technician does with the CA, away from serving: make a root, request, issue and install an intermediate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bulaq_allowlist::HostName;
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::authority::{self, box_path, describe_root, request_paths, root_key_path, root_path};
use super::files::{self, Who};
use super::mint::{self, Validity};
use super::passphrase::{self, KeyFile, NotOpened};
use super::read::{self, Says};
use super::{CaError, Intermediate, NAMES_MAX, PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN, Root, Scope};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an intermediate holds unless told otherwise, in days: one visit a term, and a stolen box is harmless soon.
pub const ISSUE_DAYS: u64 = 90;

/// The shortest and the longest that an intermediate may hold, in days. Shorter than a leaf's week serves nobody;
/// longer than a school year, and a stolen box could vouch for lessons for too long.
pub const ISSUE_DAYS_RANGE: std::ops::RangeInclusive<u64> = 8..=397;

/// A passphrase that is long enough to lock a key with. It is never shown.
pub struct Passphrase(String);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Why a passphrase is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Too easy to guess.
    #[error("the passphrase has fewer than {PASSPHRASE_CHARS_MIN} characters; four or five words are good")]
    Short,
    /// No passphrase but a file.
    #[error("the passphrase has more than {PASSPHRASE_BYTES_MAX} bytes")]
    Long,
}

impl Passphrase {
    /// Takes a text of [`PASSPHRASE_CHARS_MIN`] characters or more.
    ///
    /// # Errors
    /// [`PassphraseError`] says what is wrong with it.
    pub fn new(text: String) -> Result<Self, PassphraseError> {
        match text.len() {
            _ if text.chars().count() < PASSPHRASE_CHARS_MIN => Err(PassphraseError::Short),
            length if length > PASSPHRASE_BYTES_MAX => Err(PassphraseError::Long),
            _ => Ok(Self(text)),
        }
    }

    /// The text, for [`Office::open`].
    pub fn into_text(self) -> String {
        self.0
    }
}

/// How the root's key is kept in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKey {
    /// It is elsewhere.
    Absent,
    /// Under a passphrase.
    Locked,
    /// Readable by whoever has the file: made before keys were locked.
    Plain,
}

/// An intermediate that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The intermediate certificate, and the root after it (PEM). Nothing in it is secret.
    pub pem: String,
    /// What it can vouch for, and until when.
    pub intermediate: Intermediate,
    /// Names that were asked for and that the root does not cover.
    pub left_out: Vec<HostName>,
}

/// An intermediate that was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The root above it.
    pub root: Root,
    /// What it can vouch for, and until when.
    pub intermediate: Intermediate,
    /// Whether the box did not know the root before: then its fingerprint is to be compared with the district's paper.
    pub is_root_new: bool,
}

/// Makes a root for `scope` in `folder`, its key under the passphrase.
///
/// # Errors
/// [`CaError::Present`] when there is one; the others say which file or what is wrong.
pub fn init(folder: &Path, scope: &Scope, passphrase: &Passphrase, now: SystemTime) -> Result<Root, CaError> {
    let (key_path, pem_path) = (root_key_path(folder), root_path(folder));
    check_scope(scope)?;
    if !authority::is_plausible(now) {
        return Err(CaError::Clock);
    }
    if pem_path.exists() {
        return Err(CaError::Present { path: pem_path });
    }
    let key = mint::key()?;
    let certificate = mint::root(&key, scope, now)?;
    files::make_folder(folder)?;
    // The key first: a key alone was never handed out, and is replaced by the next attempt.
    files::write(&key_path, &passphrase::lock(&key, &passphrase.0)?, Who::Owner)?;
    files::write(&pem_path, &certificate.pem(), Who::All)?;
    let says = read::ca_certificate(certificate.der()).expect("what was just made is what we make");
    Ok(describe_root(folder, certificate.der(), &says))
}

/// The root of `folder`, described and as it is (DER).
///
/// # Errors
/// [`CaError::Missing`] when there is none.
pub fn root_of(folder: &Path) -> Result<(Root, CertificateDer<'static>), CaError> {
    let help = "make a root with `bulaq ca init`, or name its folder with --folder";
    let (certificate, says) =
        authority::root(folder)?.ok_or_else(|| CaError::Missing { path: root_path(folder), help })?;
    Ok((describe_root(folder, &certificate, &says), certificate))
}

/// How the root's key is kept in `folder`.
///
/// # Errors
/// [`CaError`] when the file is no key, or open to other accounts.
pub fn root_key(folder: &Path) -> Result<RootKey, CaError> {
    Ok(match read_root_key(folder)? {
        None => RootKey::Absent,
        Some(KeyFile::Plain(_)) => RootKey::Plain,
        Some(KeyFile::Locked(_)) => RootKey::Locked,
    })
}

/// Puts a root's key that lay there without a passphrase under one.
///
/// # Errors
/// [`CaError`] when there is no such key, or the file cannot be written.
pub fn lock_root_key(folder: &Path, passphrase: &Passphrase) -> Result<(), CaError> {
    match read_root_key(folder)? {
        Some(KeyFile::Plain(key)) => {
            files::write(&root_key_path(folder), &passphrase::lock(&key, &passphrase.0)?, Who::Owner)
        }
        _ => Ok(()),
    }
}

fn read_root_key(folder: &Path) -> Result<Option<KeyFile>, CaError> {
    let path = root_key_path(folder);
    let Some(pem) = files::read(&path, Who::Owner)? else { return Ok(None) };
    KeyFile::parse(&pem).map(Some).ok_or(CaError::Damaged { path, what: "key" })
}

/// A root with its key open: what issues. It is used and dropped; no box that serves has one.
pub struct Office {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
    pem: String,
    says: Says,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Office {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Office").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Office {
    /// Opens the root of `folder` with the passphrase of its key.
    ///
    /// # Errors
    /// [`CaError::Missing`] without a root or its key, [`CaError::Passphrase`] when that is not the passphrase.
    pub fn open(folder: &Path, passphrase: &str) -> Result<Self, CaError> {
        let (pem_path, key_path) = (root_path(folder), root_key_path(folder));
        let missing = |path: &Path, help| CaError::Missing { path: path.to_owned(), help };
        let Some((certificate, says)) = authority::root(folder)? else {
            return Err(missing(&pem_path, "make a root with `bulaq ca init`, or name its folder with --folder"));
        };
        let pem = files::read(&pem_path, Who::All)?.unwrap_or_default();
        let damaged = || CaError::Damaged { path: key_path.clone(), what: "key" };
        let key = match read_root_key(folder)? {
            None => return Err(missing(&key_path, "issue where the root's key is, or restore it from its copy")),
            Some(KeyFile::Plain(key)) => key,
            Some(KeyFile::Locked(locked)) => locked.open(passphrase).map_err(|why| match why {
                NotOpened::Wrong => CaError::Passphrase { path: key_path.clone() },
                NotOpened::Damaged => damaged(),
            })?,
        };
        if key.subject_public_key_info() != says.public_key {
            return Err(CaError::Damaged { path: key_path, what: "key of this root" });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { folder: folder.to_owned(), certificate, pem, says, issuer })
    }

    /// Issues an intermediate for the key and the names of a box's request, as far as the root covers them.
    ///
    /// # Errors
    /// [`CaError::Unfit`] for a text that is no request of a box (`path` names it), [`CaError::NoNames`].
    pub fn issue(&self, path: &Path, request: &str, days: u64, now: SystemTime) -> Result<Issued, CaError> {
        let asked = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).ok();
        let asked = asked.and_then(|der| read::request(&der)).ok_or_else(|| CaError::Unfit {
            path: path.to_owned(),
            why: "it is not a request that `bulaq ca request` wrote".to_owned(),
        })?;
        Ok(self.sign(&asked.key, &asked.scope, days, now)?.1)
    }

    /// Issues an intermediate for `wanted` to the box whose folder this is, and puts it in place.
    ///
    /// # Errors
    /// As [`Office::issue`].
    pub fn issue_here(&self, wanted: &Scope, days: u64, now: SystemTime) -> Result<Issued, CaError> {
        let key = mint::key()?;
        let (certificate, issued) = self.sign(&key, wanted, days, now)?;
        write_box(&self.folder, &key, &certificate.pem())?;
        Ok(issued)
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        wanted: &Scope,
        days: u64,
        now: SystemTime,
    ) -> Result<(rcgen::Certificate, Issued), CaError> {
        if now < self.says.validity.from {
            return Err(CaError::Clock);
        }
        if !self.says.validity.holds(now, Duration::ZERO) {
            let help = "make a new one with `bulaq ca init --folder NEW`, and give it to the devices";
            return Err(CaError::Expired { what: "root certificate", help });
        }
        let (scope, left_out) = wanted.split_by(&self.says.scope);
        check_scope(&scope)?;
        let validity = Validity::lasting(DAY * u32::try_from(days + 1).unwrap_or(u32::MAX), now);
        let certificate = mint::intermediate(key, &scope, &self.issuer, validity.within(self.says.validity))?;
        let says = read::ca_certificate(certificate.der()).expect("what was just made is what we make");
        let intermediate = authority::describe_intermediate(certificate.der(), &says);
        let issued = Issued { pem: format!("{}{}", certificate.pem(), self.pem), intermediate, left_out };
        Ok((certificate, issued))
    }

    /// The root's certificate.
    pub fn root(&self) -> Root {
        describe_root(&self.folder, &self.certificate, &self.says)
    }
}

/// Makes a key for this box and a request for `wanted`, in `folder`; the key stays there. Gives the request's file.
/// What the box works with until the answer is installed stays as it is.
///
/// # Errors
/// [`CaError`] names the file that cannot be written.
pub fn request(folder: &Path, wanted: &Scope) -> Result<PathBuf, CaError> {
    check_scope(wanted)?;
    let (path, key_path) = request_paths(folder);
    let key = mint::key()?;
    let pem = mint::request(&key, wanted)?;
    files::make_folder(folder)?;
    files::write(&key_path, &key.serialize_pem(), Who::Owner)?;
    files::write(&path, &pem, Who::All)?;
    Ok(path)
}

/// Puts an issued intermediate in place, after checking that it is of this box's key and root and can do no more than
/// it should. `path` names where the text came from.
///
/// # Errors
/// [`CaError::Unfit`] says what is wrong with it; then nothing has changed.
pub fn install(folder: &Path, path: &Path, issued: &str, now: SystemTime) -> Result<Installed, CaError> {
    let unfit = |why: &str| CaError::Unfit { path: path.to_owned(), why: why.to_owned() };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(issued.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| unfit("it is not what `bulaq ca issue` wrote"))?;
    let [intermediate, root] = certificates.as_slice() else {
        return Err(unfit("it is not what `bulaq ca issue` wrote: an intermediate and its root are expected"));
    };
    let root_says = read::ca_certificate(root).ok_or_else(|| unfit("its root is none that Bulaq made"))?;
    let known = authority::root(folder)?;
    if known.as_ref().is_some_and(|(known, _)| known != root) {
        let why = "it is of another root than this box has; if the district made a new one, move root.pem and box.pem \
                   away and install again, and give the new root to the devices";
        return Err(unfit(why));
    }
    let key = waiting_key(folder, intermediate)?
        .ok_or_else(|| unfit("it is for another key than this box has; make a new request with `bulaq ca request`"))?;
    let says = read::check_intermediate((root, &root_says), intermediate, &key)
        .map_err(|why| CaError::Unfit { path: path.to_owned(), why })?;
    if now >= says.validity.until {
        return Err(unfit("it has expired"));
    }
    let pems = pem_certificates(issued);
    let [intermediate_pem, root_pem] = pems.as_slice() else { return Err(unfit("its text is damaged")) };
    if known.is_none() {
        files::write(&root_path(folder), root_pem, Who::All)?;
    }
    write_box(folder, &key, intermediate_pem)?;
    let (request_path, request_key_path) = request_paths(folder);
    files::remove(&request_key_path)?;
    files::remove(&request_path)?;
    Ok(Installed {
        root: describe_root(folder, root, &root_says),
        intermediate: authority::describe_intermediate(intermediate, &says),
        is_root_new: known.is_none(),
    })
}

/// The key of this box that the certificate is for: that of the request, or the one in use when it is issued anew.
fn waiting_key(folder: &Path, certificate: &CertificateDer<'_>) -> Result<Option<KeyPair>, CaError> {
    let wanted = read::ca_certificate(certificate).map(|says| says.public_key);
    for path in [request_paths(folder).1, box_path(folder)] {
        let Some(pem) = files::read(&path, Who::Owner)? else { continue };
        let key = authority::key_of(&pem).ok_or(CaError::Damaged { path, what: "key" })?;
        if wanted.as_deref() == Some(key.subject_public_key_info().as_slice()) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// The certificates of a PEM text, each as text with its line end.
fn pem_certificates(text: &str) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let parts = text.split(BEGIN).skip(1).filter_map(|part| Some(part.split_once(END)?.0));
    parts.map(|body| format!("{BEGIN}{body}{END}\n")).collect()
}

fn write_box(folder: &Path, key: &KeyPair, certificate_pem: &str) -> Result<(), CaError> {
    let text = format!("{}{certificate_pem}", key.serialize_pem());
    files::write(&box_path(folder), &text, Who::Owner)
}

/// Makes a root and an intermediate for `scope` in `folder`, and keeps no key of the root: nothing more can be issued.
///
/// # Errors
/// As [`init`].
pub(super) fn throwaway(folder: &Path, scope: &Scope, now: SystemTime) -> Result<(), CaError> {
    check_scope(scope)?;
    let (root_key, key) = (mint::key()?, mint::key()?);
    let root = mint::root(&root_key, scope, now)?;
    let issuer = Issuer::from_ca_cert_der(root.der(), root_key)?;
    let validity = Validity::lasting(DAY * (ISSUE_DAYS as u32 + 1), now);
    let certificate = mint::intermediate(&key, scope, &issuer, validity)?;
    files::make_folder(folder)?;
    files::write(&root_path(folder), &root.pem(), Who::All)?;
    write_box(folder, &key, &certificate.pem())
}

fn check_scope(scope: &Scope) -> Result<(), CaError> {
    match scope.len() {
        0 => Err(CaError::NoNames),
        names if names > NAMES_MAX => Err(CaError::TooManyNames { names }),
        _ => match scope.names().find(|name| name.is_public_suffix() && !name.is_local()) {
            Some(name) => Err(CaError::PublicSuffix { name: name.clone() }),
            None => Ok(()),
        },
    }
}
