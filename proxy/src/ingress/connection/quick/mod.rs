//! Answers given beneath hyper: to requests that were answered before and whose answer still holds.
//!
//! `simple` says which requests these are and what decides their answer, the memo ([`Repeats`]) what that is, `answer`
//! writes it. When they may be given at all, [`Guarded`](super::guarded::Guarded) sees to. Everything else goes to hyper,
//! byte for byte.

mod answer;
mod simple;

use std::sync::Arc;

pub(super) use self::answer::Answer;
use crate::request::{Arrival, Repeats, Way};

/// The memo, for one connection.
#[derive(Debug)]
pub(super) struct Quick {
    repeats: Arc<Repeats>,
    /// What answers depend on that is the same for all requests of the connection.
    scope: Box<[u8]>,
}

/// What there is to say about the beginning of some bytes.
pub(super) enum Look {
    /// It is a request with this answer, so many bytes long.
    Answer(Answer, usize),
    /// It is a request whose answer could be noted under this key.
    Unknown(Box<[u8]>),
    /// It is none of ours.
    Other,
}

impl Quick {
    /// None where answers depend on what a key cannot say.
    pub(super) fn new(repeats: &Arc<Repeats>, arrival: &Arrival) -> Option<Self> {
        // Where a router says where a connection was going, that is compared with each request's host, by DNS.
        let is_compared = arrival.original.is_some() && !arrival.is_secure;
        let may_repeat = arrival.is_at_site() && !is_compared;
        may_repeat.then(|| Self { repeats: Arc::clone(repeats), scope: scope(arrival) })
    }

    pub(super) fn look(&self, bytes: &[u8]) -> Look {
        let Some(simple) = simple::read(&self.scope, bytes) else { return Look::Other };
        let key = simple.key.as_bytes();
        match self.repeats.find(key, simple.range) {
            Some(repeat) => Look::Answer(Answer::new(repeat), simple.length),
            None => Look::Unknown(key.into()),
        }
    }
}

/// Every field of an [`Arrival`] that an answer from the store may depend on, and no more: `may_purge` is for another
/// method, `forward_door` for the box's own pages, `original` see above.
fn scope(arrival: &Arrival) -> Box<[u8]> {
    let Arrival { way, is_secure, local_port, original: _, forward_door: _, server_name, may_see_status, may_purge: _ } =
        arrival;
    let way = match way {
        Way::Reverse => 0,
        Way::Forward => 1,
        Way::Gateway => 2,
        Way::Night => 3,
    };
    let [high, low] = local_port.to_be_bytes();
    let fixed = [way, u8::from(*is_secure), u8::from(*may_see_status), u8::from(server_name.is_some()), high, low];
    let name = server_name.as_ref().map_or("", |name| name.as_str());
    [&fixed[..], name.as_bytes()].concat().into()
}
