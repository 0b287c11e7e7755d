//! What a person does to their own devices.

use super::super::{DeviceError, OwnDeviceError, Session};
use super::account::confirmed;
use super::*;

async fn add(
    bench: &Bench,
    session: &Arc<Session>,
    name: &str,
    n: u8,
    now: i64,
) -> Result<DeviceId, OwnDeviceError> {
    let mut key = [7; 32];
    key[0] = n;
    let from = bench.at(now);
    let added = bench.identity.add_own_device(session, name, key, &from);
    Ok(added.await?.id)
}

pub(super) async fn told(bench: &Bench, user: &str) -> Vec<(NoticeKind, String)> {
    let notices = bench.identity.notices(user).await.unwrap();
    notices.into_iter().map(|n| (n.kind, n.detail)).collect()
}

#[tokio::test]
async fn a_person_adds_renames_and_revokes_a_device_and_is_told() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let id = add(&bench, &session, "laptop", 1, now).await.unwrap();
    let record = bench.journal.last();
    assert_eq!(record.event, Event::DeviceChanged);
    assert_eq!(record.reason, "device-added");
    assert_eq!(record.device, Some(id));
    assert_eq!(record.user.as_deref(), Some("alice"));
    assert_eq!(record.source, Some(bench.at(now).source));
    let devices = bench.identity.devices();
    assert!(
        devices.psk(id).unwrap().is_some(),
        "as the command makes them"
    );

    let from = bench.at(now);
    let identity = &bench.identity;
    let renamed = identity.rename_own_device(&session, id, "work laptop", &from);
    renamed.await.unwrap();
    assert_eq!(&*devices.get(id).unwrap().name, "work laptop");
    assert_eq!(
        bench.journal.count(Event::DeviceChanged, "device-renamed"),
        1
    );
    identity
        .revoke_own_device(&session, id, &from)
        .await
        .unwrap();
    assert!(devices.get(id).unwrap().revoked.is_some());
    assert_eq!(
        bench.journal.count(Event::DeviceChanged, "device-revoked"),
        1
    );
    let kinds = [
        (NoticeKind::DeviceRevoked, "work laptop".to_owned()),
        (NoticeKind::DeviceAdded, "laptop".to_owned()),
    ];
    assert_eq!(told(&bench, "alice").await, kinds);
    assert!(told(&bench, "bob").await.is_empty());

    let bench = bench.restart(now).await;
    let kept = bench.identity.devices().get(id).unwrap();
    assert_eq!(&*kept.name, "work laptop");
    assert!(kept.revoked.is_some());
}

#[tokio::test]
async fn without_password_and_code_in_this_session_nothing_changes() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let id = add(&bench, &session, "laptop", 1, now).await.unwrap();
    let (other, _) = bench.sign_in("alice", now + 30).await;
    let late = now + 300;
    for (session, now) in [(&other, now + 30), (&session, late)] {
        let from = bench.at(now);
        let identity = &bench.identity;
        let refused = [
            add(&bench, session, "phone", 2, now).await.map(drop),
            identity.rename_own_device(session, id, "mine", &from).await,
            identity.revoke_own_device(session, id, &from).await,
        ];
        for refused in refused {
            assert!(matches!(refused, Err(OwnDeviceError::NotConfirmed)));
        }
    }
    let kept = bench.identity.devices().get(id).unwrap();
    assert_eq!((&*kept.name, kept.revoked), ("laptop", None));
    assert_eq!(bench.identity.devices().list().len(), 1);
}

