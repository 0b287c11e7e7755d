use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::super::wire::{self, Map};
use super::{Cache, ENTRIES, KEEP};
use crate::clock;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn asked(host: &str, id: u16) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(host), RecordType::A));
    message
}

fn answered(query: &Message, records: &[(u32, RData)]) -> Message {
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.metadata.recursion_desired = true;
    answer.queries.clone_from(&query.queries);
    let host = &query.queries[0].name;
    answer.answers = records
        .iter()
        .map(|(lifetime, data)| Record::from_rdata(host.clone(), *lifetime, data.clone()))
        .collect();
    answer
}

fn address() -> RData {
    RData::A(A("192.0.2.7".parse().unwrap()))
}

fn authority(minimum: u32) -> Record {
    let soa = SOA::new(
        name("ns.example."),
        name("hm.example."),
        1,
        2,
        3,
        4,
        minimum,
    );
    Record::from_rdata(name("example."), 900, RData::SOA(soa))
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

/// For how many seconds an answer is kept.
fn kept(query: &Message, answer: &Message) -> u64 {
    let now = clock::now();
    let mut cache = Cache::default();
    cache.keep(&bytes(query), &bytes(answer), now);
    let found = |cache: &mut Cache, at: Instant| cache.find(&bytes(query), at).is_some();
    (0..=u64::from(KEEP) + 1)
        .find(|second| !found(&mut cache, now + Duration::from_secs(*second)))
        .unwrap()
}

#[test]
fn an_answer_comes_again_under_the_new_id_and_letters_with_the_time_that_is_left() {
    let now = clock::now();
    let mut cache = Cache::default();
    let first = asked("a.example.", 7);
    let answer = answered(&first, &[(30, address()), (90, address())]);
    cache.keep(&bytes(&first), &bytes(&answer), now);
    let again = bytes(&asked("A.eXample.", 9));
    let found = cache.find(&again, now + Duration::from_secs(20)).unwrap();
    assert!(wire::answers(&found, &again));
    let question = Map::read(&again).unwrap().question;
    assert_eq!(found[question.clone()], again[question]);
    let found = Message::from_vec(&found).unwrap();
    let left: Vec<u32> = found.answers.iter().map(|record| record.ttl).collect();
    assert_eq!(left, [10, 70]);
    assert_eq!(cache.find(&again, now + Duration::from_secs(30)), None);
    assert_eq!(cache.len(), 0);
}

#[test]
fn another_type_other_flags_and_other_edns_are_another_question() {
    let now = clock::now();
    let mut cache = Cache::default();
    let plain = asked("a.example.", 7);
    let answer = answered(&plain, &[(30, address())]);
    cache.keep(&bytes(&plain), &bytes(&answer), now);
    let mut secured = plain.clone();
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    secured.edns = Some(edns);
    let mut unchecked = plain.clone();
    unchecked.metadata.checking_disabled = true;
    let mut typed = plain.clone();
    typed.queries[0].query_type = RecordType::AAAA;
    for other in [secured, unchecked, typed] {
        assert_eq!(cache.find(&bytes(&other), now), None);
    }
    assert!(cache.find(&bytes(&plain), now).is_some());
}

#[test]
fn types_that_differ_as_letters_do_are_two_questions() {
    let mut upper = asked("a.example.", 7);
    upper.queries[0].query_type = RecordType::from(0x41);
    let mut lower = upper.clone();
    lower.queries[0].query_type = RecordType::from(0x61);
    let now = clock::now();
    let mut cache = Cache::default();
    cache.keep(
        &bytes(&upper),
        &bytes(&answered(&upper, &[(30, address())])),
        now,
    );
    assert!(cache.find(&bytes(&upper), now).is_some());
    assert_eq!(cache.find(&bytes(&lower), now), None);
}

#[test]
fn an_answer_is_kept_for_its_shortest_record_and_no_longer_than_an_hour() {
    let query = asked("a.example.", 1);
    for (lifetimes, expected) in [
        (&[30, 5][..], 5),
        (&[100_000], 3600),
        (&[0, 60], 0),
        (&[0x8000_0001], 0),
    ] {
        let records: Vec<_> = lifetimes.iter().map(|l| (*l, address())).collect();
        assert_eq!(
            kept(&query, &answered(&query, &records)),
            expected,
            "{lifetimes:?}"
        );
    }
}

#[test]
fn an_absence_is_kept_as_long_as_its_zone_says_and_no_longer_than_five_minutes() {
    let query = asked("a.example.", 1);
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        for (minimum, expected) in [(20, 20), (100_000, 300)] {
            let mut answer = answered(&query, &[]);
            answer.metadata.response_code = code;
            answer.authorities = vec![authority(minimum)];
            assert_eq!(kept(&query, &answer), expected, "{code:?} {minimum}");
        }
        let mut bare = answered(&query, &[]);
        bare.metadata.response_code = code;
        assert_eq!(kept(&query, &bare), 0, "no word on how long");
    }
}

#[test]
fn failures_and_cut_answers_are_not_kept() {
    let query = asked("a.example.", 1);
    let good = answered(&query, &[(30, address())]);
    assert_eq!(kept(&query, &good), 30);
    let mut cut = good.clone();
    cut.metadata.truncation = true;
    let mut failed = good.clone();
    failed.metadata.response_code = ResponseCode::ServFail;
    let mut refused = good.clone();
    refused.metadata.response_code = ResponseCode::Refused;
    let mut version = good;
    version.edns = Some(Edns::new());
    version.metadata.response_code = ResponseCode::BADVERS; // zero but for the bits in EDNS
    for bad in [cut, failed, refused, version] {
        assert_eq!(kept(&query, &bad), 0, "{bad:?}");
    }
}

#[test]
fn the_cache_is_bounded_and_what_ends_soonest_makes_room() {
    let now = clock::now();
    let mut cache = Cache::default();
    let long = asked("long.example.", 1);
    cache.keep(
        &bytes(&long),
        &bytes(&answered(&long, &[(3000, address())])),
        now,
    );
    for n in 0..ENTRIES + 100 {
        let query = asked(&format!("n{n}.example."), 1);
        cache.keep(
            &bytes(&query),
            &bytes(&answered(&query, &[(60, address())])),
            now,
        );
        assert!(cache.len() <= ENTRIES);
    }
    assert!(cache.find(&bytes(&long), now).is_some());
    assert_eq!(cache.find(&bytes(&asked("n0.example.", 1)), now), None);
    let last = asked(&format!("n{}.example.", ENTRIES + 99), 1);
    assert!(cache.find(&bytes(&last), now).is_some());
}

#[test]
fn a_message_in_pieces_is_read_to_its_end_and_never_beyond() {
    let query = asked("a.example.", 1);
    let mut answer = answered(&query, &[(30, address())]);
    answer.authorities = vec![authority(20)];
    let whole = bytes(&answer);
    assert!(Map::read(&whole).is_some());
    for end in 0..whole.len() {
        assert_eq!(Map::read(&whole[..end]), None, "{end}");
    }
    let mut looped = whole;
    looped[12] = 0x80; // neither a label nor a pointer
    assert_eq!(Map::read(&looped), None);
}
