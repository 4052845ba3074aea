//! The whole way from bytes to bytes, with bytes that nobody sends in good faith.

use proptest::prelude::*;

use super::*;

fn resolver() -> Resolver {
    let (parts, _, _) = parts(Vec::new());
    Resolver::new(parts)
}

/// What is answered at once to these bytes by UDP.
fn answer(resolver: &Resolver, bytes: &[u8]) -> Option<Vec<u8>> {
    match resolver.at_once(bytes, Transport::Udp, "10.0.0.7".parse().unwrap()) {
        Step::Reply(reply) => Some(reply),
        Step::Nothing | Step::Close | Step::Ask(_) => None,
    }
}

#[test]
fn strangers_take_nothing_of_clients() {
    let (mut parts, _, _) = parts(Vec::new());
    parts.options.queries_per_s = 10;
    let resolver = Resolver::new(parts);
    let asked = question("lessons.kz.", RecordType::A).to_vec().unwrap();
    let from = |peer: IpAddr| match resolver.at_once(&asked, Transport::Udp, peer) {
        Step::Reply(reply) => Some(code_of(&reply)),
        Step::Nothing | Step::Close | Step::Ask(_) => None,
    };
    let replies: Vec<_> = (0..10_000_u32).filter_map(|n| from(IpAddr::from((0xcb00_0000 + n).to_be_bytes()))).collect();
    assert!((20..1_000).contains(&replies.len()), "one share for all of them: {}", replies.len());
    assert!(replies.iter().all(|code| *code == ResponseCode::Refused));
    assert_eq!(from([10, 0, 0, 7].into()), Some(ResponseCode::NoError));
}

#[test]
fn one_client_does_not_wait_in_every_place() {
    let (mut parts, _, _) = parts(Vec::new());
    parts.options.queries_per_s = QUERIES_PER_S.default;
    let resolver = Resolver::new(parts);
    let asked = question("other.kz.", RecordType::A).to_vec().unwrap();
    let from = |peer: [u8; 4]| resolver.at_once(&asked, Transport::Udp, peer.into());
    let steps: Vec<_> = (0..300).map(|_| from([10, 0, 0, 7])).collect();
    let waiting = steps.iter().filter(|step| matches!(step, Step::Ask(_))).count();
    assert_eq!((waiting, resolver.counts().busy), (256, 44));
    assert!(matches!(from([10, 0, 0, 8]), Step::Ask(_)));
    drop(steps);
    assert!(matches!(from([10, 0, 0, 7]), Step::Ask(_)), "places are given back");
}

fn code_of(reply: &[u8]) -> ResponseCode {
    Message::from_vec(reply).unwrap().metadata.response_code
}

#[test]
fn each_kind_of_wrong_has_its_answer() {
    let resolver = resolver();
    let good = question("lessons.kz.", RecordType::A);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec().unwrap();
        change(&mut bytes);
        answer(&resolver, &bytes).map(|reply| {
            assert!(reply.len() <= bytes.len() + 16, "no more than was sent, with one address");
            code_of(&reply)
        })
    };
    assert_eq!(with(&|_| ()), Some(ResponseCode::NoError));
    assert_eq!(with(&|bytes| bytes.truncate(11)), None, "less than a header");
    assert_eq!(with(&|bytes| bytes.clear()), None);
    assert_eq!(with(&|bytes| bytes[2] |= 0x80), None, "an answer");
    assert_eq!(with(&|bytes| bytes[2] |= 0x28), Some(ResponseCode::NotImp), "UPDATE");
    assert_eq!(with(&|bytes| bytes[2] |= 0x20), Some(ResponseCode::NotImp), "NOTIFY");
    assert_eq!(with(&|bytes| bytes[5] = 0), Some(ResponseCode::FormErr), "no question");
    assert_eq!(with(&|bytes| bytes[5] = 2), Some(ResponseCode::FormErr), "two questions");
    assert_eq!(with(&|bytes| bytes[4] = 0xff), Some(ResponseCode::FormErr), "many questions");
    assert_eq!(with(&|bytes| bytes[7] = 1), Some(ResponseCode::FormErr), "an answer in a question");
    assert_eq!(with(&|bytes| bytes[10] = 0xff), Some(ResponseCode::FormErr), "many records");
    assert_eq!(with(&|bytes| bytes.truncate(20)), Some(ResponseCode::FormErr), "cut");
    assert_eq!(with(&|bytes| bytes[12..14].copy_from_slice(&[0xc0, 12])), Some(ResponseCode::FormErr), "a loop");
    assert_eq!(with(&|bytes| bytes[12] = 0x7f), Some(ResponseCode::FormErr), "a label of no kind");
}

#[test]
fn extensions_are_answered_as_they_must_be() {
    let resolver = resolver();
    let mut later = with_edns(question("lessons.kz.", RecordType::A), 4096, false);
    later.edns.as_mut().unwrap().set_version(1);
    let reply = Message::from_vec(&answer(&resolver, &later.to_vec().unwrap()).unwrap()).unwrap();
    // BADVERS and BADSIG are one number.
    let code = u16::from(reply.metadata.response_code);
    assert_eq!((code, reply.edns.unwrap().version()), (u16::from(ResponseCode::BADVERS), 0));

    let asked = with_edns(question("lessons.kz.", RecordType::A), 4096, true);
    let reply = Message::from_vec(&answer(&resolver, &asked.to_vec().unwrap()).unwrap()).unwrap();
    let edns = reply.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
    assert!(!reply.metadata.authentic_data && edns.option(15.into()).is_some(), "it says that it is not the zone's");
    for kind in [RecordType::ANY, RecordType::AXFR] {
        let reply = answer(&resolver, &question("lessons.kz.", kind).to_vec().unwrap()).unwrap();
        assert_eq!(code_of(&reply), ResponseCode::Refused);
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        check(&bytes)?;
    }

    /// A real question with some bytes changed comes further than noise does.
    #[test]
    fn no_change_is_too_much(
        name in "([a-z0-9][a-z0-9_]{0,19}\\.){0,4}(lessons|below|wpad|localhost)\\.kz\\.",
        kind in any::<u16>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        payload in proptest::option::of(any::<u16>()),
        more in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let asked = question(&name, RecordType::from(kind));
        let asked = payload.map_or(asked.clone(), |payload| with_edns(asked, payload, true));
        let mut bytes = asked.to_vec().unwrap();
        bytes.extend(more);
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        check(&bytes)?;
    }
}

/// What must hold for whatever comes: an answer can be read, has the question's number, and is within its bound.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    thread_local!(static RESOLVER: Resolver = resolver());
    RESOLVER.with(|resolver| {
        if let Some(reply) = answer(resolver, bytes) {
            prop_assert!(reply.len() <= 1232 && reply.len() <= bytes.len() + 120, "{} to {}", bytes.len(), reply.len());
            prop_assert_eq!(&reply[..2], &bytes[..2]);
            prop_assert!(reply[2] & 0x80 != 0, "an answer");
            prop_assert!(Message::from_vec(&reply).is_ok(), "{:?}", reply);
        }
        Ok(())
    })
}
