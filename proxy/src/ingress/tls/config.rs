//! How TLS is ended for every host, but for the certificate.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer, cipher_suite};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite};

use super::client_hello;

/// The cipher suites, cheapest first for a box that has instructions for AES, as nearly every processor has.
///
/// AES with keys of 128 bits before those of 256: RFC 8446 §9.1 has every client of TLS 1.3 know it, and its hash,
/// SHA-256, costs a handshake a quarter less than SHA-384 does.
fn suites() -> Vec<SupportedCipherSuite> {
    vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
}

/// Tickets for each handshake of TLS 1.3. A client that comes back by one is given the next; every further one costs as
/// much as a key derivation, and is forgotten by most.
const TICKETS: usize = 1;

/// The settings: TLS 1.2 or 1.3, HTTP/2 or 1.1, tickets for quick returns.
#[derive(Debug)]
pub(crate) struct Settings {
    /// We choose among the client's cipher suites.
    ours: ServerConfig,
    /// The client chooses: it has no instructions for AES, and says so by wanting ChaCha20 first.
    theirs: ServerConfig,
}

impl Settings {
    /// # Errors
    /// When the cryptographic library has no random numbers.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let provider = CryptoProvider { cipher_suites: suites(), ..aws_lc_rs::default_provider() };
        let mut theirs = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Nobody));
        theirs.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        theirs.ticketer = Ticketer::new()?;
        theirs.send_tls13_tickets = TICKETS;
        let mut ours = theirs.clone();
        ours.ignore_client_order = true;
        Ok(Self { ours, theirs })
    }

    /// Those for one client, who is shown what `certificate` says.
    pub(super) fn of(
        &self,
        hello: &client_hello::ClientHello,
        certificate: Arc<dyn ResolvesServerCert>,
    ) -> Arc<ServerConfig> {
        let mut config = if hello.prefers_chacha20 { &self.theirs } else { &self.ours }.clone();
        config.cert_resolver = certificate;
        Arc::new(config)
    }
}

/// Stands where each connection's own certificate will.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_the_library_is_there() {
        let name = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite());
        let sorted = |suites: &[SupportedCipherSuite]| {
            let mut names: Vec<_> = suites.iter().map(name).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(&suites()), sorted(aws_lc_rs::DEFAULT_CIPHER_SUITES));
    }

    #[test]
    fn a_client_without_instructions_for_aes_chooses_for_itself() {
        let settings = Settings::new().unwrap();
        for prefers_chacha20 in [false, true] {
            let hello = client_hello::ClientHello { prefers_chacha20, ..Default::default() };
            assert_eq!(settings.of(&hello, Arc::new(Nobody)).ignore_client_order, !prefers_chacha20);
        }
    }
}
