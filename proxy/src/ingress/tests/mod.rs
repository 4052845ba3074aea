//! The doors over real sockets, with a stack that writes down what reaches it.

mod bytes;
mod clients;
mod connects;
mod devices;
mod ending;
mod floods;
mod gateway;
mod hellos;
mod https;
mod misdirected;
mod own_names;
mod threads;
mod tunnels;

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use bulaq_allowlist::Permit;
use http::StatusCode;
use http_body_util::{BodyExt, Full, StreamBody};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::connection::content;
use super::*;
use crate::ca::{Ca, CertificateFile};
use crate::clock::Clock;
use crate::request::{Arrival, ForwardError, Way};

/// A day on which all certificates of these tests hold, and the TLS library's own clock agrees.
fn clock() -> Clock {
    Clock::system()
}

const LIST: &str = r#"
[[site]]
name = "lessons"
hosts = ["lessons.kz", "lessons.kz:8443"]
tls = "terminate"

[[site]]
name = "wild"
hosts = ["*.wild.kz"]
tls = "terminate"

[[site]]
name = "portal"
hosts = ["portal.kz", "portal.kz:8443", "http://plain.kz"]
tls = "splice"
"#;

/// What a test knows of the stack behind the doors.
#[derive(Default)]
struct Seen {
    /// `METHOD target host content` of each request, in order.
    requests: Mutex<Vec<String>>,
    arrivals: Mutex<Vec<Arrival>>,
    /// A request for `/wait` is answered when this is notified.
    go_on: Notify,
    /// Notified when a request for `/wait` has come.
    waiting: Notify,
}

impl Seen {
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn arrival(&self) -> Arrival {
        self.arrivals.lock().unwrap().last().unwrap().clone()
    }

    async fn answer(self: Arc<Self>, request: Request<RequestBody>) -> Result<Response<ResponseBody>, Infallible> {
        let (head, body) = request.into_parts();
        let content = body.collect().await.map(|content| content.to_bytes());
        self.arrivals.lock().unwrap().push(head.extensions.get::<Arrival>().unwrap().clone());
        let host = head.headers.get("host").map_or("", |host| host.to_str().unwrap());
        let said = match &content {
            Ok(content) => String::from_utf8(content.to_vec()).unwrap(),
            Err(error) => format!("{error}"),
        };
        self.requests.lock().unwrap().push(format!("{} {} {host} {said}", head.method, head.uri).trim_end().to_owned());
        if content.is_err() {
            let mut response = Response::new(content::empty());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(response);
        }
        let body = match head.uri.path() {
            "/wait" => {
                self.waiting.notify_one();
                self.go_on.notified().await;
                full("waited")
            }
            "/parts" => {
                let (sender, mut parts) = mpsc::channel(1);
                let this = Arc::clone(&self);
                tokio::spawn(async move {
                    let _ = sender.send("first ").await;
                    this.waiting.notify_one();
                    this.go_on.notified().await;
                    let _ = sender.send("last").await;
                });
                let frames = futures_util::stream::poll_fn(move |cx| {
                    parts.poll_recv(cx).map(|part| part.map(|part| Ok(hyper::body::Frame::data(part.into()))))
                });
                ResponseBody::new(StreamBody::new(frames))
            }
            _ => full("fine"),
        };
        Ok(Response::new(body))
    }
}

fn full(text: &'static str) -> ResponseBody {
    ResponseBody::new(Full::from(text).map_err(|never| match never {}))
}

/// Leads every permit to one address, and remembers which host and port it was for.
#[derive(Clone)]
struct TestOrigin {
    address: SocketAddr,
    dialled: Arc<Mutex<Vec<String>>>,
}

impl Dial for TestOrigin {
    async fn dial(&self, permit: &Permit) -> Result<TcpStream, ForwardError> {
        let host = permit.host().to_string();
        self.dialled.lock().unwrap().push(format!("{host}:{}", permit.port()));
        TcpStream::connect(self.address).await.map_err(|_| ForwardError::ConnectionRefused { host })
    }

