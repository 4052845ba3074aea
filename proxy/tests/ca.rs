//! What a thief can do with a box's certificate authority, by the verdict of verifiers that we did not write.
//!
//! The intermediate and its key are taken from a box's folder, as a thief would, and sign what they should not. OpenSSL,
//! GnuTLS, NSS and rustls-webpki are then asked as a device asks that trusts the root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bulaq::ca::{Ca, Certificates};
use bulaq::clock::Clock;
use bulaq_allowlist::{Allowlist, HostName};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const LIST: &str = r#"
[[site]]
name = "lessons"
hosts = ["lessons.kz", "*.lessons.kz"]
tls = "terminate"
"#;

/// A box's folder in the hands of a thief.
struct Stolen {
    folder: TempDir,
    intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    key: KeyPair,
}

/// A certificate that the thief made, with all that a server would send, and the host that it is shown for.
struct Forged {
    host: &'static str,
    leaf: PathBuf,
    /// What stands between it and the root, nearest first.
    above: Vec<PathBuf>,
}

impl Stolen {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let list = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
        Ca::make_throwaway(&folder.path().join("ca"), &list, Clock::system()).unwrap();
        let pem = std::fs::read(folder.path().join("ca/box.pem")).unwrap();
        let intermediate = CertificateDer::from_pem_slice(&pem).unwrap();
        let key = KeyPair::try_from(&PrivateKeyDer::from_pem_slice(&pem).unwrap()).unwrap();
        let issuer = Issuer::from_ca_cert_der(&intermediate, key).unwrap();
        let stolen = Self { folder, intermediate, issuer, key: KeyPair::generate().unwrap() };
        stolen.write("intermediate", &stolen.intermediate);
        stolen
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("ca/root.pem")
    }

    fn write(&self, name: &str, der: &[u8]) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.pem"));
        let der_path = path.with_extension("der");
        std::fs::write(&der_path, der).unwrap();
        // Written by OpenSSL, so that no verifier stumbles over our way of writing PEM.
        let mut to_pem = Command::new("openssl");
        succeeds(to_pem.args(["x509", "-inform", "DER", "-in"]).arg(der_path).arg("-out").arg(&path));
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }

    fn params(names: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "forged");
        params.not_before = (SystemTime::now() - DAY / 2).into();
        params.not_after = (SystemTime::now() + 5 * DAY).into();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    }

    /// A leaf for these names, shown for the first of them.
    fn leaf(&self, file: &str, names: &[&'static str]) -> Forged {
        let certificate = Self::params(names).signed_by(&self.key, &self.issuer).unwrap();
        Forged { host: names[0], leaf: self.write(file, certificate.der()), above: vec![self.path("intermediate")] }
    }

    /// A CA below the stolen one, and a leaf of that for a host that the list has.
    fn below_another_ca(&self) -> Forged {
        let mut params = Self::params(&[]);
        params.distinguished_name.push(DnType::CommonName, "forged CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let sub_key = KeyPair::generate().unwrap();
        let sub = params.signed_by(&sub_key, &self.issuer).unwrap();
        let sub_path = self.write("sub", sub.der());
        let sub_issuer = Issuer::from_ca_cert_der(sub.der(), sub_key).unwrap();
        let leaf = Self::params(&["lessons.kz"]).signed_by(&self.key, &sub_issuer).unwrap();
        let leaf = self.write("below-sub", leaf.der());
        Forged { host: "lessons.kz", leaf, above: vec![sub_path, self.path("intermediate")] }
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{:?} does not start ({error}); install openssl, gnutls-bin and libnss3-tools", command.get_program())
    })
}

fn succeeds(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn verdict(output: &Output) -> Result<(), String> {
    if output.status.success() { Ok(()) } else { Err(text(output)) }
}

fn is_address(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
}

// ---- The verifiers ----

fn openssl(stolen: &Stolen, forged: &Forged) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.args(["verify", "-purpose", "sslserver", "-CAfile"]).arg(stolen.root());
    command.args([if is_address(forged.host) { "-verify_ip" } else { "-verify_hostname" }, forged.host]);
    for above in &forged.above {
        command.arg("-untrusted").arg(above);
    }
    verdict(&run(command.arg(&forged.leaf)))
}

