//! What the CA signs, what it does not, and what a client makes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::office::throwaway;
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

fn name(host: &str) -> HostName {
    HostName::parse(host).unwrap()
}

/// An open CA for `list` with a clock that stands today.
fn open(folder: &Path, list: &Allowlist) -> Ca {
    Ca::make_throwaway(folder, list, Clock::held(today())).unwrap()
}

fn words() -> Passphrase {
    Passphrase::new("correct horse battery".to_owned()).unwrap()
}

/// A district's folder with a root for these names, open.
fn district(folder: &Path, names: &[&str]) -> Office {
    let scope = Scope::new(names.iter().map(|host| name(host))).and_own_names();
    init(folder, &scope, &words(), today()).unwrap();
    Office::open(folder, "correct horse battery").unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn close(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

// ---- Leaves ----

#[test]
fn a_listed_host_gets_a_leaf_that_a_client_accepts_for_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz", "*.media.kz"]);
    let ca = open(&folder.path().join("ca"), &list);
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
fn a_leaf_says_all_that_browsers_demand() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz", "*.media.kz"]);
    let ca = open(folder.path(), &list);
    let certified = ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
    let other = ca.certified_key(&permit(&list, "a.media.kz")).unwrap();
    let parse = |der| x509_parser::parse_x509_certificate(der).unwrap().1;
    let (leaf, issuer) = (parse(&certified.cert[0]), parse(&certified.cert[1]));
    let san = leaf.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(san.general_names, [x509_parser::prelude::GeneralName::DNSName("lessons.kz")], "one name");
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any && usage.other.is_empty());
    assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
    assert!(!leaf.is_ca() && !leaf.key_usage().unwrap().unwrap().value.key_cert_sign());
    let extension = |certificate: &x509_parser::prelude::X509Certificate<'_>, oid: &str| {
        certificate.extensions().iter().find(|it| it.oid.to_id_string() == oid).map(|it| it.value.to_vec())
    };
    let (subject, authority) = ("2.5.29.14", "2.5.29.35");
    let issuer_key = extension(&issuer, subject).unwrap();
    // The authority's identifier is the issuer's, in a sequence of its own (RFC 5280 §4.2.1.1).
    assert!(extension(&leaf, authority).unwrap().ends_with(&issuer_key[2..]));
    assert!(extension(&leaf, subject).is_some());
    let days = (leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp()) / 86_400;
    assert!(days <= 7, "{days}");
    // A browser refuses two certificates of one issuer with one number.
    assert_ne!(leaf.raw_serial(), parse(&other.cert[0]).raw_serial());
    assert_eq!(leaf.raw_serial().len(), 16);
}

#[test]
fn what_is_not_set_to_terminate_is_not_signed_and_the_box_itself_is() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz"]);
    let ca = open(folder.path(), &list);
    let refused = ca.certified_key(&permit(&list, "spliced.kz")).unwrap_err();
    assert!(matches!(*refused, CaError::NotTerminated { .. }));
    for host in ["bulaq.internal", "check.bulaq.internal"] {
        let certified = ca.own_key(&name(host)).unwrap();
        verify(&ca.root().unwrap(), &certified.cert, host, today()).unwrap();
    }
    let refused = ca.own_key(&name("lessons.kz")).unwrap_err();
    assert!(matches!(*refused, CaError::NotCovered { .. }), "a site is not the box");
}

