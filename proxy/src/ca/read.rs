//! Certificates and requests read back, and whether an intermediate is one that this box can work with.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bulaq_allowlist::HostName;
use rcgen::{KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, ServerName, UnixTime};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::mint::{self, Validity};
use super::{NAMES_MAX, Scope};

/// What a CA certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Says {
    pub(super) scope: Scope,
    pub(super) validity: Validity,
    /// How many CAs may stand between it and a leaf.
    pub(super) path_length: Option<u32>,
    /// Whether it says that it signs for web servers and for nothing else.
    pub(super) is_for_servers_alone: bool,
    /// The public key, in the form that a key pair gives too.
    pub(super) public_key: Vec<u8>,
}

/// Reads a CA certificate back; None when it is no certificate, or one that we would not have made: without critical
/// constraints on names, or free to vouch for addresses.
pub(super) fn ca_certificate(der: &[u8]) -> Option<Says> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let constraints = certificate.name_constraints().ok()??;
    let permitted = constraints.value.permitted_subtrees.as_ref()?;
    let names = permitted.iter().take(NAMES_MAX + 1).map(|subtree| match subtree.base {
        GeneralName::DNSName(name) => HostName::parse(name).ok(),
        _ => None,
    });
    let scope = Scope::new(names.collect::<Option<Vec<_>>>()?.into_iter());
    let excludes = |length: usize| {
        let excluded = constraints.value.excluded_subtrees.iter().flatten();
        let is_all = |bytes: &[u8]| bytes.len() == length && bytes.iter().all(|byte| *byte == 0);
        excluded.take(NAMES_MAX).any(|subtree| matches!(subtree.base, GeneralName::IPAddress(bytes) if is_all(bytes)))
    };
    let validity = Validity {
        from: certificate.validity().not_before.to_datetime().into(),
        until: certificate.validity().not_after.to_datetime().into(),
    };
    let usage = certificate.extended_key_usage().ok()?.map(|usage| usage.value);
    let is_for_servers_alone = usage.is_some_and(|usage| {
        let others = [usage.any, usage.client_auth, usage.code_signing, usage.email_protection, usage.time_stamping];
        usage.server_auth && !others.contains(&true) && !usage.ocsp_signing && usage.other.is_empty()
    });
    let is_ours = rest.is_empty()
        && certificate.is_ca()
        && constraints.critical
        && !scope.is_empty()
        && permitted.len() <= NAMES_MAX
        && excludes(8) // an IPv4 address and its mask, RFC 5280 §4.2.1.10
        && excludes(32);
    is_ours.then(|| Says {
        scope,
        validity,
        path_length: certificate.basic_constraints().ok().flatten().and_then(|it| it.value.path_len_constraint),
        is_for_servers_alone,
        public_key: certificate.public_key().raw.to_vec(),
    })
}

/// What a box asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: SubjectPublicKeyInfo,
    pub(super) scope: Scope,
}

/// Reads a request; None when it is none, is not signed by its own key, or names nothing.
pub(super) fn request(der: &CertificateSigningRequestDer<'_>) -> Option<Asked> {
    let (rest, request) = X509CertificationRequest::from_der(der).ok()?;
    request.verify_signature().ok()?;
    let info = &request.certification_request_info;
    let mut names = Vec::new();
    for extension in request.requested_extensions()? {
        let ParsedExtension::SubjectAlternativeName(alternative) = extension else { return None };
        for name in &alternative.general_names {
            let GeneralName::DNSName(name) = name else { return None };
            names.push(HostName::parse(name).ok()?);
        }
    }
    let scope = Scope::new(names.into_iter());
    let key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).ok()?;
    (rest.is_empty() && !scope.is_empty() && scope.len() <= NAMES_MAX).then_some(Asked { key, scope })
}

/// Whether the intermediate is what a box may hold: of this root, with this key, for servers alone, unable to make
/// another CA, and for no name that the root leaves out. Says why not. A leaf is signed and verified for trial, by the
/// library that TLS clients in Rust use.
pub(super) fn check_intermediate(
    root: (&CertificateDer<'static>, &Says),
    intermediate: &CertificateDer<'static>,
    key: &KeyPair,
) -> Result<Says, String> {
    let refuse = |why: &str| Err(why.to_owned());
    let Some(says) = ca_certificate(intermediate) else {
        return refuse("it is no CA certificate with constraints on names that excludes all addresses");
    };
    if says.public_key != key.subject_public_key_info() {
        return refuse("it is for another key than this box has; make a new request with `bulaq ca request`");
    }
    if says.path_length != Some(0) {
        return refuse("it could make further CAs");
    }
    if !says.is_for_servers_alone {
        return refuse("it is not for web servers alone");
    }
    let beyond = says.scope.split_by(&root.1.scope).1;
    if let Some(name) = beyond.first() {
        return Err(format!("it names {name}, for which the root cannot vouch"));
    }
    verify_trial_leaf(root, intermediate, &says, key)?;
    Ok(says)
}

fn verify_trial_leaf(
    root: (&CertificateDer<'static>, &Says),
    intermediate: &CertificateDer<'static>,
    says: &Says,
    key: &KeyPair,
) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| format!("a certificate that it signs does not verify ({error})");
    let host = says.scope.names().next().ok_or("it has no name")?;
    let shared = says.validity.within(root.1.validity);
    let length = shared.until.duration_since(shared.from).map_err(|_| "the root has ended before it begins")?;
    let when = shared.from + length / 2;
    // rcgen takes the key by value; the same key again is cheaper than to share it for this.
    let again = KeyPair::try_from(key.serialize_der()).map_err(|error| text(&error))?;
    let issuer = rcgen::Issuer::from_ca_cert_der(intermediate, again).map_err(|error| text(&error))?;
    let (leaf, _) = mint::leaf(key, host, &issuer, shared, when).map_err(|error| text(&error))?;
    let mut roots = RootCertStore::empty();
    roots.add(root.0.clone()).map_err(|error| text(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| text(&error))?;
    let name = ServerName::try_from(host.as_str().to_owned()).map_err(|error| text(&error))?;
    let at = UnixTime::since_unix_epoch(when.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO));
    verifier
        .verify_server_cert(&leaf, std::slice::from_ref(intermediate), &name, &[], at)
        .map(drop)
        .map_err(|error| text(&error))
}
