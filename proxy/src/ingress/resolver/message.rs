//! A question out of bytes, and an answer into bytes that are no more than may be.
//!
//! The header is looked at first, by hand: nothing is allocated for a message that claims thousands of records.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

/// The header of every message (RFC 1035 §4.1.1), in bytes.
const HEADER_BYTES: usize = 12;

/// Additional records that a question may have: OPT, and room for a signature that nobody here reads.
const ADDITIONALS_MAX: u16 = 4;

/// The largest answer by UDP: what passes every network of today unfragmented (RFC 9715), in bytes.
const UDP_BYTES_MAX: u16 = 1232;

/// The largest answer by UDP to who did not say more (RFC 1035 §4.2.1), in bytes.
const UDP_BYTES_PLAIN: u16 = 512;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Bounded answers: the address that asks may be another's.
    Udp,
    /// A connection.
    Tcp,
}

/// One question, with all that its answer depends on.
#[derive(Clone, Debug)]
pub(super) struct Question {
    id: u16,
    transport: Transport,
    /// As it was written, so that the answer has the same letters.
    pub(super) query: Query,
    /// RD.
    pub(super) recursion_desired: bool,
    /// CD: the client validates by itself (RFC 4035 §3.2.2).
    pub(super) checking_disabled: bool,
    /// AD in a question: the client understands AD in the answer (RFC 6840 §5.7).
    authentic_asked: bool,
    edns: Option<Asked>,
}

/// What the question's OPT record says. Its options (client subnet, cookies, padding) are not looked at or passed on.
#[derive(Clone, Copy, Debug)]
struct Asked {
    payload: u16,
    dnssec_ok: bool,
}

/// What is made of bytes.
#[derive(Debug)]
pub(super) enum Read {
    /// A question.
    Question(Box<Question>),
    /// Something that gets a header for an answer.
    Wrong(Vec<u8>),
    /// An answer, or less than a header: answering could go on for ever.
    Nothing,
}

/// Reads a message.
pub(super) fn read(bytes: &[u8], transport: Transport) -> Read {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Read::Nothing };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (id, flags) = (word(0), word(2));
    if flags & 0x8000 != 0 {
        return Read::Nothing;
    }
    let op_code = OpCode::from_u8((flags >> 11) as u8 & 0xf);
    let wrong = |code| Read::Wrong(bare(id, op_code, flags & 0x0100 != 0, code));
    if op_code != OpCode::Query {
        return wrong(ResponseCode::NotImp);
    }
    let (questions, answers, authorities, additionals) = (word(4), word(6), word(8), word(10));
    if questions != 1 || answers != 0 || authorities > 1 || additionals > ADDITIONALS_MAX {
        return wrong(ResponseCode::FormErr);
    }
    let Ok(mut message) = Message::from_vec(bytes) else { return wrong(ResponseCode::FormErr) };
    let Some(query) = message.queries.pop() else { return wrong(ResponseCode::FormErr) };
    let question = Question {
        id,
        transport,
        query,
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        authentic_asked: message.metadata.authentic_data,
        edns: message
            .edns
            .as_ref()
            .map(|edns| Asked { payload: edns.max_payload(), dnssec_ok: edns.flags().dnssec_ok }),
    };
    if message.edns.is_some_and(|edns| edns.version() > 0) {
        return Read::Wrong(question.reply(&Content::code(ResponseCode::BADVERS)));
    }
    Read::Question(Box::new(question))
}

/// A header without sections.
fn bare(id: u16, op_code: OpCode, recursion_desired: bool, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Response, op_code);
    message.metadata.recursion_desired = recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.to_vec().unwrap_or_default()
}

/// The content of an answer.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) code: ResponseCode,
    /// AD: somebody that is believed has validated it.
    pub(super) is_authentic: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    /// RFC 8914: why it is not what others say.
    pub(super) extended_error: Option<ExtendedError>,
}

/// RFC 8914 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExtendedError {
    /// The name leads to the box.
    Forged = 4,
    /// Denied here.
    Filtered = 17,
    /// Not answered here.
    Prohibited = 18,
    /// No resolver of the school answered.
    NoReachableAuthority = 22,
}

impl Content {
    /// Nothing but a code.
    pub(super) fn code(code: ResponseCode) -> Self {
        Self { code, is_authentic: false, answers: Vec::new(), authorities: Vec::new(), extended_error: None }
    }

    /// The same with the reason.
    pub(super) fn because(self, error: ExtendedError) -> Self {
        Self { extended_error: Some(error), ..self }
    }
}

impl Question {
    /// The name, as it was written.
    pub(super) fn name(&self) -> &Name {
        &self.query.name
    }

    pub(super) fn kind(&self) -> RecordType {
        self.query.query_type
    }

    pub(super) fn class(&self) -> DNSClass {
        self.query.query_class
    }

    /// DO: signatures are wanted (RFC 3225).
    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The most that the answer may have, in bytes.
    pub(super) fn bytes_max(&self) -> usize {
        match self.transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => {
                let asked = self.edns.map_or(UDP_BYTES_PLAIN, |edns| edns.payload.max(UDP_BYTES_PLAIN));
                usize::from(asked.min(UDP_BYTES_MAX))
            }
        }
    }

    /// The answer in bytes. What does not fit is left out as a whole and TC says so (RFC 2181 §9): half of a set is of no
    /// use, and the client asks again by TCP.
    pub(super) fn reply(&self, content: &Content) -> Vec<u8> {
        let message = self.message(content);
        let fits = |bytes: &Vec<u8>| bytes.len() <= self.bytes_max();
        if let Some(bytes) = message.to_vec().ok().filter(fits) {
            return bytes;
        }
        message
            .truncate()
            .to_vec()
            .ok()
            .filter(fits)
            .unwrap_or_else(|| bare(self.id, OpCode::Query, self.recursion_desired, ResponseCode::ServFail))
    }

    /// An answer that only says: ask by TCP.
    pub(super) fn truncated(&self) -> Vec<u8> {
        self.message(&Content::code(ResponseCode::NoError)).truncate().to_vec().unwrap_or_default()
    }

    fn message(&self, content: &Content) -> Message {
        let mut message = Message::new(self.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = content.is_authentic && (self.authentic_asked || self.dnssec_ok());
        message.metadata.response_code = content.code;
        message.queries.push(self.query.clone());
        message.answers.clone_from(&content.answers);
        message.authorities.clone_from(&content.authorities);
        // The letters of the question, which a client may compare (0x20).
        for record in message.answers.iter_mut().filter(|record| record.name == self.query.name) {
            record.name.clone_from(&self.query.name);
        }
        message.edns = self.edns.map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_BYTES_MAX).set_version(0).set_dnssec_ok(asked.dnssec_ok);
            if let Some(error) = content.extended_error {
                edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, (error as u16).to_be_bytes().to_vec()));
            }
            edns
        });
        message
    }
}

/// The option code of extended errors (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;
