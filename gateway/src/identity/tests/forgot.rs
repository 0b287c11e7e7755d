use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::{Bench, HOST, NOW, PASSWORD};
use crate::audit::Event;
use crate::identity::{Notice, NoticeKind, PasswordStep, Post, RESET_SECS, ResetStep, Standing};
use crate::store::{Hash, ResetRow, Store};

const NEW: &str = "another zebra on the roof";

/// A post that keeps what it is given.
#[derive(Default)]
struct Letters {
    links: Mutex<Vec<(String, String)>>,
    notices: Mutex<Vec<(String, NoticeKind)>>,
}

#[async_trait]
impl Post for Letters {
    async fn notice(&self, user: &str, notice: &Notice) {
        self.notices.lock().push((user.to_owned(), notice.kind));
    }

    async fn reset(&self, user: &str, token: &str, _: i64, _: IpAddr) {
        self.links.lock().push((user.to_owned(), token.to_owned()));
    }
}

async fn bench() -> (Bench, Arc<Letters>) {
    let bench = Bench::new().await;
    let letters = Arc::new(Letters::default());
    bench
        .identity
        .post_by(Arc::clone(&letters) as Arc<dyn Post>);
    (bench, letters)
}

async fn ask(bench: &Bench, letters: &Letters, user: &str, now: i64) -> Option<String> {
    letters.links.lock().clear();
    bench.identity.send_reset(user, &bench.at(now)).await;
    letters.links.lock().pop().map(|(_, token)| token)
}

async fn set(bench: &Bench, token: &str, password: &str, now: i64) -> ResetStep {
    let new = Zeroizing::new(password.to_owned());
    bench
        .identity
        .reset_finish(token, new, &bench.at(now))
        .await
}

#[tokio::test]
async fn a_link_sets_a_password_once_and_ends_every_session() {
    let (bench, letters) = bench().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let (bob, _) = bench.sign_in("bob", NOW).await;
    let token = ask(&bench, &letters, "alice", NOW + 60).await.unwrap();
    let begun = bench
        .identity
        .reset_begin(&token, &bench.at(NOW + 60))
        .await;
    assert_eq!(begun.as_deref(), Some("alice"));
    let sessions = bench.identity.sessions();
    assert!(sessions.find_by_id(session.id).is_some());
    let set_before = bench.journal.count(Event::FactorChanged, "password-set");
    assert!(matches!(
        set(&bench, &token, NEW, NOW + 61).await,
        ResetStep::Done
    ));
    assert!(sessions.find(&cookie, HOST, NOW + 62).is_none());
    assert!(sessions.find_by_id(bob.id).is_some());
    assert!(matches!(
        set(&bench, &token, NEW, NOW + 62).await,
        ResetStep::Dead
    ));
    let set = || bench.journal.count(Event::FactorChanged, "password-set");
    assert_eq!(set(), set_before + 1);
    let told = letters.notices.lock().clone();
    assert!(told.contains(&("alice".to_owned(), NoticeKind::PasswordChanged)));
    assert_eq!(
        bench.journal.count(Event::FactorChanged, "reset-link-bad"),
        1
    );
    assert!(!bench.journal.text().contains(&token));
}

#[tokio::test]
async fn the_new_password_alone_opens_nothing_and_the_old_one_is_dead() {
    let (bench, letters) = bench().await;
    let token = ask(&bench, &letters, "alice", NOW).await.unwrap();
    assert!(matches!(
        set(&bench, &token, NEW, NOW).await,
        ResetStep::Done
    ));
    assert!(bench.identity.sessions().of_user("alice").is_empty());
    let step = bench.password("alice", PASSWORD, bench.at(NOW + 1)).await;
    assert!(matches!(step, PasswordStep::Refused), "{step:?}");
    let step = bench.password("alice", NEW, bench.at(NOW + 2)).await;
    assert!(matches!(step, PasswordStep::Code { .. }), "{step:?}");
    assert!(bench.identity.sessions().of_user("alice").is_empty());
}