#[test]
fn a_leaf_is_made_anew_before_it_ends_and_none_after_the_intermediate() {
    let folder = tempfile::tempdir().unwrap();
    let (list, clock) = (list(&["lessons.kz"]), Clock::held(today()));
    let ca = Ca::make_throwaway(folder.path(), &list, clock.clone()).unwrap();
    let root = ca.root().unwrap();
    let mut leaves = 0;
    let mut last = Vec::new();
    for _ in 0..90 {
        let certified = ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
        verify(&root, &certified.cert, "lessons.kz", clock.now() + DAY - Duration::from_secs(1)).unwrap();
        if last != certified.cert {
            leaves += 1;
            last.clone_from(&certified.cert);
        }
        clock.advance(DAY);
    }
    assert!((17..=25).contains(&leaves), "{leaves} leaves in 90 days");
    let refused = ca.certified_key(&permit(&list, "lessons.kz")).unwrap_err();
    assert!(matches!(*refused, CaError::Expired { .. }), "{refused}");
    assert_eq!(ca.standing(&list).findings, [Finding::Ended]);
    clock.set(today() - 300 * DAY);
    let refused = ca.certified_key(&permit(&list, "lessons.kz")).unwrap_err();
    assert!(matches!(*refused, CaError::Clock), "{refused}");
    assert_eq!(ca.standing(&list).findings, [Finding::Clock]);
}

// ---- Names ----

#[test]
fn a_stolen_intermediate_and_even_a_stolen_root_vouch_for_no_other_name() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz"]);
    district(folder.path(), &["lessons.kz"]).issue_here(&Scope::of(&list), ISSUE_DAYS, today()).unwrap();
    let ca = Ca::open(folder.path(), Clock::held(today())).unwrap();
    let root = ca.root().unwrap();
    let authority = ca.authority.load_full().unwrap();
    let working = authority.working.as_ref().unwrap();
    let root_pem = fs::read_to_string(folder.path().join("root.key.pem")).unwrap();
    let Some(passphrase::KeyFile::Locked(locked)) = passphrase::KeyFile::parse(&root_pem) else { panic!("not locked") };
    let key = locked.open("correct horse battery").unwrap();
    let root_issuer = rcgen::Issuer::from_ca_cert_der(&authority.root_certificate, key).unwrap();
    let validity = working.says.validity;
    for (issuer, above) in [(&working.issuer, vec![working.certificate.clone()]), (&root_issuer, Vec::new())] {
        for (host, is_accepted) in [
            ("lessons.kz", true),
            ("kk.lessons.kz", true),
            ("check.bulaq.internal", true),
            ("bank.kz", false),
            ("notlessons.kz", false),
            ("kz", false),
            ("internal", false),
        ] {
            let (leaf, _) = mint::leaf(&ca.leaf_key, &name(host), issuer, validity, today()).unwrap();
            let chain: Vec<_> = std::iter::once(leaf).chain(above.clone()).collect();
            let verdict = verify(&root, &chain, host, today());
            assert_eq!(verdict.is_ok(), is_accepted, "{host}: {verdict:?}");
        }
        // An address is refused too, though no DNS name is in it.
        let mut params = rcgen::CertificateParams::new(vec!["192.0.2.1".to_owned()]).unwrap();
        params.not_before = today().into();
        params.not_after = (today() + DAY).into();
        let leaf = params.signed_by(&ca.leaf_key, issuer).unwrap().der().clone();
        let chain: Vec<_> = std::iter::once(leaf).chain(above.clone()).collect();
        assert!(verify(&root, &chain, "192.0.2.1", today() + DAY / 2).is_err());
    }
}

#[test]
fn a_list_that_outgrows_its_certificates_is_told_and_spliced() {
    let folder = tempfile::tempdir().unwrap();
    let (small, grown) = (list(&["lessons.kz"]), list(&["lessons.kz", "media.kz", "new.kz"]));
    let office = district(folder.path(), &["lessons.kz", "media.kz"]);
    office.issue_here(&Scope::of(&small), ISSUE_DAYS, today()).unwrap();
    let ca = Ca::open(folder.path(), Clock::held(today())).unwrap();
    assert_eq!(ca.standing(&small).findings, []);
    let told = ca.standing(&grown).findings;
    assert_eq!(
        told,
        [Finding::Outgrown { names: vec![name("media.kz")] }, Finding::BeyondRoot { names: vec![name("new.kz")] }]
    );
    assert!(told[0].to_string().contains("`bulaq ca issue`") && told[1].to_string().contains("`bulaq ca init"));
    for host in ["media.kz", "new.kz"] {
        assert!(matches!(*ca.certified_key(&permit(&grown, host)).unwrap_err(), CaError::NotCovered { .. }));
    }

    let issued = office.issue_here(&Scope::of(&grown), ISSUE_DAYS, today()).unwrap();
    assert_eq!(issued.left_out, [name("new.kz")]);
    let before = ca.certified_key(&permit(&grown, "lessons.kz")).unwrap();
    ca.reload().unwrap();
    ca.certified_key(&permit(&grown, "media.kz")).unwrap();
    let after = ca.certified_key(&permit(&grown, "lessons.kz")).unwrap();
    assert_ne!(before.cert[1], after.cert[1], "leaves of the old intermediate are forgotten");
    assert_eq!(ca.standing(&grown).findings, [Finding::BeyondRoot { names: vec![name("new.kz")] }]);
}

