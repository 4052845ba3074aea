//! TLS clients that only shake hands, and the certificate of the servers that they meet.

mod counting;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::{ClientSessionStore, Resumption};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{
    CipherSuite, ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::counting::Counting;
use crate::boxed::HOST;

/// The longest that one handshake may take. Longer than any wait that is measured.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most of an answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What is offered first, in TLS 1.3 and 1.2.
const FIRST_SUITES: [CipherSuite; 2] =
    [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];

/// One certificate and its key, P-256, for both servers, and whom the clients trust for it.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Certificate and key in one file, as some servers want them.
    pub(crate) pem: PathBuf,
    /// The root that signed it.
    pub(crate) root: PathBuf,
    roots: Arc<RootCertStore>,
}

/// Which handshake.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    version: &'static SupportedProtocolVersion,
    pub(crate) is_resumed: bool,
}

pub(crate) const KINDS: [Kind; 4] = [
    Kind { name: "TLS 1.3, whole", version: &rustls::version::TLS13, is_resumed: false },
    Kind { name: "TLS 1.2, whole", version: &rustls::version::TLS12, is_resumed: false },
    Kind { name: "TLS 1.3, resumed", version: &rustls::version::TLS13, is_resumed: true },
    Kind { name: "TLS 1.2, resumed", version: &rustls::version::TLS12, is_resumed: true },
];

impl Identity {
    /// Makes both files in `folder`.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let root = params.self_signed(&root_key)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone())?;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut leaf = CertificateParams::new(vec![HOST.to_owned()])?;
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&key, &Issuer::new(params, root_key))?;
        let identity = Self {
            certificate: folder.join("site.pem"),
            key: folder.join("site.key"),
            pem: folder.join("both.pem"),
            root: folder.join("root.pem"),
            roots: Arc::new(roots),
        };
        std::fs::write(&identity.certificate, leaf.pem())?;
        std::fs::write(&identity.root, root.pem())?;
        write_key(&identity.key, &key.serialize_pem())?;
        write_key(&identity.pem, &(leaf.pem() + &key.serialize_pem()))?;
        Ok(identity)
    }

    /// A server with this certificate.
    pub(crate) fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let certificate = CertificateDer::from_pem_file(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Arc::new(config))
    }

    /// A client of one kind, with a memory for tickets of its own. It offers X25519 first,
    /// which both servers take, and P-256, without which TLS 1.2 has no use for a key on it.
    pub(crate) fn client(&self, kind: Kind) -> anyhow::Result<TlsConnector> {
        Ok(TlsConnector::from(Arc::new(self.config(kind)?)))
    }

    fn config(&self, kind: Kind) -> anyhow::Result<ClientConfig> {
        let groups = vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider(groups)))
            .with_protocol_versions(&[kind.version])?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.resumption = if kind.is_resumed { Resumption::in_memory_sessions(16) } else { Resumption::disabled() };
        Ok(config)
    }

    /// What a client of TLS 1.3 needs that wants to speak `protocol` (an ALPN identifier).
    pub(crate) fn speaker(&self, protocol: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
        let groups = vec![aws_lc_rs::kx_group::X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider(groups)))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }
}

/// What clients offer: of the suites, AES-128 first, as browsers do on processors with AES, so that servers which leave the
/// choice to the client and those which prefer it agree on the same one.
fn provider(groups: Vec<&'static dyn SupportedKxGroup>) -> CryptoProvider {
    let mut provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
    // The first ones stay in their order otherwise.
    provider.cipher_suites.sort_by_key(|suite| !FIRST_SUITES.contains(&suite.suite()));
    provider
}

/// For its owner alone: a server may refuse a key that others can read.
fn write_key(path: &Path, pem: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(pem.as_bytes())?;
    Ok(())
}

/// One connection with a request, whose answer does not matter. A device that only shakes hands looks like an app that
/// pins its certificate, and the box would lead it to the site itself from then on; one that has asked for something does
/// not, for ten minutes.
pub(crate) async fn ask(client: &TlsConnector, door: SocketAddr) -> anyhow::Result<()> {
    let asking = async {
        let mut stream = client.connect(ServerName::try_from(HOST)?, TcpStream::connect(door).await?).await?;
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let _ = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await;
        ensure!(answer.starts_with(b"HTTP/1.1 "), "no answer over TLS");
        Ok(())
    };
    timeout(PATIENCE, asking).await.context("no answer in time")?
}