fn gnutls(stolen: &Stolen, forged: &Forged) -> Result<(), String> {
    let chain = forged.leaf.with_extension("chain");
    let parts = std::iter::once(&forged.leaf).chain(&forged.above).map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&chain, parts.collect::<String>()).unwrap();
    let mut command = Command::new("certtool");
    command.args(["--verify", "--verify-purpose", "1.3.6.1.5.5.7.3.1", "--verify-hostname", forged.host]);
    verdict(&run(command.arg("--load-ca-certificate").arg(stolen.root()).arg("--infile").arg(chain)))
}

/// NSS, the library of Firefox and of Chromium's store on Linux. `vfychain` asks about the chain; the name that was
/// asked for is compared by the browser.
fn nss(stolen: &Stolen, forged: &Forged) -> Result<(), String> {
    let folder = stolen.folder.path().join("nss");
    let database = format!("sql:{}", folder.display());
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        succeeds(Command::new("certutil").args(["-N", "--empty-password", "-d", &database]));
        let mut add = Command::new("certutil");
        succeeds(add.args(["-A", "-d", &database, "-n", "root", "-t", "C,,", "-i"]).arg(stolen.root()));
    }
    let mut command = Command::new("vfychain");
    command.args(["-d", &database, "-pp", "-u", "1"]);
    for path in std::iter::once(&forged.leaf).chain(&forged.above) {
        command.arg("-a").arg(path);
    }
    let output = run(&mut command);
    let said = text(&output);
    if output.status.success() && said.contains("Chain is good!") { Ok(()) } else { Err(said) }
}