#[test]
fn the_end_is_told_a_month_before() {
    let folder = tempfile::tempdir().unwrap();
    let (list, clock) = (list(&["lessons.kz"]), Clock::held(today()));
    let ca = Ca::make_throwaway(folder.path(), &list, clock.clone()).unwrap();
    for (days, expected) in
        [(59, vec![]), (61, vec![Finding::EndsSoon { days: 29 }]), (89, vec![Finding::EndsSoon { days: 1 }])]
    {
        clock.set(today() + days * DAY);
        assert_eq!(ca.standing(&list).findings, expected, "after {days} days");
    }
    assert!(!Finding::EndsSoon { days: 29 }.is_felt() && Finding::Ended.is_felt());
    clock.set(today() + 5 * 365 * DAY);
    assert_eq!(ca.standing(&list).findings, [Finding::RootEnded]);
}

#[test]
fn more_names_than_constraints_hold_are_refused() {
    let names: Vec<String> = (0..NAMES_MAX).map(|number| format!("a{number}.kz")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().unwrap();
    let refused = Ca::make_throwaway(folder.path(), &list(&names), Clock::held(today()));
    assert!(matches!(refused, Err(CaError::TooManyNames { names: 501 })));
    assert!(matches!(throwaway(folder.path(), &Scope::default(), today()), Err(CaError::NoNames)));
}

#[test]
fn no_root_is_made_for_a_whole_country() {
    let folder = tempfile::tempdir().unwrap();
    for (host, is_taken) in [
        ("kz", false),
        ("com", false),
        ("gov.kz", false),
        ("co.uk", false),
        ("localhost", true),
        ("lessons.kz", true),
        ("lessons.gov.kz", true),
        ("bulaq.internal", true),
    ] {
        let scope = Scope::new([name(host)].into_iter());
        let made = throwaway(&folder.path().join(host), &scope, today());
        assert_eq!(made.is_ok(), is_taken, "{host}: {made:?}");
        assert_eq!(matches!(made, Err(CaError::PublicSuffix { .. })), !is_taken, "{host}");
        assert_eq!(folder.path().join(host).exists(), is_taken, "nothing is left behind");
    }
}

// ---- Making and installing ----

#[test]
fn a_box_without_a_ca_signs_nothing_and_says_what_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz"]);
    let ca = Ca::open(folder.path(), Clock::held(today())).unwrap();
    assert_eq!(ca.root(), None);
    assert!(matches!(*ca.certified_key(&permit(&list, "lessons.kz")).unwrap_err(), CaError::NotCovered { .. }));
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing makes itself");
    let told = ca.standing(&list).findings;
    assert_eq!(told, [Finding::NoRoot]);
    assert!(told[0].to_string().contains("`bulaq ca init"));
    assert_eq!(ca.standing(&self::list(&[])).findings, [], "a list without terminate needs none");

    let office = district(folder.path(), &["lessons.kz"]);
    ca.reload().unwrap();
    assert_eq!(ca.standing(&list).findings, [Finding::NoIntermediate]);
    office.issue_here(&Scope::of(&list), ISSUE_DAYS, today()).unwrap();
    ca.reload().unwrap();
    ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
}

