//! How a request reached the box; says nothing about who sent it.

use std::net::SocketAddr;

use bulaq_allowlist::HostName;

/// What the ingress tells the stack about a request. Put among the request's extensions by whoever made or read it.
///
/// There is no client address here on purpose: nothing after the ingress can write one down.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// By which door.
    pub way: Way,
    /// Whether it came over TLS that we terminated, so that its scheme is `https`.
    pub is_secure: bool,
    /// The port of our listener. A `Host` with this port means the scheme's own port at the origin.
    pub local_port: u16,
    /// Where the connection was going, where a router handed it over. Never connected to, only compared with.
    pub original: Option<SocketAddr>,
    /// Where this client reaches the forward door: the address of ours that it came to, with that door's port. None when
    /// that door is closed, is at other addresses only, or would not serve this client.
    pub forward_door: Option<SocketAddr>,
    /// The name that the client asked for in its ClientHello; `Host` must agree (421 otherwise).
    pub server_name: Option<HostName>,
    /// Whether this client may see `Cache-Status` (operators' networks only, unless configured otherwise).
    pub may_see_status: bool,
    /// Whether this client may send `PURGE` (permitted addresses only; none unless configured).
    pub may_purge: bool,
}

impl Arrival {
    /// Whether the client believes to speak with the site itself: by a reverse door, or over TLS inside a CONNECT.
    pub fn is_at_site(&self) -> bool {
        match self.way {
            Way::Reverse => true,
            Way::Forward => self.is_secure,
            // Their addresses are made by the box, and the reader's own scheme says nothing about the site's.
            Way::Gateway | Way::Night => false,
        }
    }
}

/// The doors of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// A client that believes us to be the origin: its `Host` is the site.
    Reverse,
    /// A client that knows us as its proxy: absolute-form targets, or TLS inside a CONNECT that ends here.
    Forward,
    /// A reader of a gateway name: anonymous, read only, absolute-form targets made by the gateway.
    Gateway,
    /// The night's prefetch: absolute-form targets, made by ourselves.
    Night,
}
