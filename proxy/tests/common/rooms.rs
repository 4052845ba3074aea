//! The request path over real rooms and a scripted origin, with the time held.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bulaq::clock::Clock;
use bulaq::ledger::LedgerOptions;
use bulaq::origin::{HostOverride, OriginOptions};
use bulaq::request::asked::empty;
use bulaq::request::{Arrival, Handled, RequestOptions, Way};
use bulaq::serve::{RoomOptions, Rooms};
use bulaq::store::StoreOptions;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tower::ServiceExt;

use super::{allowlist, name, soon};

/// A morning on which nothing happens but what a test says. Real origins' `Date` fields are near it.
pub fn held_clock() -> Clock {
    Clock::held(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000))
}

/// Rooms of which every listed host leads to one scripted origin.
pub struct TestBox {
    pub rooms: Rooms,
    pub clock: Clock,
    pub dir: Arc<TempDir>,
}

/// What a client was told.
#[derive(Debug)]
pub struct Told {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub handled: Option<Handled>,
    /// The content, or none when it was cut short.
    pub content: Option<Bytes>,
}

impl TestBox {
    /// Sites with these hosts and these keys; all hosts lead to `origin`.
    pub async fn open(hosts: &[&str], more: &str, origin: SocketAddr) -> Self {
        Self::open_in(Arc::new(tempfile::tempdir().unwrap()), held_clock(), hosts, more, origin).await
    }

    pub async fn open_in(dir: Arc<TempDir>, clock: Clock, hosts: &[&str], more: &str, origin: SocketAddr) -> Self {
        let lead = HostOverride { ip: origin.ip(), port: Some(origin.port()) };
        let all = hosts.iter().map(|host| (name(host), vec![lead])).collect();
        let way_out = OriginOptions { hosts: all, ..OriginOptions::default() };
        let mut store = StoreOptions::new(dir.path().join("store"));
        store.free_bytes_min = 0;
        store.ballast_bytes = 0;
        store.commit_delay = Duration::ZERO;
        let options = RoomOptions {
            data: dir.path().to_owned(),
            store,
            origin: way_out,
            ledger: LedgerOptions::default(),
            request: RequestOptions::default(),
        };
        let rooms = Rooms::open(options, allowlist(hosts, more), clock.clone()).unwrap();
        Self { rooms, clock, dir }
    }

    /// Sends a request through the stack as a client of the reverse door and reads the answer to its end.
    pub async fn ask(&self, method: Method, url: &str, fields: &[(&str, &str)]) -> Told {
        self.ask_by(Way::Forward, method, url, fields).await
    }

    /// The same by another door.
    pub async fn ask_by(&self, way: Way, method: Method, url: &str, fields: &[(&str, &str)]) -> Told {
        let mut request = Request::builder().method(method).uri(url);
        for (field, value) in fields {
            request = request.header(*field, *value);
        }
        let mut request = request.body(empty()).unwrap();
        request.extensions_mut().insert(Arrival {
            way,
            is_secure: false,
            local_port: 8000,
            original: None,
            forward_door: None,
            server_name: None,
            may_see_status: true,
            may_purge: true,
        });
        let response = soon("an answer", self.rooms.stack.clone().oneshot(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        let content = soon("the end of the content", body.collect()).await.ok().map(|content| content.to_bytes());
        Told {
            status: parts.status,
            handled: parts.extensions.get::<Handled>().cloned(),
            headers: parts.headers,
            content,
        }
    }

    pub async fn get(&self, url: &str) -> Told {
        self.ask(Method::GET, url, &[]).await
    }

    /// Waits until what is being filled is in the store.
    pub async fn settled(&self) {
        self.rooms.context.tasks.close();
        soon("the end of all fills", self.rooms.context.tasks.wait()).await;
        self.rooms.context.tasks.reopen();
    }
}

impl Told {
    /// Our own member of `Cache-Status`.
    pub fn status_field(&self) -> &str {
        self.headers.get("cache-status").map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(self.content.as_deref().expect("the content was cut short")).unwrap()
    }
}