#[test]
fn a_district_issues_to_a_box_whose_key_never_leaves_it() {
    let (laptop, school) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let list = list(&["lessons.kz", "media.kz"]);
    let office = district(laptop.path(), &["lessons.kz"]);
    let folder = school.path().join("data/ca");
    let path = request(&folder, &Scope::of(&list)).unwrap();
    let key = fs::read_to_string(folder.join("request.key.pem")).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let issued = office.issue(&path, &text, 30, today()).unwrap();
    assert_eq!(issued.left_out, [name("media.kz")]);
    assert!(issued.intermediate.until <= today() + 30 * DAY);
    assert!(!issued.pem.contains("PRIVATE"));

    let file = Path::new("issued.pem");
    let installed = install(&folder, file, &issued.pem, today()).unwrap();
    assert!(installed.is_root_new);
    assert_eq!(installed.root.sha256, office.root().sha256);
    assert!(!folder.join("root.key.pem").exists() && !folder.join("request.key.pem").exists());
    assert!(fs::read_to_string(folder.join("box.pem")).unwrap().starts_with(&key));
    let ca = Ca::open(&folder, Clock::held(today())).unwrap();
    let certified = ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
    verify(&office.root(), &certified.cert, "lessons.kz", today()).unwrap();

    // Renewal: the old one works until the new one is in place.
    let text = fs::read_to_string(request(&folder, &Scope::of(&list)).unwrap()).unwrap();
    ca.reload().unwrap();
    ca.certified_key(&permit(&list, "lessons.kz")).unwrap();
    let renewed = office.issue(&path, &text, 90, today()).unwrap();
    assert!(!install(&folder, file, &renewed.pem, today()).unwrap().is_root_new);
}

#[test]
fn what_a_box_should_not_hold_is_not_installed() {
    let (laptop, other, school) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let list = list(&["lessons.kz"]);
    let office = district(laptop.path(), &["lessons.kz"]);
    let folder = school.path();
    let path = request(folder, &Scope::of(&list)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let good = office.issue(&path, &text, 90, today()).unwrap().pem;
    let refused = |pem: &str| match install(folder, Path::new("issued.pem"), pem, today()) {
        Err(CaError::Unfit { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused("nothing").contains("ca issue"));
    let (intermediate, root) = good.split_at(good.rfind("-----BEGIN").unwrap());
    assert!(refused(intermediate).contains("an intermediate and its root"));
    assert!(refused(&format!("{root}{intermediate}")).contains("another key"), "the wrong way round");
    // Another root of the same names did not sign it.
    let stranger = district(other.path(), &["lessons.kz"]);
    let strange_root = fs::read_to_string(other.path().join("root.pem")).unwrap();
    assert!(refused(&format!("{intermediate}{strange_root}")).contains("does not verify"));
    // For another box's key.
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = fs::read_to_string(request(elsewhere.path(), &Scope::of(&list)).unwrap()).unwrap();
    assert!(refused(&office.issue(&path, &theirs, 90, today()).unwrap().pem).contains("another key"));
    assert!(!folder.join("box.pem").exists() && !folder.join("root.pem").exists(), "nothing has changed");
    assert!(matches!(install(folder, Path::new("issued.pem"), &good, today() + 91 * DAY), Err(CaError::Unfit { .. })));

    install(folder, Path::new("issued.pem"), &good, today()).unwrap();
    let text = fs::read_to_string(request(folder, &Scope::of(&list)).unwrap()).unwrap();
    assert!(refused(&stranger.issue(&path, &text, 90, today()).unwrap().pem).contains("another root"));
    for spoilt in [text.replacen("MII", "MIJ", 1), String::new(), good] {
        assert!(matches!(office.issue(&path, &spoilt, 90, today()), Err(CaError::Unfit { .. })));
    }
}

/// An intermediate for `key` under the root in `folder`, spoilt by `alter`.
fn spoilt(
    office_key: &KeyPair,
    root: &CertificateDer<'static>,
    key: &KeyPair,
    alter: impl FnOnce(&mut rcgen::CertificateParams),
) -> CertificateDer<'static> {
    let again = KeyPair::try_from(office_key.serialize_der()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(root, again).unwrap();
    let scope = Scope::new([name("lessons.kz")].into_iter());
    let mut params =
        mint::ca_params("Bulaq lesson cache box", 0, &scope, Validity::lasting(30 * DAY, today())).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    alter(&mut params);
    params.signed_by(key, &issuer).unwrap().der().clone()
}

#[test]
fn an_intermediate_that_could_do_more_than_it_should_is_refused() {
    let (root_key, key) = (mint::key().unwrap(), mint::key().unwrap());
    let scope = Scope::new([name("lessons.kz")].into_iter());
    let root = mint::root(&root_key, &scope, today()).unwrap().der().clone();
    let root_says = read::ca_certificate(&root).unwrap();
    let check = |alter: &dyn Fn(&mut rcgen::CertificateParams)| {
        read::check_intermediate((&root, &root_says), &spoilt(&root_key, &root, &key, alter), &key).map(drop)
    };
    check(&|_| {}).unwrap();
    let told = |alter: &dyn Fn(&mut rcgen::CertificateParams)| check(alter).unwrap_err();
    assert!(told(&|it| it.name_constraints = None).contains("constraints"));
    assert!(told(&|it| it.name_constraints.as_mut().unwrap().excluded_subtrees.truncate(1)).contains("addresses"));
    assert!(told(&|it| it.name_constraints.as_mut().unwrap().permitted_subtrees.clear()).contains("constraints"));
    let wider = |it: &mut rcgen::CertificateParams| {
        it.name_constraints.as_mut().unwrap().permitted_subtrees.push(rcgen::GeneralSubtree::DnsName("bank.kz".into()));
    };
    assert!(told(&wider).contains("bank.kz"));
    assert!(told(&|it| it.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(1))).contains("further CAs"));
    assert!(told(&|it| it.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)).contains("further CAs"));
    assert!(told(&|it| it.is_ca = rcgen::IsCa::NoCa).contains("no CA certificate"));
    assert!(told(&|it| it.extended_key_usages.clear()).contains("web servers"));
    let more = |it: &mut rcgen::CertificateParams| {
        it.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::EmailProtection)
    };
    assert!(told(&more).contains("web servers"));
}

