//! `bulaq allowlist export`: the list for programs that have no box to ask.

use std::io::{self, Write};

use bulaq_allowlist::export::pac::{self, ProxyAddress};
use bulaq_allowlist::{Allowlist, export};

use crate::portal::{names, proxy_pac};

/// What a list can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A PAC file, as the box itself serves it at /proxy.pac
    Pac,
}

/// Writes the list; what the reader should know of it goes to `notes`.
pub(super) fn export(
    list: &Allowlist,
    Format::Pac: Format,
    proxy: &ProxyAddress,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> io::Result<u8> {
    let own = [names::box_name(), names::probe_name()].map(Clone::clone);
    let text = pac::text(list, &proxy_pac::own_patterns(&own), Some(proxy));
    out.write_all(text.as_bytes())?;
    if text.len() > pac::TEXT_BYTES_MAX {
        let (long, most) = (text.len(), pac::TEXT_BYTES_MAX);
        writeln!(notes, "this file has {long} bytes; Chromium takes {most}: use `*.` hosts in place of long lists")?;
    }
    for left in export::left_out(list) {
        let (entry, site, what) = (left.entry, left.site.name(), left.shared.what);
        writeln!(notes, "left out: {entry} (site {site}) is {what}")?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_that_of_the_box_and_what_is_left_out_is_told() {
        let text = "[[site]]\nname = \"a\"\nhosts = [\"a.kz\", \"*.a.kz\", \"fonts.gstatic.com\"]\n";
        let list = Allowlist::parse("allowlist.toml", text).unwrap().allowlist;
        let proxy = ProxyAddress::parse("192.168.10.5:3128").unwrap();
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        assert_eq!(export(&list, Format::Pac, &proxy, &mut out, &mut notes).unwrap(), 0);
        let out = String::from_utf8(out).unwrap();
        for part in ["\"PROXY 192.168.10.5:3128; DIRECT\"", "\"a.kz\": WEB", "\"check.bulaq.internal\": WEB"] {
            assert!(out.contains(part), "{part}");
        }
        assert!(!out.contains("gstatic"));
        let expected = "left out: fonts.gstatic.com (site a) is Google Fonts, which pages of many sites load\n";
        assert_eq!(String::from_utf8(notes).unwrap(), expected);
    }
}
