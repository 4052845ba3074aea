//! The box's own certificate authority, which can vouch for the allowlist's `terminate` hosts and for nothing else.
//!
//! A root is made on first need; devices of the school are given its certificate. From it the box makes, in memory, an
//! intermediate of 30 days for today's list, and with that a leaf of at most seven days for each host, when a client
//! asks for it. Both CA certificates carry name constraints, so that even their keys, stolen, vouch for lessons only.
//! A name that the root does not cover cannot be signed: its connections are spliced, and [`Ca::uncovered`] tells which
//! they are. Where the root's key is kept, and which device trusts it, is not decided here yet.

mod authority;
mod configured;
mod files;
mod mint;
mod scope;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use bulaq_allowlist::{Allowlist, HostName, Permit, TlsMode};
use rcgen::KeyPair;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::PrivateKeyDer;

pub use self::configured::{CertificateFile, Certificates};
pub use self::scope::Scope;

use self::authority::Authority;
use self::mint::Validity;
use crate::clock::Clock;
use crate::portal::names;

/// Most names that a root is made for. Browsers give up at some product of constraints and names; a few hundred are safe.
pub const NAMES_MAX: usize = 500;

/// Most leaves kept at one time: every host of a long list, once.
const LEAVES_MAX: u64 = 4_096;

/// A leaf is made anew when it holds for less than this: nobody who connects now meets its end.
const LEAF_MARGIN: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Why the CA does not sign, or cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The CA's folder or one of its files cannot be used.
    #[error("the CA's file {} cannot be used; the account that Bulaq runs under must be able to read and write it", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is there and is not what we wrote.
    #[error("{} is not a {what} that Bulaq made; restore it from a backup, or move its folder away: a new root is then made, which devices must be given", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The root is there without its key.
    #[error("{} is missing; restore it from a backup, or move its folder away: a new root is then made, which devices must be given", path.display())]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// More names than constraints can hold.
    #[error("{names} names are set to tls = \"terminate\"; a CA holds at most {NAMES_MAX}: use *. entries, or splice")]
    TooManyNames {
        /// How many.
        names: usize,
    },
    /// The clock is before anything that this box has made.
    #[error("the clock of this box is wrong: no certificate can be made until it is set")]
    Clock,
    /// The root has come to its end, or will before the next leaf does.
    #[error(
        "the root certificate has expired; move the CA's folder away: a new root is then made, which devices must be given"
    )]
    RootExpired,
    /// A host that the allowlist does not set to `terminate`.
    #[error("{host} is not set to tls = \"terminate\"")]
    NotTerminated {
        /// The host.
        host: HostName,
    },
    /// A host that no certificate covers: the root's constraints leave it out, or there is no root.
    #[error(
        "no certificate can be made for {host}: the root certificate does not cover it; move the CA's folder away: a new root is then made, which devices must be given"
    )]
    NotCovered {
        /// The host.
        host: HostName,
    },
    /// A certificate file of the configuration does not fit.
    #[error("the certificate {} cannot be used: {detail}", path.display())]
    Configured {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The cryptographic library failed.
    #[error("a certificate could not be made")]
    Mint(#[from] rcgen::Error),
}

/// What the school's administrator must know of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The certificate, to be installed on the school's devices (PEM).
    pub pem_path: PathBuf,
    /// SHA-256 over the certificate, as `AB:CD:…`, to be compared on paper.
    pub sha256: String,
    /// When it ends.
    pub until: SystemTime,
    /// The names that it can vouch for.
    pub scope: Scope,
}

/// Signs leaves for hosts of the allowlist. Shared behind an [`Arc`].
pub struct Ca {
    folder: PathBuf,
    clock: Clock,
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn SigningKey>,
    authority: ArcSwapOption<Authority>,
    /// Held while the authority is made or changed, so that it is done once.
    changing: Mutex<()>,
    leaves: moka::sync::Cache<HostName, Arc<Leaf>>,
}

struct Leaf {
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

impl Ca {
    /// Opens the CA in its folder (apart from the store), and makes the root if the list has `terminate` hosts and
    /// there is none yet. Reads and writes files: not on an async thread.
    ///
    /// # Errors
    /// [`CaError`] says which file is wrong and what to do.
    pub fn open(folder: &Path, allowlist: &Allowlist, clock: Clock) -> Result<Ca, CaError> {
        let leaf_key = mint::key()?;
        let der = PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("the key is written as PKCS #8");
        let leaf_signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)
            .expect("the TLS library signs with the P-256 keys that the same library made");
        let ca = Ca {
            folder: folder.to_owned(),
            clock,
            leaf_key,
            leaf_signer,
            authority: ArcSwapOption::empty(),
            changing: Mutex::new(()),
            leaves: moka::sync::Cache::new(LEAVES_MAX),
        };
        ca.follow(allowlist)?;
        Ok(ca)
    }

