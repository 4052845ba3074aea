//! What the CA signs, what it does not, and what a client makes of it.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A day in the life of the box.
fn today() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A list with `hosts` set to terminate, and one host that is spliced.
fn list(hosts: &[&str]) -> Allowlist {
    let mut text = "[[site]]\nname = \"spliced\"\nhosts = [\"spliced.kz\"]\ntls = \"splice\"\n".to_owned();
    if !hosts.is_empty() {
        text += &format!("[[site]]\nname = \"lessons\"\nhosts = {hosts:?}\ntls = \"terminate\"\n");
    }
    Allowlist::parse("allowlist.toml", &text).unwrap().allowlist
}

fn permit(list: &Allowlist, host: &str) -> Permit {
    list.permit_tunnel(&HostName::parse(host).unwrap(), 443).unwrap()
}

/// What a browser that trusts `root` says of the chain when it has asked for `host`.
fn verify(root: &Root, chain: &[CertificateDer<'static>], host: &str, now: SystemTime) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&root.pem_path).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let name = ServerName::try_from(host.to_owned()).unwrap();
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now).map(|_| ())
}

#[test]
fn a_listed_host_gets_a_leaf_that_a_client_accepts_for_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz", "*.media.kz"]);
    let ca = Ca::open(&folder.path().join("ca"), &list, Clock::held(today())).unwrap();
    let root = ca.root().unwrap();
    for host in ["lessons.kz", "a.media.kz"] {
        let certified = ca.certified_key(&permit(&list, host)).unwrap();
        verify(&root, &certified.cert, host, today()).unwrap();
        verify(&root, &certified.cert, host, today() - DAY / 2).unwrap();
        assert!(verify(&root, &certified.cert, "other.kz", today()).is_err());
        assert!(verify(&root, &certified.cert, host, today() + 7 * DAY).is_err(), "a leaf lives seven days at most");
        assert!(verify(&root, &certified.cert, host, today() - 2 * DAY).is_err());
        let again = ca.certified_key(&permit(&list, host)).unwrap();
        assert!(Arc::ptr_eq(&certified, &again), "kept in memory");
    }
}

#[test]
fn two_leaves_never_share_a_serial_number() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz", "*.media.kz"]);
    let ca = Ca::open(folder.path(), &list, Clock::held(today())).unwrap();
    let serial = |host| {
        let certified = ca.certified_key(&permit(&list, host)).unwrap();
        x509_parser::parse_x509_certificate(&certified.cert[0]).unwrap().1.raw_serial().to_vec()
    };
    let (one, other) = (serial("lessons.kz"), serial("a.media.kz"));
    assert_ne!(one, other);
    assert_eq!((one.len(), other.len()), (16, 16));
}

#[test]
fn what_is_not_set_to_terminate_is_not_signed() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz"]);
    let ca = Ca::open(folder.path(), &list, Clock::held(today())).unwrap();
    let refused = ca.certified_key(&permit(&list, "spliced.kz")).unwrap_err();
    assert!(matches!(*refused, CaError::NotTerminated { .. }));
}

#[test]
fn even_with_the_root_key_a_client_refuses_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::open(folder.path(), &list(&["lessons.kz"]), Clock::held(today())).unwrap();
    let root = ca.root().unwrap();
    let key = KeyPair::from_pem(&std::fs::read_to_string(folder.path().join("root.key.pem")).unwrap()).unwrap();
    let root_der = CertificateDer::from_pem_file(&root.pem_path).unwrap();
    let says = mint::read_root(&root_der).unwrap();
    let stolen = rcgen::Issuer::from_ca_cert_der(&root_der, key).unwrap();
    for host in ["bank.kz", "notlessons.kz", "kz", "lessons.kz"] {
        let host = HostName::parse(host).unwrap();
        let (leaf, _) = mint::leaf(&ca.leaf_key, &host, &stolen, says.validity, today()).unwrap();
        let verdict = verify(&root, &[leaf], host.as_str(), today());
        assert_eq!(verdict.is_ok(), host.as_str() == "lessons.kz", "{host}: {verdict:?}");
    }
    // An address is refused too, though no DNS name is in it.
    let mut params = rcgen::CertificateParams::new(vec!["192.0.2.1".to_owned()]).unwrap();
    params.not_before = today().into();
    params.not_after = (today() + DAY).into();
    let leaf = params.signed_by(&ca.leaf_key, &stolen).unwrap().der().clone();
    assert!(verify(&root, &[leaf], "192.0.2.1", today() + DAY / 2).is_err());
}

