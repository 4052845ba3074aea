//! One request of the night: through the same stack as a pupil's, its content read to the end.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER, USER_AGENT,
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt as _};
use url::Url;

use super::budget;
use super::extract::Format;
use super::journal::Role;
use super::options::NightOptions;
use super::pulse::Pulse;
use super::robots::PRODUCT_TOKEN;
use super::scope::Planned;
use super::verdict::Answer;
use super::window::until_next;
use crate::clock::Clock;
use crate::request::{Arrival, Handled, RequestBody, ResponseBody, Source, Way};

/// Content that is kept for reading links; longer documents are stored like any other and read up to here.
const READ_BYTES_MAX: usize = 8 << 20;

/// Large or packed documents that are read at once: each may need [`READ_BYTES_MAX`] and 64 MiB more when unpacked,
/// and the day's requests need processors too.
const READERS_MAX: usize = 2;

/// The longest that one request may take, a long video over a thin link included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// What the night needs of the request path: the stack that pupils' requests pass.
pub trait Stack:
    Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Stack for S where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Makes requests.
#[derive(Clone)]
pub(super) struct Fetcher<S> {
    stack: S,
    /// Apart from the stack, which need not be shared between threads.
    manners: Arc<Manners>,
    /// Who may read a large document now ([`READERS_MAX`]).
    pub(super) readers: Arc<Semaphore>,
}

/// How the night asks and reads.
struct Manners {
    headers: HeaderMap,
    options: Arc<NightOptions>,
    clock: Clock,
}

/// An answer with what the night reads of it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) answer: Answer,
    /// Bytes of body that came from the origin.
    pub(super) bytes: u64,
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    /// `X-Robots-Tag` asks not to follow links.
    pub(super) is_nofollow: bool,
    pub(super) redirect: Option<Url>,
    /// The content, up to [`READ_BYTES_MAX`], if it may have links.
    pub(super) content: Vec<u8>,
}

/// Holds the bytes of a second down: of one site, or of the night.
#[derive(Debug)]
pub(super) struct Throttle {
    pulse: Pulse,
    bytes_per_second: f64,
    paid_until: Mutex<Duration>,
}

impl Throttle {
    pub(super) fn new(pulse: Pulse, bytes_per_second: Option<u64>) -> Option<Arc<Self>> {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
        let rate = bytes_per_second?.max(1) as f64;
        Some(Arc::new(Self { pulse, bytes_per_second: rate, paid_until: Mutex::default() }))
    }

    /// Waits until these bytes fit into the rate.
    async fn pay(&self, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a frame is small")]
        let costs = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        let at = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            *paid_until = paid_until.max(self.pulse.now()) + costs;
            *paid_until
        };
        self.pulse.until(at).await;
    }
}

impl<S: Stack> Fetcher<S> {
    pub(super) fn new(stack: S, options: Arc<NightOptions>, clock: Clock) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, user_agent(options.contact.as_deref()));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        // What is stored without a content coding serves every client; an origin that codes without saying
        // `Vary` would otherwise leave those without a decoder with nothing they can read.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let manners = Arc::new(Manners { headers, options, clock });
        Self { stack, manners, readers: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// Makes one request. Follows no redirect: that is another address, and perhaps not a permitted one.
    pub(super) async fn get(self, planned: &Planned, role: Role, throttles: &[Arc<Throttle>]) -> Fetched {
        let Self { stack, manners, .. } = self;
        let request = manners.request(planned);
        let answered = async {
            let Ok(response) = stack.oneshot(request).await;
            manners.read(planned, response, role, throttles).await
        };
        match tokio::time::timeout(REQUEST_TIME_MAX, answered).await {
            Ok(fetched) => fetched,
            Err(_) => Fetched::too_slow(),
        }
    }
}

impl Manners {
    fn request(&self, planned: &Planned) -> Request<RequestBody> {
        let permit = planned.permit();
        let body = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
        let mut request = Request::new(body);
        *request.uri_mut() = planned.uri().clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(authority) = planned.uri().authority() {
            // The target comes from a URL without credentials, so its authority is a host with a port.
            request.headers_mut().extend(HeaderValue::from_str(authority.as_str()).ok().map(|host| (HOST, host)));
        }
        if let Some(control) = self.fresh_enough() {
            request.headers_mut().insert(CACHE_CONTROL, control);
        }
        request.extensions_mut().insert(Arrival {
            way: Way::Night,
            is_secure: permit.scheme() == bulaq_allowlist::Scheme::Https,
            local_port: permit.port(),
            original: None,
            forward_door: None,
            server_name: None,
            may_see_status: false,
            may_purge: false,
        });
        request
    }

    /// Asks for content that stays fresh until the school day's end (RFC 9111 §5.2.1.3): what would expire before
    /// is validated now.
    fn fresh_enough(&self) -> Option<HeaderValue> {
        let ahead = until_next(self.options.fresh_until?, &self.options.zone, self.clock.now())?;
        HeaderValue::from_str(&format!("min-fresh={}", ahead.as_secs())).ok()
    }

