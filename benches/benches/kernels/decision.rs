//! What does the decision to reuse a stored response cost, once the request is read?

use bulaq_cache_policy::{Lookup, Options, PresentedRequest, SiteRule, look_up};
use http::Method;

use super::{Kernel, Question, sample};

pub(super) const QUESTION: Question = Question { name: "policy decision", kernels };

fn kernels() -> Vec<Kernel> {
    let (stored, fields, uri) = (sample::stored_head(), sample::request_fields(), sample::uri(0));
    let (rule, options) = (SiteRule::default(), Options::default());
    let later = sample::now() + std::time::Duration::from_secs(90);
    vec![Kernel::new("a browser's request, one fresh variant", move || {
        let request = PresentedRequest::new(&Method::GET, &uri, &fields, &rule, &options);
        let lookup = look_up(&[&stored], &request, later);
        assert!(matches!(lookup, Lookup::Reuse { is_fresh: true, .. }), "the sample is fresh");
        lookup
    })]
}
