//! An origin that speaks HTTP/2 over TLS.

use std::convert::Infallible;
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
    /// `/cut` resets the stream after five bytes, `/short` ends it before its length; all else is answered with `hello`.
    pub async fn start(acceptor: TlsAcceptor) -> Self {
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
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (parts, _) = request.into_parts();
                        let answer = answer(parts.uri.path());
                        noted.lock().unwrap().push(parts);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
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
