//! What can keep the CA from being opened, from signing, or from being made.

use std::io;
use std::path::PathBuf;

use bulaq_allowlist::HostName;

use super::NAMES_MAX;

/// Why the CA does not sign, or cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The CA's folder or one of its files cannot be used.
    #[error("the CA's file {} cannot be used; the account that Bulaq runs under must own it", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A private key that other accounts can read.
    #[error("the key {p} is open to other accounts and is not used; close it: chmod 600 {p}", p = path.display())]
    OpenToOthers {
        /// Which.
        path: PathBuf,
    },
    /// A file is there and is not what we wrote.
    #[error("{} is not a {what} that Bulaq made; restore it from a backup, or make a new one (docs/certificates.md)", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// A file that is needed is not there.
    #[error("{} is missing: {help}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What to do.
        help: &'static str,
    },
    /// A file that must not be replaced is there.
    #[error("{} is there already and is not replaced: devices trust it. To begin anew, move its folder away first", path.display())]
    Present {
        /// Which.
        path: PathBuf,
    },
    /// An intermediate that this box, or this root, cannot use.
    #[error("{} cannot be used: {why}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The passphrase does not open the key.
    #[error("that is not the passphrase of {}", path.display())]
    Passphrase {
        /// The key's file.
        path: PathBuf,
    },
    /// More names than constraints can hold.
    #[error("{names} names are asked for; a CA holds at most {NAMES_MAX}: use *. entries, or splice")]
    TooManyNames {
        /// How many.
        names: usize,
    },
    /// A name below which others register theirs.
    #[error("{name} is no name of a site: strangers can register names below it; name the sites themselves")]
    PublicSuffix {
        /// The name.
        name: HostName,
    },
    /// Nothing to vouch for.
    #[error("there is no name to vouch for: no site is set to tls = \"terminate\", or the root covers none of them")]
    NoNames,
    /// The clock is before anything that this box has made.
    #[error("the clock of this machine is wrong: no certificate can be made until it is set")]
    Clock,
    /// The root or the intermediate has come to its end.
    #[error("the {what} has expired; {help}")]
    Expired {
        /// Which of the two.
        what: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// A host that the allowlist does not set to `terminate`.
    #[error("{host} is not set to tls = \"terminate\"")]
    NotTerminated {
        /// The host.
        host: HostName,
    },
    /// A host that no certificate covers: the intermediate's constraints leave it out, or there is none.
    #[error("no certificate can be made for {host}: `bulaq ca show` says why and what to do")]
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
