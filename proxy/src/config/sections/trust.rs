//! `[trust]`: which devices are known to trust the district's CA.

use super::{Section, network};
use crate::config::limits;
use crate::ingress::TrustOptions;

/// Reads `[trust]`; warns of a list that has everybody's devices.
pub(super) fn trust(section: &Section<'_, '_>) -> TrustOptions {
    let networks = section.list("networks", network).unwrap_or_else(|| TrustOptions::default().networks);
    if networks.iter().any(|network| network.prefix_len() == 0) {
        let help = "list the networks in which every device has the CA, as in [\"10.20.30.0/24\"]".to_owned();
        let message = "`trust.networks` has a network of all addresses: a device without the CA cannot open a lesson";
        section.report().warning(&section.span("networks"), message, "every device", Some(help));
    }
    let options = TrustOptions {
        networks,
        remembered: section.limited("remembered", &limits::TRUST_REMEMBERED).0,
        splice_after_refusal: section.limited("splice-after-refusal", &limits::SPLICE_AFTER_REFUSAL).0,
    };
    section.done();
    options
}
