//! Gateway names: lessons for a phone that has no CA and whose DNS is not ours to answer for.
//!
//! `http(s)://<label>.<gateway domain>/…` is a permitted site, read only and anonymous. The gateway stands around the
//! stack: a request for one of its names is put into the origin's words (`request`), passes the same stack as every other,
//! and its answer is put into the gateway's names on the way out (`head`, `body`). What is stored is the original.
//!
//! Pure parts: `names` (which host is meant), `map` (one reference), `csp`, `fields`, `tags`.

mod attribute;
mod body;
mod csp;
mod css;
mod fields;
mod head;
mod map;
mod markup;
mod names;
mod playlist;
mod request;
mod srcset;
mod tags;
#[cfg(test)]
mod testing;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use arc_swap::ArcSwap;
use bulaq_allowlist::{Allowlist, HostName, Labelled};
use bytes::Bytes;
use futures_util::future::Either;
use http::header::{ACCEPT_LANGUAGE, HOST, IF_RANGE, RANGE};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt};

pub use self::names::Address;

use self::head::{Coding, Kind};
use self::map::Map;
use self::names::{Place, origin_of, place};
use self::request::Refused;
use self::tags::Mark;
use super::Answers;
use crate::portal::pages::{self, GatewayNo};
use crate::request::{Arrival, Handled, RequestBody, ResponseBody, Source, Way, asked, decoded};

/// What the gateway needs of the box.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// The domain below which every site has its label; none, and no request is taken for the gateway's.
    pub domain: Option<HostName>,
    /// Whom its pages tell people to ask.
    pub contact: Option<String>,
}

/// The gateway around a stack. Requests for other names pass through it untouched.
#[derive(Clone)]
pub struct Gateway<S> {
    inner: S,
    shared: Option<Arc<Shared>>,
}

struct Shared {
    domain: HostName,
    contact: Option<String>,
    allowlist: Arc<ArcSwap<Allowlist>>,
    /// The list that was seen last, with its digest.
    known: ArcSwap<Known>,
}

struct Known {
    list: Arc<Allowlist>,
    digest: [u8; 32],
}

impl Known {
    /// Rewriting depends on which hosts are listed and on nothing else of a list.
    fn new(list: Arc<Allowlist>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for entry in list.sites().iter().flat_map(|site| site.hosts()) {
            hasher.update(entry.to_string().as_bytes()).update(b"\n");
        }
        Self { digest: *hasher.finalize().as_bytes(), list }
    }
}

impl Shared {
    fn known(&self) -> Arc<Known> {
        let list = self.allowlist.load_full();
        let known = self.known.load_full();
        if Arc::ptr_eq(&known.list, &list) {
            return known;
        }
        let known = Arc::new(Known::new(list));
        self.known.store(Arc::clone(&known));
        known
    }
}

impl<S> Gateway<S> {
    /// Stands before `inner`; without a domain it does nothing.
    pub fn new(options: GatewayOptions, allowlist: Arc<ArcSwap<Allowlist>>, inner: S) -> Self {
        let GatewayOptions { domain, contact } = options;
        let shared = domain.map(|domain| {
            let known = ArcSwap::from_pointee(Known::new(allowlist.load_full()));
            Arc::new(Shared { domain, contact, allowlist, known })
        });
        Self { inner, shared }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

impl<S: Answers> Service<Request<RequestBody>> for Gateway<S> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Either<S::Future, Answer>;

    fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let Some(shared) = &self.shared else { return Either::Left(self.inner.call(request)) };
        let known = shared.known();
        let (Some(host), Some(arrival)) = (host_of(&request), request.extensions().get::<Arrival>().cloned()) else {
            return Either::Left(self.inner.call(request));
        };
        let place = place(&shared.domain, &known.list, host.host());
        if place == Place::Elsewhere {
            return Either::Left(self.inner.call(request));
        }
        let port = host.port_u16().unwrap_or(if arrival.is_secure { 443 } else { 80 });
        let asked = Asked {
            address: Address::new(shared.domain.clone(), arrival.is_secure, port),
            shared: Arc::clone(shared),
            known,
            arrival,
            port,
        };
        // The clone is the one that stays; the ready one answers.
        let staying = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, staying);
        Either::Right(Box::pin(async move { Ok(asked.answer(inner, request, place).await) }))
    }
}

/// The host that a request is for, wherever it is written.
fn host_of(request: &Request<RequestBody>) -> Option<Authority> {
    match request.uri().authority() {
        Some(authority) => Some(authority.clone()),
        None => Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok(),
    }
}

/// One request for a name of the gateway.
struct Asked {
    address: Address,
    shared: Arc<Shared>,
    known: Arc<Known>,
    arrival: Arrival,
    /// The port at which the reader reaches the gateway.
    port: u16,
}

impl Asked {
    async fn answer<S: Answers>(self, inner: S, request: Request<RequestBody>, place: Place) -> Response<ResponseBody> {
        let languages = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let languages = languages.as_deref();
        if !request::is_opened_for(self.arrival.server_name.as_ref(), &self.shared.domain) {
            return page(pages::plain(StatusCode::MISDIRECTED_REQUEST, "misdirected", languages));
        }
        match place {
            Place::Start => self.start(inner, request).await,
            Place::Nobody => self.no(GatewayNo::UnknownName, "", languages),
            Place::Site(site) if self.known.list.site_of(&site.host).is_none() => {
                self.no(GatewayNo::Outside, &site.host.to_unicode(), languages)
            }
            Place::Site(site) => self.site(inner, request, &site, languages).await,
            // Taken care of before; the stack knows what to say.
            Place::Elsewhere => oneshot(inner, request).await,
        }
    }

