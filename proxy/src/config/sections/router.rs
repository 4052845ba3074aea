//! `[router]`: the doors for connections that a router's rules hand over.

use super::socket_address;
use crate::config::written::Section;
use crate::ingress::transparent::{Mismatch, Mode, RouterOptions, Take};

/// Reads the section.
pub(super) fn router(section: &Section<'_, '_>) -> RouterOptions {
    let defaults = RouterOptions::default();
    let modes = [("tproxy", Mode::Tproxy), ("redirect", Mode::Redirect)];
    let takes = [("listed", Take::Listed), ("all", Take::All)];
    let mismatches = [("refuse", Mismatch::Refuse), ("own-address", Mismatch::OwnAddress)];
    let options = RouterOptions {
        http: section.list("http", socket_address).unwrap_or_default(),
        https: section.list("https", socket_address).unwrap_or_default(),
        mode: section.choice("mode", &modes, defaults.mode),
        interfaces: section.list("interfaces", str::parse).unwrap_or_default(),
        take: section.choice("take", &takes, defaults.take),
        mismatch: section.choice("mismatch", &mismatches, defaults.mismatch),
    };
    for (key, doors) in [("http", &options.http), ("https", &options.https)] {
        if options.mode == Mode::Redirect && doors.iter().any(|door| door.ip().is_loopback()) {
            let help = "write \"0.0.0.0:PORT\" and \"[::]:PORT\", or mode = \"tproxy\"".to_owned();
            let message = "redirected connections come in at the interface's own address, not at loopback";
            section.report().error(&section.span(key), message, "never reached", Some(help));
        }
    }
    section.done();
    options
}