    /// Follows a new list: from now on the intermediate is for its names, and leaves for others are forgotten.
    ///
    /// # Errors
    /// As [`Ca::open`]; what was there before then still holds.
    pub fn follow(&self, allowlist: &Allowlist) -> Result<(), CaError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = Scope::of(allowlist);
        if wanted.len() > NAMES_MAX {
            return Err(CaError::TooManyNames { names: wanted.len() });
        }
        let now = self.clock.now();
        let authority = match self.authority.load_full() {
            Some(present) => present,
            None => match Authority::load(&self.folder)? {
                Some(loaded) => Arc::new(loaded),
                None if wanted.is_empty() => return Ok(()),
                None => Arc::new(Authority::make(&self.folder, &wanted, now)?),
            },
        };
        let (scope, _) = wanted.split_by(&authority.root.scope);
        if authority.intermediate.is_none() || authority.scope != scope {
            self.authority.store(Some(Arc::new(authority.with_intermediate(scope, now)?)));
            self.leaves.invalidate_all();
        }
        Ok(())
    }

    /// What to tell the administrator about the root; none while no site needs one.
    pub fn root(&self) -> Option<Root> {
        self.authority.load().as_ref().map(|authority| authority.root.clone())
    }

    /// The names of the list that the root leaves out, because they were added after it was made. Their connections
    /// are spliced until a new root is made and given to the devices.
    pub fn uncovered(&self, allowlist: &Allowlist) -> Vec<HostName> {
        let wanted = Scope::of(allowlist);
        self.authority.load().as_ref().map_or(Vec::new(), |authority| wanted.split_by(&authority.root.scope).1)
    }

    /// A certificate for the permit's host with its key, from memory when it still holds for some days.
    ///
    /// # Errors
    /// [`CaError`] when the permit's site is not set to `terminate`, the root leaves the host out, or time is wrong.
    pub fn certified_key(&self, permit: &Permit) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        let host = permit.host();
        if permit.site().tls() != TlsMode::Terminate {
            return Err(Arc::new(CaError::NotTerminated { host: host.clone() }));
        }
        self.key_for(host)
    }

    /// The same for one of the box's own names, which no list has.
    ///
    /// # Errors
    /// [`CaError`] when the name is not one of them, the CA leaves it out, or time is wrong.
    pub fn own_key(&self, host: &HostName) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        if !names::is_own(host) {
            return Err(Arc::new(CaError::NotCovered { host: host.clone() }));
        }
        self.key_for(host)
    }

    fn key_for(&self, host: &HostName) -> Result<Arc<CertifiedKey>, Arc<CaError>> {
        let now = self.clock.now();
        if let Some(leaf) = self.leaves.get(host) {
            if leaf.validity.holds(now, LEAF_MARGIN) {
                return Ok(Arc::clone(&leaf.certified));
            }
            self.leaves.invalidate(host);
        }
        let leaf = self.leaves.try_get_with_by_ref(host, || self.mint(host, now).map(Arc::new))?;
        Ok(Arc::clone(&leaf.certified))
    }

    fn mint(&self, host: &HostName, now: SystemTime) -> Result<Leaf, CaError> {
        let not_covered = || CaError::NotCovered { host: host.clone() };
        let authority = self.working_authority(now)?.ok_or_else(not_covered)?;
        let intermediate = authority.intermediate.as_ref().ok_or_else(not_covered)?;
        if !authority.scope.covers(host) {
            return Err(not_covered());
        }
        let (certificate, validity) =
            mint::leaf(&self.leaf_key, host, &intermediate.issuer, intermediate.validity, now)?;
        let chain = vec![certificate, intermediate.certificate.clone()];
        let certified = Arc::new(CertifiedKey::new(chain, Arc::clone(&self.leaf_signer)));
        Ok(Leaf { certified, validity })
    }

    /// The authority, with an intermediate that outlives the next leaf; none when there is no root.
    fn working_authority(&self, now: SystemTime) -> Result<Option<Arc<Authority>>, CaError> {
        let works =
            |authority: &Option<Arc<Authority>>| authority.as_ref().is_none_or(|authority| authority.works(now));
        let present = self.authority.load_full();
        if works(&present) {
            return Ok(present);
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(present) = self.authority.load_full().filter(|authority| !authority.works(now)) else {
            return Ok(self.authority.load_full()); // another thread was faster
        };
        let renewed = Arc::new(present.with_intermediate(present.scope.clone(), now)?);
        self.authority.store(Some(Arc::clone(&renewed)));
        Ok(Some(renewed))
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("folder", &self.folder).field("root", &self.root()).finish_non_exhaustive()
    }
}
