//! A request for a host that the connection was not opened for: 421 (RFC 9110 §15.5.20), with the box's own stack.

use hyper_util::rt::{TokioExecutor, TokioIo};

use super::https::{open, root_of, trusting};
use super::*;
use crate::ledger::LedgerOptions;
use crate::origin::OriginOptions;
use crate::request::RequestOptions;
use crate::serve::{RoomOptions, Rooms};
use crate::store::StoreOptions;

#[tokio::test]
async fn one_name_a_connection_over_http_1_and_2() {
    let folder = tempfile::tempdir().unwrap();
    let store = StoreOptions { ballast_bytes: 0, free_bytes_min: 0, ..StoreOptions::new(folder.path().join("store")) };
    let options = RoomOptions {
        data: folder.path().to_owned(),
        store,
        origin: OriginOptions::default(),
        ledger: LedgerOptions::default(),
        request: RequestOptions::default(),
    };
    let list = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
    let rooms = Rooms::open(options, list, clock()).unwrap();
    let test = TestBox::with_stack(rooms.stack.clone()).await;
    // A site that is listed, one that is not, the box's own name and an address: none of them is this connection's.
    for host in ["portal.kz", "other.kz", "bulaq.internal", "localhost", "127.0.0.1"] {
        let mut client = open(&test, &trusting(root_of(&test), &["http/1.1"]), "lessons.kz").await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(statuses(&rest(&mut client).await), [421], "{host}");

        let client = open(&test, &trusting(root_of(&test), &["h2"]), "lessons.kz").await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("https://{host}/")).body(content::empty()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 421, "{host} over HTTP/2");
    }
}
