//! Whom a browser trusts: NSS stores, made by `certutil`, and certificates read back.

use std::path::Path;
use std::process::Command;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::process::run;

const MISSING: &str = "this test wants certutil: apt-get install libnss3-tools";

/// A store in `folder` that trusts these roots for sites.
pub fn store(folder: &Path, roots: &[&Path]) {
    std::fs::create_dir_all(folder).unwrap();
    let place = format!("sql:{}", folder.display());
    let (is_made, said) = run(Command::new("certutil").args(["-N", "--empty-password", "-d", &place]), MISSING);
    assert!(is_made, "{said}");
    for (number, root) in roots.iter().enumerate() {
        let mut command = Command::new("certutil");
        command.args(["-A", "-d", &place, "-t", "C,,", "-n", &format!("root {number}"), "-i"]).arg(root);
        let (is_added, said) = run(&mut command, MISSING);
        assert!(is_added, "{}: {said}", root.display());
    }
}

/// Where Chromium on Linux looks, in a home.
pub fn chromium(home: &Path, roots: &[&Path]) {
    store(&home.join(".pki/nssdb"), roots);
}

/// The common name of who signed this certificate.
pub fn issuer(certificate: &CertificateDer<'_>) -> String {
    let (_, certificate) = X509Certificate::from_der(certificate).expect("a certificate");
    let mut names = certificate.issuer().iter_common_name();
    names.next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
}

/// Who signed each certificate in a JSON text, in the order of the alphabet, each once.
pub fn issuers_in(text: &str) -> Vec<String> {
    let text = text.replace("\\n", "\n").replace("-----BEGIN", "\n-----BEGIN");
    let certificates =
        CertificateDer::pem_slice_iter(text.as_bytes()).map(|read| issuer(&read.expect("a certificate")));
    let mut issuers: Vec<String> = certificates.collect();
    issuers.sort_unstable();
    issuers.dedup();
    issuers
}
