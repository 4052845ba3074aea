//! Certificates of the school's own: are they valid, for their hosts, and are their keys kept?

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulaq_allowlist::Allowlist;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Finding;
use crate::ca::{CertificateFile, CertificateName};
use crate::clock::Clock;
use crate::config::Config;

const CHECK: &str = "certificates";

/// From how long before its end a certificate is spoken of: whoever must bring a new one needs some days.
const RENEW_BEFORE: Duration = Duration::from_secs(21 * 24 * 60 * 60);

const DAY_S: u64 = 24 * 60 * 60;

/// What is known of one file.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    path: PathBuf,
    host: String,
    /// Whether the host is on the list.
    is_listed: bool,
    /// None when the file holds no certificate that can be read.
    certificate: Option<Certificate>,
    key_mode: Option<u32>,
    now: SystemTime,
}

#[derive(Clone, Debug)]
struct Certificate {
    from: SystemTime,
    until: SystemTime,
    covers_host: bool,
}

/// Reads the files that the configuration names.
pub(super) fn gather(config: &Config, list: &Allowlist, clock: &Clock) -> Vec<Facts> {
    let now = clock.now();
    let each = |file: &CertificateFile| {
        let of_name = |name: &CertificateName| {
            let (shown, example, is_listed) = match name {
                // The gateway's domain is of no site, nor are the names below it, for which wildcards are brought.
                CertificateName::Host(host) => {
                    let is_listed = list.site_of(host).is_some() || config.ingress.gateway.as_ref() == Some(host);
                    (host.to_string(), host.to_string(), is_listed)
                }
                CertificateName::Below(host) => (format!("*.{host}"), format!("any.{host}"), true),
            };
            Facts {
                path: file.certificate.clone(),
                host: shown,
                is_listed,
                certificate: read(&file.certificate, &example),
                key_mode: std::fs::metadata(&file.key).ok().map(|metadata| metadata.mode()),
                now,
            }
        };
        file.names.iter().map(of_name).collect::<Vec<_>>()
    };
    config.certificates.iter().flat_map(each).collect()
}

fn read(path: &Path, host: &str) -> Option<Certificate> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let names = certificate.subject_alternative_name().ok().flatten();
    let covers = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(name) if matches_name(name, host));
    Some(Certificate {
        from: at(certificate.validity().not_before.timestamp()),
        until: at(certificate.validity().not_after.timestamp()),
        covers_host: names.is_some_and(|names| names.value.general_names.iter().any(covers)),
    })
}

/// Whether a name of a certificate is that of `host`; `*` stands for one label, the first (RFC 6125 §6.4.3).
fn matches_name(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// What that means.
pub(super) fn judge(files: &[Facts]) -> Vec<Finding> {
    files.iter().flat_map(judge_one).collect()
}

fn judge_one(facts: &Facts) -> Vec<Finding> {
    let (path, host) = (facts.path.display(), &facts.host);
    let renew = "put a new one in its place; the box that serves takes it within a minute";
    let Some(certificate) = &facts.certificate else {
        let what = format!("{path} for {host} cannot be read as a certificate");
        return vec![Finding::error(CHECK, what, "it must be PEM, and readable for the account of the box")];
    };
    let mut findings = Vec::new();
    let mode = facts.key_mode;
    if mode.is_none_or(|mode| mode & 0o077 != 0) {
        let what = match mode {
            Some(_) => format!("the key of {path} is open to other accounts"),
            None => format!("the key of {path} is not there, or this account may not look at it"),
        };
        findings.push(Finding::error(CHECK, what, "chmod 600, owned by the account of the box"));
    }
    if !certificate.covers_host {
        let what = format!("{path} is not for {host}: devices would be warned");
        findings.push(Finding::error(CHECK, what, "bring one whose names (subjectAltName) have this host"));
    }
    if !facts.is_listed {
        let what = format!("{path} is for {host}, which is of no site of the allowlist");
        findings.push(Finding::warning(CHECK, what, "permit the site, or remove the entry from [tls.certificates]"));
    }
    let left = certificate.until.duration_since(facts.now).unwrap_or_default();
    if facts.now < certificate.from {
        let what = format!("{path} for {host} is not valid yet");
        findings.push(Finding::error(CHECK, what, "is the clock right?"));
    } else if left.is_zero() {
        findings.push(Finding::error(CHECK, format!("{path} for {host} has expired"), renew));
    } else if left < RENEW_BEFORE {
        let days = left.as_secs() / DAY_S;
        findings.push(Finding::warning(CHECK, format!("{path} for {host} ends in {days} days"), renew));
    } else if findings.is_empty() {
        let days = left.as_secs() / DAY_S;
        findings.push(Finding::ok(CHECK, format!("{path} for {host} is valid for {days} more days")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::tests::worst;
    use super::*;

    #[test]
    fn dates_names_and_keys_are_judged() {
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let days = |days: u64| Duration::from_secs(days * DAY_S);
        let good = Facts {
            path: "/etc/bulaq/a.pem".into(),
            host: "a.kz".to_owned(),
            is_listed: true,
            certificate: Some(Certificate { from: now - days(10), until: now + days(80), covers_host: true }),
            key_mode: Some(0o100_600),
            now,
        };
        let certificate = |change: fn(&mut Certificate, SystemTime)| {
            let mut facts = good.clone();
            change(facts.certificate.as_mut().unwrap(), now);
            facts
        };
        for (facts, state, words) in [
            (good.clone(), State::Ok, "80 more days"),
            (certificate(|it, now| it.until = now + RENEW_BEFORE - Duration::from_secs(1)), State::Warning, "20 days"),
            (certificate(|it, now| it.until = now), State::Error, "expired"),
            (certificate(|it, now| it.from = now + Duration::from_secs(1)), State::Error, "not valid yet"),
            (certificate(|it, _| it.covers_host = false), State::Error, "is not for a.kz"),
            (Facts { certificate: None, ..good.clone() }, State::Error, "cannot be read"),
            (Facts { key_mode: Some(0o100_644), ..good.clone() }, State::Error, "open to other accounts"),
            (Facts { key_mode: None, ..good.clone() }, State::Error, "is not there"),
            (Facts { is_listed: false, ..good.clone() }, State::Warning, "no site"),
        ] {
            let findings = judge_one(&facts);
            assert_eq!(worst(&findings), state, "{findings:?}");
            assert!(findings.iter().any(|finding| finding.what.contains(words)), "{words}: {findings:?}");
            assert!(findings.iter().flat_map(|it| &it.advice).all(|advice| !advice.contains("start")), "{findings:?}");
        }
    }

    #[test]
    fn a_file_is_read_with_its_dates_and_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        assert!(read(&path, "a.kz").is_none());
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["a.kz".to_owned(), "*.media.a.kz".to_owned()];
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        (parameters.not_before, parameters.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
        std::fs::write(&path, parameters.self_signed(&key).unwrap().pem()).unwrap();
        let certificate = read(&path, "a.kz").unwrap();
        assert_eq!(certificate.until, UNIX_EPOCH + Duration::from_secs(1_609_459_200));
        for (host, is_covered) in
            [("a.kz", true), ("x.media.a.kz", true), ("media.a.kz", false), ("y.x.media.a.kz", false), ("b.kz", false)]
        {
            assert_eq!(read(&path, host).unwrap().covers_host, is_covered, "{host}");
        }
    }
}
