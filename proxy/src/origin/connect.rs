//! Checked addresses to one socket: happy eyeballs (RFC 8305).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// Opens a connection to the first of the addresses that answers; each next one is tried `delay` after the last,
/// or at once when the last one failed. Tells also how long the winner's handshake took: one round trip.
/// The caller bounds the whole.
pub(super) async fn connect(addresses: &[SocketAddr], delay: Duration) -> io::Result<(TcpStream, Duration)> {
    let open = |address| async move {
        let begun = Instant::now();
        let stream = TcpStream::connect(address).await?;
        Ok((stream, begun.elapsed()))
    };
    let (stream, round_trip) = race(in_order(addresses), delay, open).await?;
    // Requests are small and written whole: waiting for more to send only costs a round trip.
    stream.set_nodelay(true)?;
    Ok((stream, round_trip))
}

/// Families take turns, IPv6 first (RFC 8305 §4); the resolver's order is kept within each.
fn in_order(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let (mut six, mut four) = (addresses.iter().filter(|a| a.is_ipv6()), addresses.iter().filter(|a| a.is_ipv4()));
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(six.next());
        ordered.extend(four.next());
    }
    ordered
}

async fn race<S, F>(addresses: Vec<SocketAddr>, delay: Duration, open: impl Fn(SocketAddr) -> F) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut next_at = Instant::now();
    loop {
        if attempts.is_empty() || next_at <= Instant::now() {
            match waiting.next() {
                Some(address) => attempts.push(open(address)),
                None if attempts.is_empty() => return Err(last),
                None => {}
            }
            next_at = Instant::now() + delay;
        }
        tokio::select! {
            Some(opened) = attempts.next() => match opened {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last = error;
                    next_at = Instant::now();
                }
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let given = ["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[::1]:1"].map(address);
        assert_eq!(in_order(&given), ["[::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"].map(address));
    }

    #[tokio::test]
    async fn a_silent_address_does_not_hold_up_the_next() {
        let addresses = vec![address("[::1]:1"), address("1.1.1.1:1")];
        let won = race(addresses, Duration::from_millis(1), |to| async move {
            if to.is_ipv6() { pending().await } else { Ok(to) }
        });
        assert_eq!(won.await.unwrap(), address("1.1.1.1:1"));
    }

    #[tokio::test]
    async fn a_refusal_moves_on_at_once() {
        let tried = RefCell::new(Vec::new());
        let addresses: Vec<_> = ["[::1]:1", "1.1.1.1:1", "2.2.2.2:1"].map(address).into();
        // Waiting for the delay would take hours.
        let lost: io::Result<()> = race(addresses.clone(), Duration::from_secs(3600), |to| {
            tried.borrow_mut().push(to);
            async { Err(io::ErrorKind::ConnectionRefused.into()) }
        })
        .await;
        assert_eq!(lost.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(*tried.borrow(), addresses);
    }
}