    async fn leads_to(&self, _: &Permit, address: IpAddr) -> Result<bool, ForwardError> {
        Ok(address == self.address.ip())
    }
}

/// A box with one door of each kind, for the length of a test.
struct TestBox {
    http: SocketAddr,
    https: SocketAddr,
    forward: SocketAddr,
    seen: Arc<Seen>,
    dialled: Arc<Mutex<Vec<String>>>,
    receipts: mpsc::UnboundedReceiver<TunnelReceipt>,
    trust: Arc<Trust>,
    doors: Arc<Doors>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    ca: Arc<Ca>,
    _folder: TempDir,
}

fn stack_of(seen: &Arc<Seen>) -> impl Answers + use<> {
    let seen = Arc::clone(seen);
    tower::service_fn(move |request| Arc::clone(&seen).answer(request))
}

fn inside<S: Answers>(
    stack: S,
    allowlist: Allowlist,
    origin: TestOrigin,
    certificates: Certificates,
    trust: Arc<Trust>,
    shutdown: &Shutdown,
    on_tunnel: OnTunnel,
) -> Inside<S, TestOrigin> {
    Inside {
        stack,
        repeats: None,
        allowlist: Arc::new(ArcSwap::from_pointee(allowlist)),
        origin,
        certificates: Arc::new(certificates),
        trust,
        doors: Arc::default(),
        shutdown: shutdown.clone(),
        on_tunnel,
    }
}

impl TestBox {
    /// Tunnels lead to `origin`.
    async fn start(limits: Limits, origin: SocketAddr) -> Self {
        Self::with(IngressOptions { limits, ..IngressOptions::default() }, origin).await
    }

    /// A box for these clients alone.
    async fn for_clients(clients: Clients) -> Self {
        Self::with(IngressOptions { clients, ..IngressOptions::default() }, SocketAddr::from(([127, 0, 0, 1], 9))).await
    }

    /// A box that takes only the devices of these networks to trust its CA.
    async fn trusting(networks: &[&str], origin: SocketAddr) -> Self {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        let trust = TrustOptions { networks, ..TrustOptions::default() };
        Self::with_trust(IngressOptions::default(), trust, origin).await
    }

    async fn with(options: IngressOptions, origin: SocketAddr) -> Self {
        Self::with_trust(options, TrustOptions::default(), origin).await
    }

    /// A box with another stack than the one that writes down what reaches it.
    async fn with_stack(stack: impl Answers, files: &[CertificateFile]) -> Self {
        let origin = SocketAddr::from(([127, 0, 0, 1], 9));
        let options = (IngressOptions::default(), TrustOptions::default());
        Self::with_all(options, files, origin, Arc::default(), stack, None).await
    }

    /// A box that serves on these threads.
    async fn on(workers: &Workers, stack: impl Answers) -> Self {
        let origin = SocketAddr::from(([127, 0, 0, 1], 9));
        let options = (IngressOptions::default(), TrustOptions::default());
        Self::with_all(options, &[], origin, Arc::default(), stack, Some(workers)).await
    }

    async fn with_trust(options: IngressOptions, trust: TrustOptions, origin: SocketAddr) -> Self {
        let seen = Arc::new(Seen::default());
        let stack = stack_of(&seen);
        Self::with_all((options, trust), &[], origin, seen, stack, None).await
    }

