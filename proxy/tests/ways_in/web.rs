//! The Internet of these tests: a certificate authority that browsers know, sites over https that can go down, and the
//! provider's resolver. What each connection and request said is kept.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData};
use rustls::server::ResolvesServerCertUsingSni;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::net::{Machine, RESOLVER, WEB, at};

/// Who signs for the sites, as a certificate viewer shows it.
pub const PUBLIC_CA: &str = "Test Public CA";

/// The site that the box may keep, and the host of its pictures and words.
pub const LESSON: &str = "lesson.example.kz";
pub const MEDIA: &str = "media.lesson.example.kz";
/// A permitted site that the list leaves to pass untouched.
pub const SPLICED: &str = "bank.example.kz";
/// A site that no list names.
pub const UNLISTED: &str = "games.example.kz";

const HOSTS: [&str; 4] = [LESSON, MEDIA, SPLICED, UNLISTED];

/// The lesson: a picture and a style from another host of the site, a script with its digest, and words that it fetches
/// from the other host too. `window.lesson` is what a reader then sees.
const PAGE: &str = r#"<!doctype html><html lang="ru"><head><meta charset="utf-8"><title>Вода</title>
<link rel="stylesheet" href="https://media.lesson.example.kz/style.css">
<script defer src="/lesson.js" integrity="sha256-DIGEST" crossorigin="anonymous"></script></head>
<body><h1>Круговорот воды</h1><img src="https://media.lesson.example.kz/cup.svg" alt="Чашка">
<a id="words" href="https://media.lesson.example.kz/words.json">words</a></body></html>"#;

const SCRIPT: &str = r#"
const loaded = new Promise((done) => addEventListener("load", done));
window.lesson = (async () => {
    let words = "";
    try { words = (await (await fetch(document.getElementById("words").href)).json()).water; } catch (error) { words = String(error); }
    await loaded;
    const heading = document.querySelector("h1");
    return JSON.stringify({
        heading: heading.textContent, colour: getComputedStyle(heading).color,
        picture: document.querySelector("img").naturalWidth, words,
    });
})();
"#;

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a TLS 1.3 suite");
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().chain([0, 0].iter()).take(3).fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        for place in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * place) & 63];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// A request as a site saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub host: String,
    pub path: String,
    /// Name and value, in order.
    pub fields: Vec<(String, String)>,
}

/// The sites and the resolver, until dropped.
pub struct Web {
    machine: Machine,
    runtime: Runtime,
    acceptor: TlsAcceptor,
    /// The digest of each site's public key, as `curl --pinnedpubkey` takes it.
    pins: HashMap<&'static str, String>,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: Mutex<Vec<JoinHandle<()>>>,
    root_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Web {
    /// All sites up, at `machine`.
    pub fn start(machine: &Machine) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, PUBLIC_CA);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let root_pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let (acceptor, pins) = acceptor(&issuer);
        let web = Self {
            machine: machine.clone(),
            runtime: Runtime::new().unwrap(),
            acceptor,
            pins,
            asked: Arc::default(),
            serving: Mutex::default(),
            root_pem,
            issuer,
        };
        let names = machine.datagrams(at(RESOLVER, 53));
        std::thread::spawn(move || resolve(&names));
        web.up();
        web
    }

    /// Writes the public root for browsers and for the box.
    pub fn write_root(&self, folder: &Path) -> PathBuf {
        let file = folder.join("public-root.pem");
        std::fs::write(&file, &self.root_pem).unwrap();
        file
    }

    /// The digest of a site's public key.
    pub fn pin(&self, host: &str) -> &str {
        &self.pins[host]
    }

    /// A certificate and key of the public CA for these names, as an operator would be given.
    pub fn certificate(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = leaf_params(names);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A server at another address that shows these certificates, and says who it pretends to be.
    pub fn pretend(&self, at: SocketAddr, tls: TlsAcceptor) {
        let listener = self.machine.listen(at);
        listener.set_nonblocking(true).unwrap();
        self.serving.lock().unwrap().push(self.runtime.spawn(serve(listener, Some(tls), Arc::default())));
    }

    /// All sites answer.
    pub fn up(&self) {
        let mut serving = self.serving.lock().unwrap();
        for (port, tls) in [(443, Some(self.acceptor.clone())), (80, None)] {
            let listener = self.machine.listen(at(WEB, port));
            listener.set_nonblocking(true).unwrap();
            serving.push(self.runtime.spawn(serve(listener, tls, Arc::clone(&self.asked))));
        }
    }

    /// No site answers; connections to them are cut.
    pub fn down(&self) {
        for task in self.serving.lock().unwrap().drain(..) {
            task.abort();
            let _ = self.runtime.block_on(task);
        }
    }

    /// What was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// A server that shows to everybody what stands under `chain[0]`.
pub fn shows(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

pub fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a site of the test");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(86_400)).into();
    params.not_after = (now + std::time::Duration::from_secs(30 * 86_400)).into();
    params
}

fn acceptor(issuer: &Issuer<'static, KeyPair>) -> (TlsAcceptor, HashMap<&'static str, String>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut pins = HashMap::new();
    let mut sites = ResolvesServerCertUsingSni::new();
    for host in HOSTS {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf_params(&[host]).signed_by(&key, issuer).unwrap();
        pins.insert(host, format!("sha256//{}", base64(&sha256(&key.subject_public_key_info()))));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::sign::CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider).unwrap();
        sites.add(host, key).unwrap();
    }
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(sites));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), pins)
}