#[tokio::test]
async fn a_link_dies_after_twenty_minutes_and_with_another_password() {
    let (bench, letters) = bench().await;
    let old = ask(&bench, &letters, "alice", NOW).await.unwrap();
    let late = NOW + RESET_SECS;
    assert!(
        bench
            .identity
            .reset_begin(&old, &bench.at(late - 1))
            .await
            .is_some()
    );
    assert!(
        bench
            .identity
            .reset_begin(&old, &bench.at(late))
            .await
            .is_none()
    );
    assert!(matches!(
        set(&bench, &old, NEW, late).await,
        ResetStep::Dead
    ));
    let other = ask(&bench, &letters, "alice", late).await.unwrap();
    bench
        .store
        .put_verifier("alice", "$argon2id$else")
        .await
        .unwrap();
    assert!(matches!(
        set(&bench, &other, NEW, late + 1).await,
        ResetStep::Dead
    ));
}

#[tokio::test]
async fn strangers_the_disabled_and_the_unfinished_are_sent_nothing() {
    let (bench, letters) = bench().await;
    for name in ["nobody", "", "alice\r\nbcc: eve", "../alice"] {
        assert!(ask(&bench, &letters, name, NOW).await.is_none(), "{name:?}");
    }
    bench.people.set("alice", Standing::Disabled);
    assert!(ask(&bench, &letters, "alice", NOW).await.is_none());
    bench.people.set("alice", Standing::Active);
    let token = ask(&bench, &letters, "alice", NOW).await.unwrap();
    bench.people.set("alice", Standing::Disabled);
    assert!(matches!(
        set(&bench, &token, NEW, NOW).await,
        ResetStep::Dead
    ));
    bench.people.set("alice", Standing::Active);
    bench.store.drop_totp("alice").await.unwrap();
    assert!(matches!(
        set(&bench, &token, NEW, NOW).await,
        ResetStep::Dead
    ));
    assert!(ask(&bench, &letters, "alice", NOW).await.is_none());
}

#[tokio::test]
async fn a_person_is_sent_three_links_an_hour() {
    let (bench, letters) = bench().await;
    for at in 0..3 {
        assert!(ask(&bench, &letters, "alice", NOW + at).await.is_some());
    }
    assert!(ask(&bench, &letters, "alice", NOW + 3599).await.is_none());
    assert!(ask(&bench, &letters, "bob", NOW + 3599).await.is_some());
    assert!(ask(&bench, &letters, "alice", NOW + 3600).await.is_some());
}

#[tokio::test]
async fn a_weak_password_is_refused_and_the_link_still_counts() {
    let (bench, letters) = bench().await;
    let token = ask(&bench, &letters, "alice", NOW).await.unwrap();
    for weak in ["short", "alicealicealice", "password1234567"] {
        let step = set(&bench, &token, weak, NOW).await;
        assert!(matches!(step, ResetStep::Weak(_)), "{weak}: {step:?}");
    }
    assert!(matches!(
        set(&bench, &token, NEW, NOW).await,
        ResetStep::Done
    ));
}

#[tokio::test]
async fn of_a_hundred_parallel_uses_of_a_link_one_sets_the_password() {
    let bench = Bench::new().await;
    let hash: Hash = [7; 32];
    let row = ResetRow {
        hash,
        user: "alice".to_owned(),
        mark: [0; 32],
        made: NOW,
        expires: NOW + 60,
    };
    assert!(bench.store.put_reset(row).await.unwrap());
    let old = bench.store.credentials("alice").await.unwrap().unwrap().phc;
    let uses = (0..100).map(|n| {
        let (store, old): (Arc<dyn Store>, String) = (Arc::clone(&bench.store), old.clone());
        tokio::spawn(async move {
            let new = format!("$argon2id$new{n}");
            store.use_reset(&hash, NOW, &old, &new).await.unwrap()
        })
    });
    let mut won = 0;
    for done in futures_util::future::join_all(uses).await {
        won += usize::from(done.unwrap());
    }
    assert_eq!(won, 1);
}
