//! Clients that send what costs us more than them: each connection is ended, and others are served meanwhile.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn request_fields() -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/flood"), (":authority", "a.kz")];
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// Sends all of it and keeps its own side open: comes back when the box has ended the connection.
async fn is_ended_after(door: SocketAddr, frames: impl Iterator<Item = Vec<u8>>) {
    let (mut reader, mut writer) = TcpStream::connect(door).await.unwrap().into_split();
    let ended = tokio::spawn(async move { rest(&mut reader).await });
    let mut is_open = writer.write_all(PREFACE).await.is_ok();
    for frame in frames {
        is_open = is_open && writer.write_all(&frame).await.is_ok();
    }
    ended.await.unwrap();
    drop(writer);
}

async fn is_served(test: &TestBox) -> bool {
    let answer = exchange(test.http, b"GET /good HTTP/1.1\r\nHost: a.kz\r\nConnection: close\r\n\r\n").await;
    statuses(&answer) == [200]
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let test = TestBox::without_origin().await;
    let block = request_fields();
    // A few hundred to a write, so that they come faster than they are taken.
    let frames = (0..100_u32).map(|batch| {
        let streams = (0..200).map(|stream| 2 * (batch * 200 + stream) + 1);
        streams.flat_map(|id| [frame(1, 0x5, id, &block), frame(3, 0, id, &[0, 0, 0, 8])].concat()).collect()
    });
    is_ended_after(test.http, frames).await;
    assert!(test.seen.requests().len() < 2_000, "{} requests reached the stack", test.seen.requests().len());
    assert!(is_served(&test).await);
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let test = TestBox::without_origin().await;
    let more: Vec<u8> = (0..60).flat_map(|_| literal("x", &"y".repeat(100))).collect();
    let head = std::iter::once(frame(1, 0x1, 1, &request_fields()));
    let frames = head.chain((0..10_000).map(|_| frame(9, 0, 1, &more)));
    is_ended_after(test.http, frames).await;
    assert!(test.seen.requests().is_empty());
    assert!(is_served(&test).await);
}

#[tokio::test]
async fn a_compressed_head_that_grows_is_refused() {
    let test = TestBox::without_origin().await;
    // One long field goes into the table, and each further byte repeats all of it (index 62, RFC 7541 §6.1).
    let mut block = request_fields();
    block.extend([0x40, 1, b'x', 0x7f, 0xe1, 0x1e]); // a value of 4,000 bytes: 127 + 0x61 + 0x1e * 128
    block.extend("y".repeat(127 + 0x61 + 0x1e * 128).bytes());
    block.extend([0xbe; 10_000]);
    let mut client = TcpStream::connect(test.http).await.unwrap();
    client.write_all(PREFACE).await.unwrap();
    client.write_all(&frame(1, 0x5, 1, &block)).await.unwrap();
    // The answer is a head of its own (431) or the end of the stream or connection.
    read_frames_until(&mut client, |kind, _| matches!(kind, 1 | 3 | 7)).await;
    assert!(test.seen.requests().is_empty());
    assert!(is_served(&test).await);
}

#[tokio::test]
async fn a_thousand_slow_connections_leave_room_for_a_good_one() {
    let test = TestBox::without_origin().await;
    let mut slow = Vec::new();
    for number in 0..1_000 {
        let Ok(mut client) = TcpStream::connect(test.http).await else { break };
        let said: &[u8] = if number % 2 == 0 { b"" } else { b"GET / HTTP/1.1\r\nHost: a" };
        client.write_all(said).await.unwrap();
        slow.push(client);
    }
    assert!(slow.len() > 300, "{} connections", slow.len());
    assert!(is_served(&test).await);
}