#[test]
fn a_leaf_is_made_anew_before_it_ends_and_so_is_the_intermediate() {
    let folder = tempfile::tempdir().unwrap();
    let (list, clock) = (list(&["lessons.kz"]), Clock::held(today()));
    let ca = Ca::open(folder.path(), &list, clock.clone()).unwrap();
    let root = ca.root().unwrap();
    let first = ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
    let mut intermediates = vec![first.cert[1].clone()];
    for _ in 0..60 {
        clock.advance(DAY);
        let certified = ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
        verify(&root, &certified.cert, "lessons.kz", clock.now() + DAY).unwrap();
        if intermediates.last() != Some(&certified.cert[1]) {
            intermediates.push(certified.cert[1].clone());
        }
    }
    assert!((3..=5).contains(&intermediates.len()), "{} intermediates in 60 days", intermediates.len());
    clock.set(root.until - 3 * DAY);
    let refused = ca.certified_key(&permit(&list, "lessons.kz")).unwrap_err();
    assert!(matches!(*refused, CaError::RootExpired), "{refused}");
}

#[test]
fn a_clock_that_cannot_be_right_signs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (list, clock) = (list(&["lessons.kz"]), Clock::held(SystemTime::UNIX_EPOCH));
    assert!(matches!(Ca::open(folder.path(), &list, clock.clone()), Err(CaError::Clock)));
    assert!(!folder.path().join("root.pem").exists());
    clock.set(today());
    let ca = Ca::open(folder.path(), &list, clock.clone()).unwrap();
    ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
    clock.set(today() - 300 * DAY);
    let refused = ca.certified_key(&permit(&list, "lessons.kz")).unwrap_err();
    assert!(matches!(*refused, CaError::Clock), "{refused}");
}

