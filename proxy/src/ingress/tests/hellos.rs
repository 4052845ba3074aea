//! What the https door is told first, and what it answers to what is no good ClientHello.

use super::devices::counted;
use super::https::{open, root_of, trusting};
use super::*;

fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

/// A ClientHello in one record; it names `name` as a host, if anything, and has what else is given.
pub(super) fn hello(name: Option<&[u8]>, more: &[u8]) -> Vec<u8> {
    let mut extensions = more.to_vec();
    if let Some(name) = name {
        let length = u16::try_from(name.len()).unwrap();
        let list = [&[0][..], &length.to_be_bytes(), name].concat();
        extensions.extend([&[0, 0][..], &(length + 5).to_be_bytes(), &(length + 3).to_be_bytes(), &list].concat());
    }
    let length = u16::try_from(extensions.len()).unwrap();
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &length.to_be_bytes(), &extensions].concat();
    let length = u16::try_from(body.len()).unwrap();
    let record = u16::to_be_bytes(length + 4);
    [&[22, 3, 1][..], &record, &[1, 0], &length.to_be_bytes(), &body].concat()
}

const TLS13: &[u8] = &[0, 43, 0, 3, 2, 3, 4];

#[tokio::test]
async fn what_is_no_good_is_closed_with_the_alert_that_fits_and_counted() {
    let cases: [(&str, Vec<u8>, Vec<u8>, &str); 16] = [
        ("garbage", vec![0; 5_000], vec![], "not-tls"),
        ("another protocol", b"\x00\x00\x00\x2fhello".to_vec(), vec![], "not-tls"),
        ("http", b"GET / HTTP/1.1\r\nHost: lessons.kz\r\n\r\n".to_vec(), vec![], "plain-http"),
        ("http/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), vec![], "plain-http"),
        ("SSL 2.0", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(), alert(70), "ssl2"),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28".to_vec(), alert(10), "unexpected-message"),
        ("application data", b"\x17\x03\x03\x00\x01\x00".to_vec(), alert(10), "unexpected-message"),
        ("a ServerHello", b"\x16\x03\x03\x00\x04\x02\x00\x00\x00".to_vec(), alert(10), "unexpected-message"),
        ("two names", hello(Some(b"lessons.kz"), &[0, 0, 0, 6, 0, 4, 0, 0, 1, b'a']), alert(50), "malformed-hello"),
        ("a long record", b"\x16\x03\x01\x7f\xff".to_vec(), alert(22), "oversized-hello"),
        ("a long hello", b"\x16\x03\x01\x00\x04\x01\x01\x00\x00".to_vec(), alert(47), "oversized-hello"),
        ("no name, TLS 1.3", hello(None, TLS13), alert(109), "no-name"),
        ("no name, TLS 1.2", hello(None, &[]), alert(40), "no-name"),
        ("an address", hello(Some(b"192.0.2.1"), TLS13), alert(112), "bad-name"),
        ("no host name", hello(Some(b"a b"), TLS13), alert(112), "bad-name"),
        ("an unlisted host", hello(Some(b"other.kz"), TLS13), alert(112), "not-listed"),
    ];
    let test = TestBox::without_origin().await;
    for (nth, (what, bytes, answer, word)) in cases.iter().enumerate() {
        let mut client = TcpStream::connect(test.https).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(told, *answer, "{what}");
        let before: u64 = cases[..nth].iter().filter(|(.., other)| other == word).count() as u64;
        let counts = counted(&test, nth as u64 + 1).await;
        assert!(counts.contains(&(*word, before + 1)), "{what}: {counts:?}");
    }
    assert!(test.dialled.lock().unwrap().is_empty() && test.seen.requests().is_empty());
}

#[tokio::test]
async fn who_says_nothing_or_not_enough_is_closed_in_time() {
    let limits = Limits { head_wait_s: 1, ..Limits::default() };
    let test = TestBox::start(limits, SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let whole = hello(Some(b"lessons.kz"), TLS13);
    for (total, said, word) in [(1, &[][..], "silent"), (2, &whole[..whole.len() - 1], "slow-hello")] {
        let mut client = TcpStream::connect(test.https).await.unwrap();
        client.write_all(said).await.unwrap();
        assert_eq!(rest(&mut client).await, "");
        assert!(counted(&test, total).await.contains(&(word, 1)), "{word}");
    }
    drop(TcpStream::connect(test.https).await.unwrap());
    let mut client = TcpStream::connect(test.https).await.unwrap();
    client.write_all(&whole[..9]).await.unwrap();
    drop(client);
    assert_eq!(counted(&test, 4).await, [("slow-hello", 1), ("unfinished-hello", 1), ("silent", 2)]);
}

#[tokio::test]
async fn a_hello_with_everything_that_is_new_passes_in_pieces() {
    // GREASE, an outer hello of Encrypted Client Hello, a post-quantum key share, and an ALPN that nobody knows.
    let key_share = [&[0, 51, 4, 0xc6, 4, 0xc4, 0x11, 0xec, 4, 0xc0][..], &[9; 0x4c0]].concat();
    let ech = [&[0xfe, 0x0d, 0, 200][..], &[0; 200]].concat();
    let alpn = [&[0, 16, 0, 9, 0, 7, 6][..], b"acme/9"].concat();
    let more = [&[0x4a, 0x4a, 0, 0][..], &ech, &key_share, &alpn, TLS13, &[0xfa, 0xfa, 0, 1, 0]].concat();
    let one_record = hello(Some(b"portal.kz"), &more);
    assert!(one_record.len() > 1_480);
    let message = &one_record[5..];
    let in_records = |content: &[u8]| [&[22, 3, 1][..], &u16::to_be_bytes(content.len() as u16), content].concat();
    let records: Vec<u8> = message.chunks(100).flat_map(in_records).collect();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut test = TestBox::start(Limits::default(), listener.local_addr().unwrap()).await;
    for (bytes, piece) in [(&one_record, 1_448), (&one_record, 7), (&records, 1_448), (&records, 3)] {
        let mut client = TcpStream::connect(test.https).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut reader, mut writer) = client.split();
        let send = async {
            for piece in bytes.chunks(piece) {
                writer.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let origin = async {
            let (mut origin, _) = listener.accept().await.unwrap();
            let mut came = vec![0; bytes.len()];
            origin.read_exact(&mut came).await.unwrap();
            assert_eq!(came, **bytes, "untouched");
            origin.write_all(b"answer").await.unwrap();
        };
        tokio::join!(send, origin);
        assert_eq!(rest(&mut reader).await, "answer");
        drop(client);
        let receipt = test.receipts.recv().await.unwrap();
        assert_eq!((receipt.sent_bytes, receipt.lan_bytes), (bytes.len() as u64, 6));
    }
    assert_eq!(counted(&test, 4).await, [("spliced-by-list", 4)]);
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_is_told_by_an_alert() {
    let (nobody, _held) = nobody();
    let test = TestBox::start(Limits::default(), nobody).await;
    let mut client = TcpStream::connect(test.https).await.unwrap();
    client.write_all(&hello(Some(b"portal.kz"), TLS13)).await.unwrap();
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    assert_eq!(told, alert(80));
    assert_eq!(counted(&test, 1).await, [("origin-unreachable", 1)]);
}

async fn is_answered(test: &TestBox) {
    let mut good = open(test, &trusting(root_of(test), &["http/1.1"]), "lessons.kz").await.unwrap();
    good.write_all(b"GET / HTTP/1.1\r\nHost: lessons.kz\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(statuses(&rest(&mut good).await), [200]);
}

#[tokio::test]
async fn a_thousand_bad_and_a_thousand_slow_hellos_leave_room_for_a_good_one() {
    let test = TestBox::without_origin().await;
    let whole = hello(Some(b"lessons.kz"), TLS13);
    let mut slow = Vec::new();
    for number in 0..1_000 {
        let mut client = TcpStream::connect(test.https).await.unwrap();
        client.write_all(&whole[..number % whole.len()]).await.unwrap();
        slow.push(client);
        let mut client = TcpStream::connect(test.https).await.unwrap();
        client.write_all(&[u8::try_from(number % 251).unwrap(); 600]).await.unwrap();
        if number % 50 == 0 {
            is_answered(&test).await;
        }
    }
    is_answered(&test).await;
    drop(slow);
}
