//! `[pac]`: what `/proxy.pac` says.

use bulaq_allowlist::export::pac::ProxyAddress;

use super::Section;
use crate::portal::proxy_pac::PacOptions;

/// Reads the section.
pub(super) fn pac(section: &Section<'_, '_>) -> PacOptions {
    let proxy = section.parsed("proxy", |text| match text {
        "" => Ok(None),
        text => ProxyAddress::parse(text).map(Some),
    });
    let options = PacOptions { proxy: proxy.flatten(), wpad: section.flag("wpad", PacOptions::default().wpad) };
    section.done();
    options
}