#[test]
fn the_root_stays_and_its_files_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("box/ca");
    let (list, clock) = (list(&["lessons.kz"]), Clock::held(today()));
    let made = Ca::open(&folder, &list, clock.clone()).unwrap().root().unwrap();
    assert_eq!(made.sha256.len(), 32 * 3 - 1);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!((mode(&made.pem_path), mode(&folder.join("root.key.pem"))), (0o600, 0o600));

    std::fs::set_permissions(folder.join("root.key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let ca = Ca::open(&folder, &list, clock).unwrap();
    assert_eq!(ca.root().unwrap(), made);
    assert_eq!(mode(&folder.join("root.key.pem")), 0o600);
    let certified = ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
    verify(&made, &certified.cert, "lessons.kz", today()).unwrap();
}

#[test]
fn a_damaged_folder_is_said_and_not_replaced() {
    let open = |folder: &Path| Ca::open(folder, &list(&["lessons.kz"]), Clock::held(today())).map(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let (pem, key) = (folder.path().join("root.pem"), folder.path().join("root.key.pem"));
    open(folder.path()).unwrap();
    let (good_pem, good_key) = (std::fs::read(&pem).unwrap(), std::fs::read(&key).unwrap());

    std::fs::write(&pem, &good_pem[..good_pem.len() / 2]).unwrap();
    assert!(matches!(open(folder.path()), Err(CaError::Damaged { what: "root certificate", .. })));
    std::fs::write(&pem, &good_pem).unwrap();
    std::fs::write(&key, "").unwrap();
    assert!(matches!(open(folder.path()), Err(CaError::Damaged { what: "key", .. })));
    std::fs::write(&key, mint::key().unwrap().serialize_pem()).unwrap();
    assert!(matches!(open(folder.path()), Err(CaError::Damaged { what: "key of this root", .. })));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(open(folder.path()), Err(CaError::KeyMissing { .. })));
    std::fs::write(&key, &good_key).unwrap();
    open(folder.path()).unwrap();

    // A power cut between the two files: nobody was given that root.
    std::fs::remove_file(&pem).unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn without_terminate_hosts_there_is_no_root_until_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::open(folder.path(), &list(&[]), Clock::held(today())).unwrap();
    assert_eq!(ca.root(), None);
    assert!(!folder.path().join("root.pem").exists());

    let grown = list(&["lessons.kz"]);
    let refused = ca.certified_key(&permit(&grown, "lessons.kz")).unwrap_err();
    assert!(matches!(*refused, CaError::NotCovered { .. }));
    ca.follow(&grown).unwrap();
    let certified = ca.certified_key(&permit(&grown, "lessons.kz")).unwrap();
    verify(&ca.root().unwrap(), &certified.cert, "lessons.kz", today()).unwrap();
}

#[test]
fn a_list_that_outgrows_the_root_is_told_and_one_that_shrinks_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::open(folder.path(), &list(&["lessons.kz", "media.kz"]), Clock::held(today())).unwrap();
    let grown = list(&["lessons.kz", "media.kz", "new.kz"]);
    ca.follow(&grown).unwrap();
    assert_eq!(ca.uncovered(&grown), [HostName::parse("new.kz").unwrap()]);
    assert!(matches!(*ca.certified_key(&permit(&grown, "new.kz")).unwrap_err(), CaError::NotCovered { .. }));
    ca.certified_key(&permit(&grown, "media.kz")).unwrap();

    let shrunk = list(&["lessons.kz"]);
    ca.follow(&shrunk).unwrap();
    assert_eq!(ca.uncovered(&shrunk), []);
    // A permit of the old list is still a permit; today's intermediate no longer vouches for its host.
    assert!(matches!(*ca.certified_key(&permit(&grown, "media.kz")).unwrap_err(), CaError::NotCovered { .. }));
}

#[test]
fn a_certificate_of_the_schools_own_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz", "media.kz"]);
    let own = rcgen::generate_simple_self_signed(vec!["lessons.kz".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("own.pem"), folder.path().join("own.key"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let ca = Arc::new(Ca::open(&folder.path().join("ca"), &list, Clock::held(today())).unwrap());
    let hosts = vec![HostName::parse("lessons.kz").unwrap(), HostName::parse("spliced.kz").unwrap()];
    let file = CertificateFile { hosts, certificate, key };

    let certificates = Certificates::new(std::slice::from_ref(&file), Some(ca)).unwrap();
    let shown = |host| certificates.certified_key(&permit(&list, host)).map(|certified| certified.cert[0].clone());
    assert_eq!(&shown("lessons.kz").unwrap(), own.cert.der());
    assert_ne!(&shown("media.kz").unwrap(), own.cert.der());
    assert!(matches!(*shown("spliced.kz").unwrap_err(), CaError::NotTerminated { .. }), "spliced hosts show nothing");
    let without = Certificates::default().certified_key(&permit(&list, "media.kz"));
    assert!(matches!(*without.unwrap_err(), CaError::NotCovered { .. }));

    let other_key = folder.path().join("other.key");
    std::fs::write(&other_key, mint::key().unwrap().serialize_pem()).unwrap();
    let wrong = Certificates::new(&[CertificateFile { key: other_key, ..file }], None);
    assert!(matches!(wrong, Err(CaError::Configured { .. })));
}

#[test]
fn more_names_than_constraints_hold_are_refused() {
    let names: Vec<String> = (0..=NAMES_MAX).map(|number| format!("a{number}.kz")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().unwrap();
    let refused = Ca::open(folder.path(), &list(&names), Clock::held(today()));
    assert!(matches!(refused, Err(CaError::TooManyNames { names: 501 })));
}
