//! The box's certificate authority, which can vouch for the allowlist's `terminate` hosts and for nothing else.
//!
//! A *root* is made once by `bulaq ca init`, its key under a passphrase and best kept off the box; devices of the school
//! are given its certificate. It issues to each box an *intermediate* for today's list, for some months. With that the
//! box makes a *leaf* of at most seven days for each host, when a client asks for it. Both CA certificates carry name
//! constraints, so that even their keys, stolen, vouch for lessons only.
//!
//! A box that serves reads the root's certificate and its own intermediate with its key; it makes neither. A name that
//! the intermediate does not cover cannot be signed: its connections are spliced, and [`Ca::standing`] tells which they
//! are and what to do.

mod authority;
mod configured;
mod error;
mod export;
mod files;
mod mint;
mod office;
mod passphrase;
mod read;
mod scope;
mod standing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use bulaq_allowlist::{Allowlist, HostName, Permit, TlsMode};
use rcgen::KeyPair;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::PrivateKeyDer;

pub use self::configured::{CertificateFile, CertificateName, Certificates};
pub use self::error::CaError;
pub use self::export::{ExportFile, Platform, export};
pub use self::office::{
    ISSUE_DAYS, ISSUE_DAYS_RANGE, Installed, Issued, Office, Passphrase, PassphraseError, RootKey, init, install,
    lock_root_key, request, root_key, root_of,
};
pub use self::passphrase::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN};
pub use self::scope::Scope;
pub use self::standing::{Finding, RENEW_BEFORE, RENEW_ROOT_BEFORE, Standing, day_text};

use self::authority::Authority;
use self::mint::Validity;
use crate::clock::Clock;
use crate::portal::names::box_name;

/// Most names that a root is made for. Browsers give up at some product of constraints and names; a few hundred are safe.
pub const NAMES_MAX: usize = 500;

/// Most leaves kept at one time: every host of a long list, once.
const LEAVES_MAX: u64 = 4_096;

/// A leaf is made anew when it holds for less than this: nobody who connects now meets its end.
const LEAF_MARGIN: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// What the school's administrator must know of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The certificate, to be installed on the school's devices (PEM).
    pub pem_path: PathBuf,
    /// SHA-256 over the certificate, as `AB:CD:…`, to be compared on paper.
    pub sha256: String,
    /// From when it holds.
    pub from: SystemTime,
    /// When it ends.
    pub until: SystemTime,
    /// The names that it can vouch for.
    pub scope: Scope,
}

/// What an administrator must know of the intermediate that a box works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intermediate {
    /// SHA-256 over the certificate, as `AB:CD:…`.
    pub sha256: String,
    /// From when it holds.
    pub from: SystemTime,
    /// When it ends.
    pub until: SystemTime,
    /// The names that it can vouch for.
    pub scope: Scope,
}

/// Signs leaves for hosts of the allowlist and for the box itself. Shared behind an [`Arc`].
pub struct Ca {
    folder: PathBuf,
    clock: Clock,
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn SigningKey>,
    authority: ArcSwapOption<Authority>,
    leaves: moka::sync::Cache<HostName, Arc<Leaf>>,
}

struct Leaf {
    certified: Arc<CertifiedKey>,
    validity: Validity,
    /// Whether it ends with its intermediate, so that a newer one would hold no longer.
    is_last: bool,
}

impl Ca {
    /// Opens the CA in its folder. One that is not made yet signs nothing until [`Ca::reload`] finds it. Reads files:
    /// not on an async thread.
    ///
    /// # Errors
    /// [`CaError`] says which file is wrong and what to do.
    pub fn open(folder: &Path, clock: Clock) -> Result<Ca, CaError> {
        let ca = Self::unread(folder, clock)?;
        ca.reload()?;
        Ok(ca)
    }

