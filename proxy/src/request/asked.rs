//! One permitted request, as every later step sees it.

use bulaq_allowlist::{Allowlist, HostName, Permit, Rule, Scheme};
use bulaq_cache_policy::{
    CacheKey, Conditional, Cookies, Options, Parsed, PresentedRequest, Profile, SiteRule, anonymise_request,
    choose_language, remove_hop_by_hop, remove_preconditions,
};
use http::header::{ACCEPT_LANGUAGE, HOST, HeaderValue, RANGE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Empty};

use super::repeat::MayRepeat;
use super::target::TargetUri;
use super::{Arrival, Context, InterimSender, Refusal, RequestBody};
use crate::origin::remove_what_never_leaves;
use crate::store::Rules;

/// A request with its permit: what it wants, under which rule, and its key in the cache.
#[derive(Debug)]
pub struct Asked {
    /// By which door it came.
    pub arrival: Arrival,
    /// The proof that its origin may be asked.
    pub permit: Permit,
    /// What the rule says about storing and reuse.
    pub rule: SiteRule,
    /// Which list that rule is of, or an older one: what is derived from it is not remembered past an edit of the list.
    pub rules: Rules,
    /// The method.
    pub method: Method,
    /// The target URI without the parameters that the rule ignores: the same for the key and for the origin.
    pub uri: Uri,
    /// The fields for the origin: without what never leaves the box, without those of the hop, and without cookies under an anonymous rule.
    pub headers: HeaderMap,
    /// The primary cache key.
    pub key: CacheKey,
    /// Where interim responses to it go; none where the client cannot be sent any.
    pub interim: Option<InterimSender>,
    /// Whether the door would note the answer for requests like this one.
    pub may_repeat: bool,
    /// What target and fields say to the cache.
    parsed: Parsed,
}

impl Asked {
    /// Checks the target against the allowlist and prepares the request.
    ///
    /// # Errors
    /// [`Refusal::NotListed`]: nothing was connected to, and nothing will be.
    pub fn new(context: &Context, parts: Parts, arrival: Arrival, mut target: TargetUri) -> Result<Self, Refusal> {
        let rules = context.store.rules(); // before the list, so that it is never taken for a newer one
        let list = context.allowlist.load();
        let path_and_query = target.path_and_query.as_str();
        let permit = list.permit(target.scheme, &target.host, target.port, &parts.method, path_and_query)?;
        if let Some(query) = target.path_and_query.query() {
            target.path_and_query = without_ignored(target.path_and_query.path(), query, permit.rule())?;
        }
        let uri = target.to_uri();
        let rule = site_rule(permit.rule());
        let key = CacheKey::new(&uri, &rule).ok_or(Refusal::BadRequest("the address is not valid"))?;
        let interim = parts.extensions.get::<InterimSender>().cloned();
        let interim = interim.map(|sender| sender.anonymous(rule.anonymous));
        let may_repeat = parts.extensions.get::<MayRepeat>().is_some();
        let mut headers = parts.headers;
        remove_hop_by_hop(&mut headers);
        remove_what_never_leaves(&mut headers);
        headers.remove(HOST);
        if (parts.method == Method::GET || parts.method == Method::HEAD)
            && let Some(language) = choose_language(&headers, permit.rule().languages())
        {
            let language =
                HeaderValue::from_str(language).map_err(|_| Refusal::BadRequest("the language is not valid"))?;
            headers.insert(ACCEPT_LANGUAGE, language);
        }
        if rule.anonymous || is_counted_only(&parts.method, &headers, &context.options.policy) {
            anonymise_request(&mut headers);
        }
        let parsed = Parsed::of(&uri, &headers, &rule);
        Ok(Self { arrival, permit, rule, rules, method: parts.method, uri, headers, key, interim, may_repeat, parsed })
    }

    /// The request as the policy sees it.
    pub fn presented<'a>(&'a self, options: &'a Options) -> PresentedRequest<'a> {
        PresentedRequest::of(self.parsed, &self.method, &self.uri, &self.headers, &self.rule, options)
    }

    /// The request for the origin as the client made it.
    pub fn forwarded(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(interim) = &self.interim {
            request.extensions_mut().insert(interim.clone());
        }
        request
    }

    /// The request for the origin that brings the whole representation, or confirms the stored one: the client's own
    /// preconditions and range are left for us to answer.
    pub fn forwarded_whole(&self, conditional: Option<&Conditional>) -> Request<RequestBody> {
        let mut request = self.forwarded(empty());
        match conditional {
            Some(conditional) => conditional.apply(request.headers_mut()),
            None => remove_preconditions(request.headers_mut()),
        }
        request.headers_mut().remove(RANGE);
        request
    }
}

/// Whether all that the cookies do is count visitors. The school profile shares the answers to such requests, so the origin
/// must not see those cookies: some page could show what they say.
fn is_counted_only(method: &Method, headers: &HeaderMap, options: &Options) -> bool {
    options.profile == Profile::School
        && (method == Method::GET || method == Method::HEAD)
        && Cookies::of(headers) == Cookies::Counters
}

/// No content.
pub fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The cache key of a URI under the rule that the allowlist has for it, or under none; none for what is no URI of a site.
pub fn key_of(list: &Allowlist, uri: &Uri) -> Option<CacheKey> {
    let scheme = Scheme::parse(uri.scheme_str()?)?;
    let host = HostName::parse(uri.host()?).ok()?;
    let port = uri.port_u16().unwrap_or(scheme.default_port());
    let path_and_query = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut target = TargetUri { scheme, host, port, path_and_query };
    let text = target.path_and_query.as_str();
    let Ok(permit) = list.permit(scheme, &target.host, port, &Method::GET, text) else {
        return CacheKey::new(&target.to_uri(), &SiteRule::default());
    };
    if let Some(query) = target.path_and_query.query() {
        target.path_and_query = without_ignored(target.path_and_query.path(), query, permit.rule()).ok()?;
    }
    CacheKey::new(&target.to_uri(), &site_rule(permit.rule()))
}

fn without_ignored(path: &str, query: &str, rule: &Rule) -> Result<PathAndQuery, Refusal> {
    let kept = rule.drop_ignored(query);
    let text = if kept.is_empty() && !query.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
    text.try_into().map_err(|_| Refusal::BadRequest("the address is not valid"))
}

/// What the allowlist's rule says, in the policy's words.
pub fn site_rule(rule: &Rule) -> SiteRule {
    SiteRule {
        never_store: rule.never_store,
        anonymous: rule.anonymous,
        fresh_min: rule.fresh_min,
        fresh_max: rule.fresh_max,
        ..SiteRule::default()
    }
}
