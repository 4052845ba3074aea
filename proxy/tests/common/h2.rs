//! An origin that speaks HTTP/2 over TLS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The origin; stops with its value.
pub struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Parts>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Origin {
    /// `/cut` resets the stream after five bytes, `/short` ends it before its length, `/refused-first` refuses the first
    /// request without looking at it; all else is answered with `hello`. A connection is ended in order after
    /// `requests_max` of them.
    pub async fn start(acceptor: TlsAcceptor, requests_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, seen) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Parts>>>::default());
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&seen));
        let accepting = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tasks.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let (count, enough) = (AtomicUsize::new(0), Notify::new());
                    let service = service_fn(|request: Request<Incoming>| {
                        let (parts, _) = request.into_parts();
                        let path = parts.uri.path().to_owned();
                        let mut seen = noted.lock().unwrap();
                        let is_first = seen.iter().all(|seen| seen.uri.path() != path);
                        seen.push(parts);
                        if count.fetch_add(1, Ordering::SeqCst) + 1 == requests_max {
                            enough.notify_one();
                        }
                        let refused = path == "/refused-first" && is_first;
                        let told =
                            if refused { Err(h2::Error::from(h2::Reason::REFUSED_STREAM)) } else { Ok(answer(&path)) };
                        async { told }
                    });
                    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::pin!(connection);
                    tokio::select! {
                        _ = &mut connection => return,
                        () = enough.notified() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
            }
        });
        Self { address, connections, seen, accepting }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn seen(&self) -> Vec<Parts> {
        self.seen.lock().unwrap().clone()
    }
}

type Content = UnsyncBoxBody<Bytes, std::io::Error>;

fn answer(path: &str) -> Response<Content> {
    let hello = || Ok(Frame::data(Bytes::from_static(b"hello")));
    match path {
        "/cut" => {
            let cut = Err(std::io::Error::other("cut"));
            Response::new(StreamBody::new(stream::iter([hello(), cut])).boxed_unsync())
        }
        "/short" => {
            let content = StreamBody::new(stream::iter([hello()])).boxed_unsync();
            Response::builder().header("content-length", "9").body(content).unwrap()
        }
        _ => Response::new(Full::new(Bytes::from_static(b"hello")).map_err(|never| match never {}).boxed_unsync()),
    }
}