fn webpki(stolen: &Stolen, forged: &Forged) -> Result<(), String> {
    let read = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(read(&stolen.root())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let above: Vec<_> = forged.above.iter().map(|path| read(path)).collect();
    let name = ServerName::try_from(forged.host).unwrap();
    let verified = verifier.verify_server_cert(&read(&forged.leaf), &above, &name, &[], UnixTime::now());
    verified.map(drop).map_err(|error| error.to_string())
}

type Verifier = fn(&Stolen, &Forged) -> Result<(), String>;

const VERIFIERS: [(&str, Verifier); 4] =
    [("OpenSSL", openssl), ("GnuTLS", gnutls), ("NSS", nss), ("rustls-webpki", webpki)];

#[test]
fn a_stolen_intermediate_vouches_for_lessons_and_for_nothing_else() {
    let stolen = Stolen::new();
    let cases = [
        ("a site of the list", stolen.leaf("inside", &["lessons.kz"]), true),
        ("a name below it", stolen.leaf("below", &["kk.lessons.kz"]), true),
        ("the box itself", stolen.leaf("own", &["check.bulaq.internal"]), true),
        ("another site", stolen.leaf("outside", &["bank.kz"]), false),
        ("a name that only ends alike", stolen.leaf("alike", &["notlessons.kz"]), false),
        ("the name above", stolen.leaf("above", &["kz"]), false),
        ("a wildcard above", stolen.leaf("wildcard", &["*.kz"]), false),
        ("another site beside one of the list", stolen.leaf("beside", &["lessons.kz", "bank.kz"]), false),
        ("an IPv4 address", stolen.leaf("ipv4", &["192.0.2.1"]), false),
        ("an IPv6 address", stolen.leaf("ipv6", &["2001:db8::1"]), false),
        ("an address beside a site of the list", stolen.leaf("with-ip", &["lessons.kz", "192.0.2.1"]), false),
        ("another CA", stolen.below_another_ca(), false),
    ];
    let mut wrong = Vec::new();
    for (verifier, verify) in VERIFIERS {
        for (what, forged, is_accepted) in &cases {
            let said = match forged.host {
                "*.kz" => {
                    verify(&stolen, &Forged { host: "bank.kz", leaf: forged.leaf.clone(), above: forged.above.clone() })
                }
                _ => verify(&stolen, forged),
            };
            if said.is_ok() != *is_accepted {
                wrong.push(format!("{verifier} on {what}: {said:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_box_itself_makes_is_accepted_by_all_and_quickly_made() {
    let stolen = Stolen::new();
    let ca = Arc::new(Ca::open(&stolen.folder.path().join("ca"), Clock::system()).unwrap());
    let certificates = Certificates::new(&[], Some(ca)).unwrap();
    let list = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
    let certified = |host: &str| {
        let permit = list.permit_tunnel(&HostName::parse(host).unwrap(), 443).unwrap();
        certificates.certified_key(&permit).unwrap()
    };
    let chain = &certified("lessons.kz").cert;
    assert_eq!(chain.len(), 2, "the root is not sent");
    let leaf = stolen.write("minted", &chain[0]);
    let forged = Forged { host: "lessons.kz", leaf, above: vec![stolen.path("intermediate")] };
    for (verifier, verify) in VERIFIERS {
        assert_eq!(verify(&stolen, &forged), Ok(()), "{verifier}");
    }

    const LEAVES: u32 = 500;
    let began = Instant::now();
    for number in 0..LEAVES {
        certified(&format!("a{number}.lessons.kz"));
    }
    let each = began.elapsed() / LEAVES;
    println!("one leaf in {each:?} (unoptimised build of ours, optimised libraries)");
    // A built release takes a tenth of it. The bound is for a busy machine and still far below what a class would feel.
    assert!(each < Duration::from_millis(20), "{each:?}");
}

// ---- The commands, as a technician types them ----

fn bulaq(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulaq"));
    command.current_dir(folder).env_remove("BULAQ_CONFIG").env_remove("BULAQ_CA_PASSPHRASE").args(arguments);
    run(&mut command)
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = bulaq(folder, arguments);
    assert!(output.status.success(), "bulaq {arguments:?}: {}", text(&output));
    text(&output)
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = bulaq(folder, arguments);
    assert!(!output.status.success(), "bulaq {arguments:?} was not refused: {}", text(&output));
    text(&output)
}

#[test]
fn a_district_makes_a_root_and_a_box_works_under_it() {
    let district = tempfile::tempdir().unwrap();
    let school = tempfile::tempdir().unwrap();
    std::fs::write(district.path().join("allowlist.toml"), LIST).unwrap();
    std::fs::write(district.path().join("words"), "four short plain words\n").unwrap();
    std::fs::write(district.path().join("short"), "short\n").unwrap();
    std::fs::write(school.path().join("allowlist.toml"), LIST).unwrap();
    std::fs::write(school.path().join("bulaq.toml"), "data = \"data\"\n").unwrap();

    let said = refused(district.path(), &["ca", "init", "--passphrase-file", "words"]);
    assert!(said.contains("--allowlist") && said.contains("--names"), "{said}");
    let init = ["ca", "init", "--allowlist", "allowlist.toml", "--names", "media.kz", "--passphrase-file"];
    let said = refused(district.path(), &[&init[..], &["short"]].concat());
    assert!(said.contains("fewer than 12 characters"), "{said}");
    assert!(!district.path().join("bulaq-ca").exists(), "nothing was made");
    let said = done(district.path(), &[&init[..], &["words"]].concat());
    assert!(said.contains("bulaq.internal, lessons.kz, media.kz") && said.contains("Keep this folder off the boxes"));
    let fingerprint = said.lines().find_map(|line| line.trim().strip_prefix("fingerprint ")).unwrap().trim();
    let fingerprint = fingerprint.split_whitespace().next().unwrap();
    let root = district.path().join("bulaq-ca/root.pem");
    let by_openssl = run(Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&root));
    assert!(text(&by_openssl).trim().ends_with(&format!("={fingerprint}")), "{}", text(&by_openssl));
    let mut opened = Command::new("openssl");
    opened.args(["pkey", "-noout", "-in", "bulaq-ca/root.key.pem", "-passin", "file:words"]);
    succeeds(opened.current_dir(district.path()));
    assert!(refused(district.path(), &[&init[..], &["words"]].concat()).contains("is not replaced"));

    let carried = school.path().join("request.pem");
    done(school.path(), &["ca", "request", "--out", "request.pem"]);
    let carried = carried.to_str().unwrap();
    let issue = ["ca", "issue", "--request", carried, "--passphrase-file"];
    assert!(refused(district.path(), &[&issue[..], &["short"]].concat()).contains("not the passphrase"));
    done(district.path(), &[&issue[..], &["words", "--days", "60"]].concat());
    let said = done(school.path(), &["ca", "install", "request.issued.pem"]);
    assert!(said.contains(fingerprint) && said.contains("Compare with the district's paper"), "{said}");
    assert!(!school.path().join("data/ca/root.key.pem").exists());

    let shown: serde_json::Value = serde_json::from_str(&done(school.path(), &["ca", "show", "--json"])).unwrap();
    assert_eq!((&shown["root"]["key"], &shown["root"]["sha256"]), (&"absent".into(), &fingerprint.into()));
    assert_eq!(shown["intermediate"]["names"], serde_json::json!(["bulaq.internal", "lessons.kz"]));
    assert_eq!(shown["intermediate"]["days_left"], 59);
    assert_eq!(shown["findings"], serde_json::json!([]));
    let said = done(school.path(), &["ca", "show"]);
    assert!(said.contains("vouch as a web server for bulaq.internal, lessons.kz and names below"), "{said}");

    // An allowlist that grows past the certificates: covered by the root, and not.
    let grown = LIST.replace("\"lessons.kz\"", "\"lessons.kz\", \"media.kz\", \"new.kz\"");
    std::fs::write(school.path().join("allowlist.toml"), grown).unwrap();
    let said = done(school.path(), &["ca", "show"]);
    assert!(said.contains("before the allowlist named media.kz") && said.contains("does not cover new.kz"), "{said}");

    for platform in ["windows", "apple", "android", "firefox", "chromeos", "linux"] {
        done(school.path(), &["ca", "export", "--for", platform, "--out", platform]);
        let readme = std::fs::read_to_string(school.path().join(platform).join("README.txt")).unwrap();
        assert!(readme.contains(&fingerprint[..48]), "{platform}: {readme}");
    }
    let mut script = Command::new("sh");
    script.args(["-n", "linux/install.sh"]).current_dir(school.path());
    succeeds(&mut script);
    let pem = done(school.path(), &["ca", "export", "--for", "linux", "--out", "-"]);
    assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), CertificateDer::from_pem_file(root).unwrap());
}

#[test]
fn a_single_school_keeps_the_root_on_the_box_and_locks_an_old_one() {
    let school = tempfile::tempdir().unwrap();
    std::fs::write(school.path().join("allowlist.toml"), LIST).unwrap();
    std::fs::write(school.path().join("bulaq.toml"), "data = \"data\"\n").unwrap();
    std::fs::write(school.path().join("words"), "four short plain words\n").unwrap();
    assert!(refused(school.path(), &["ca", "show"]).contains("`bulaq ca init` makes one"));
    let said = done(school.path(), &["ca", "init", "--passphrase-file", "words"]);
    assert!(said.contains("Keep the passphrase away from the box"), "{said}");
    // As a box from before keys were locked had it.
    let key = school.path().join("data/ca/root.key.pem");
    let mut unlock = Command::new("openssl");
    unlock.args(["pkey", "-in", "data/ca/root.key.pem", "-passin", "file:words", "-out", "plain.pem"]);
    succeeds(unlock.current_dir(school.path()));
    std::fs::copy(school.path().join("plain.pem"), &key).unwrap();
    assert!(std::fs::read_to_string(&key).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(done(school.path(), &["ca", "show"]).contains("WITHOUT a passphrase"));

    let said = done(school.path(), &["ca", "issue", "--passphrase-file", "words"]);
    assert!(said.contains("is locked with the passphrase now") && said.contains("It is in place"), "{said}");
    assert!(std::fs::read_to_string(&key).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert!(done(school.path(), &["ca", "show"]).contains("89 days left"));
    done(school.path(), &["ca", "issue", "--passphrase-file", "words"]);

    let mut open = Command::new("chmod");
    succeeds(open.args(["644", "data/ca/box.pem"]).current_dir(school.path()));
    assert!(refused(school.path(), &["ca", "show"]).contains("chmod 600 "));
}