    /// The start page, whose links are gateway names.
    async fn start<S: Answers>(&self, inner: S, request: Request<RequestBody>) -> Response<ResponseBody> {
        let (mut head, body) = request.into_parts();
        head.extensions.insert(request::arrival(&self.arrival, self.port));
        let origin = format!("{}://{}", self.address.scheme(), self.shared.domain);
        match request::mapped(&mut head, &origin, &self.address, &self.known.list) {
            Some(()) => oneshot(inner, Request::from_parts(head, body)).await,
            None => page(pages::plain(StatusCode::BAD_REQUEST, "bad-request", None)),
        }
    }

    async fn site<S: Answers>(
        self,
        inner: S,
        request: Request<RequestBody>,
        site: &Labelled,
        languages: Option<&str>,
    ) -> Response<ResponseBody> {
        let shown = site.host.to_unicode();
        let (mut head, body) = request.into_parts();
        match request::check(&head) {
            Ok(()) => {}
            Err(Refused::Writes) => return self.no(GatewayNo::Writes, &shown, languages),
            Err(Refused::ServiceWorker) => {
                return page(pages::plain(StatusCode::FORBIDDEN, "gateway-service-worker", languages));
            }
        }
        let mark = Mark::new(&self.known.digest, &self.address);
        let is_about_rewritten = mark.restore(&mut head.headers);
        let is_head = head.method == Method::HEAD;
        let has_range = head.headers.contains_key(RANGE);
        head.extensions.insert(request::arrival(&self.arrival, self.port));
        let origin = origin_of(site, &self.known.list);
        if request::mapped(&mut head, &origin, &self.address, &self.known.list).is_none() {
            return page(pages::plain(StatusCode::BAD_REQUEST, "bad-request", languages));
        }
        let again = has_range.then(|| (inner.clone(), whole(&head)));
        let mut response = oneshot(inner, Request::from_parts(head, body)).await;
        if let Some((inner, head)) = again
            && response.status() == StatusCode::PARTIAL_CONTENT
            && Kind::of(response.headers()).is_some()
        {
            // A part of a page cannot be rewritten: the whole is sent, as RFC 9110 §14.2 allows.
            response = oneshot(inner, Request::from_parts(head, asked::empty())).await;
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            return self.no(GatewayNo::SignIn, &shown, languages);
        }
        if is_ours(response.extensions()) {
            return response;
        }
        let map = Map::new((*self.known.list).clone(), self.address.clone(), site.scheme(&self.known.list));
        let (mut head, body) = response.into_parts();
        head::map_fields(&mut head.headers, &map);
        if is_about_rewritten && head.status == StatusCode::NOT_MODIFIED {
            head::rewritten(&mut head, &mark);
            return Response::from_parts(head, body);
        }
        match Kind::of(&head.headers) {
            Some(kind) if head::has_whole_content(head.status) => rewrite(head, body, kind, is_head, map, &mark).await,
            _ => Response::from_parts(head, body),
        }
    }

    fn no(&self, no: GatewayNo, host: &str, languages: Option<&str>) -> Response<ResponseBody> {
        page(pages::gateway(no, host, self.shared.contact.as_deref(), languages))
    }
}

/// An answer whose body is decoded and rewritten on its way out.
async fn rewrite(
    mut head: response::Parts,
    body: ResponseBody,
    kind: Kind,
    is_head: bool,
    map: Map,
    mark: &Mark,
) -> Response<ResponseBody> {
    let coding = Coding::of(&head.headers);
    let Some(coding) = coding else {
        // Asked for neither by us nor by the reader's browser.
        tracing::debug!("a page in an unknown coding is not rewritten");
        return Response::from_parts(head, body);
    };
    head::rewritten(&mut head, mark);
    if is_head || body.is_end_stream() {
        return Response::from_parts(head, body);
    }
    let plain = match coding {
        Coding::Identity => body,
        Coding::Gzip | Coding::Brotli => match decoded::undone(body, coding == Coding::Brotli, Way::Gateway).await {
            Some(plain) => plain,
            None => return page(pages::plain(StatusCode::SERVICE_UNAVAILABLE, "gateway-busy", None)),
        },
    };
    let body = body::rewritten(plain, kind, &head.headers, map);
    Response::from_parts(head, body)
}

/// The head of the same request for all of it.
fn whole(head: &http::request::Parts) -> http::request::Parts {
    let (mut whole, ()) = Request::new(()).into_parts();
    whole.method = head.method.clone();
    whole.uri = head.uri.clone();
    whole.version = head.version;
    whole.headers = head.headers.clone();
    whole.extensions = head.extensions.clone();
    whole.headers.remove(RANGE);
    whole.headers.remove(IF_RANGE);
    whole
}

/// Whether the box itself made the answer: a refusal, an error page.
fn is_ours(extensions: &http::Extensions) -> bool {
    extensions.get::<Handled>().is_some_and(|handled| handled.source == Source::Box)
}

async fn oneshot<S: Answers>(inner: S, request: Request<RequestBody>) -> Response<ResponseBody> {
    let Ok(response) = inner.oneshot(request).await;
    response
}

/// A page of ours as an answer.
fn page(page: Response<Bytes>) -> Response<ResponseBody> {
    let mut response = page.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
    response.extensions_mut().insert(Handled {
        permit: None,
        source: Source::Box,
        is_stored: false,
        reason: "gateway",
    });
    response
}