#[tokio::test]
async fn a_device_of_somebody_else_is_unknown_and_stays() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let theirs = flow::new_device("bob", 9);
    let theirs = bench.identity.devices().add(theirs).await.unwrap();
    let mine = add(&bench, &session, "laptop", 1, now).await.unwrap();
    let from = bench.at(now);
    let identity = &bench.identity;
    for (id, allowed) in [(theirs.id, false), (DeviceId(99), false), (mine, true)] {
        let renamed = identity.rename_own_device(&session, id, "mine", &from);
        let renamed = renamed.await;
        let revoked = identity.revoke_own_device(&session, id, &from).await;
        for done in [renamed, revoked] {
            let unknown = matches!(
                done,
                Err(OwnDeviceError::Device(DeviceError::Unknown(of))) if of == id
            );
            assert_eq!((done.is_ok(), unknown), (allowed, !allowed), "{id}");
        }
    }
    let kept = bench.identity.devices().get(theirs.id).unwrap();
    assert_eq!((&*kept.name, kept.revoked), ("device 9", None));
    // What is revoked cannot be renamed, or told of twice.
    let again = identity.revoke_own_device(&session, mine, &from).await;
    assert!(again.is_err());
    let news = told(&bench, "alice").await;
    let revocations = news.iter().filter(|n| n.0 == NoticeKind::DeviceRevoked);
    assert_eq!(revocations.count(), 1);
}

#[tokio::test]
async fn a_name_stands_once_among_the_devices_of_a_person() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let first = add(&bench, &session, "laptop", 1, now).await.unwrap();
    let second = add(&bench, &session, "phone", 2, now).await.unwrap();
    let taken = |done: &OwnDeviceError| matches!(done, OwnDeviceError::Device(DeviceError::NameTaken(_, name)) if **name == *"laptop");
    let twin = add(&bench, &session, "laptop", 3, now).await;
    assert!(taken(&twin.unwrap_err()));
    let from = bench.at(now);
    let identity = &bench.identity;
    let twin = identity.rename_own_device(&session, second, "laptop", &from);
    assert!(taken(&twin.await.unwrap_err()));
    let same = identity.rename_own_device(&session, first, "laptop", &from);
    same.await.unwrap();
    identity
        .revoke_own_device(&session, first, &from)
        .await
        .unwrap();
    let free = identity.rename_own_device(&session, second, "laptop", &from);
    free.await.unwrap();
}

#[tokio::test]
async fn a_person_who_adds_and_revokes_in_turn_is_stopped_for_the_day() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let from = bench.at(now);
    for n in 1..=20 {
        let id = add(&bench, &session, "laptop", n, now).await.unwrap();
        let revoked = bench.identity.revoke_own_device(&session, id, &from);
        revoked.await.unwrap();
    }
    let more = add(&bench, &session, "laptop", 21, now).await;
    assert!(matches!(
        more,
        Err(OwnDeviceError::Device(DeviceError::TooFast(_)))
    ));
    // An administrator is not held up.
    let by_command = flow::new_device("alice", 22);
    bench.identity.devices().add(by_command).await.unwrap();
}

#[tokio::test]
async fn of_parallel_registrations_as_many_win_as_a_person_may_have() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let mut tries = tokio::task::JoinSet::new();
    let bench = Arc::new(bench);
    for n in 1..=30 {
        let (bench, session) = (Arc::clone(&bench), Arc::clone(&session));
        tries.spawn(async move {
            let name = format!("device {n}");
            add(&bench, &session, &name, n, now).await.is_ok()
        });
    }
    let won = tries.join_all().await.into_iter().filter(|won| *won);
    assert_eq!(won.count(), 10);
    let live = bench.identity.devices().list();
    let addresses: std::collections::BTreeSet<_> = live.iter().map(|d| d.address4).collect();
    assert_eq!(addresses.len(), 10);
}

#[tokio::test]
async fn a_journal_that_fails_stops_an_addition_and_not_a_revocation() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let id = add(&bench, &session, "laptop", 1, now).await.unwrap();
    bench.journal.break_down();
    assert!(add(&bench, &session, "phone", 2, now).await.is_err());
    let from = bench.at(now);
    let revoked = bench.identity.revoke_own_device(&session, id, &from).await;
    assert!(revoked.is_err());
    assert_eq!(bench.identity.devices().list().len(), 1);
    assert!(bench.identity.devices().get(id).unwrap().revoked.is_some());
}
