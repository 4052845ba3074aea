//! Finding what is stored in part for a request, and deciding about it.

use std::sync::Arc;
use std::time::SystemTime;

use bulaq_cache_policy::{Lookup, PresentedRequest, StoredHead, look_up};

use super::assembly::Assembly;
use crate::request::Context;
use crate::request::asked::Asked;
use crate::store::{Incomplete, Variants};

/// The incomplete response that a request selects, and what to do with it; none when nothing is stored in part, or a
/// complete response of `variants` is the better answer.
pub async fn find(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    variants: &Variants,
    now: SystemTime,
) -> Option<(Arc<Assembly>, Lookup)> {
    let incomplete = stored_in_part(context, asked).await;
    if incomplete.is_empty() || context.flights.is_unsteady(&asked.key) {
        return None;
    }
    let complete = variants.iter().map(|stored| &stored.head);
    let heads: Vec<&StoredHead> = complete.chain(incomplete.iter().map(|incomplete| incomplete.head())).collect();
    let lookup = look_up(&heads, presented, now);
    let (Lookup::Reuse { index, .. } | Lookup::ReuseWhileRevalidating { index, .. } | Lookup::Validate { index, .. }) =
        lookup
    else {
        return None;
    };
    let chosen = incomplete.get(index.checked_sub(variants.len())?)?;
    Some((context.assemblies.of(chosen)?, lookup))
}

/// What is stored in part of the URL and may still be stored under the rules of now.
pub(super) async fn stored_in_part(context: &Arc<Context>, asked: &Arc<Asked>) -> Vec<Arc<Incomplete>> {
    let restore = {
        let (asked, policy) = (asked.clone(), context.options.policy.clone());
        move |parts| StoredHead::from_parts(parts, &asked.rule, &policy)
    };
    let mut found = context.store.find_incomplete(&asked.key, asked.rules, restore).await;
    for forbidden in found.extract_if(.., |incomplete| incomplete.head().not_storable().is_some()) {
        context.store.remove_incomplete(&forbidden).await;
    }
    found
}
