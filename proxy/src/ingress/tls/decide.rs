//! What becomes of a connection, by the host that it names and the device that it comes from.

use std::net::IpAddr;
use std::sync::Arc;

use bulaq_allowlist::{HostName, Permit, TlsMode};
use rustls::sign::CertifiedKey;

use crate::ca::CaError;
use crate::ingress::Behind;
use crate::ingress::doors::Outcome;
use crate::ingress::trust::{Class, Standing};
use crate::portal::names;

/// What becomes of a connection.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Nothing is connected to.
    Refuse(Outcome),
    /// The bytes go to the origin untouched.
    Splice(Permit, Outcome),
    /// TLS ends here.
    Terminate(Shown),
}

/// What is shown to a client, and as whom.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(super) host: HostName,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) whose: Whose,
}

/// Whose name is shown, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The box's own, to everybody: there is no other way to it.
    Own,
    /// The gateway's, to everybody, under the operator's own certificate.
    Gateway,
    /// A site's, to a device that trusts the CA.
    Site(Class),
}

/// Decides.
pub(crate) fn decide<S, D>(behind: &Behind<S, D>, peer: IpAddr, host: &HostName, port: u16) -> Decision {
    if names::is_own(host) {
        return match behind.certificates.own_key(host) {
            Ok(key) => Decision::Terminate(Shown { host: host.clone(), key, whose: Whose::Own }),
            Err(_) => Decision::Refuse(Outcome::NoOwnCertificate),
        };
    }
    if behind.gateway.as_ref().is_some_and(|domain| host.is_at_or_below(domain)) {
        // Never the CA's: whoever comes by a gateway name is one that does not trust it.
        return match behind.certificates.configured_key(host) {
            Some(key) => Decision::Terminate(Shown { host: host.clone(), key, whose: Whose::Gateway }),
            None => Decision::Refuse(Outcome::NoOwnCertificate),
        };
    }
    let Ok(permit) = behind.allowlist.load().permit_tunnel(host, port) else {
        return Decision::Refuse(Outcome::NotListed);
    };
    if permit.site().tls() == TlsMode::Splice {
        return Decision::Splice(permit, Outcome::SplicedByList);
    }
    let class = match behind.trust.standing(peer, host) {
        Standing::Trusts(class) => class,
        Standing::Unknown => return Decision::Splice(permit, Outcome::SplicedUnknownDevice),
        Standing::Refused => return Decision::Splice(permit, Outcome::SplicedAfterRefusal),
    };
    match behind.certificates.certified_key(&permit) {
        Ok(key) => Decision::Terminate(Shown { host: host.clone(), key, whose: Whose::Site(class) }),
        Err(error) => {
            say_why_spliced(host, &error);
            Decision::Splice(permit, Outcome::SplicedNoCertificate)
        }
    }
}

fn say_why_spliced(host: &HostName, error: &CaError) {
    // Whoever starts the box is told once which names are left out; here it would be said with every connection.
    tracing::debug!(%host, error = %error, "spliced, though the allowlist says terminate");
}
