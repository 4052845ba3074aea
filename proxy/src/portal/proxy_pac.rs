//! `/proxy.pac` at the box's own names: which addresses a browser asks the box for.
//!
//! What is in it comes from the list alone ([`bulaq_allowlist::export::pac`]); here is what it says of the proxy's
//! address, and what keeps a class that asks at one moment from making it thirty times. `/wpad.dat` is the same file for
//! browsers that look for one by themselves, and is there only when that was asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bulaq_allowlist::export::pac::{self, ProxyAddress};
use bulaq_allowlist::{Allowlist, HostName, HostPattern};
use bulaq_cache_policy::{EntityTag, EntityTags};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// Where the file is.
pub const PATH: &str = "/proxy.pac";

/// Where browsers look for one by themselves (WPAD).
pub const WPAD_PATH: &str = "/wpad.dat";

/// The first label of the names at which browsers look for [`WPAD_PATH`].
const WPAD_LABEL: &str = "wpad";

/// How long a browser may take its copy for good: a change of the list is everywhere after five minutes.
const CACHE_CONTROL_VALUE: HeaderValue = HeaderValue::from_static("max-age=300");

/// Files that are kept of one list: one for each of the box's addresses by which clients come.
const FILES_MAX: usize = 8;

/// What is said of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacOptions {
    /// Where clients find the forward door; none says the address that each client used to ask for the file.
    pub proxy: Option<ProxyAddress>,
    /// Whether [`WPAD_PATH`] is answered.
    pub wpad: bool,
}

/// The files of today's list, made when they are first asked for.
#[derive(Debug, Default)]
pub struct PacFiles {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of which list the files are.
    list: Option<Arc<Allowlist>>,
    files: Vec<(Option<ProxyAddress>, PacFile)>,
}

/// A PAC file with its tag.
#[derive(Clone, Debug)]
struct PacFile {
    text: Bytes,
    tag: EntityTag,
}

impl PacFile {
    fn new(text: String) -> Self {
        let digest = blake3::hash(text.as_bytes()).to_hex();
        let tag = EntityTag::parse(format!("\"{}\"", &digest[..32]).as_bytes()).expect("hexadecimal digits in quotes");
        Self { text: Bytes::from(text), tag }
    }
}

impl PacFiles {
    /// The file for a client that reaches the forward door at `forward_door`, as far as the box can know.
    fn of(
        &self,
        list: &Arc<Allowlist>,
        own_names: &[HostName],
        options: &PacOptions,
        forward_door: Option<SocketAddr>,
    ) -> PacFile {
        // A client that the forward door would reset is not sent there, whatever address is configured.
        let seen = forward_door.map(ProxyAddress::from);
        let proxy = if seen.is_some() { options.proxy.clone().or(seen) } else { None };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.list.as_ref().is_some_and(|known| Arc::ptr_eq(known, list)) {
            *kept = Kept { list: Some(Arc::clone(list)), files: Vec::new() };
        }
        if let Some((_, file)) = kept.files.iter().find(|(known, _)| *known == proxy) {
            return file.clone();
        }
        let file = PacFile::new(pac::text(list, &own_patterns(own_names), proxy.as_ref()));
        if kept.files.len() >= FILES_MAX {
            kept.files.remove(0);
        }
        kept.files.push((proxy, file.clone()));
        file
    }

    /// The answer to a GET or HEAD of `path`, when it is the file's.
    pub fn answer(
        &self,
        (path, headers): (&str, &HeaderMap),
        list: &Arc<Allowlist>,
        own_names: &[HostName],
        options: &PacOptions,
        forward_door: Option<SocketAddr>,
    ) -> Option<Response<Bytes>> {
        if path != PATH && !(options.wpad && path == WPAD_PATH) {
            return None;
        }
        let PacFile { text, tag } = self.of(list, own_names, options, forward_door);
        let is_known = EntityTags::parse(headers, &IF_NONE_MATCH).is_some_and(|known| known.weakly_match(Some(&tag)));
        let mut response = Response::new(Bytes::new());
        let fields = response.headers_mut();
        fields.insert(ETAG, tag.to_value());
        fields.insert(CACHE_CONTROL, CACHE_CONTROL_VALUE);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Some(response);
        }
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(pac::CONTENT_TYPE));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        *response.body_mut() = text;
        Some(response)
    }
}

/// The box's own names in the file. `localhost` is every device's own.
pub fn own_patterns(own_names: &[HostName]) -> Vec<HostPattern> {
    let names = own_names.iter().filter(|name| name.as_str() != "localhost");
    names.cloned().map(HostPattern::Exact).collect()
}