#[test]
fn the_root_key_is_locked_and_its_files_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("laptop/ca");
    let made = district(&folder, &["lessons.kz"]).root();
    assert_eq!(made.sha256.len(), 32 * 3 - 1);
    assert_eq!((mode(&folder), mode(&folder.join("root.key.pem"))), (0o700, 0o600));
    assert!(fs::read_to_string(folder.join("root.key.pem")).unwrap().contains("ENCRYPTED PRIVATE KEY"));
    let again = init(&folder, &made.scope, &words(), today());
    assert!(matches!(again, Err(CaError::Present { .. })), "devices trust the one that is there");
    assert!(matches!(Office::open(&folder, "incorrect horse"), Err(CaError::Passphrase { .. })));
    assert_eq!(Passphrase::new("too short".to_owned()).unwrap_err(), PassphraseError::Short);
    let wrong_clock = init(&folder.join("new"), &made.scope, &words(), SystemTime::UNIX_EPOCH);
    assert!(matches!(wrong_clock, Err(CaError::Clock)));

    close(&folder.join("root.key.pem"), 0o644);
    let refused = Office::open(&folder, "correct horse battery").unwrap_err();
    assert!(
        refused.to_string().ends_with(&format!("chmod 600 {}", folder.join("root.key.pem").display())),
        "{refused}"
    );
}

#[test]
fn a_root_key_that_lay_open_is_locked_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let key = mint::key().unwrap();
    let scope = Scope::new([name("lessons.kz")].into_iter());
    files::write(&folder.path().join("root.key.pem"), &key.serialize_pem(), files::Who::Owner).unwrap();
    let root = mint::root(&key, &scope, today()).unwrap().pem();
    files::write(&folder.path().join("root.pem"), &root, files::Who::All).unwrap();
    assert_eq!(root_key(folder.path()).unwrap(), RootKey::Plain);
    lock_root_key(folder.path(), &words()).unwrap();
    assert_eq!(root_key(folder.path()).unwrap(), RootKey::Locked);
    assert_eq!(mode(&folder.path().join("root.key.pem")), 0o600);
    Office::open(folder.path(), "correct horse battery").unwrap();
}

