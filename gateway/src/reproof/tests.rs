use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use policy::Reprove;

use super::browser::{Browsers, Refused};
use crate::clock;
use crate::identity::tests::{Bench, NOW};
use crate::identity::{Due, Session};
use crate::ids::{DeviceId, SessionId};

const DEVICE: DeviceId = DeviceId(3);
const MOVED: Reprove = Reprove {
    moved: true,
    after: None,
    idle: None,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Opens a device that is heard from `place`.
async fn opened(bench: &Bench, place: Option<&str>) -> Arc<Session> {
    let (session, _) = bench.sign_in("alice", NOW).await;
    let sessions = bench.identity.sessions();
    let bound = sessions.bind_device(&session, DEVICE, place.map(ip));
    bound.await.unwrap();
    session
}

fn due(bench: &Bench, session: &Session, heard: &str, reprove: Reprove, now: i64) -> Option<Due> {
    let Some(binding) = bench.identity.sessions().binding(DEVICE) else {
        panic!("not bound");
    };
    binding.due(session, Some(ip(heard)), &reprove, now)
}

#[tokio::test]
async fn a_device_elsewhere_must_prove_itself_and_one_with_another_port_or_in_the_same_64_not() {
    let bench = Bench::new().await;
    let session = opened(&bench, Some("192.0.2.7")).await;
    let at = |heard| due(&bench, &session, heard, MOVED, NOW);
    assert_eq!(at("192.0.2.7"), None);
    assert_eq!(at("::ffff:192.0.2.7"), None);
    assert_eq!(at("192.0.2.8"), Some(Due::Moved));
    assert_eq!(at("2001:db8::1"), Some(Due::Moved));
    assert_eq!(
        due(&bench, &session, "192.0.2.8", Reprove::default(), NOW),
        None
    );
    let bench = Bench::new().await;
    let session = opened(&bench, Some("2001:db8::1")).await;
    let at = |heard| due(&bench, &session, heard, MOVED, NOW);
    assert_eq!(at("2001:db8::2"), None);
    assert_eq!(at("2001:db8:0:1::1"), Some(Due::Moved));
}

#[tokio::test]
async fn a_proof_at_the_new_place_opens_it_there_and_no_longer_at_the_old_one() {
    let bench = Bench::new().await;
    let session = opened(&bench, Some("192.0.2.7")).await;
    let sessions = bench.identity.sessions();
    assert_eq!(
        due(&bench, &session, "192.0.2.8", MOVED, NOW),
        Some(Due::Moved)
    );
    sessions
        .accept_place(DEVICE, ip("192.0.2.8"))
        .await
        .unwrap();
    assert_eq!(due(&bench, &session, "192.0.2.8", MOVED, NOW), None);
    assert_eq!(
        due(&bench, &session, "192.0.2.7", MOVED, NOW),
        Some(Due::Moved)
    );
}

#[tokio::test]
async fn a_device_that_was_never_heard_is_elsewhere_once_it_is() {
    let bench = Bench::new().await;
    let session = opened(&bench, None).await;
    let binding = bench.identity.sessions().binding(DEVICE).unwrap();
    assert_eq!(binding.due(&session, None, &MOVED, NOW), None);
    assert_eq!(
        due(&bench, &session, "198.51.100.200", MOVED, NOW),
        Some(Due::Moved)
    );
    // the address of the sign-in at the web door counts as proved
    let signed_in_from = session.source.to_string();
    assert_eq!(due(&bench, &session, &signed_in_from, MOVED, NOW), None);
}

#[tokio::test]
async fn a_device_must_prove_itself_when_the_last_code_is_too_old() {
    let bench = Bench::new().await;
    let session = opened(&bench, Some("192.0.2.7")).await;
    let after = Reprove {
        after: Some(600),
        ..Reprove::default()
    };
    assert_eq!(due(&bench, &session, "192.0.2.7", after, NOW + 600), None);
    assert_eq!(
        due(&bench, &session, "192.0.2.7", after, NOW + 601),
        Some(Due::Age)
    );
}

#[tokio::test]
async fn a_device_that_lay_unused_too_long_is_due_even_if_it_is_used_again() {
    let bench = Bench::new().await;
    let session = opened(&bench, Some("192.0.2.7")).await;
    let idle = Reprove {
        idle: Some(300),
        ..Reprove::default()
    };
    let binding = bench.identity.sessions().binding(DEVICE).unwrap();
    binding.touch(NOW + 300);
    assert_eq!(due(&bench, &session, "192.0.2.7", idle, NOW + 600), None);
    binding.touch(NOW + 601);
    assert_eq!(
        due(&bench, &session, "192.0.2.7", idle, NOW + 602),
        Some(Due::Idle)
    );
    let sessions = bench.identity.sessions();
    let again = sessions.bind_device(&session, DEVICE, Some(ip("192.0.2.7")));
    again.await.unwrap();
    assert_eq!(due(&bench, &session, "192.0.2.7", idle, NOW + 602), None);
}

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn sign(key: &EcdsaKeyPair, text: &str) -> Vec<u8> {
    let signed = key.sign(&SystemRandom::new(), text.as_bytes());
    signed.unwrap().as_ref().to_vec()
}

#[test]
fn a_page_with_the_key_answers_once_and_no_other_does() {
    let (browsers, key, now) = (Browsers::default(), key(), clock::now());
    let (session, place) = (SessionId(7), ip("192.0.2.8"));
    assert_eq!(browsers.ask(session, DEVICE, place, now), None);
    let point = Browsers::point(key.public_key().as_ref()).unwrap();
    browsers.put(session, point);
    let text = browsers.ask(session, DEVICE, place, now).unwrap();
    let answer = |signature: &[u8]| browsers.answer(session, DEVICE, place, signature, now);
    assert_eq!(answer(&sign(&key, &text)), Ok(()));
    assert_eq!(answer(&sign(&key, &text)), Err(Refused::NotAsked));
    let text = browsers.ask(session, DEVICE, place, now).unwrap();
    assert_eq!(answer(&sign(&self::key(), &text)), Err(Refused::Wrong));
    assert_eq!(answer(&sign(&key, &text)), Err(Refused::NotAsked));
}

#[test]
fn an_answer_counts_for_its_session_device_and_address_and_for_a_minute() {
    let (browsers, key, now) = (Browsers::default(), key(), clock::now());
    let (session, place) = (SessionId(7), ip("192.0.2.8"));
    let point = Browsers::point(key.public_key().as_ref()).unwrap();
    browsers.put(session, point);
    browsers.put(SessionId(8), point);
    let late = now + Duration::from_secs(60);
    for (by, device, at, then) in [
        (SessionId(8), DEVICE, place, now),
        (session, DeviceId(4), place, now),
        (session, DEVICE, ip("192.0.2.9"), now),
        (session, DEVICE, place, late),
    ] {
        let text = browsers.ask(session, DEVICE, place, now).unwrap();
        let answer = browsers.answer(by, device, at, &sign(&key, &text), then);
        assert_eq!(answer, Err(Refused::NotAsked));
    }
    browsers.keep(|id| id != session);
    assert!(browsers.ask(session, DEVICE, place, now).is_none());
}

#[test]
fn only_an_uncompressed_point_is_a_key() {
    assert!(Browsers::point(&[4; 65]).is_some());
    assert!(Browsers::point(&[2; 65]).is_none());
    assert!(Browsers::point(&[4; 64]).is_none());
}
