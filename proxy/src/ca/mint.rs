//! Certificates as values: what a root, an intermediate, a request and a leaf of ours say. No files, no clock.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use bulaq_allowlist::HostName;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

use super::Scope;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate is valid from this long before it was made, for devices whose clock is behind.
const BACKDATED: Duration = DAY;
/// Five years: as long as a school keeps its laptops, so that enrolling them once is enough.
const ROOT_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 60 * 60);
/// Promise 12: no leaf lives longer than seven days, the backdated one included.
pub(super) const LEAF_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// From when to when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

impl Validity {
    pub(super) fn lasting(life: Duration, now: SystemTime) -> Self {
        let from = now - BACKDATED;
        Self { from, until: from + life }
    }

    pub(super) fn within(self, outer: Validity) -> Self {
        Self { from: self.from.max(outer.from), until: self.until.min(outer.until) }
    }

    /// Whether it holds now and for another `margin`.
    pub(super) fn holds(self, now: SystemTime, margin: Duration) -> bool {
        self.from <= now && now + margin < self.until
    }
}

/// Random bytes from the TLS library's own source.
pub(super) fn random<const N: usize>() -> Result<[u8; N], rcgen::Error> {
    let mut bytes = [0; N];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    Ok(bytes)
}

/// A key of the kind that every device takes and every small box signs with quickly: ECDSA on P-256.
pub(super) fn key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

/// The root: may make one level of intermediates, and all of them together may vouch for `scope` only.
pub(super) fn root(key: &KeyPair, scope: &Scope, now: SystemTime) -> Result<rcgen::Certificate, rcgen::Error> {
    let mut params = ca_params("Bulaq lesson cache root", 1, scope, Validity::lasting(ROOT_LIFE, now))?;
    params.use_authority_key_identifier_extension = false;
    params.self_signed(key)
}

/// An intermediate of short life for the key of a box, with constraints of its own: on an intermediate every client
/// enforces them.
pub(super) fn intermediate(
    key: &impl PublicKeyData,
    scope: &Scope,
    root: &Issuer<'_, KeyPair>,
    validity: Validity,
) -> Result<rcgen::Certificate, rcgen::Error> {
    let mut params = ca_params("Bulaq lesson cache box", 0, scope, validity)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.signed_by(key, root)
}

/// What a box asks its district for: an intermediate for these names and the box's own key (RFC 2986). The names stand
/// as alternative names, since a request has no place for constraints.
pub(super) fn request(key: &KeyPair, scope: &Scope) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "Bulaq lesson cache box");
    let names = scope.names().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
    params.subject_alt_names = names.collect::<Result<_, rcgen::Error>>()?;
    params.serialize_request(key)?.pem()
}

/// A leaf for one name.
pub(super) fn leaf(
    key: &KeyPair,
    host: &HostName,
    issuer: &Issuer<'_, KeyPair>,
    issuer_validity: Validity,
    now: SystemTime,
) -> Result<(CertificateDer<'static>, Validity), rcgen::Error> {
    let validity = Validity::lasting(LEAF_LIFE, now).within(issuer_validity);
    let mut params = params("Bulaq lesson cache", validity)?;
    params.is_ca = IsCa::ExplicitNoCa; // also brings the subject key identifier
    params.subject_alt_names = vec![SanType::DnsName(host.as_str().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok((params.signed_by(key, issuer)?.der().clone(), validity))
}

fn params(name: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = validity.from.into();
    params.not_after = validity.until.into();
    // rcgen would take the serial number from the key, and leaves share one: browsers refuse two certificates of an
    // issuer with one number. The first bits make it positive and of full length (RFC 5280 §4.1.2.2).
    let mut serial = random::<16>()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

pub(super) fn ca_params(
    name: &str,
    path_length: u8,
    scope: &Scope,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    // Two CAs must not share a name: devices would try the wrong key.
    let [a, b, c] = random::<3>()?;
    let mut params = params(&format!("{name} {a:02x}{b:02x}{c:02x}"), validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: scope.names().map(|name| GeneralSubtree::DnsName(name.to_string())).collect(),
        // Without these it could vouch for addresses: a constraint binds only the kinds of name that it mentions.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv4Addr::UNSPECIFIED.into(), 0)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
        ],
    });
    Ok(params)
}