    async fn read(
        &self,
        planned: &Planned,
        response: Response<ResponseBody>,
        role: Role,
        throttles: &[Arc<Throttle>],
    ) -> Fetched {
        let (head, mut body) = response.into_parts();
        let field = |name: HeaderName| text(&head.headers, &name);
        let url = Url::parse(&planned.uri().to_string()).ok();
        let handled = head.extensions.get::<Handled>();
        let source = handled.map_or(Source::Box, |handled| handled.source);
        let content_type = field(CONTENT_TYPE);
        let is_sitemap = matches!(role, Role::Sitemap | Role::GuessedSitemap);
        // Without a `Content-Type` the format shows in the content only.
        let may_have_links = content_type.is_none()
            || url.as_ref().is_some_and(|url| Format::of(content_type.as_deref(), url, b"").is_some());
        let is_wanted = is_sitemap || (head.status.is_success() && may_have_links);

        let mut fetched = Fetched {
            answer: Answer {
                status: head.status,
                source,
                is_stored: handled.is_some_and(|handled| handled.is_stored),
                reason: handled.map_or("unhandled", |handled| handled.reason),
                retry_after: field(RETRY_AFTER).and_then(|value| budget::retry_after(&value, self.clock.now())),
                is_complete: true,
            },
            bytes: 0,
            content_type,
            content_encoding: field(CONTENT_ENCODING),
            is_nofollow: field(HeaderName::from_static("x-robots-tag")).is_some_and(|value| asks_not_to_follow(&value)),
            redirect: url
                .and_then(|url| url.join(&text(&head.headers, &LOCATION)?).ok())
                .filter(|_| head.status.is_redirection()),
            content: Vec::new(),
        };
        let is_from_origin = source == Source::Origin;
        if !is_from_origin && source != Source::Collapsed && !is_wanted {
            return fetched; // it is stored, and has nothing to read
        }
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                fetched.answer.is_complete = false;
                break;
            };
            let Some(data) = frame.data_ref() else { continue };
            if is_from_origin {
                fetched.bytes += u64::try_from(data.len()).expect("a frame is in memory");
                for throttle in throttles {
                    throttle.pay(data.len()).await;
                }
            }
            if is_wanted {
                let room = READ_BYTES_MAX - fetched.content.len();
                fetched.content.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        fetched
    }
}

impl Fetched {
    fn too_slow() -> Self {
        Self {
            answer: Answer {
                status: http::StatusCode::GATEWAY_TIMEOUT,
                source: Source::Box,
                is_stored: false,
                reason: "too-slow",
                retry_after: None,
                is_complete: false,
            },
            bytes: 0,
            content_type: None,
            content_encoding: None,
            is_nofollow: false,
            redirect: None,
            content: Vec::new(),
        }
    }
}

/// The first line of a field. Some servers write a `Location` in Cyrillic as it is, so UTF-8 is text too.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok().map(str::to_owned)
}

/// Who asks, so that a site's owner can write a rule for us or to us.
fn user_agent(contact: Option<&str>) -> HeaderValue {
    let version = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    let contact = contact.map(|contact| format!("+{contact}; ")).unwrap_or_default();
    let with_contact = format!("{PRODUCT_TOKEN}/{version} ({contact}school lesson cache)");
    let plain = format!("{PRODUCT_TOKEN}/{version} (school lesson cache)");
    HeaderValue::from_str(&with_contact)
        .or_else(|_| HeaderValue::from_str(&plain))
        .expect("a token, a version and a comment in ASCII")
}

/// `X-Robots-Tag: nofollow`, for everybody or for us: `bulaq: nofollow`.
fn asks_not_to_follow(value: &str) -> bool {
    let (agent, directives) = match value.split_once(':') {
        Some((agent, directives)) => (Some(agent.trim()), directives),
        None => (None, value),
    };
    agent.is_none_or(|agent| agent.eq_ignore_ascii_case(PRODUCT_TOKEN))
        && directives.split(',').any(|word| matches!(word.trim().to_ascii_lowercase().as_str(), "nofollow" | "none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_agent_names_us_and_a_contact() {
        for (contact, expected) in [
            (None, "Bulaq/0.1 (school lesson cache)"),
            (Some("it@school.kz"), "Bulaq/0.1 (+it@school.kz; school lesson cache)"),
            (Some("two\nlines"), "Bulaq/0.1 (school lesson cache)"),
        ] {
            assert_eq!(user_agent(contact), expected);
        }
    }

    #[test]
    fn a_robots_tag_is_for_us_or_for_all() {
        for (value, expected) in [
            ("nofollow", true),
            ("noindex, NoFollow", true),
            ("none", true),
            ("noindex", false),
            ("bulaq: nofollow", true),
            ("otherbot: nofollow", false),
        ] {
            assert_eq!(asks_not_to_follow(value), expected, "{value}");
        }
    }
}