#[test]
fn a_damaged_folder_is_said_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, key) = (folder.path().join("root.pem"), folder.path().join("box.pem"));
    let ca = open(folder.path(), &list(&["lessons.kz"]));
    let (good_pem, good_key) = (fs::read(&pem).unwrap(), fs::read(&key).unwrap());
    let told = || Ca::open(folder.path(), Clock::held(today())).map(drop);

    fs::write(&pem, &good_pem[..good_pem.len() / 2]).unwrap();
    assert!(matches!(told(), Err(CaError::Damaged { what: "root certificate", .. })));
    assert!(ca.reload().is_err());
    ca.own_key(box_name()).unwrap(); // what was read before still holds
    fs::write(&pem, &good_pem).unwrap();
    fs::write(&key, "").unwrap();
    assert!(matches!(told(), Err(CaError::Damaged { .. })));
    let text = String::from_utf8(good_key.clone()).unwrap();
    let certificate = &text[text.find("-----BEGIN CERT").unwrap()..];
    fs::write(&key, mint::key().unwrap().serialize_pem() + certificate).unwrap();
    assert!(matches!(told(), Err(CaError::Unfit { .. })));
    fs::write(&key, &good_key).unwrap();
    close(&key, 0o640);
    assert!(matches!(told(), Err(CaError::OpenToOthers { .. })));
    close(&key, 0o600);
    told().unwrap();
    fs::remove_file(&key).unwrap();
    told().unwrap();
}

// ---- The operator's own ----

fn own_certificate(folder: &Path, names: &[&str]) -> (CertificateDer<'static>, PathBuf, PathBuf) {
    let own = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let (certificate, key) = (folder.join("own.pem"), folder.join("own.key"));
    fs::write(&certificate, own.cert.pem()).unwrap();
    fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    close(&key, 0o600);
    (own.cert.der().clone(), certificate, key)
}

fn file(names: &[&str], certificate: &Path, key: &Path) -> CertificateFile {
    let names = names.iter().map(|text| CertificateName::parse(text).unwrap()).collect();
    CertificateFile { names, certificate: certificate.to_owned(), key: key.to_owned() }
}

#[test]
fn a_certificate_of_the_schools_own_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let list = list(&["lessons.kz", "media.kz"]);
    let (own, certificate, key) = own_certificate(folder.path(), &["lessons.kz"]);
    let ca = Arc::new(open(&folder.path().join("ca"), &list));
    let file = file(&["lessons.kz", "spliced.kz", "check.bulaq.internal"], &certificate, &key);

    let certificates = Certificates::new(std::slice::from_ref(&file), Some(ca)).unwrap();
    let shown = |host| certificates.certified_key(&permit(&list, host)).map(|certified| certified.cert[0].clone());
    assert_eq!(shown("lessons.kz").unwrap(), own);
    assert_ne!(shown("media.kz").unwrap(), own);
    assert!(matches!(*shown("spliced.kz").unwrap_err(), CaError::NotTerminated { .. }), "spliced hosts show nothing");
    let probe = certificates.own_key(&name("check.bulaq.internal")).unwrap();
    assert_ne!(probe.cert[0], own, "the probe is about the CA");
    let without = Certificates::default().certified_key(&permit(&list, "media.kz"));
    assert!(matches!(*without.unwrap_err(), CaError::NotCovered { .. }));

    let other_key = folder.path().join("other.key");
    fs::write(&other_key, mint::key().unwrap().serialize_pem()).unwrap();
    close(&other_key, 0o600);
    let wrong = Certificates::new(&[CertificateFile { key: other_key, ..file }], None);
    assert!(matches!(wrong, Err(CaError::Configured { .. })));
}

