//! The end of the process: asked for once it lets work finish, asked for twice it does not.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What everything that runs until the end listens to; clones hear the same word.
///
/// There are two words. *Drain*: take nothing new, finish what has begun. *At once*: leave now; it implies the first.
/// How long draining may take is the business of whoever drains (for connections: the ingress' `drain_s`).
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    at_once: CancellationToken,
}

impl Shutdown {
    /// One that nobody has asked for anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to listen for SIGTERM (a service manager) and SIGINT (Ctrl-C): the first asks to drain, the second to
    /// leave at once. Must be called inside a tokio runtime; from then on these signals no longer end the process.
    ///
    /// # Errors
    /// When the system refuses to install a signal handler.
    pub fn listen_for_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    () = asked.at_once.cancelled() => return,
                }
                asked.ask();
            }
        });
        Ok(())
    }

    /// Asks for the end: first to drain and, when that has been asked before, to leave at once.
    pub fn ask(&self) {
        if self.is_draining() {
            self.at_once.cancel();
        }
        self.drain.cancel();
    }

    /// Asks to leave at once.
    pub fn ask_at_once(&self) {
        self.drain.cancel();
        self.at_once.cancel();
    }

    /// Whether nothing new should begin.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Waits until nothing new should begin.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + '_ {
        self.drain.cancelled()
    }

    /// Waits until even what has begun should stop.
    pub fn at_once(&self) -> impl Future<Output = ()> + Send + '_ {
        self.at_once.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_first_word_drains_and_the_second_ends() {
        let shutdown = Shutdown::new();
        let listener = shutdown.clone();
        assert!(!listener.is_draining());
        assert!(listener.draining().now_or_never().is_none());

        shutdown.ask();
        assert!(listener.is_draining());
        assert!(listener.draining().now_or_never().is_some());
        assert!(listener.at_once().now_or_never().is_none());

        shutdown.ask();
        assert!(listener.at_once().now_or_never().is_some());
    }

    #[test]
    fn at_once_also_stops_what_only_listens_for_draining() {
        let shutdown = Shutdown::new();
        shutdown.ask_at_once();
        assert!(shutdown.draining().now_or_never().is_some());
        assert!(shutdown.at_once().now_or_never().is_some());
    }
}
