//! An origin that does what a script says, byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::soon;

/// What the origin does next with a request that it has read.
#[derive(Clone)]
pub enum Step {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Waits until the gate lets it pass.
    Wait(Gate),
    /// Ends the connection in order: over TLS with its own farewell.
    Close,
    /// Ends the connection below TLS, without its farewell.
    Cut,
    /// Ends the connection with a reset.
    Reset,
    /// Does nothing more, and keeps the connection until the client ends it.
    Hang,
}

pub fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// A whole response with a length.
pub fn response(status: &str, fields: &str, content: &str) -> Vec<Step> {
    vec![send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n{content}", content.len()))]
}

/// Lets through as many as it was opened for.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    pub fn open(&self) {
        self.0.add_permits(1);
    }

    /// For all who come, now and later.
    pub fn open_for_all(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    async fn pass(&self) {
        soon("the gate's opening", self.0.acquire()).await.unwrap().forget();
    }
}

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Counted from 0.
    pub connection: usize,
    /// Request line and fields, with their line ends.
    pub head: String,
    pub content: Vec<u8>,
}

impl Seen {
    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The values of all lines of a field, joined.
    pub fn field(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let values: Vec<_> =
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

type Script = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

/// The origin; stops with its value.
pub struct Origin {
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    changed: Notify,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Origin {
    /// An origin over plain TCP.
    pub async fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::over(None, script).await
    }

    /// An origin where another was before.
    pub async fn start_at(address: SocketAddr, script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind(address).await.unwrap(), None, script)
    }

    /// An origin over TLS that offers HTTP/1.1 only.
    pub async fn start_tls(
        acceptor: tokio_rustls::TlsAcceptor,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::over(Some(acceptor), script).await
    }

    async fn over(
        tls: Option<tokio_rustls::TlsAcceptor>,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), tls, script)
    }

    /// An origin at a socket that listens already.
    pub fn on(
        listener: TcpListener,
        tls: Option<tokio_rustls::TlsAcceptor>,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Box::new(script),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            changed: Notify::new(),
        });
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&state)));
        Self { address, state, accepting }
    }

    /// Ends it, with all its connections; returns when its port refuses new ones.
    pub async fn stop(mut self) {
        self.accepting.abort();
        let _ = soon("the end of the origin", &mut self.accepting).await;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come.
    pub async fn has_seen(&self, count: usize) {
        soon(&format!("request {count} at the origin"), async {
            loop {
                let changed = self.state.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.state.seen.lock().unwrap().len() >= count {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }
}

async fn accept(listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, state: Arc<State>) {
    // With the accepting task end the connections too: an origin that is gone is gone.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = state.connections.fetch_add(1, Ordering::SeqCst);
        state.changed.notify_waiters();
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        connections.spawn(async move {
            match tls {
                None => Conversation::new(Wire::Plain(stream), number, state).run().await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        Conversation::new(Wire::Tls(Box::new(stream)), number, state).run().await;
                    }
                }
            }
        });
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl Wire {
    fn both(&mut self) -> &mut (dyn Both + Send) {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }

    fn below(self) -> TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.into_inner().0,
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

struct Conversation {
    wire: Wire,
    number: usize,
    state: Arc<State>,
    unread: Vec<u8>,
}

impl Conversation {
    fn new(wire: Wire, number: usize, state: Arc<State>) -> Self {
        Self { wire, number, state, unread: Vec::new() }
    }

    async fn run(mut self) {
        while let Some(seen) = self.read_request().await {
            let steps = (self.state.script)(&seen);
            self.state.seen.lock().unwrap().push(seen);
            self.state.changed.notify_waiters();
            for step in steps {
                match step {
                    Step::Send(bytes) => {
                        let wire = self.wire.both();
                        if wire.write_all(&bytes).await.is_err() || wire.flush().await.is_err() {
                            return;
                        }
                    }
                    Step::Wait(gate) => gate.pass().await,
                    Step::Close => {
                        let _ = self.wire.both().shutdown().await;
                        return;
                    }
                    Step::Cut => {
                        let _ = self.wire.below().shutdown().await;
                        return;
                    }
                    Step::Reset => {
                        let _ = self.wire.below().set_zero_linger();
                        return;
                    }
                    Step::Hang => {
                        let mut rest = Vec::new();
                        let _ = self.wire.both().read_to_end(&mut rest).await;
                        return;
                    }
                }
            }
        }
    }

    /// The next request; none when the client is gone.
    async fn read_request(&mut self) -> Option<Seen> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end);
        let mut seen = Seen { connection: self.number, head, content: Vec::new() };
        if let Some(length) = seen.field("content-length").and_then(|length| length.parse::<usize>().ok()) {
            while self.unread.len() < length {
                self.read_more().await?;
            }
            seen.content = self.unread.drain(..length).collect();
        } else if seen.field("transfer-encoding").is_some() {
            let end = loop {
                if let Some(at) = find(&self.unread, b"0\r\n\r\n") {
                    break at + 5;
                }
                self.read_more().await?;
            };
            seen.content = self.unread.drain(..end).collect();
        }
        Some(seen)
    }

    async fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        let read = self.wire.both().read(&mut buffer).await.ok()?;
        self.unread.extend_from_slice(&buffer[..read]);
        (read > 0).then_some(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
