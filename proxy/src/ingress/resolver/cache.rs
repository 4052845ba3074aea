//! Answers of the school's resolvers, in memory for as long as they may be believed. No name is kept beyond that.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, Record, RecordType};
use moka::sync::Cache;

use super::message::{Content, Question};

/// The longest that an answer is believed: a name that moves is found again within a lesson.
const TTL_MAX: Duration = Duration::from_secs(3600);

/// The longest that "no" is believed (RFC 2308 §5 has hours): a portal that comes back must be found.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(300);

/// How long a failure is believed (RFC 9520 §3.2): long enough to spare a link that is down, short enough that nobody
/// notices it once it is up.
const FAILURE_TTL: Duration = Duration::from_secs(3);

/// What a stored answer costs beside its bytes: keys, tables and headers of records.
const STORED_BYTES: u32 = 256;

/// What an answer is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The name in lower case, in bytes as on the wire.
    name: Box<[u8]>,
    kind: u16,
    /// DO and CD change what is answered.
    dnssec_ok: bool,
    checking_disabled: bool,
}

impl Key {
    pub(super) fn of(question: &Question) -> Self {
        let mut name = Vec::with_capacity(question.name().len());
        for label in question.name().iter() {
            name.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            name.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        Self {
            name: name.into(),
            kind: question.kind().into(),
            dnssec_ok: question.dnssec_ok(),
            checking_disabled: question.checking_disabled,
        }
    }
}

/// An answer and how long it lasts.
#[derive(Debug)]
pub(super) struct Stored {
    content: Content,
    at: SystemTime,
    lasts: Duration,
    bytes: u32,
}

impl Stored {
    /// An answer of `bytes` bytes that has come now, to a question for records of this type.
    pub(super) fn new(content: Content, kind: RecordType, bytes: usize, at: SystemTime) -> Self {
        let lasts = lifetime(&content, kind);
        Self { content, at, lasts, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) }
    }

    /// The answer as it is now: times to live go down, and none is above `ttl_max`. None when it is too old, or from a
    /// time that has not come yet.
    pub(super) fn content(&self, now: SystemTime, ttl_max: Duration) -> Option<Content> {
        let age = now.duration_since(self.at).ok().filter(|age| *age < self.lasts)?;
        Some(self.aged(age, ttl_max))
    }

    /// The answer for those who waited for it.
    pub(super) fn fresh(&self, ttl_max: Duration) -> Content {
        self.aged(Duration::ZERO, ttl_max)
    }

