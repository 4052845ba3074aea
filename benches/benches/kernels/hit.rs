//! What does a hit from memory cost from the request's head to the last byte of the answer, without a socket?

use std::rc::Rc;
use std::sync::Arc;

use bulaq::clock::Clock;
use bulaq::ledger::LedgerOptions;
use bulaq::origin::OriginOptions;
use bulaq::request::asked::empty;
use bulaq::request::repeat::MayRepeat;
use bulaq::request::{Arrival, Handled, Repeats, RequestBody, RequestOptions, ResponseBody, Source, Way};
use bulaq::serve::RoomOptions;
use bulaq::store::{Store, StoreOptions};
use bulaq_allowlist::Allowlist;
use bulaq_cache_policy::{CacheKey, SiteRule};
use futures_util::FutureExt;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tower::{Service, ServiceExt};

use super::{Kernel, Question, sample};

pub(super) const QUESTION: Question = Question { name: "a hit through the whole request path", kernels };

/// A box without doors, with lessons in its store and in memory.
pub(super) struct Rooms {
    rooms: bulaq::serve::Rooms,
    runtime: tokio::runtime::Runtime,
    _folder: TempDir,
}

impl Rooms {
    /// With so many lessons of 10 KiB.
    pub(super) fn with_lessons(lessons: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a system that starts processes has what a runtime needs");
        let folder = tempfile::tempdir().expect("the folder for temporary files can be written");
        let mut store = StoreOptions::new(folder.path().join("store"));
        (store.free_bytes_min, store.ballast_bytes) = (0, 0);
        let options = RoomOptions {
            data: folder.path().to_owned(),
            store,
            origin: OriginOptions::default(),
            ledger: LedgerOptions::default(),
            request: RequestOptions::default(),
        };
        let clock = Clock::held(sample::now());
        let open = runtime.block_on(async { bulaq::serve::Rooms::open(options, allowlist(), clock) });
        let rooms = open.expect("rooms open in an empty folder");
        let rooms = Self { rooms, runtime, _folder: folder };
        (0..lessons).for_each(|lesson| rooms.store_lesson(lesson));
        rooms
    }

    fn store_lesson(&self, lesson: usize) {
        let (store, key, content) = (self.store(), self.key(lesson), sample::content());
        let stored = self.runtime.block_on(async {
            let length = Some(content.len() as u64);
            let mut fill = store.begin(&key, sample::stored_head(), length, store.rules())?;
            fill.append(content).await?;
            fill.finish().await
        });
        stored.expect("an empty store has room");
    }

    pub(super) fn store(&self) -> Store {
        self.rooms.context.store.clone()
    }

    pub(super) fn key(&self, lesson: usize) -> CacheKey {
        CacheKey::new(&sample::uri(lesson), &SiteRule::default()).expect("a lesson's address is absolute")
    }

    /// A memo of answers, as each door has one.
    pub(super) fn repeats(&self) -> Arc<Repeats> {
        self.rooms.repeats()
    }

    /// The way through the stack, as an answer from memory goes it: it never waits, so it is there when first looked at.
    pub(super) fn respond(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let _entered = self.runtime.enter();
        let mut stack = self.rooms.stack.clone();
        let ready = stack.ready().now_or_never().expect("nothing else is being answered");
        let Ok(service) = ready;
        let Ok(response) = service.call(request).now_or_never().expect("a hit from memory waits for nothing");
        response
    }

    /// The same, with its content.
    fn answer(&self, request: Request<RequestBody>) -> (Response<()>, usize) {
        let (parts, body) = self.respond(request).into_parts();
        let content = body.collect().now_or_never().expect("content in memory waits for nothing");
        let content = content.expect("content in memory is whole").to_bytes();
        (Response::from_parts(parts, ()), content.len())
    }
}

fn allowlist() -> Allowlist {
    let text = format!("[[site]]\nname = \"lessons\"\nhosts = [\"{}\"]\n", sample::HOST);
    match Allowlist::parse("allowlist.toml", &text) {
        Ok(loaded) => loaded.allowlist,
        Err(rejected) => unreachable!("the list is made here, and right: {rejected}"),
    }
}

/// The request as the HTTP server hands it over: the path alone, and by which door it came.
pub(super) fn request(uri: &Uri) -> Request<RequestBody> {
    let mut request = Request::new(empty());
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = path.into();
    *request.headers_mut() = sample::request_fields();
    request.extensions_mut().insert(arrival());
    request.extensions_mut().insert(MayRepeat);
    request
}

/// By the door for clients that take the box for the site.
pub(super) fn arrival() -> Arrival {
    Arrival {
        way: Way::Reverse,
        is_secure: false,
        local_port: 80,
        original: None,
        forward_door: None,
        server_name: None,
        may_see_status: false,
        may_purge: false,
    }
}

fn kernels() -> Vec<Kernel> {
    let rooms = Rc::new(Rooms::with_lessons(16));
    let uri = sample::uri(7);
    let (first, length) = rooms.answer(request(&uri));
    let handled = first.extensions().get::<Handled>().map(|handled| handled.source);
    assert_eq!((first.status(), length, handled), (StatusCode::OK, 10 << 10, Some(Source::Hit)), "no hit");
    vec![Kernel::using("10 KiB from memory", move || request(&uri), move |request| rooms.answer(request))]
}
