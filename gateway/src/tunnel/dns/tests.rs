use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::answer::{Route, fit, route};
use super::forward::forward;
use super::{Names, Way};

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

fn ours(host: &str) -> bool {
    matches!(host, "app.example.org" | "gate.localhost")
}

fn answered(name: &str, kind: RecordType, open: bool) -> Message {
    match route(&query(name, kind), &names(), open, ours) {
        Some(Route::Answer(reply) | Route::Refuse { reply, .. }) => {
            Message::from_vec(&reply).unwrap()
        }
        other => panic!("{name} is answered here, not {other:?}"),
    }
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
        let Some(Route::Forward { servers }) = route(&asked, &names, true, ours) else {
            panic!("{name} is forwarded");
        };
        assert_eq!(servers, names.zones[0].1);
    }
}

#[test]
fn the_longest_zone_wins_and_a_zone_ends_at_a_label() {
    let names = names();
    let lab = query("a.lab.corp.example.", RecordType::A);
    let Some(Route::Forward { servers }) = route(&lab, &names, true, ours) else {
        panic!("forwarded");
    };
    assert_eq!(servers, names.zones[1].1);
    let other = query("notcorp.example.", RecordType::A);
    let Some(Route::Forward { servers }) = route(&other, &names, false, ours) else {
        panic!("forwarded");
    };
    assert_eq!(servers, names.resolvers);
}

#[test]
fn what_is_no_query_gets_no_answer() {
    let mut response = query("a.example.", RecordType::A);
    response[2] |= 0x80;
    for bad in [&response[..], &[], &[0; 11], &[0xff; 40]] {
        assert_eq!(route(bad, &names(), true, ours), None);
    }
    assert!(route(&query("a.example.", RecordType::A), &names(), true, ours).is_some());
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