    async fn with_all(
        (options, trust): (IngressOptions, TrustOptions),
        files: &[CertificateFile],
        origin: SocketAddr,
        seen: Arc<Seen>,
        stack: impl Answers,
        workers: Option<&Workers>,
    ) -> Self {
        let any = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let (http, https, forward) = (any.clone(), any.clone(), any);
        let options = IngressOptions { http, https, forward, ..options };
        let mut bound = Ingress::bind(options).unwrap();
        if let Some(workers) = workers {
            bound = bound.on(workers);
        }
        let (http, https, forward) = (bound.http()[0], bound.https()[0], bound.forward()[0]);
        let allowlist = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
        let folder = tempfile::tempdir().unwrap();
        let ca = Arc::new(Ca::make_throwaway(folder.path(), &allowlist, clock()).unwrap());
        let dialled = Arc::<Mutex<Vec<String>>>::default();
        let (tell, receipts) = mpsc::unbounded_channel();
        let shutdown = Shutdown::new();
        let origin = TestOrigin { address: origin, dialled: Arc::clone(&dialled) };
        let on_tunnel: OnTunnel = Arc::new(move |receipt| tell.send(receipt).unwrap_or_default());
        let inside = inside(
            stack,
            allowlist,
            origin,
            Certificates::new(files, Some(Arc::clone(&ca))).unwrap(),
            Arc::new(Trust::new(trust, clock())),
            &shutdown,
            on_tunnel,
        );
        let (trust, doors) = (Arc::clone(&inside.trust), Arc::clone(&inside.doors));
        let serving = tokio::spawn(async move { bound.serve(inside).await.unwrap() });
        Self { http, https, forward, seen, dialled, receipts, trust, doors, shutdown, serving, ca, _folder: folder }
    }

    async fn without_origin() -> Self {
        Self::start(Limits::default(), SocketAddr::from(([127, 0, 0, 1], 9))).await
    }
}

/// An address at which nobody listens, for as long as what is given with it is held.
fn nobody() -> (SocketAddr, tokio::net::TcpSocket) {
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    (held.local_addr().unwrap(), held)
}

/// Sends bytes and reads until the box ends the connection.
async fn exchange(door: SocketAddr, bytes: &[u8]) -> String {
    let mut client = TcpStream::connect(door).await.unwrap();
    // The box may end the connection before it has read everything.
    let _ = client.write_all(bytes).await;
    rest(&mut client).await
}

/// What still comes until the end; a reset is an end too.
async fn rest(client: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status codes of HTTP/1.1 responses, interim ones too, whose contents don't look like heads.
fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.").skip(1).map(|part| part[2..5].parse().unwrap()).collect()
}

/// Reads until `end` has come.
async fn read_until(client: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        answer.push(char::from(client.read_u8().await.unwrap()));
    }
    answer
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A literal field without indexing (RFC 7541 §6.2.2), both parts written out.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for part in [name, value] {
        bytes.push(part.len() as u8);
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// Reads frames until one fits, or the connection ends.
async fn read_frames_until(client: &mut TcpStream, is_it: impl Fn(u8, u8) -> bool) {
    let mut head = [0; 9];
    while client.read_exact(&mut head).await.is_ok() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if client.read_exact(&mut payload).await.is_err() || is_it(head[3], head[4]) {
            return;
        }
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let options = IngressOptions { http: vec![address], ..IngressOptions::default() };
    let refused = Ingress::bind(options).unwrap_err();
    assert!(matches!(refused, IngressError::Taken { .. }));
    assert!(refused.to_string().starts_with(&format!("{address} is taken by another program")));

    let elsewhere = IngressOptions { https: vec!["192.0.2.1:0".parse().unwrap()], ..IngressOptions::default() };
    assert!(matches!(Ingress::bind(elsewhere), Err(IngressError::NotOurs { .. })));
    let short = IngressOptions { limits: Limits { idle_s: 0, ..Limits::default() }, ..IngressOptions::default() };
    assert!(matches!(Ingress::bind(short), Err(IngressError::Limit(_))));
}

#[tokio::test]
async fn the_stack_hears_how_a_request_came_and_not_from_whom() {
    let test = TestBox::without_origin().await;
    exchange(test.http, b"GET / HTTP/1.1\r\nHost: lessons.kz\r\nConnection: close\r\n\r\n").await;
    let arrival = test.seen.arrival();
    assert_eq!((arrival.way, arrival.is_secure), (Way::Reverse, false));
    assert_eq!((arrival.local_port, arrival.may_see_status), (test.http.port(), true));
    exchange(test.forward, b"GET http://lessons.kz/ HTTP/1.1\r\nHost: lessons.kz\r\nConnection: close\r\n\r\n").await;
    let arrival = test.seen.arrival();
    assert_eq!((arrival.way, arrival.local_port), (Way::Forward, test.forward.port()));
}
