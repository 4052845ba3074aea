//! A request for a host that the connection was not opened for: 421 (RFC 9110 §15.5.20), with the box's own stack.

use std::os::unix::fs::PermissionsExt;

use hyper_util::rt::{TokioExecutor, TokioIo};

use super::https::{open, root_of, trusting};
use super::*;
use crate::ca::{CertificateFile, CertificateName};
use crate::ledger::LedgerOptions;
use crate::origin::{HostOverride, OriginOptions};
use crate::request::RequestOptions;
use crate::serve::{RoomOptions, Rooms};
use crate::store::StoreOptions;

#[tokio::test]
async fn one_name_a_connection_over_http_1_and_2() {
    let folder = tempfile::tempdir().unwrap();
    let store = StoreOptions { ballast_bytes: 0, free_bytes_min: 0, ..StoreOptions::new(folder.path().join("store")) };
    let (closed, _held) = nobody();
    let closed = HostOverride { ip: closed.ip(), port: Some(closed.port()) };
    let options = RoomOptions {
        data: folder.path().to_owned(),
        store,
        origin: OriginOptions {
            hosts: [("a.wild.kz".parse().unwrap(), vec![closed])].into(),
            ..OriginOptions::default()
        },
        ledger: LedgerOptions::default(),
        request: RequestOptions::default(),
    };
    let list = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
    let rooms = Rooms::open(options, list, clock()).unwrap();
    // The school's own certificate covers every host of the wild site, and yet each connection is for one of them.
    let own = rcgen::generate_simple_self_signed(vec!["*.wild.kz".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("wild.pem"), folder.path().join("wild.key"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let names = vec![CertificateName::parse("*.wild.kz").unwrap()];
    let test = TestBox::with_stack(rooms.stack.clone(), &[CertificateFile { names, certificate, key }]).await;
    let asked = async |root, alpn: &[&str], name: &str, host: &str| {
        let mut client = open(&test, &trusting(root, alpn), name).await.unwrap();
        if alpn == ["h2"] {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get(format!("https://{host}/")).body(content::empty()).unwrap();
            return sender.send_request(request).await.unwrap().status().as_u16();
        }
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        statuses(&rest(&mut client).await)[0]
    };
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let wild = own.cert.der();
        assert_eq!(asked(wild.clone(), alpn, "a.wild.kz", "b.wild.kz").await, 421, "{alpn:?}");
        assert_ne!(
            asked(wild.clone(), alpn, "a.wild.kz", "a.wild.kz").await,
            421,
            "the way out is closed, that is all"
        );
        // A site that is listed, one that is not, the box's own name and an address: none of them is this connection's.
        for host in ["portal.kz", "other.kz", "bulaq.internal", "localhost", "127.0.0.1"] {
            assert_eq!(asked(root_of(&test), alpn, "lessons.kz", host).await, 421, "{host} by {alpn:?}");
        }
    }
}
