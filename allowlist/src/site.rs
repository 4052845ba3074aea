//! A site: a named group of hosts with rules.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::glob::Glob;
use crate::host_name::HostName;
use crate::rule::Rule;

/// How a URL is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain HTTP, port 80 unless a port is written.
    Http,
    /// HTTP over TLS, port 443 unless a port is written.
    Https,
}

impl Scheme {
    /// The word before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port when a URL names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme of a word in any case, or None for one that is not HTTP.
    pub fn parse(word: &str) -> Option<Scheme> {
        [Self::Http, Self::Https].into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the pupils' operator charges for a site's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Traffic {
    /// The operator has agreed not to charge for it.
    ZeroRated,
    /// It is charged as any other.
    Metered,
}

/// What the box does with a site's TLS connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsMode {
    /// Pass the bytes through untouched and count them. Nothing of the site's https is cached.
    Splice,
    /// End the connection at the box, for devices that trust its CA, so that lessons can be cached.
    Terminate,
}

/// What kind of site it is; each kind has a least that its rules must say ([`Class::never_stores_pages`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Lessons that anybody may open without an account.
    PublicLessons,
    /// A portal where everybody signs in: diary, tests, courses.
    LoginPortal,
    /// Textbooks that a reader sees only after signing in, usually under licence.
    TextbookBehindLogin,
    /// Recorded video at a host that serves the whole world.
    Video,
    /// Live television or radio: a playlist that moves on, and segments.
    Live,
    /// Calls and conferences.
    Conference,
}

macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every word that the file may say, with its meaning.
            pub(crate) const WORDS: &[(&str, $type)] = &[$(($word, <$type>::$variant)),+];

            /// The word for it in the allowlist file.
            pub fn as_str(self) -> &'static str {
                match self { $(<$type>::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Traffic { ZeroRated = "zero-rated", Metered = "metered" });
words!(TlsMode { Splice = "splice", Terminate = "terminate" });
words!(Class {
    PublicLessons = "public-lessons",
    LoginPortal = "login-portal",
    TextbookBehindLogin = "textbook-behind-login",
    Video = "video",
    Live = "live",
    Conference = "conference",
});

impl Class {
    /// Whether the pages of this class are personal, licensed or moving, so that a site that is not spliced
    /// must end its rules with one that never stores; rules before it may let named static files be kept.
    pub fn never_stores_pages(self) -> bool {
        match self {
            Self::PublicLessons | Self::Live => false,
            Self::LoginPortal | Self::TextbookBehindLogin | Self::Video | Self::Conference => true,
        }
    }
}

/// A site's title in the pages' three languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title {
    pub(crate) kk: Box<str>,
    pub(crate) ru: Box<str>,
    pub(crate) en: Box<str>,
}

impl Title {
    /// The title in Kazakh (`kk`), Russian (`ru`) or, for any other tag, English. `ru-KZ` counts as `ru`.
    pub fn in_language(&self, tag: &str) -> &str {
        match tag.split(['-', '_']).next().unwrap_or(tag).to_ascii_lowercase().as_str() {
            "kk" => &self.kk,
            "ru" => &self.ru,
            _ => &self.en,
        }
    }
}

/// Where a part of a site was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// In the school's file or in the built-in catalogue.
    pub source: Source,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
}

/// Which text a [`Position`] counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The school's allowlist file.
    File,
    /// The catalogue entry or profile of this name.
    Catalogue(&'static str),
}

/// One entry of a site's `hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    pub(crate) pattern: HostPattern,
    pub(crate) plain_http: bool,
    pub(crate) port: Option<u16>,
    pub(crate) at: Position,
}

/// Which hosts an entry means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name alone.
    Exact(HostName),
    /// Every name below this one, and not the name itself: `*.bilimland.kz`.
    Suffix(HostName),
}

impl HostEntry {
    /// Which hosts it means.
    pub fn pattern(&self) -> &HostPattern {
        &self.pattern
    }

    /// The name without `*.`.
    pub fn host(&self) -> &HostName {
        match &self.pattern {
            HostPattern::Exact(host) | HostPattern::Suffix(host) => host,
        }
    }

    /// Whether the entry means plain HTTP alone (`http://play.nis.edu.kz`).
    pub fn is_plain_http(&self) -> bool {
        self.plain_http
    }

    /// The port that the entry permits besides the schemes' own.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Where it was written.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Whether this entry permits the port for the scheme: the scheme's own, or the one that it names.
    pub fn permits(&self, scheme: Scheme, port: u16) -> bool {
        if self.plain_http && scheme == Scheme::Https {
            return false;
        }
        port == scheme.default_port() || self.port == Some(port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Suffix(host) => write!(f, "*.{host}"),
        }
    }
}

/// The entry as it is written in a file, normalised.
impl fmt::Display for HostEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.plain_http {
            f.write_str("http://")?;
        }
        write!(f, "{}", self.pattern)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A page where the night begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPage {
    /// How it is reached.
    pub scheme: Scheme,
    /// On which of the site's hosts.
    pub host: HostName,
    /// At which port; one that the site permits.
    pub port: u16,
    /// The path, beginning with `/`, and the query if there is one; percent-encoded.
    pub path_and_query: Box<str>,
}

