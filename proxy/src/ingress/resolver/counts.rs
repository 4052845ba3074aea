//! What the resolver did, in numbers. No name and no client is in them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// The counters at work.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $($name: AtomicU64),+ }

        /// The counters as they are told.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", default)]
        pub struct DnsCounts { $($(#[doc = $doc])+ pub $name: u64),+ }

        impl Counters {
            $(pub(super) fn $name(&self) { self.$name.fetch_add(1, Ordering::Relaxed); })+

            pub(super) fn read(&self) -> DnsCounts {
                DnsCounts { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }
        }
    };
}

counts! {
    /// Messages that came.
    queries,
    /// Answers that lead to the box, or say that a name on the list has no such record.
    redirected,
    /// Names that are denied: signals of Firefox and Apple, discovery, wpad.
    denied,
    /// Questions that the school's resolvers were asked.
    forwarded,
    /// Answers out of memory, or together with another's question.
    cached,
    /// Questions that no resolver of the school answered.
    failed,
    /// From addresses outside `clients`.
    not_clients,
    /// Beyond a client's share.
    too_many,
    /// ANY, AXFR and others that are no records, other classes, or without RD.
    not_answered,
    /// No DNS, or of another kind than a question.
    malformed,
    /// Let go because too many wait already, in all or of one client.
    busy,
}
