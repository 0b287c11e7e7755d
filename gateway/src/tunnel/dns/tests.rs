use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use policy::{DnsName, DnsRefusal, TunnelDns};

use super::super::testing::{Waiting, ground};
use super::answer::{Route, fit};
use super::forward::forward;
use super::{DeviceId, Names, QUERIES_AT_ONCE, Way, answer};

fn names() -> Names {
    let server: SocketAddr = "192.0.2.53:53".parse().unwrap();
    let inner: SocketAddr = "192.0.2.54:53".parse().unwrap();
    Names {
        gateway4: "10.200.200.1".parse().unwrap(),
        gateway6: None,
        resolvers: vec![server],
        zones: vec![
            ("corp.example".to_owned(), vec![inner]),
            ("lab.corp.example".to_owned(), vec![server, inner]),
        ],
        mtu: 1420,
    }
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn ours(host: &str) -> Option<DnsName> {
    match host {
        "app.example.org" => Some(DnsName::Own),
        "gate.localhost" => Some(DnsName::SignIn),
        _ => None,
    }
}

/// Routes under a policy that says nothing.
fn route<'a>(query: &[u8], names: &'a Names, open: bool) -> Option<Route<'a>> {
    let policy = TunnelDns::default();
    answer::route(query, names, ours, |kind, host| {
        policy.decide(kind, host, open)
    })
}

fn answered(name: &str, kind: RecordType, open: bool) -> Message {
    match route(&query(name, kind), &names(), open) {
        Some(Route::Answer(reply) | Route::Refuse { reply, .. }) => {
            Message::from_vec(&reply).unwrap()
        }
        other => panic!("{name} is answered here, not {other:?}"),
    }
}

#[tokio::test]
async fn a_device_that_asks_too_much_is_not_answered_and_its_neighbour_is() {
    let (ground, _commands) = ground(Arc::new(Waiting::default()));
    let asked = query("gate.localhost", RecordType::A);
    let ask = async |device| {
        let reply = ground.dns.answer(DeviceId(device), &asked, Way::Datagram);
        reply.await.is_some()
    };
    let mut answered = 0;
    while ask(1).await {
        answered += 1;
        assert!(answered < 100 * QUERIES_AT_ONCE, "nothing stops it");
    }
    assert!(answered >= QUERIES_AT_ONCE, "{answered}");
    assert!(ask(2).await);
}

#[test]
fn our_names_stand_for_the_tunnel_address_in_every_state() {
    for open in [false, true] {
        for name in ["app.example.org.", "APP.example.ORG.", "gate.localhost."] {
            let answer = answered(name, RecordType::A, open);
            assert_eq!(answer.metadata.id, 0x1234);
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            let [record] = answer.answers.as_slice() else {
                panic!("one address");
            };
            assert!(matches!(record.data, RData::A(a) if a.0 == names().gateway4));
        }
    }
}

#[test]
fn other_types_of_our_names_are_empty_and_never_forwarded() {
    for kind in [
        RecordType::AAAA,
        RecordType::HTTPS,
        RecordType::SVCB,
        RecordType::MX,
    ] {
        let answer = answered("app.example.org.", kind, true);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.answers.is_empty());
    }
}

#[test]
fn office_names_are_refused_in_quarantine_and_forwarded_when_open() {
    for name in ["corp.example.", "host.Corp.Example."] {
        let refused = answered(name, RecordType::A, false);
        assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
        let asked = query(name, RecordType::A);
        let names = names();
        let Some(Route::Forward { servers }) = route(&asked, &names, true) else {
            panic!("{name} is forwarded");
        };
        assert_eq!(servers, names.zones[0].1);
    }
}

#[test]
fn a_name_the_policy_refuses_is_refused_and_the_reason_is_the_policys() {
    for (refusal, said) in [
        (DnsRefusal::Policy, "policy"),
        (DnsRefusal::Quarantine, "quarantine"),
    ] {
        let asked = query("a.example.", RecordType::TXT);
        let names = names();
        let routed = answer::route(&asked, &names, ours, |kind, host| {
            assert_eq!((kind, host), (DnsName::Other, "a.example"));
            Err(refusal)
        });
        let Some(Route::Refuse {
            reply,
            name,
            reason,
        }) = routed
        else {
            panic!("refused, not {routed:?}");
        };
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
        assert_eq!((name.as_str(), reason), ("a.example", said));
    }
}

#[test]
fn the_longest_zone_wins_and_a_zone_ends_at_a_label() {
    let names = names();
    let lab = query("a.lab.corp.example.", RecordType::A);
    let Some(Route::Forward { servers }) = route(&lab, &names, true) else {
        panic!("forwarded");
    };
    assert_eq!(servers, names.zones[1].1);
    let other = query("notcorp.example.", RecordType::A);
    let Some(Route::Forward { servers }) = route(&other, &names, false) else {
        panic!("forwarded");
    };
    assert_eq!(servers, names.resolvers);
}

#[test]
fn what_is_no_query_gets_no_answer() {
    let mut response = query("a.example.", RecordType::A);
    response[2] |= 0x80;
    for bad in [&response[..], &[], &[0; 11], &[0xff; 40]] {
        assert_eq!(route(bad, &names(), true), None);
    }
    assert!(route(&query("a.example.", RecordType::A), &names(), true).is_some());
}

