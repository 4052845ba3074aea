//! What must hold for any bytes from a client.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Method, Request, Uri, Version};

use super::connection::admit::{Admitted, Door, admit};
use super::connection::framing::{Ambiguity, Framing, Phase};
use super::limits::FIELDS_MAX;
use super::tls::client_hello::{CLIENT_HELLO_BYTES_MAX, HelloError, Parsed, parse};
use crate::fuzzing::{field_lines, first_line};
use crate::request::Way;

/// Bytes of an HTTP/1.1 connection: how they are cut into reads changes nothing, and what passes ends where another,
/// plainer reader says that it ends.
pub fn request_framing(data: &[u8]) {
    let whole = walk(data, data.len().max(1));
    let step = data.first().map_or(1, |&byte| usize::from(byte % 7) + 1);
    for step in [1, step] {
        assert_eq!(walk(data, step), whole, "reads of {step} bytes");
    }
    let mut framing = Framing::new();
    match framing.take(data) {
        Ok(()) => assert_eq!(plainly(data), whole.ok()),
        Err(refused) => {
            assert!(refused.at < data.len());
            let before = Framing::new().take(&data[..refused.at]);
            // A line without end is refused wherever it is cut; of all else, what stands before the cut passes.
            assert!(before.is_ok() || refused.why == Ambiguity::TooLong, "{before:?}, {refused:?}");
        }
    }
}

fn walk(data: &[u8], step: usize) -> Result<Phase, Ambiguity> {
    let mut framing = Framing::new();
    for bytes in data.chunks(step) {
        framing.take(bytes).map_err(|refused| refused.why)?;
    }
    Ok(framing.phase())
}

/// Where a connection stands, read with none of the strict reader's machinery: only for bytes that it let pass.
fn plainly(data: &[u8]) -> Option<Phase> {
    let mut rest = data;
    let mut requests = 0;
    loop {
        if rest.is_empty() {
            return Some(if requests == 0 { Phase::First } else { Phase::Between });
        }
        if requests == 0 && rest.starts_with(b"PRI * HTTP/2.0\r\n") {
            return Some(Phase::Http2);
        }
        let is_padded = rest.starts_with(b"\r\n");
        let head_at = if is_padded { 2 } else { 0 };
        let Some(length) = rest[head_at..].windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Some(Phase::Head);
        };
        requests += 1;
        let head = &rest[head_at..head_at + length];
        rest = &rest[head_at + length + 4..];
        if head.starts_with(b"CONNECT ") {
            return Some(Phase::Tunnel);
        }
        if value_of(head, "transfer-encoding").is_some() {
            let Some(after) = after_chunks(rest) else { return Some(Phase::Content) };
            rest = after;
        } else if let Some(length) = value_of(head, "content-length") {
            let length = length.trim().parse().expect("a length that passed is a number");
            let Some(after) = rest.get(length..) else { return Some(Phase::Content) };
            rest = after;
        }
    }
}

fn value_of(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

/// What follows the last chunk and its trailer; `None` when they are not all there.
fn after_chunks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let line;
        (line, rest) = line_of(rest)?;
        let digits = line.split(|byte| !byte.is_ascii_hexdigit()).next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).expect("hexadecimal digits are ASCII");
        let size = usize::from_str_radix(digits, 16).expect("a size that passed is a number");
        if size == 0 {
            break;
        }
        rest = rest.get(size.checked_add(2)?..)?;
    }
    loop {
        let line;
        (line, rest) = line_of(rest)?;
        if line.is_empty() {
            return Some(rest);
        }
    }
}

fn line_of(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..end], &rest[end + 2..]))
}

