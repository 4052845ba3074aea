//! A private key under a passphrase: PKCS #8 with PBES2 (RFC 8018), scrypt (RFC 7914) and AES-256, as `openssl pkey` reads it.

use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::pkcs5::{EncryptionScheme, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::mint;

/// Fewest characters of a passphrase: four short words. The key's file may be copied and then guessed at for years.
pub const PASSPHRASE_CHARS_MIN: usize = 12;

/// Most bytes of a passphrase; nobody types more.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;

/// What the file of a key under a passphrase begins with.
const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// scrypt's cost: 16 MiB of memory five times over, a quarter of a second on a small box. OpenSSL opens no key that
/// takes 32 MiB, so it is made dearer by repetition and not by memory.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;

/// Most work that opening a key may ask for: a file from elsewhere could name any number. In bytes of memory, in
/// repetitions of scrypt, and in rounds of PBKDF2, with which older tools lock keys.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
const REPETITIONS_MAX: u16 = 64;
const ROUNDS_MAX: u32 = 10_000_000;

/// What a key's file holds.
#[derive(Debug)]
pub(super) enum KeyFile {
    /// A key that needs no passphrase.
    Plain(KeyPair),
    /// A key under a passphrase.
    Locked(Locked),
}

/// A key under a passphrase.
#[derive(Debug)]
pub(super) struct Locked(SecretDocument);

/// Why a key is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// Another passphrase.
    Wrong,
    /// No key that we would have written.
    Damaged,
}

impl KeyFile {
    /// Reads a key's file; None when it is none.
    pub(super) fn parse(pem: &str) -> Option<Self> {
        if let Ok(key) = KeyPair::from_pem(pem) {
            return Some(Self::Plain(key));
        }
        let (label, document) = SecretDocument::from_pem(pem).ok()?;
        (label == LABEL).then_some(Self::Locked(Locked(document)))
    }
}

impl Locked {
    /// Opens the key.
    pub(super) fn open(&self, passphrase: &str) -> Result<KeyPair, NotOpened> {
        let info = EncryptedPrivateKeyInfoRef::try_from(self.0.as_bytes()).map_err(|_| NotOpened::Damaged)?;
        if !is_bearable(&info.encryption_algorithm) {
            return Err(NotOpened::Damaged);
        }
        let opened = info.decrypt(passphrase).map_err(|_| NotOpened::Wrong)?;
        // A wrong passphrase gives valid padding once in 256 times, and then noise.
        KeyPair::try_from(&PrivatePkcs8KeyDer::from(opened.as_bytes())).map_err(|_| NotOpened::Wrong)
    }
}

/// The key's file with the key under a passphrase (PEM).
pub(super) fn lock(key: &KeyPair, passphrase: &str) -> Result<String, rcgen::Error> {
    let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).expect("the cost is within scrypt's own bounds");
    let parameters = Parameters::generate_scrypt_aes256cbc(cost, &mint::random::<16>()?, mint::random::<16>()?)
        .expect("a salt of 16 bytes fits");
    let der = key.serialize_der();
    let locked = PrivateKeyInfoRef::try_from(der.as_slice())
        .and_then(|info| info.encrypt_with_params(parameters, passphrase))
        .expect("a key that was just written as PKCS #8 is read as that");
    let pem = locked.to_pem(LABEL, LineEnding::LF).expect("the label is one of PEM's");
    Ok(pem.to_string())
}

fn is_bearable(scheme: &EncryptionScheme) -> bool {
    let EncryptionScheme::Pbes2(parameters) = scheme else { return false };
    match &parameters.kdf {
        Kdf::Scrypt(scrypt) => {
            let memory = u64::from(scrypt.block_size).saturating_mul(128).saturating_mul(scrypt.cost_parameter);
            memory <= MEMORY_BYTES_MAX && scrypt.parallelization <= REPETITIONS_MAX
        }
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= ROUNDS_MAX,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_key_opens_with_its_passphrase_alone() {
        let key = mint::key().unwrap();
        let pem = lock(&key, "four short words!").unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{pem}");
        let Some(KeyFile::Locked(locked)) = KeyFile::parse(&pem) else { panic!("not read as locked") };
        assert_eq!(locked.open("four short words!").unwrap().serialize_der(), key.serialize_der());
        assert_eq!(locked.open("four short words").unwrap_err(), NotOpened::Wrong);
        assert_ne!(lock(&key, "four short words!").unwrap(), pem, "salted");
        assert!(matches!(KeyFile::parse(&key.serialize_pem()), Some(KeyFile::Plain(_))));
        assert!(KeyFile::parse("-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING-----\n").is_none());
    }

    #[test]
    fn a_key_that_asks_for_endless_work_is_not_opened() {
        let key = mint::key().unwrap().serialize_der();
        for (log_n, r, p) in [(22, 8, 1), (14, 8, 100)] {
            let parameters = Parameters {
                kdf: pkcs8::pkcs5::pbes2::ScryptParams {
                    cost_parameter: 1 << log_n,
                    block_size: r,
                    parallelization: p,
                    salt: [7; 16].as_slice().try_into().unwrap(),
                    key_length: None,
                }
                .into(),
                encryption: pkcs8::pkcs5::pbes2::EncryptionScheme::Aes256Cbc { iv: [7; 16] },
            };
            assert!(!is_bearable(&parameters.into()), "{log_n} {r} {p}");
        }
        assert!(PrivateKeyInfoRef::try_from(key.as_slice()).is_ok());
    }
}