    /// The CA of a folder that [`Ca::reload`] is still to read; it signs nothing before.
    ///
    /// # Errors
    /// [`CaError::Mint`] when the library cannot make the key of the leaves.
    pub fn unread(folder: &Path, clock: Clock) -> Result<Ca, CaError> {
        let leaf_key = mint::key()?;
        let der = PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("the key is written as PKCS #8");
        let leaf_signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)
            .expect("the TLS library signs with the P-256 keys that the same library made");
        Ok(Ca {
            folder: folder.to_owned(),
            clock,
            leaf_key,
            leaf_signer,
            authority: ArcSwapOption::empty(),
            leaves: moka::sync::Cache::new(LEAVES_MAX),
        })
    }

    /// Makes a root and an intermediate for `allowlist` in `folder` and opens them. The root's key is kept nowhere, so
    /// that nothing more can be issued: for tests and demonstrations, which no device outlives.
    ///
    /// # Errors
    /// As [`Ca::open`], and [`CaError::TooManyNames`].
    pub fn make_throwaway(folder: &Path, allowlist: &Allowlist, clock: Clock) -> Result<Ca, CaError> {
        office::throwaway(folder, &Scope::of(allowlist), clock.now())?;
        Self::open(folder, clock)
    }

    /// Reads the folder again. Leaves of another intermediate are forgotten.
    ///
    /// # Errors
    /// As [`Ca::open`]; what was there before then still holds.
    pub fn reload(&self) -> Result<(), CaError> {
        let loaded = Authority::load(&self.folder)?;
        let is_same = match (self.authority.load().as_ref(), &loaded) {
            (Some(present), Some(loaded)) => present.is_same(loaded),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            self.authority.store(loaded.map(Arc::new));
            self.leaves.invalidate_all();
        }
        Ok(())
    }

    /// What to tell the administrator about the root, when there is one.
    pub fn root(&self) -> Option<Root> {
        self.authority.load().as_ref().map(|authority| authority.root.clone())
    }

    /// How the CA stands for this list today, with all that is to be done about it.
    pub fn standing(&self, allowlist: &Allowlist) -> Standing {
        let authority = self.authority.load();
        let working = authority.as_ref().and_then(|it| it.working.as_ref()).map(|working| working.about.clone());
        let root = authority.as_ref().map(|authority| authority.root.clone());
        Standing::new(root, working, allowlist, self.clock.now())
    }

    /// A certificate for the permit's host with its key, from memory when it still holds for some days.
    ///
    /// # Errors
    /// [`CaError`] when the permit's site is not set to `terminate`, the intermediate leaves the host out or has ended,
    /// or the clock is wrong.
    pub fn certified_key(&self, permit: &Permit) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        let host = permit.host();
        if permit.site().tls() != TlsMode::Terminate {
            return Err(Arc::new(CaError::NotTerminated { host: host.clone() }));
        }
        self.leaf_for(host)
    }

    /// A certificate for `bulaq.internal` or a name below it: the box itself, which is no site.
    ///
    /// # Errors
    /// As [`Ca::certified_key`], and for every other name.
    pub fn own_key(&self, host: &HostName) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        if !host.is_at_or_below(box_name()) {
            return Err(Arc::new(CaError::NotCovered { host: host.clone() }));
        }
        self.leaf_for(host)
    }

    /// The files whose change [`Ca::reload`] would notice.
    pub(super) fn files(&self) -> [PathBuf; 2] {
        [authority::root_path(&self.folder), authority::box_path(&self.folder)]
    }

    fn leaf_for(&self, host: &HostName) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        let now = self.clock.now();
        if let Some(leaf) = self.leaves.get(host) {
            if leaf.holds(now) {
                return Ok(Arc::clone(&leaf.certified));
            }
            self.leaves.invalidate(host);
        }
        let leaf = self.leaves.try_get_with_by_ref(host, || self.mint(host, now).map(Arc::new))?;
        Ok(Arc::clone(&leaf.certified))
    }

    fn mint(&self, host: &HostName, now: SystemTime) -> Result<Leaf, CaError> {
        let not_covered = || CaError::NotCovered { host: host.clone() };
        let authority = self.authority.load_full().ok_or_else(not_covered)?;
        let working = authority.working.as_ref().filter(|it| it.says.scope.covers(host)).ok_or_else(not_covered)?;
        let validity = working.says.validity.within(authority.root_says.validity);
        if now < validity.from {
            return Err(CaError::Clock);
        }
        if now >= validity.until {
            let help = "`bulaq ca show` says what to do";
            return Err(CaError::Expired { what: "box's intermediate certificate", help });
        }
        let (certificate, leaf) = mint::leaf(&self.leaf_key, host, &working.issuer, validity, now)?;
        let chain = vec![certificate, working.certificate.clone()];
        let certified = Arc::new(CertifiedKey::new(chain, Arc::clone(&self.leaf_signer)));
        Ok(Leaf { certified, validity: leaf, is_last: leaf.until == validity.until })
    }
}

impl Leaf {
    fn holds(&self, now: SystemTime) -> bool {
        self.validity.holds(now, if self.is_last { Duration::ZERO } else { LEAF_MARGIN })
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("folder", &self.folder).field("root", &self.root()).finish_non_exhaustive()
    }
}