/// A door and a request's head (`forward https GET http://a.kz/ 1.1`, then field lines): what passes has one host and
/// no framing, and passes again unchanged.
pub fn request_head(data: &[u8]) {
    let Some((door, request)) = read_head(data) else { return };
    let (mut head, ()) = request.into_parts();
    let count = head.headers.len();
    let Ok(admitted) = admit(door, &mut head) else { return };
    assert!(count <= FIELDS_MAX && head.headers.len() <= count + 1);
    assert!(!head.headers.keys().any(|name| name.as_str().starts_with("x-forwarded")));
    assert!(
        !["forwarded", "proxy-authorization", "x-real-ip", "proxy"].iter().any(|&it| head.headers.contains_key(it))
    );
    if let Admitted::Tunnel { host, port } = &admitted {
        assert!(*port > 0 && !host.is_empty() && head.method == Method::CONNECT);
        assert!(door.way == Way::Forward && !door.is_secure);
        return;
    }
    assert!(head.headers.get_all(HOST).iter().count() <= 1 && !head.headers.contains_key(TRANSFER_ENCODING));
    if head.version == Version::HTTP_11 {
        let host = head.headers[HOST].as_bytes();
        assert!(!host.is_empty() && host.iter().all(|&byte| byte.is_ascii_graphic() && !b"@/?#,\\".contains(&byte)));
    }
    if head.method == Method::GET || head.method == Method::HEAD {
        assert!(!head.headers.contains_key(CONTENT_LENGTH));
    }
    if door.way == Way::Forward && !door.is_secure {
        let host = head.uri.authority().expect("by the forward door the target names the host").as_str();
        assert_eq!(head.headers[HOST].as_bytes(), host.as_bytes());
    } else {
        assert!(head.uri.authority().is_none() && matches!(head.uri.path().as_bytes()[0], b'/' | b'*'));
    }
    let before = head.clone();
    assert_eq!(admit(door, &mut head), Ok(admitted), "what passed passes again");
    assert!(head.uri == before.uri && head.headers == before.headers);
}

fn read_head(data: &[u8]) -> Option<(Door, Request<()>)> {
    let (first, fields) = first_line(data);
    let mut words = first.split(|&byte| byte == b' ');
    let way = if words.next()? == b"forward" { Way::Forward } else { Way::Reverse };
    let is_secure = words.next()? == b"https";
    let (method, target) = (Method::from_bytes(words.next()?).ok()?, Uri::try_from(words.next()?).ok()?);
    let version = match words.next()? {
        b"1.0" => Version::HTTP_10,
        b"2" => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let mut request = Request::builder().method(method).uri(target).version(version).body(()).ok()?;
    *request.headers_mut() = field_lines(fields);
    Some((Door { way, is_secure, content_bytes_max: 1000 }, request))
}

/// The first bytes of a TLS client: more of them never change a whole answer, fewer never make one, and TLS itself reads
/// the same name.
pub fn client_hello(data: &[u8]) {
    let whole = parse(data);
    let cut = data.first().map_or(0, |&byte| usize::from(byte)) * data.len() / 256;
    match (&whole, parse(&data[..cut])) {
        (Ok(Parsed::Whole(whole)), Ok(Parsed::Whole(part))) => assert_eq!(*whole, part),
        (Ok(Parsed::Partial), Ok(part)) => assert_eq!(part, Parsed::Partial),
        (Ok(_), Err(why)) => panic!("fewer bytes are worse: {why}"),
        (Err(why @ (HelloError::TooSlow | HelloError::Silent | HelloError::Gone(_))), _) => {
            panic!("a parser waits for nothing: {why}")
        }
        (Err(_), _) | (Ok(Parsed::Whole(_)), Ok(Parsed::Partial)) => {}
    }
    if let Ok(Parsed::Whole(hello)) = &whole {
        let more = [data, b"\x17\x03\x03\x00\x01\x00"].concat();
        assert!(matches!(parse(&more), Ok(Parsed::Whole(same)) if same == *hello));
        if let Some(name) = &hello.server_name {
            assert!(name.is_ascii() && !name.is_empty() && name.len() < CLIENT_HELLO_BYTES_MAX);
        }
    }
    let mut acceptor = rustls::server::Acceptor::default();
    let mut bytes = data;
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return;
        }
    }
    let Ok(Some(accepted)) = acceptor.accept() else { return };
    let theirs = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
    match whole {
        // rustls leaves out a name that is an address or no name; we tell it as it came.
        Ok(Parsed::Whole(ours)) => {
            let ours = ours.server_name.map(|name| name.to_ascii_lowercase());
            assert!(theirs.is_none() || ours == theirs, "{ours:?}, {theirs:?}");
        }
        Ok(Parsed::Partial) => panic!("TLS has it whole"),
        // Stricter in framing: two names, many records or extensions.
        Err(_) => {}
    }
}
