//! Names by which devices ask whether the network has a say in how they look up names.
//!
//! All are answered with "no", for the name and everything below it, to every type: a device that is told so uses the
//! school's resolver, and lessons lead to the box. None of it is hidden: these are the makers' own signals.

/// How a name is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// There is no such name (RFC 8020: and none below it).
    NoSuchName,
    /// The name has no record of the type (RFC 2308 §2.2).
    NoData,
}

/// A name that devices ask for, and how it is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// The name; what is below it is meant too.
    pub name: &'static str,
    /// The answer.
    pub denial: Denial,
    /// Who asks, for a comment beside it.
    pub about: &'static str,
}

/// Every such name. `wpad` is not among them: that is the school's own to decide.
pub const NAMES: [Special; 5] = [
    // Mozilla: a canary domain that does not resolve turns off DNS over HTTPS where nobody chose it by hand. An address
    // of any kind, 0.0.0.0 too, would say "resolves".
    Special {
        name: "use-application-dns.net",
        denial: Denial::NoSuchName,
        about: "Firefox: DNS over HTTPS by default",
    },
    // Apple: NXDOMAIN or an empty answer for these says that Private Relay is not for this network, and the device tells
    // its user. Silence or SERVFAIL would only make it slow.
    Special { name: "mask.icloud.com", denial: Denial::NoSuchName, about: "Apple: iCloud Private Relay" },
    Special { name: "mask-h2.icloud.com", denial: Denial::NoSuchName, about: "Apple: iCloud Private Relay" },
    Special { name: "mask.apple-dns.net", denial: Denial::NoSuchName, about: "Apple: iCloud Private Relay" },
    // RFC 9462 §4, §6: the answer speaks of the resolver that was asked, so it is never forwarded; a resolver without
    // an encrypted twin has none to name.
    Special { name: "resolver.arpa", denial: Denial::NoData, about: "discovery of encrypted resolvers (RFC 9462)" },
];
