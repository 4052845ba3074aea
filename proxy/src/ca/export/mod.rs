//! The root certificate in the shape that each kind of device takes, with the steps and the fingerprint to compare.
//!
//! Pure: a certificate and its description go in, files as text or bytes come out. Nothing of it is secret.

mod apple;
mod guides;

use super::{Root, day_text};

/// Bytes of one line of base64 in PEM (RFC 7468 §2).
const LINE_CHARS: usize = 64;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Windows in a domain, or by hand.
    Windows,
    /// iPhone, iPad and Mac.
    Apple,
    /// Phones and tablets with Android.
    Android,
    /// Firefox on any system.
    Firefox,
    /// Chromebooks.
    ChromeOs,
    /// Linux.
    Linux,
}

/// A file to hand out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFile {
    /// Its name; what it ends in matters to the device.
    pub name: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Platform {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 6] = [Self::Windows, Self::Apple, Self::Android, Self::Firefox, Self::ChromeOs, Self::Linux];

    /// The word for `--for`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Apple => "apple",
            Self::Android => "android",
            Self::Firefox => "firefox",
            Self::ChromeOs => "chromeos",
            Self::Linux => "linux",
        }
    }
}

/// What a device of this kind needs to trust the root: first the file that is installed, last README.txt.
pub fn export(platform: Platform, root: &Root, der: &[u8]) -> Vec<ExportFile> {
    let text = |name, text: String| ExportFile { name, bytes: text.into_bytes() };
    let mut files = match platform {
        Platform::Windows => vec![
            ExportFile { name: "bulaq-root.cer", bytes: der.to_vec() },
            text("install.ps1", guides::powershell(root)),
        ],
        Platform::Apple => vec![text("bulaq-root.mobileconfig", apple::profile(root, der))],
        Platform::Android => vec![ExportFile { name: "bulaq-root.crt", bytes: der.to_vec() }],
        Platform::Firefox => vec![text("policies.json", guides::firefox_policies()), text("bulaq-root.pem", pem(der))],
        Platform::ChromeOs => vec![text("bulaq-root.pem", pem(der))],
        // update-ca-certificates takes PEM in files that end in .crt, and no others.
        Platform::Linux => vec![text("bulaq-root.crt", pem(der)), text("install.sh", guides::shell(root))],
    };
    files.push(text("README.txt", readme(platform, root)));
    files
}

fn readme(platform: Platform, root: &Root) -> String {
    let names: Vec<String> = root.scope.names().map(|name| format!("  {name}")).collect();
    format!(
        "The root certificate of the school's lesson cache, valid until {until}\n\n\
         Before you install it, compare this with the paper of the district. If one character differs, do not install it:\n\n  \
         SHA-256  {first}\n           {second}\n\n\
         It can vouch for these names and all below them, and for nothing else:\n\n{names}\n\n{steps}\n\
         To remove it later: {removal}\n",
        until = day_text(root.until),
        first = &root.sha256[..48],
        second = &root.sha256[48..],
        names = names.join("\n"),
        steps = guides::steps(platform),
        removal = guides::removal(platform),
    )
}

/// A certificate as PEM.
fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", base64_lines(der, ""))
}

/// Base64 (RFC 4648 §4) in lines that begin with `indent`.
fn base64_lines(bytes: &[u8], indent: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    let mut column = 0;
    for group in bytes.chunks(3) {
        if column == 0 {
            text.push_str(indent);
        }
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for position in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * position)) as usize & 63];
            text.push(if position <= group.len() { char::from(digit) } else { '=' });
        }
        column += 4;
        if column == LINE_CHARS {
            text.push('\n');
            column = 0;
        }
    }
    if column != 0 {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bulaq_allowlist::HostName;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::super::{Scope, authority, mint, read};
    use super::*;

    fn root() -> (Root, Vec<u8>) {
        let scope = Scope::new(HostName::parse("lessons.kz").into_iter()).and_own_names();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let certificate = mint::root(&mint::key().unwrap(), &scope, now).unwrap();
        let says = read::ca_certificate(certificate.der()).unwrap();
        let root = authority::describe_root(std::path::Path::new("ca"), certificate.der(), &says);
        (root, certificate.der().to_vec())
    }

    fn file(platform: Platform, name: &str) -> Vec<u8> {
        let (root, der) = root();
        export(platform, &root, &der).into_iter().find(|file| file.name == name).unwrap().bytes
    }

    #[test]
    fn every_platform_gets_the_certificate_and_the_fingerprint_to_compare() {
        let (root, der) = root();
        for platform in Platform::ALL {
            let files = export(platform, &root, &der);
            let whole = |file: &ExportFile| {
                file.bytes == der
                    || CertificateDer::from_pem_slice(&file.bytes).is_ok_and(|certificate| certificate.as_ref() == der)
                    || String::from_utf8_lossy(&file.bytes)
                        .replace(['\n', '\t'], "")
                        .contains(&base64_lines(&der, "").replace('\n', ""))
            };
            assert!(files.iter().any(whole), "{platform:?} has no certificate");
            let readme = String::from_utf8(files.last().unwrap().bytes.clone()).unwrap();
            for half in [&root.sha256[..48], &root.sha256[48..]] {
                assert!(readme.contains(half), "{readme}");
            }
            assert!(readme.contains("lessons.kz") && readme.contains("To remove it"), "{readme}");
        }
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648 §10
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64_lines(text.as_bytes(), "").trim_end(), expected);
        }
        assert_eq!(base64_lines(&[0; 48], "\t"), format!("\t{}\n", "A".repeat(64)));
        let (_, der) = root();
        assert_eq!(CertificateDer::from_pem_slice(pem(&der).as_bytes()).unwrap().as_ref(), der);
    }

    #[test]
    fn the_profile_is_well_formed_and_says_the_same_each_time() {
        let (root, der) = root();
        let profile = || apple::profile(&root, &der);
        assert_eq!(profile(), profile(), "a profile that is installed again replaces the first");
        let text = profile();
        let mut reader = quick_xml::Reader::from_str(&text);
        let mut depth = 0;
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Start(_) => depth += 1,
                quick_xml::events::Event::End(_) => depth -= 1,
                quick_xml::events::Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0);
        let (other, other_der) = self::root();
        let uuid =
            |text: String| text.split("PayloadUUID</key>").nth(1).unwrap().split("string>").nth(1).unwrap().to_owned();
        assert_ne!(uuid(profile()), uuid(apple::profile(&other, &other_der)));
    }

    #[test]
    fn the_policy_is_json_that_names_the_certificate() {
        let policies: serde_json::Value = serde_json::from_slice(&file(Platform::Firefox, "policies.json")).unwrap();
        assert_eq!(policies["policies"]["Certificates"]["Install"][0], "bulaq-root.pem");
        assert!(!file(Platform::Firefox, "bulaq-root.pem").is_empty());
    }
}