#[test]
fn a_wildcard_is_for_one_label_and_an_exact_name_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let exact_folder = folder.path().join("exact");
    fs::create_dir(&exact_folder).unwrap();
    let (wild, certificate, key) = own_certificate(folder.path(), &["*.lessons.example"]);
    let (exact, exact_certificate, exact_key) = own_certificate(&exact_folder, &["a.lessons.example"]);
    let files = [
        file(&["*.lessons.example"], &certificate, &key),
        file(&["a.lessons.example"], &exact_certificate, &exact_key),
    ];
    let certificates = Certificates::new(&files, None).unwrap();
    for (host, expected) in [
        ("b.lessons.example", Some(&wild)),
        ("a.lessons.example", Some(&exact)),
        ("lessons.example", None),
        ("b.a.lessons.example", None),
        ("lessons.example.kz", None),
    ] {
        assert_eq!(certificates.configured_key(&name(host)).map(|it| it.cert[0].clone()).as_ref(), expected, "{host}");
    }
    assert!(CertificateName::parse("*.").is_err() && CertificateName::parse("a.*.b").is_err());
}

#[test]
fn a_changed_file_is_taken_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let host = name("lessons.kz");
    let (first, certificate, key) = own_certificate(folder.path(), &["lessons.kz"]);
    let certificates = Certificates::new(&[file(&["lessons.kz"], &certificate, &key)], None).unwrap();
    let shown = || certificates.configured_key(&host).unwrap().cert[0].clone();
    assert!(certificates.reload_if_changed().is_none());

    fs::write(&certificate, "half a ").unwrap();
    let told = certificates.reload_if_changed().unwrap();
    assert!(matches!(told.as_slice(), [CaError::Configured { .. }]), "{told:?}");
    assert_eq!(shown(), first);
    assert!(certificates.reload_if_changed().is_none(), "told once");

    let (second, ..) = own_certificate(folder.path(), &["lessons.kz"]);
    close(&key, 0o604);
    let told = certificates.reload_if_changed().unwrap();
    assert!(matches!(told.as_slice(), [CaError::OpenToOthers { .. }]), "{told:?}");
    assert_eq!(shown(), first);
    close(&key, 0o600);
    assert!(certificates.reload_if_changed().unwrap().is_empty());
    assert_eq!(shown(), second);
}

#[test]
fn a_broken_file_leaves_the_others_and_is_taken_once_it_is_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let (ca_folder, list) = (folder.path().join("ca"), list(&["lessons.kz", "media.kz"]));
    drop(open(&ca_folder, &list));
    let key_of_the_box = ca_folder.join("box.pem");
    close(&key_of_the_box, 0o644);
    let (own, certificate, key) = own_certificate(folder.path(), &["lessons.kz"]);
    let files = [file(&["media.kz"], &folder.path().join("no.pem"), &key), file(&["lessons.kz"], &certificate, &key)];
    let ca = Arc::new(Ca::unread(&ca_folder, Clock::held(today())).unwrap());
    let certificates = Certificates::unread(&files, Some(ca));
    let shown = |host| certificates.certified_key(&permit(&list, host)).map(|certified| certified.cert[0].clone());

    let told = certificates.reload();
    assert!(matches!(told.as_slice(), [CaError::Configured { .. }, CaError::OpenToOthers { .. }]), "{told:?}");
    assert_eq!(shown("lessons.kz").unwrap(), own);
    assert!(matches!(*shown("media.kz").unwrap_err(), CaError::NotCovered { .. }), "an open key signs nothing");
    assert!(certificates.own_key(box_name()).is_err());
    assert!(certificates.reload_if_changed().is_none(), "told once");

    close(&key_of_the_box, 0o600);
    let told = certificates.reload_if_changed().unwrap();
    assert!(matches!(told.as_slice(), [CaError::Configured { .. }]), "{told:?}");
    shown("media.kz").unwrap();
    certificates.own_key(box_name()).unwrap();
}
