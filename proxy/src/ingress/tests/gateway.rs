//! Gateway names over https: the operator's certificate, for every device, and one connection for all of them.

use std::os::unix::fs::PermissionsExt;

use bulaq_allowlist::HostName;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::https::{open, root_of, trusting};
use super::*;
use crate::ca::{CertificateFile, CertificateName};
use crate::ingress::doors::Outcome;
use crate::ingress::gateway::{Gateway, GatewayOptions};

const DOMAIN: &str = "lessons.school.example";

/// A box with a gateway, for devices that trust nothing of ours.
async fn with_gateway(files: &[CertificateFile]) -> TestBox {
    let domain = Some(HostName::parse(DOMAIN).unwrap());
    let options = IngressOptions { gateway: domain.clone(), ..IngressOptions::default() };
    let trust = TrustOptions { networks: Vec::new(), ..TrustOptions::default() };
    let list = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
    let seen = Arc::new(Seen::default());
    let gateway = GatewayOptions { domain, contact: None };
    let stack = Gateway::new(gateway, Arc::new(ArcSwap::from_pointee(list)), stack_of(&seen));
    let origin = SocketAddr::from(([127, 0, 0, 1], 9));
    TestBox::with_all((options, trust), files, origin, seen, stack, None).await
}

#[tokio::test]
async fn a_wildcard_certificate_serves_all_gateway_names_to_every_device() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec![format!("*.{DOMAIN}")]).unwrap();
    let (certificate, key) = (folder.path().join("gateway.pem"), folder.path().join("gateway.key"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let names = vec![CertificateName::parse(&format!("*.{DOMAIN}")).unwrap()];
    let test = with_gateway(&[CertificateFile { names, certificate, key }]).await;
    let connector = trusting(own.cert.der().clone(), &["h2"]);
    let client = open(&test, &connector, &format!("lessons-kz.{DOMAIN}")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    // Browsers ask for all names of the wildcard on one connection.
    for (host, status) in [
        (format!("lessons-kz.{DOMAIN}"), 200),
        (format!("portal-kz.{DOMAIN}"), 200),
        (format!("games-example.{DOMAIN}"), 403),
        (DOMAIN.to_owned(), 200),
    ] {
        let request = Request::get(format!("https://{host}/x")).body(content::empty()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{host}");
    }
    let requests = ["GET https://lessons.kz/x", "GET https://portal.kz/x", "GET https://lessons.school.example/x"];
    assert_eq!(test.seen.requests(), requests);
    let arrival = test.seen.arrival();
    assert_eq!((arrival.way, arrival.is_secure, arrival.server_name), (Way::Gateway, true, None));
    assert_eq!(test.doors.of(Outcome::TerminatedGateway), 1);
}

#[tokio::test]
async fn without_a_certificate_of_the_operators_there_is_no_https() {
    let test = with_gateway(&[]).await;
    for name in [DOMAIN.to_owned(), format!("lessons-kz.{DOMAIN}")] {
        let refused = open(&test, &trusting(root_of(&test), &["h2"]), &name).await.unwrap_err();
        assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    }
    assert_eq!(test.doors.of(Outcome::NoOwnCertificate), 2);
    let request = format!("GET /x HTTP/1.1\r\nHost: lessons-kz.{DOMAIN}\r\nConnection: close\r\n\r\n");
    assert_eq!(statuses(&exchange(test.http, request.as_bytes()).await), [200]);
    assert_eq!(test.seen.requests(), ["GET https://lessons.kz/x"]);
}

#[tokio::test]
async fn a_connection_for_a_site_is_none_for_a_gateway_name() {
    let domain = Some(HostName::parse(DOMAIN).unwrap());
    let list = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
    let seen = Arc::new(Seen::default());
    let gateway = GatewayOptions { domain, contact: None };
    let stack = Gateway::new(gateway, Arc::new(ArcSwap::from_pointee(list)), stack_of(&seen));
    let test = TestBox::with_stack(stack, &[]).await;
    let mut client = open(&test, &trusting(root_of(&test), &["http/1.1"]), "lessons.kz").await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: portal-kz.{DOMAIN}\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(statuses(&rest(&mut client).await), [421]);
    assert!(seen.requests().is_empty());
}
