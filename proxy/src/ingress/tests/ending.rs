//! How connections end: too many, too slow, or because the box stops.

use super::*;

#[tokio::test]
async fn a_client_with_too_many_connections_gets_no_more() {
    let limits = Limits { connections_per_client_max: 4, ..Limits::default() };
    let test = TestBox::start(limits, SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let request = b"GET /1 HTTP/1.1\r\nHost: a.kz\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = TcpStream::connect(test.http).await.unwrap();
        client.write_all(request).await.unwrap();
        read_until(&mut client, "fine").await;
        clients.push(client);
    }
    assert_eq!(exchange(test.http, request).await, "", "the fifth is closed without a word");

    // One that ends makes room for another, as soon as the box has noticed.
    let mut last = clients.pop().unwrap();
    last.write_all(b"GET /2 HTTP/1.1\r\nHost: a.kz\r\nConnection: close\r\n\r\n").await.unwrap();
    rest(&mut last).await;
    drop(last);
    let mut again = String::new();
    while again.is_empty() {
        again = exchange(test.http, b"GET /3 HTTP/1.1\r\nHost: a.kz\r\nConnection: close\r\n\r\n").await;
    }
    assert_eq!(statuses(&again), [200]);
}

#[tokio::test]
async fn stopping_lets_a_download_finish_and_takes_nothing_new() {
    let test = TestBox::without_origin().await;
    let mut idle = TcpStream::connect(test.http).await.unwrap();
    idle.write_all(b"GET /1 HTTP/1.1\r\nHost: a.kz\r\n\r\n").await.unwrap();
    read_until(&mut idle, "fine").await;
    let mut download = TcpStream::connect(test.http).await.unwrap();
    download.write_all(b"GET /parts HTTP/1.1\r\nHost: a.kz\r\n\r\n").await.unwrap();
    read_until(&mut download, "first \r\n").await;

    test.shutdown.ask();
    assert_eq!(rest(&mut idle).await, "", "an idle connection ends at once");
    test.seen.go_on.notify_one();
    assert!(rest(&mut download).await.ends_with("last\r\n0\r\n\r\n"), "the download comes to its end");
    test.serving.await.unwrap();
    assert!(TcpStream::connect(test.http).await.is_err(), "the door is closed");
}

#[tokio::test]
async fn a_second_word_does_not_wait() {
    let test = TestBox::without_origin().await;
    let mut client = TcpStream::connect(test.http).await.unwrap();
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: a.kz\r\n\r\n").await.unwrap();
    test.seen.waiting.notified().await;
    test.shutdown.ask();
    test.shutdown.ask();
    test.serving.await.unwrap();
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn draining_has_an_end() {
    let limits = Limits { drain_s: 0, ..Limits::default() };
    let test = TestBox::start(limits, SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let mut client = TcpStream::connect(test.http).await.unwrap();
    client.write_all(b"GET /parts HTTP/1.1\r\nHost: a.kz\r\n\r\n").await.unwrap();
    read_until(&mut client, "first \r\n").await;
    test.shutdown.ask();
    test.serving.await.unwrap();
    assert!(!rest(&mut client).await.ends_with("0\r\n\r\n"), "what was cut does not look whole");
}

#[tokio::test]
async fn a_stopping_box_does_not_wait_for_a_client_hello() {
    let test = TestBox::without_origin().await;
    let mut silent = TcpStream::connect(test.https).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap();
    test.shutdown.ask();
    test.serving.await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
}

/// One connection of the http door without a socket, so that time can stand still. Gives the client's end, and what
/// the stack has seen.
fn without_socket() -> (tokio::io::DuplexStream, Arc<Seen>, JoinHandle<()>) {
    let (client, ours) = tokio::io::duplex(1024);
    let seen = Arc::<Seen>::default();
    let origin = TestOrigin { address: SocketAddr::from(([127, 0, 0, 1], 9)), dialled: Arc::default() };
    let trust = Arc::new(Trust::new(TrustOptions::default(), clock()));
    let inside = inside(
        stack_of(&seen),
        Allowlist::default(),
        origin,
        Certificates::default(),
        trust,
        &Shutdown::new(),
        Arc::new(|_| ()),
    );
    let behind = Arc::new(Behind::new(inside, IngressOptions::default()).unwrap());
    let arrival = Arrival {
        way: Way::Reverse,
        is_secure: false,
        local_port: 80,
        original: None,
        forward_door: None,
        server_name: None,
        may_see_status: false,
        may_purge: false,
    };
    let place = Places::new(1, PerClient::new(1));
    let serving = tokio::spawn(async move {
        let peer = [127, 0, 0, 1].into();
        let place = place.give(place.free().await, peer).unwrap();
        let caller = Caller { peer, _place: Arc::new(place) };
        connection::serve(behind, ours, connection::by_itself, arrival, caller).await;
    });
    (client, seen, serving)
}

/// After how many seconds the box ends the connection when the client sends this and then nothing, and the statuses
/// of its answers.
async fn ends_after(bytes: &[u8]) -> (u64, Vec<u16>) {
    let (mut client, _seen, serving) = without_socket();
    client.write_all(bytes).await.unwrap();
    let start = tokio::time::Instant::now();
    let answer = rest(&mut client).await;
    serving.await.unwrap();
    (start.elapsed().as_secs(), statuses(&answer))
}

#[tokio::test(start_paused = true)]
async fn no_client_holds_a_connection_for_ever() {
    let Limits { head_wait_s: head, idle_s: idle, request_body_wait_s: body, .. } = Limits::default();
    let get = b"GET / HTTP/1.1\r\nHost: a.kz\r\n\r\n";
    let post = b"POST / HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 9\r\n\r\n1234";
    assert_eq!(ends_after(b"").await, (head, vec![]));
    assert_eq!(ends_after(b"GET / HTTP/1.1\r\nHost: a.").await, (head, vec![]));
    // Whether something happened is looked at once in each idle period.
    assert_eq!(ends_after(get).await, (2 * idle, vec![200]));
    let (after, answers) = ends_after(&[&get[..], b"GET /"].concat()).await;
    assert!(after <= 2 * head && answers == [200], "{after} {answers:?}");
    assert_eq!(ends_after(post).await, (body, vec![400]));
    assert_eq!(ends_after(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await, (idle, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_slow_origin_is_waited_for() {
    let (mut client, seen, serving) = without_socket();
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: a.kz\r\nConnection: close\r\n\r\n").await.unwrap();
    seen.waiting.notified().await;
    tokio::time::sleep(Duration::from_secs(2 * Limits::default().idle_s)).await;
    seen.go_on.notify_one();
    assert!(rest(&mut client).await.ends_with("waited"));
    serving.await.unwrap();
}
