//! `clients`: who may use the box as a proxy and as a resolver.

use super::{Section, network};
use crate::ingress::Clients;

/// Reads `clients`; warns of a list that lets in everybody, or nobody.
pub(super) fn clients(root: &Section<'_, '_>) -> Clients {
    let Some(networks) = root.list("clients", network) else { return Clients::default() };
    let span = root.span("clients");
    if networks.iter().any(|network| network.prefix_len() == 0) {
        let help = "list your school's own networks, as in [\"10.20.0.0/16\", \"2001:db8:20::/48\"]".to_owned();
        let message = "`clients` has a network of all addresses: whoever reaches this box may use it as a proxy";
        root.report().warning(&span, message, "an open proxy", Some(help));
    }
    Clients::new(networks)
}
