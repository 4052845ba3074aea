//! The end of a connection that goes no further: an alert that says why, where TLS has one, and a close that lets it
//! arrive.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// For how long a client is listened to after the alert. A socket that is closed with unread bytes is reset, and a
/// reset takes the alert away from a client that has not read it yet; a second is more than the way there and back.
const LINGER: Duration = Duration::from_secs(1);

/// How many bytes are taken from it meanwhile: four of the longest ClientHellos.
const LINGER_BYTES_MAX: u64 = 64 * 1024;

/// Fatal alerts that are sent before there is a handshake (RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    /// A message that does not belong at the beginning.
    UnexpectedMessage = 10,
    /// A record longer than a record can be.
    RecordOverflow = 22,
    /// No way to go on.
    HandshakeFailure = 40,
    /// A field of the ClientHello has a value that cannot be, such as its length.
    IllegalParameter = 47,
    /// A message that cannot be read.
    DecodeError = 50,
    /// A version that is not spoken here.
    ProtocolVersion = 70,
    /// Nothing that the client did.
    InternalError = 80,
    /// The ClientHello lacks an extension that must be there: the name.
    MissingExtension = 109,
    /// No such host here (RFC 6066 §3).
    UnrecognizedName = 112,
}

impl Alert {
    /// As a record. Its version is the one of TLS 1.2, which stands in records of TLS 1.3 too.
    fn record(self) -> [u8; 7] {
        [21, 3, 3, 0, 2, 2, self as u8]
    }
}

/// Sends the alert, if there is one, and closes the connection so that it arrives.
pub(super) async fn close<I: AsyncRead + AsyncWrite + Unpin>(mut stream: I, alert: Option<Alert>) {
    let farewell = async {
        if let Some(alert) = alert {
            stream.write_all(&alert.record()).await?;
        }
        stream.shutdown().await?;
        let mut rest = stream.take(LINGER_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whether the client still listens does not matter.
    let _ = timeout(LINGER, farewell).await;
}

/// The same when the alert, or what else there was to say, has been written already.
pub(super) async fn linger<I: AsyncRead + AsyncWrite + Unpin>(stream: I) {
    close(stream, None).await;
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn the_alert_arrives_though_the_client_has_sent_more_than_was_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        client.write_all(&[7; 20_000]).await.unwrap();
        let closing = tokio::spawn(close(ours, Some(Alert::DecodeError)));
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, [21, 3, 3, 0, 2, 2, 50]);
        client.write_all(&[7]).await.unwrap(); // a socket that was reset would not take it
        drop(client);
        closing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_is_left() {
        let (_client, ours) = tokio::io::duplex(64);
        let start = tokio::time::Instant::now();
        close(ours, Some(Alert::DecodeError)).await;
        assert_eq!(start.elapsed(), LINGER);
        let (_client, ours) = tokio::io::duplex(3); // not even the alert fits
        close(ours, Some(Alert::DecodeError)).await;
        assert_eq!(start.elapsed(), 2 * LINGER);
    }
}