async fn serve(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, asked: Arc<Mutex<Vec<Asked>>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    // With this task end its connections: a site that is down is down.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, asked) = (tls.clone(), Arc::clone(&asked));
        connections.spawn(async move {
            match tls {
                None => converse(stream, asked).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, asked).await;
                    }
                }
            }
        });
    }
}

async fn converse<I>(stream: I, asked: Arc<Mutex<Vec<Asked>>>)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &asked);
        async move { Ok::<_, Infallible>(answer) }
    });
    // A client that hangs up is no concern of the site's.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

fn answer(request: &Request<Incoming>, asked: &Mutex<Vec<Asked>>) -> Response<Full<Bytes>> {
    let named = request.headers().get("host").and_then(|host| host.to_str().ok());
    let host = request.uri().host().or(named).unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    asked.lock().unwrap().push(Asked { host: host.clone(), path: path.clone(), fields });
    let (kind, body) = match (host.as_str(), path.as_str()) {
        (MEDIA, "/style.css") => ("text/css", "h1 { color: rgb(0, 91, 142) }".to_owned()),
        (MEDIA, "/cup.svg") => {
            ("image/svg+xml", r#"<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"/>"#.to_owned())
        }
        (MEDIA, "/words.json") => ("application/json", r#"{"water":"су"}"#.to_owned()),
        (_, "/lesson.js") => ("text/javascript", SCRIPT.to_owned()),
        (_, path) if path.starts_with("/lesson") => {
            ("text/html; charset=utf-8", PAGE.replace("DIGEST", &base64(&sha256(SCRIPT.as_bytes()))))
        }
        (host, "/who") => ("text/plain", format!("the page of {host}")),
        _ => ("text/html; charset=utf-8", format!("<!doctype html><title>{host}</title><h1>{host}</h1>")),
    };
    Response::builder()
        .header("content-type", kind)
        .header("cache-control", "max-age=3600")
        .header("access-control-allow-origin", "*")
        .header("strict-transport-security", "max-age=31536000; includeSubDomains")
        .header("alt-svc", "h3=\":443\"; ma=86400")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

/// The provider's resolver: every site is at one place, other names are not known. As large sites do, they have an
/// HTTPS record (RFC 9460) that hints at the same address.
fn resolve(socket: &UdpSocket) {
    let sites: HashMap<&str, SocketAddr> = HOSTS.iter().map(|&host| (host, at(WEB, 443))).collect();
    let mut question = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut question) {
        if let Some(reply) = reply(&question[..length], |name| sites.contains_key(name)) {
            let _ = socket.send_to(&reply, from);
        }
    }
}

/// RFC 1035 §4: the header, the question again, and perhaps one record.
fn reply(message: &[u8], is_site: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut position = 12;
    loop {
        let length = usize::from(*message.get(position)?);
        position += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(position..position + length)?).to_lowercase());
        position += length;
    }
    let question = message.get(12..position + 4)?;
    let kind = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
    let is_site = is_site(&labels.join("."));
    let data: Vec<u8> = match (is_site, kind) {
        (true, 1) => WEB.octets().to_vec(),
        // SvcPriority 1, TargetName ".", alpn=h3,h2, ipv4hint.
        (true, 65) => [&[0, 1, 0, 0, 1, 0, 6, 2, b'h', b'3', 2, b'h', b'2', 0, 4, 0, 4][..], &WEB.octets()].concat(),
        _ => Vec::new(),
    };
    let code = if is_site { 0 } else { 3 };
    let mut reply = message[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]);
    reply.extend(question);
    if !data.is_empty() {
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).ok()?]);
        reply.extend(data);
    }
    Some(reply)
}
