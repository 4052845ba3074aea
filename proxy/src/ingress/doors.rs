//! What the doors did with each connection, counted: how many, and why. Nothing of who it was.

use std::sync::atomic::{AtomicU64, Ordering};

use super::transparent::Stray;

/// What became of a connection, or of a CONNECT inside one, and why. Each is counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// TLS ended here, for a device of a network that has the CA.
    TerminatedNetwork,
    /// TLS ended here, for a device that had passed the probe.
    TerminatedProbe,
    /// TLS ended here, for one of the box's own names.
    TerminatedOwn,
    /// TLS ended here, for a gateway name, under the operator's certificate.
    TerminatedGateway,
    /// Passed through: the allowlist says so.
    SplicedByList,
    /// Passed through: nothing shows that the device trusts the CA.
    SplicedUnknownDevice,
    /// Passed through: this device has refused our certificate for this host.
    SplicedAfterRefusal,
    /// Passed through: no certificate can be made for the host.
    SplicedNoCertificate,
    /// Passed through a CONNECT to a port that is not TLS's, or without TLS.
    Tunnelled,
    /// TLS ended here, and the device never used the connection: browsers open some in advance.
    Unused,
    /// The device sent an alert instead of going on with our certificate.
    CertificateRefused,
    /// The device closed the connection right after our certificate and never asked for anything.
    CertificateClosed,
    /// The probe was refused: the device does not trust the CA.
    ProbeRefused,
    /// The first bytes were no TLS.
    NotTls,
    /// The first bytes were HTTP without TLS.
    PlainHttp,
    /// A hello in the form of SSL 2.0.
    Ssl2,
    /// A TLS record that is no ClientHello.
    UnexpectedMessage,
    /// A ClientHello that is malformed, or names two hosts.
    MalformedHello,
    /// A ClientHello longer than any honest one, or spread over too many records.
    OversizedHello,
    /// A ClientHello that was not whole in time.
    SlowHello,
    /// The client left before its ClientHello was whole.
    UnfinishedHello,
    /// The client left, or waited for too long, without a byte.
    Silent,
    /// A ClientHello without a name.
    NoName,
    /// A ClientHello whose name is no host name.
    BadName,
    /// A host that the allowlist does not permit.
    NotListed,
    /// One of the box's own names, while there is no certificate for it.
    NoOwnCertificate,
    /// The name in the ClientHello is not the one that the client wanted to be connected to.
    NameDisagrees,
    /// The origin of a host that is passed through could not be reached.
    OriginUnreachable,
    /// No version or cipher in common, or another error of the handshake.
    HandshakeFailed,
    /// The handshake was not finished in time.
    SlowHandshake,
    /// CONNECT to a host or port that the allowlist does not permit.
    ConnectNotListed,
    /// CONNECT to the port of https, and then no TLS.
    ConnectNotTls,
    /// A connection that a router handed over, and that was going to an address that is none of the named site's.
    WrongDestination,
    /// A connection at a router's door that no rule handed over.
    NotHandedOver,
    /// A connection that a router handed over at the wrong door.
    OtherPort,
    /// A connection to the box itself that a router handed over to it.
    Looped,
    /// A connection to the forward door from outside the networks of `clients`.
    NotAClient,
    /// A client that had too many connections already.
    TooMany,
}

use Outcome::*;