#[test]
fn a_name_that_ends_in_the_header_is_judged_by_nobody_and_goes_nowhere() {
    let mut pointing = vec![1, b'x', 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    pointing.extend(b"\x08intranet\x04corp\xc0\x00\x00\x01\x00\x01");
    let read = Message::from_vec(&pointing).unwrap();
    assert!(
        read.queries[0]
            .name
            .to_string()
            .starts_with("intranet.corp.x.")
    );
    let names = names();
    let Some(Route::Answer(answer)) = route(&pointing, &names, true) else {
        panic!("it is forwarded");
    };
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    let spelled = query("intranet.corp.x.", RecordType::A);
    assert!(!matches!(
        route(&spelled, &names, true),
        Some(Route::Answer(_))
    ));
}

#[test]
fn a_zone_transfer_is_refused() {
    let answer = answered("corp.example.", RecordType::AXFR, true);
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn an_answer_too_large_for_the_datagram_is_cut_and_one_by_stream_is_not() {
    let asked = query("a.example.", RecordType::TXT);
    let cut = fit(&asked, vec![0; 600], Way::Datagram, 1420).unwrap();
    assert!(Message::from_vec(&cut).unwrap().metadata.truncation);
    assert_eq!(
        fit(&asked, vec![0; 512], Way::Datagram, 1420)
            .unwrap()
            .len(),
        512
    );
    assert_eq!(
        fit(&asked, vec![0; 600], Way::Stream, 1420).unwrap().len(),
        600
    );
}

#[tokio::test]
async fn a_forged_answer_is_passed_over_and_the_true_one_gets_the_devices_id() {
    let resolver = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = resolver.local_addr().unwrap();
    let asked = query("a.example.", RecordType::A);
    let serve = async {
        let mut buffer = [0; 512];
        let (length, from) = resolver.recv_from(&mut buffer).await.unwrap();
        let mut message = Message::from_vec(&buffer[..length]).unwrap();
        message.metadata.message_type = MessageType::Response;
        let honest = message.to_vec().unwrap();
        message.metadata.id ^= 1;
        message.metadata.response_code = ResponseCode::NXDomain;
        let forged = message.to_vec().unwrap();
        resolver.send_to(&forged, from).await.unwrap();
        resolver.send_to(&honest, from).await.unwrap();
    };
    let (answer, ()) = tokio::join!(
        forward(std::slice::from_ref(&server), &asked, Way::Datagram),
        serve
    );
    let answer = Message::from_vec(&answer.unwrap()).unwrap();
    assert_eq!(answer.metadata.id, 0x1234);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
}

/// Answers one query at the resolver with what `make` makes of it.
async fn through(asked: &[u8], way: Way, make: impl Fn(Vec<u8>) -> Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let resolver = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = resolver.local_addr().unwrap();
    let serve = async {
        let mut buffer = [0; 2048];
        let (length, from) = resolver.recv_from(&mut buffer).await.unwrap();
        let seen = buffer[..length].to_vec();
        resolver.send_to(&make(seen.clone()), from).await.unwrap();
        seen
    };
    let (answer, seen) = tokio::join!(forward(std::slice::from_ref(&server), asked, way), serve);
    (answer.unwrap(), seen)
}

/// A record of a type that is signed data, behind an answer.
const SIGNATURE: &[u8] = &[
    0xc0, 12, 0, 46, 0, 1, 0, 0, 0, 60, 0, 22, 0, 1, 13, 2, 0, 0, 0, 60, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    10, 0, 1, 2, 3,
];

#[tokio::test]
async fn signatures_and_the_wish_for_them_pass_unchanged() {
    let mut message = Message::from_vec(&query("a.example.", RecordType::A)).unwrap();
    let mut edns = hickory_proto::op::Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(4096);
    message.edns = Some(edns);
    let asked = message.to_vec().unwrap();
    let (answer, seen) = through(&asked, Way::Datagram, |mut reply| {
        let opt = reply.split_off(reply.len() - 11);
        reply[2] |= 0x80;
        reply[7] = 1;
        reply.extend(SIGNATURE);
        reply.extend(opt);
        reply
    })
    .await;
    let seen = Message::from_vec(&seen).unwrap();
    let wish = seen.edns.unwrap();
    assert!(wish.flags().dnssec_ok);
    assert_eq!(wish.max_payload(), 1232);
    assert_eq!(answer[..2], asked[..2]);
    let found = answer.windows(SIGNATURE.len()).any(|w| w == SIGNATURE);
    assert!(found, "{answer:02x?}");
}

#[tokio::test]
async fn an_answer_that_was_cut_is_fetched_by_stream_for_a_stream() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let by_stream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = by_stream.local_addr().unwrap();
    let by_datagram = tokio::net::UdpSocket::bind(server).await.unwrap();
    let asked = query("a.example.", RecordType::TXT);
    let serve = async {
        let mut buffer = [0; 512];
        let (length, from) = by_datagram.recv_from(&mut buffer).await.unwrap();
        buffer[2] |= 0x82;
        by_datagram.send_to(&buffer[..length], from).await.unwrap();
        let (mut stream, _) = by_stream.accept().await.unwrap();
        let mut framed = vec![0; 2 + length];
        stream.read_exact(&mut framed).await.unwrap();
        framed[4] |= 0x80;
        stream.write_all(&framed).await.unwrap();
    };
    let servers = [server];
    let (answer, ()) = tokio::join!(forward(&servers, &asked, Way::Stream), serve);
    let answer = Message::from_vec(&answer.unwrap()).unwrap();
    assert_eq!(answer.metadata.id, 0x1234);
    assert!(!answer.metadata.truncation);
}