/// Whether a request in origin-form looks for a proxy by WPAD: this one path, at a name that begins with `wpad`.
pub fn is_wpad(parts: &Parts) -> bool {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let label = host.split(['.', ':']).next().unwrap_or_default();
    parts.uri.path() == WPAD_PATH && label.eq_ignore_ascii_case(WPAD_LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "[[site]]\nname = \"a\"\nhosts = [\"a.kz\", \"*.a.kz\"]\n";

    fn list() -> Arc<Allowlist> {
        Arc::new(Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist)
    }

    fn own_names() -> Vec<HostName> {
        ["localhost", "bulaq.internal"].map(|name| HostName::parse(name).unwrap()).to_vec()
    }

    fn ask(files: &PacFiles, path: &str, options: &PacOptions, door: Option<&str>) -> Option<Response<Bytes>> {
        let door = door.map(|door| door.parse().unwrap());
        files.answer((path, &HeaderMap::new()), &list(), &own_names(), options, door)
    }

    fn text(response: &Response<Bytes>) -> &str {
        std::str::from_utf8(response.body()).unwrap()
    }

    #[test]
    fn the_file_names_the_address_that_the_client_used_or_the_configured_one() {
        let (plain, set) = (
            PacOptions::default(),
            PacOptions { proxy: ProxyAddress::parse("box.school.kz:8080").ok(), ..PacOptions::default() },
        );
        for (options, door, expected) in [
            (&plain, Some("192.168.10.5:3128"), "\"PROXY 192.168.10.5:3128; DIRECT\""),
            (&plain, Some("[fd00::5]:3128"), "\"PROXY [fd00::5]:3128; DIRECT\""),
            (&plain, None, "return \"DIRECT\""),
            (&set, Some("192.168.10.5:3128"), "\"PROXY box.school.kz:8080; DIRECT\""),
            (&set, None, "return \"DIRECT\""),
        ] {
            let response = ask(&PacFiles::default(), PATH, options, door).unwrap();
            assert!(text(&response).contains(expected), "{expected}: {}", text(&response));
            assert!(!text(&response).contains("localhost"));
        }
    }

    #[test]
    fn a_browser_hears_only_of_changes() {
        let files = PacFiles::default();
        let (list, options, door) = (list(), PacOptions::default(), Some("192.0.2.7:3128".parse().unwrap()));
        let ask = |fields: &HeaderMap, list| files.answer((PATH, fields), list, &own_names(), &options, door).unwrap();
        let first = ask(&HeaderMap::new(), &list);
        assert_eq!(first.status(), 200);
        assert_eq!(first.headers()[CONTENT_TYPE], "application/x-ns-proxy-autoconfig");
        assert_eq!(first.headers()[CACHE_CONTROL], "max-age=300");
        let tag = first.headers()[ETAG].clone();
        assert!(!tag.to_str().unwrap().starts_with("W/"), "it promises equal bytes");

        let known = HeaderMap::from_iter([(IF_NONE_MATCH, tag.clone())]);
        let second = ask(&known, &list);
        assert_eq!((second.status(), second.body().len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(second.headers()[ETAG], tag);

        let longer = format!("{LIST}[[site]]\nname = \"b\"\nhosts = [\"b.kz\"]\n");
        let edited = Arc::new(Allowlist::parse("allowlist.toml", &longer).unwrap().allowlist);
        let third = ask(&known, &edited);
        assert_eq!(third.status(), 200);
        assert!(text(&third).contains("\"b.kz\": WEB"));
    }

    #[test]
    fn the_file_for_who_looks_by_himself_is_there_when_asked_for() {
        let files = PacFiles::default();
        let wpad = PacOptions { wpad: true, ..PacOptions::default() };
        assert!(ask(&files, WPAD_PATH, &PacOptions::default(), None).is_none());
        assert!(ask(&files, WPAD_PATH, &wpad, None).is_some());
        assert!(ask(&files, "/other.pac", &wpad, None).is_none());
    }

    #[test]
    fn files_of_many_addresses_are_bounded() {
        let (files, list) = (PacFiles::default(), list());
        for port in 1..=100 {
            let door = Some(SocketAddr::from(([192, 0, 2, 7], port)));
            let answer = files.answer((PATH, &HeaderMap::new()), &list, &[], &PacOptions::default(), door).unwrap();
            assert!(text(&answer).contains(&format!("192.0.2.7:{port};")));
        }
        assert_eq!(files.kept.lock().unwrap().files.len(), FILES_MAX);
    }

    #[test]
    fn wpad_is_one_path_at_names_that_begin_so() {
        for (host, path, expected) in [
            ("wpad", "/wpad.dat", true),
            ("WPAD.school.kz", "/wpad.dat", true),
            ("wpad:80", "/wpad.dat", true),
            ("wpad.school.kz", "/proxy.pac", false),
            ("a.wpad", "/wpad.dat", false),
            ("wpadx.kz", "/wpad.dat", false),
            ("", "/wpad.dat", false),
        ] {
            let (parts, ()) = http::Request::builder().uri(path).header(HOST, host).body(()).unwrap().into_parts();
            assert_eq!(is_wpad(&parts), expected, "{host}{path}");
        }
    }
}