/// All of them with the word and the sentence by which an administrator knows them, in the order in which they are
/// shown.
const TOLD: &[(Outcome, &str, &str)] = &[
    (TerminatedNetwork, "terminated-network", "answered over https, for devices of a trusting network"),
    (TerminatedProbe, "terminated-probe", "answered over https, for devices that had passed the probe"),
    (TerminatedOwn, "terminated-own", "answered over https at the box's own names"),
    (TerminatedGateway, "terminated-gateway", "answered over https at gateway names"),
    (SplicedByList, "spliced-by-list", "passed through, as the allowlist says"),
    (SplicedUnknownDevice, "spliced-unknown-device", "passed through, for devices that are not known to trust the CA"),
    (SplicedAfterRefusal, "spliced-after-refusal", "passed through, after the device had refused the certificate"),
    (SplicedNoCertificate, "spliced-no-certificate", "passed through, as no certificate covers the host"),
    (Tunnelled, "tunnelled", "passed through by CONNECT, without TLS or to another port"),
    (Unused, "unused", "opened over https and not used: browsers open connections in advance"),
    (CertificateRefused, "certificate-refused", "the device refused the certificate"),
    (CertificateClosed, "certificate-closed", "the device left right after the certificate"),
    (ProbeRefused, "probe-refused", "the device refused the probe: it does not trust the CA"),
    (NotListed, "not-listed", "closed: the host is not on the allowlist"),
    (NoName, "no-name", "closed: no host was named"),
    (BadName, "bad-name", "closed: what was named is no host name"),
    (NoOwnCertificate, "no-own-certificate", "closed: no certificate for the box's own name"),
    (NameDisagrees, "name-disagrees", "closed: another host was named than the one to connect to"),
    (OriginUnreachable, "origin-unreachable", "closed: the host could not be reached"),
    (HandshakeFailed, "handshake-failed", "closed: the TLS handshake failed"),
    (SlowHandshake, "slow-handshake", "closed: the TLS handshake took too long"),
    (NotTls, "not-tls", "closed: no TLS"),
    (PlainHttp, "plain-http", "closed: http without TLS at the https port"),
    (Ssl2, "ssl2", "closed: SSL 2.0"),
    (UnexpectedMessage, "unexpected-message", "closed: TLS, but no ClientHello"),
    (MalformedHello, "malformed-hello", "closed: a malformed ClientHello"),
    (OversizedHello, "oversized-hello", "closed: a ClientHello that is too long"),
    (SlowHello, "slow-hello", "closed: a ClientHello that took too long"),
    (UnfinishedHello, "unfinished-hello", "the client left within its ClientHello"),
    (Silent, "silent", "the client never said a word"),
    (ConnectNotListed, "connect-not-listed", "CONNECT refused: host or port is not on the allowlist"),
    (ConnectNotTls, "connect-not-tls", "CONNECT closed: no TLS at the port of https"),
    (WrongDestination, "wrong-destination", "closed: it was going to an address that is not the named host's"),
    (NotHandedOver, "not-handed-over", "closed: at a router's door, and no rule handed it over"),
    (OtherPort, "other-port", "closed: the router's rules handed it over at the wrong door"),
    (Looped, "looped", "closed: the router's rules handed over what was going to the box"),
    (NotAClient, "not-a-client", "reset: at the proxy's door, from outside the networks of `clients`"),
    (TooMany, "too-many", "closed: the client had too many connections"),
];

impl Outcome {
    /// A stable word for programs.
    pub fn word(self) -> &'static str {
        TOLD[self.at()].1
    }

    fn at(self) -> usize {
        TOLD.iter().position(|(outcome, ..)| *outcome == self).expect("a test finds every outcome in the table")
    }
}

impl From<Stray> for Outcome {
    fn from(stray: Stray) -> Self {
        match stray {
            Stray::NotHandedOver => NotHandedOver,
            Stray::OtherPort => OtherPort,
            Stray::Looped => Looped,
        }
    }
}

/// The counters of all doors since the box started.
#[derive(Debug)]
pub struct Doors {
    counts: [AtomicU64; TOLD.len()],
}

impl Default for Doors {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; TOLD.len()] }
    }
}

/// One counter, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What was counted.
    pub outcome: Outcome,
    /// Its word.
    pub word: &'static str,
    /// The same as a sentence.
    pub text: &'static str,
    /// How often since the start.
    pub count: u64,
}

impl Doors {
    /// Counts one.
    pub fn count(&self, outcome: Outcome) {
        self.counts[outcome.at()].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it happened.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.counts[outcome.at()].load(Ordering::Relaxed)
    }

    /// All counters, those at zero too.
    pub fn all(&self) -> impl Iterator<Item = Counted> {
        TOLD.iter().map(|&(outcome, word, text)| Counted { outcome, word, text, count: self.of(outcome) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_own_counter_and_word() {
        let doors = Doors::default();
        for (nth, &(outcome, word, _)) in TOLD.iter().enumerate() {
            assert_eq!(
                outcome as usize,
                TOLD.iter().filter(|(other, ..)| (*other as usize) < outcome as usize).count()
            );
            assert_eq!((outcome.word(), doors.of(outcome)), (word, 0));
            doors.count(outcome);
            assert_eq!(doors.of(outcome), 1, "{word}");
            let is_kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(word.bytes().all(is_kebab), "{word}");
            assert_eq!(TOLD.iter().position(|(_, other, _)| *other == word), Some(nth), "{word} twice");
        }
        assert_eq!(doors.all().map(|counted| counted.count).sum::<u64>(), TOLD.len() as u64);
    }
}