/// The absolute URL.
impl fmt::Display for StartPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path_and_query)
    }
}

/// What the night fetches of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct Prefetch {
    pub(crate) start: Vec<StartPage>,
    pub(crate) sitemaps: bool,
    pub(crate) depth: u32,
    pub(crate) include: Vec<Glob>,
    pub(crate) exclude: Vec<Glob>,
    pub(crate) pages_max: Option<u64>,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) in_flight_max: Option<u32>,
}

impl Prefetch {
    /// The pages where the night begins.
    pub fn start(&self) -> &[StartPage] {
        &self.start
    }

    /// Whether the sitemaps that robots.txt names, and `/sitemap.xml`, are start pages too.
    pub fn sitemaps(&self) -> bool {
        self.sitemaps
    }

    /// How many links away from a start page a page may be. What a page needs to be shown doesn't count.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Whether a path (without query) is in the night's scope: in `include` (or there is none), and not in `exclude`.
    pub fn includes(&self, path: &str) -> bool {
        let path = crate::path::normalised(path);
        (self.include.is_empty() || self.include.iter().any(|glob| glob.matches(&path)))
            && !self.exclude.iter().any(|glob| glob.matches(&path))
    }

    /// The `include` patterns; none means everything.
    pub fn include(&self) -> &[Glob] {
        &self.include
    }

    /// The `exclude` patterns.
    pub fn exclude(&self) -> &[Glob] {
        &self.exclude
    }

    /// The most pages and files of one night, if the file sets it.
    pub fn pages_max(&self) -> Option<u64> {
        self.pages_max
    }

    /// The most bytes of bodies of one night, if the file sets it.
    pub fn bytes_max(&self) -> Option<u64> {
        self.bytes_max
    }

    /// The most requests in a second, if the file sets it; above zero.
    pub fn requests_per_second(&self) -> Option<f64> {
        self.requests_per_second
    }

    /// The most requests at one time, if the file sets it; above zero.
    pub fn in_flight_max(&self) -> Option<u32> {
        self.in_flight_max
    }
}

/// A named group of hosts with rules. Made by [`crate::Allowlist::parse`] alone.
#[derive(Debug, Clone)]
pub struct Site {
    pub(crate) name: Arc<str>,
    pub(crate) title: Title,
    pub(crate) class: Class,
    pub(crate) traffic: Traffic,
    pub(crate) tls: TlsMode,
    pub(crate) languages: Vec<Box<str>>,
    pub(crate) subjects: Vec<Box<str>>,
    pub(crate) hosts: Vec<HostEntry>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) rules: Vec<Rule>,
    /// What holds when no rule matches.
    pub(crate) otherwise: Rule,
    pub(crate) prefetch: Option<Prefetch>,
    pub(crate) catalogue: Option<&'static str>,
    pub(crate) file: Arc<str>,
    pub(crate) at: Position,
}

impl Site {
    /// The short name: unique in the list, lower-case letters, digits and hyphens. A label of metrics and folders.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be kept by what outlives the list.
    pub fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// The title for people.
    pub fn title(&self) -> &Title {
        &self.title
    }

    /// What kind of site it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether its traffic is charged for.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What is done with its TLS.
    pub fn tls(&self) -> TlsMode {
        self.tls
    }

    /// The languages of its lessons, as tags (`kk`).
    pub fn languages(&self) -> &[Box<str>] {
        &self.languages
    }

    /// The school subjects that it teaches, in the file's own words.
    pub fn subjects(&self) -> &[Box<str>] {
        &self.subjects
    }

    /// Its hosts, in the order of the file.
    pub fn hosts(&self) -> &[HostEntry] {
        &self.hosts
    }

    /// The rules, in the order in which they are tried.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of this index, or, for None, what holds when no rule matches: nothing but what the origin says.
    pub fn rule(&self, index: Option<usize>) -> &Rule {
        index.and_then(|index| self.rules.get(index)).unwrap_or(&self.otherwise)
    }

    /// What the night fetches of it, if anything.
    pub fn prefetch(&self) -> Option<&Prefetch> {
        self.prefetch.as_ref()
    }

    /// Whether the site's hosts may resolve to this private, loopback or link-local address: the entry names it.
    pub fn names_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }

    /// The private addresses that its hosts may resolve to.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The catalogue entry or profile that it was taken from.
    pub fn catalogue(&self) -> Option<&'static str> {
        self.catalogue
    }

    /// The name of the file that lists it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// A place as people read it: `allowlist.toml:5`, or `catalogue bilimland:5`.
    pub fn place_of(&self, position: Position) -> String {
        match position.source {
            Source::File => format!("{}:{}", self.file, position.line),
            Source::Catalogue(name) => format!("catalogue {name}:{}", position.line),
        }
    }

    /// Where it begins in that file.
    pub fn at(&self) -> Position {
        self.at
    }
}
