//! The box's own names over TLS, and the probe that shows trust.

use hyper_util::rt::{TokioExecutor, TokioIo};

use super::devices::{counted, origin};
use super::https::{open, root_of, trusting};
use super::*;
use crate::ingress::trust::{Class, Standing};
use crate::portal::names;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn ask(test: &TestBox, name: &str, host: &str) -> io::Result<Vec<u16>> {
    let mut client = open(test, &trusting(root_of(test), &["http/1.1"]), name).await?;
    client.write_all(format!("GET /mark HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    Ok(statuses(&rest(&mut client).await))
}

#[tokio::test]
async fn a_device_shows_its_trust_by_a_request_for_the_probe() {
    let (address, certificate) = origin(&["lessons.kz"]).await;
    let probe = names::probe_name().as_str();
    let test = TestBox::trusting(&[], address).await;
    // None of these is a proof: no TLS, the box's other name, another Host than the probe's, a bare connection.
    let plain = format!("GET / HTTP/1.1\r\nHost: {probe}\r\nConnection: close\r\n\r\n");
    assert_eq!(statuses(&exchange(test.http, plain.as_bytes()).await), [200]);
    assert_eq!(ask(&test, names::box_name().as_str(), names::box_name().as_str()).await.unwrap(), [200]);
    assert_eq!(ask(&test, probe, "lessons.kz").await.unwrap(), [200], "the stack of this test says yes to all");
    drop(open(&test, &trusting(root_of(&test), &[]), probe).await.unwrap());
    let counts = counted(&test, 3).await;
    assert_eq!(counts, [("terminated-own", 2), ("probe-refused", 1)]);
    assert!(!test.trust.trusts(PEER));
    assert!(ask(&test, "lessons.kz", "lessons.kz").await.is_err(), "the origin's own certificate");

    assert_eq!(ask(&test, probe, probe).await.unwrap(), [200]);
    assert_eq!(test.trust.standing(PEER, &"lessons.kz".parse().unwrap()), Standing::Trusts(Class::Probe));
    assert_eq!(ask(&test, "lessons.kz", "lessons.kz").await.unwrap(), [200]);
    assert_eq!(test.doors.of(doors::Outcome::TerminatedProbe), 1);

    // Another device at this address does not take the probe's certificate: none of them is trusted now.
    assert!(open(&test, &trusting(certificate, &[]), probe).await.is_err());
    counted(&test, 7).await;
    assert!(!test.trust.trusts(PEER));
    assert_eq!(ask(&test, probe, probe).await.unwrap(), [200]);
    assert!(!test.trust.trusts(PEER), "it comes too soon");
}

#[tokio::test]
async fn the_probe_counts_over_http_2_and_inside_a_connect() {
    let probe = names::probe_name().as_str();
    let connector = |test: &TestBox, alpn| trusting(root_of(test), &[alpn]);
    let test = TestBox::trusting(&[], SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let client = open(&test, &connector(&test, "h2"), probe).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("https://{probe}/mark")).body(content::empty()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);
    assert!(test.trust.trusts(PEER));

    let test = TestBox::trusting(&[], SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let mut client = TcpStream::connect(test.forward).await.unwrap();
    let connect = format!("CONNECT {probe}:443 HTTP/1.1\r\nHost: {probe}:443\r\n\r\n");
    client.write_all(connect.as_bytes()).await.unwrap();
    assert_eq!(statuses(&read_until(&mut client, "\r\n\r\n").await), [200]);
    let mut client = connector(&test, "http/1.1").connect(probe.try_into().unwrap(), client).await.unwrap();
    let request = format!("GET /mark HTTP/1.1\r\nHost: {probe}\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(statuses(&rest(&mut client).await), [200]);
    assert!(test.trust.trusts(PEER));

    let answer = exchange(test.forward, connect.replace(":443", ":80").as_bytes()).await;
    assert_eq!(statuses(&answer), [403], "own names are at the port of https alone");
    assert!(test.dialled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_device_that_refuses_several_hosts_must_show_its_trust_again() {
    let (address, certificate) = origin(&["lessons.kz"]).await;
    let test = TestBox::trusting(&[], address).await;
    let probe = names::probe_name().as_str();
    ask(&test, probe, probe).await.unwrap();
    for host in ["a.kz", "b.kz"] {
        test.trust.refused(PEER, &host.parse().unwrap(), trust::Refusal::OfTheCa);
    }
    assert!(open(&test, &trusting(certificate.clone(), &[]), "lessons.kz").await.is_err(), "the third");
    open(&test, &trusting(certificate, &[]), "lessons.kz").await.unwrap();
    assert!(!test.trust.trusts(PEER));
}