/// One connection: handshake, farewell both ways, end. How long it took to the end of the handshake.
pub(crate) async fn shake(
    client: &TlsConnector,
    from: IpAddr,
    door: SocketAddr,
    expected: Option<HandshakeKind>,
) -> anyhow::Result<Duration> {
    timeout(PATIENCE, shake_untimed(client, from, door, expected)).await.context("no handshake in time")?
}

async fn shake_untimed(
    client: &TlsConnector,
    from: IpAddr,
    door: SocketAddr,
    expected: Option<HandshakeKind>,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(door).await?;
    let mut stream = client.connect(ServerName::try_from(HOST)?, stream).await?;
    let took = begun.elapsed();
    let session = stream.get_ref().1;
    let is_known = matches!(session.protocol_version(), Some(ProtocolVersion::TLSv1_2 | ProtocolVersion::TLSv1_3));
    ensure!(is_known, "an unknown version");
    if let Some(expected) = expected {
        ensure!(session.handshake_kind() == Some(expected), "the handshake was {:?}", session.handshake_kind());
    }
    leave(&mut stream).await?;
    Ok(took)
}

/// Says farewell, and ends the connection when the server has said so too.
async fn leave(stream: &mut TlsStream<TcpStream>) -> anyhow::Result<()> {
    // TLS's farewell alone: whoever ends a TCP connection first keeps its port for a minute, and after some ten thousand
    // connections the system has none left. So the server is first, and our end is a reset.
    stream.get_mut().1.send_close_notify();
    stream.flush().await?;
    // Tickets of TLS 1.3 come after the handshake: they are read until the end.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    stream.get_ref().0.set_zero_linger()?;
    Ok(())
}

/// What client and server agree on, and what the server gives in a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) suite: Option<CipherSuite>,
    pub(crate) group: Option<NamedGroup>,
    pub(crate) tickets: u64,
}

/// The terms of a handshake of one kind, by a client of its own.
///
/// # Errors
/// When there is none.
pub(crate) async fn terms(identity: &Identity, kind: Kind, door: SocketAddr) -> anyhow::Result<Terms> {
    let sessions = Arc::new(Counting::default());
    let mut config = identity.config(kind)?;
    config.resumption = Resumption::store(Arc::clone(&sessions) as Arc<dyn ClientSessionStore>);
    let client = TlsConnector::from(Arc::new(config));
    let mut tickets_before = 0;
    if kind.is_resumed {
        shake(&client, IpAddr::V4(Ipv4Addr::LOCALHOST), door, Some(HandshakeKind::Full)).await?;
        tickets_before = sessions.tickets.load(Ordering::Relaxed);
    }
    let mut stream = client.connect(ServerName::try_from(HOST)?, TcpStream::connect(door).await?).await?;
    let session = stream.get_ref().1;
    let expected = if kind.is_resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
    ensure!(session.handshake_kind() == Some(expected), "the handshake was {:?}", session.handshake_kind());
    let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
    let group = session.negotiated_key_exchange_group().map(|group| group.name());
    leave(&mut stream).await?;
    Ok(Terms { suite, group, tickets: sessions.tickets.load(Ordering::Relaxed) - tickets_before })
}

/// Clients of one kind, each with a memory for tickets of its own.
pub(crate) fn clients(identity: &Identity, kind: Kind, count: u32) -> anyhow::Result<Vec<TlsConnector>> {
    (0..count).map(|_| identity.client(kind)).collect()
}

/// At least `count` handshakes, each of the kind that is wanted, of all clients at one time; how many it were. Where they
/// are to be resumed, the first ones of clients that have no ticket (`are_new`) are whole.
pub(crate) async fn shake_many(
    clients: &[TlsConnector],
    kind: Kind,
    door: SocketAddr,
    count: u32,
    are_new: bool,
) -> anyhow::Result<u32> {
    let each = count.div_ceil(u32::try_from(clients.len())?);
    let mut tasks = JoinSet::new();
    for client in clients {
        let client = client.clone();
        tasks.spawn(async move {
            for number in 0..each {
                let is_whole = !kind.is_resumed || (are_new && number == 0);
                let expected = if is_whole { HandshakeKind::Full } else { HandshakeKind::Resumed };
                shake(&client, IpAddr::V4(Ipv4Addr::LOCALHOST), door, Some(expected)).await?;
            }
            anyhow::Ok(each)
        });
    }
    let mut made = 0;
    while let Some(done) = tasks.join_next().await {
        made += done??;
    }
    Ok(made)
}
