//! Who is served at the forward door.

use super::*;

#[tokio::test]
async fn the_forward_door_is_for_clients_alone() {
    let ask = b"GET http://lessons.kz/ HTTP/1.1\r\nHost: lessons.kz\r\nConnection: close\r\n\r\n";
    for (clients, served) in [("127.0.0.0/8", vec![200]), ("192.0.2.0/24", vec![])] {
        let clients = Clients::new(vec![clients.parse().unwrap()]);
        let test = TestBox::for_clients(clients).await;
        assert_eq!(statuses(&exchange(test.forward, ask).await), served);
        assert_eq!(test.seen.requests().len(), served.len());
        // The doors at which the box is taken for the site are for all.
        let site = exchange(test.http, b"GET / HTTP/1.1\r\nHost: lessons.kz\r\nConnection: close\r\n\r\n").await;
        assert_eq!(statuses(&site), [200]);
    }
}

#[tokio::test]
async fn a_stranger_is_reset_before_it_says_anything() {
    let test = TestBox::for_clients(Clients::new(Vec::new())).await;
    let mut stranger = TcpStream::connect(test.forward).await.unwrap();
    let ended = stranger.read_u8().await.unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(test.doors.of(doors::Outcome::NotAClient), 1);
}