    fn aged(&self, age: Duration, ttl_max: Duration) -> Content {
        let mut content = self.content.clone();
        let (age, most) = (seconds(age), seconds(ttl_max.min(TTL_MAX)));
        for record in content.answers.iter_mut().chain(&mut content.authorities) {
            record.ttl = record.ttl.min(seconds(TTL_MAX)).saturating_sub(age).min(most);
        }
        content
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// How long an answer may be given again: the shortest of its records' times (RFC 2181 §5.2), and of its SOA when it says
/// no (RFC 2308 §5). An alias without a record of the type that was asked for is a no too (RFC 2308 §2.2). Without an SOA
/// a no is not kept.
fn lifetime(content: &Content, kind: RecordType) -> Duration {
    let shortest = |records: &[Record]| records.iter().map(|record| record.ttl).min();
    let is_no =
        content.code == ResponseCode::NXDomain || !content.answers.iter().any(|record| record.record_type() == kind);
    match content.code {
        ResponseCode::NoError | ResponseCode::NXDomain if is_no => {
            let soa = content.authorities.iter().find_map(|record| match &record.data {
                RData::SOA(soa) => Some(soa.minimum.min(record.ttl)),
                _ => None,
            });
            let shortest = shortest(&content.answers).unwrap_or(u32::MAX);
            soa.map_or(Duration::ZERO, |soa| Duration::from_secs(soa.min(shortest).into()).min(NEGATIVE_TTL_MAX))
        }
        ResponseCode::NoError => {
            let shortest = shortest(&content.answers).unwrap_or(0);
            Duration::from_secs(shortest.into()).min(TTL_MAX)
        }
        _ => FAILURE_TTL,
    }
}

/// The answers.
pub(super) struct Answers {
    stored: Cache<Key, Arc<Stored>>,
}

impl Answers {
    /// With this much memory.
    pub(super) fn new(bytes_max: u64) -> Self {
        let weigh = |key: &Key, stored: &Arc<Stored>| {
            let name = u32::try_from(key.name.len()).unwrap_or(u32::MAX);
            // Records in memory are several times larger than on the wire.
            stored.bytes.saturating_mul(4).saturating_add(name).saturating_add(STORED_BYTES)
        };
        Self { stored: Cache::builder().max_capacity(bytes_max).weigher(weigh).time_to_live(TTL_MAX).build() }
    }

    pub(super) fn find(&self, key: &Key, now: SystemTime, ttl_max: Duration) -> Option<Content> {
        let content = self.stored.get(key)?.content(now, ttl_max);
        if content.is_none() {
            self.stored.invalidate(key);
        }
        content
    }

    pub(super) fn keep(&self, key: Key, stored: &Arc<Stored>) {
        if !stored.lasts.is_zero() {
            self.stored.insert(key, Arc::clone(stored));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.stored.run_pending_tasks();
        self.stored.entry_count()
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, CNAME, SOA};

    use super::*;

    fn name() -> Name {
        Name::from_ascii("other.kz.").unwrap()
    }

    fn a(ttl: u32) -> Record {
        Record::from_rdata(name(), ttl, RData::A(A::new(192, 0, 2, 1)))
    }

    fn alias(ttl: u32) -> Record {
        Record::from_rdata(name(), ttl, RData::CNAME(CNAME(name())))
    }

    fn soa(ttl: u32, minimum: u32) -> Record {
        Record::from_rdata(name(), ttl, RData::SOA(SOA::new(name(), name(), 1, 1, 1, 1, minimum)))
    }

    #[test]
    fn answers_last_as_long_as_they_may_be_believed() {
        let (yes, no, failed) = (ResponseCode::NoError, ResponseCode::NXDomain, ResponseCode::ServFail);
        for (code, answers, authorities, expected) in [
            (yes, vec![a(60), a(20)], vec![], 20),
            (yes, vec![a(0)], vec![], 0),
            (yes, vec![a(u32::MAX)], vec![], 3600),
            (yes, vec![], vec![soa(600, 50)], 50),
            (yes, vec![], vec![soa(40, 900)], 40),
            (yes, vec![alias(3000)], vec![soa(600, 50)], 50),
            (yes, vec![alias(3000)], vec![soa(86400, 86400)], 300),
            (yes, vec![alias(10)], vec![soa(600, 600)], 10),
            (yes, vec![alias(3000)], vec![], 0),
            (yes, vec![alias(3000), a(600)], vec![], 600),
            (no, vec![], vec![soa(86400, 86400)], 300),
            (no, vec![a(10)], vec![soa(600, 600)], 10),
            (no, vec![], vec![], 0),
            (failed, vec![], vec![], 3),
        ] {
            let content = Content { answers, authorities, ..Content::code(code) };
            assert_eq!(lifetime(&content, RecordType::A).as_secs(), expected, "{content:?}");
        }
    }

    #[test]
    fn times_to_live_go_down_and_never_up() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let content = Content { answers: vec![a(100)], ..Content::code(ResponseCode::NoError) };
        let stored = Stored::new(content, RecordType::A, 40, start);
        let ttl = |after: u64, most: u64| {
            let content = stored.content(start + Duration::from_secs(after), Duration::from_secs(most));
            content.map(|content| content.answers[0].ttl)
        };
        assert_eq!((ttl(0, 9999), ttl(30, 9999), ttl(99, 9999), ttl(100, 9999)), (Some(100), Some(70), Some(1), None));
        assert_eq!((ttl(0, 30), ttl(90, 30)), (Some(30), Some(10)), "names of the list come back soon");
        let earlier = start - Duration::from_secs(1);
        assert!(stored.content(earlier, TTL_MAX).is_none(), "the clock has been set back");
    }
}
