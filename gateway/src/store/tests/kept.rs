//! What the store keeps, compares and forgets.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::super::open;
use super::super::{
    BindingRow, CookieRow, CounterRow, Credentials, SessionRow, Store, StoreError, UseRow,
};
use super::Folder;
use crate::ids::{DeviceId, Door, SessionId};

fn credentials(last_step: i64) -> Credentials {
    Credentials {
        phc: "$argon2id$".to_owned(),
        totp: Some(vec![1, 2, 3]),
        last_step,
        enrolled: 5,
        imported: false,
    }
}

fn session(id: u64, cookie: u8) -> SessionRow {
    SessionRow {
        id: SessionId(id),
        user: "alice".to_owned(),
        door: Door::Tunnel,
        source: "2001:db8::1".parse().unwrap(),
        created: 1,
        login_at: 2,
        mfa_at: 3,
        used: UseRow {
            last: 4,
            ..UseRow::default()
        },
        expires: 5,
        agent: "curl/8".to_owned(),
        devices: Vec::new(),
        cookies: vec![CookieRow {
            hash: [cookie; 32],
            host: "gate".to_owned(),
        }],
    }
}

fn binding(device: u32) -> BindingRow {
    BindingRow {
        device: DeviceId(device),
        place: Some("192.0.2.7".parse().unwrap()),
        used: 9,
        pause: 5,
    }
}

async fn reopened(store: Arc<dyn Store>, folder: &Folder) -> Arc<dyn Store> {
    drop(store);
    open(folder.path()).unwrap()
}

#[tokio::test]
async fn a_step_is_accepted_once_and_never_an_older_one() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    assert!(!store.accept_step("alice", 10).await.unwrap());
    store
        .put_credentials("alice", credentials(0))
        .await
        .unwrap();
    assert!(store.accept_step("alice", 10).await.unwrap());
    assert!(!store.accept_step("alice", 10).await.unwrap());
    let store = reopened(store, &folder).await;
    assert!(!store.accept_step("alice", 10).await.unwrap());
    assert!(!store.accept_step("alice", 9).await.unwrap());
    assert!(store.accept_step("alice", 11).await.unwrap());
}

#[tokio::test]
async fn parallel_uses_of_a_step_succeed_once() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    store
        .put_credentials("alice", credentials(0))
        .await
        .unwrap();
    let uses = (0..100).map(|_| store.accept_step("alice", 10));
    let all = futures_util::future::join_all(uses).await;
    assert_eq!(
        all.into_iter()
            .filter(|used| *used.as_ref().unwrap())
            .count(),
        1
    );
}

#[tokio::test]
async fn sessions_come_back_as_they_were() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    store.put_session(session(u64::MAX, 1)).await.unwrap();
    store.put_session(session(7, 2)).await.unwrap();
    store.bind(SessionId(7), binding(3)).await.unwrap();
    let store = reopened(store, &folder).await;
    let mut bound = session(7, 2);
    bound.devices.push(DeviceId(3));
    let all = store.sessions().await.unwrap();
    assert_eq!(all, [session(u64::MAX, 1), bound]);
}

#[tokio::test]
async fn where_a_device_was_proved_comes_back_and_goes_with_its_session() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    store.put_session(session(7, 2)).await.unwrap();
    store.bind(SessionId(7), binding(3)).await.unwrap();
    assert!(store.put_browser_key(SessionId(7), [4; 65]).await.unwrap());
    assert!(!store.put_browser_key(SessionId(8), [4; 65]).await.unwrap());
    let store = reopened(store, &folder).await;
    assert_eq!(store.bindings().await.unwrap(), [binding(3)]);
    let keys = store.browser_keys().await.unwrap();
    assert_eq!(keys, [(SessionId(7), [4; 65])]);
    let used = BindingRow {
        used: 70,
        ..binding(3)
    };
    store.touch_bindings(vec![used]).await.unwrap();
    assert_eq!(store.bindings().await.unwrap(), [used]);
    store.end_sessions(vec![SessionId(7)]).await.unwrap();
    assert!(store.bindings().await.unwrap().is_empty());
    assert!(store.browser_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_ended_session_takes_its_cookies_and_devices_with_it() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    store.put_session(session(7, 2)).await.unwrap();
    store.end_sessions(vec![SessionId(7)]).await.unwrap();
    let late = CookieRow {
        hash: [3; 32],
        host: "app".to_owned(),
    };
    assert!(!store.put_cookie(SessionId(7), late, None).await.unwrap());
    store.bind(SessionId(7), binding(3)).await.unwrap();
    // The same cookie hash can be stored again, so the old row is gone.
    store.put_session(session(8, 2)).await.unwrap();
    assert_eq!(store.sessions().await.unwrap(), [session(8, 2)]);
}

#[tokio::test]
async fn counters_at_zero_and_old_ones_are_forgotten() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    let row = |key: u8, count, last| CounterRow {
        kind: "pair",
        key: vec![key],
        count,
        since: 0,
        last,
    };
    store
        .put_counters(vec![row(1, 3, 10), row(2, 1, 20), row(3, 1, 30)])
        .await
        .unwrap();
    store.put_counters(vec![row(3, 0, 40)]).await.unwrap();
    store.prune_counters(15).await.unwrap();
    assert_eq!(store.counters().await.unwrap(), [row(2, 1, 20)]);
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused() {
    let folder = Folder::new();
    drop(open(folder.path()).unwrap());
    let db = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let refused = open(folder.path()).map(drop);
    assert!(matches!(refused, Err(StoreError::Newer { found: 99, .. })));
}

#[tokio::test]
async fn a_damaged_session_row_signs_its_owner_out_and_nobody_else() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    store.put_session(session(7, 1)).await.unwrap();
    store.put_session(session(8, 2)).await.unwrap();
    let db = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    db.execute("UPDATE sessions SET source = 'nowhere' WHERE id = 7", [])
        .unwrap();
    assert_eq!(store.sessions().await.unwrap(), [session(8, 2)]);
}

#[test]
fn the_files_are_the_owners_and_every_commit_reaches_the_disk() {
    let folder = Folder::new();
    let path = folder.path().join("state.db");
    let db = super::super::sqlite::connect(&path).unwrap();
    let text = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    assert_eq!(text("journal_mode").unwrap(), "wal");
    assert_eq!(number("synchronous").unwrap(), 2);
    assert_eq!(number("foreign_keys").unwrap(), 1);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_store_of_the_first_version_keeps_its_sessions() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    store.put_session(session(7, 1)).await.unwrap();
    drop(store);
    let db = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    db.execute_batch(
        "ALTER TABLE session_cookies DROP COLUMN made;
         ALTER TABLE credentials DROP COLUMN imported;
         ALTER TABLE links DROP COLUMN kind;
         ALTER TABLE sessions DROP COLUMN agent;
         ALTER TABLE sessions DROP COLUMN pause;
         ALTER TABLE sessions DROP COLUMN idle;
         ALTER TABLE sessions DROP COLUMN most;
         ALTER TABLE sessions DROP COLUMN extended;
         ALTER TABLE session_devices DROP COLUMN place;
         ALTER TABLE session_devices DROP COLUMN used;
         ALTER TABLE session_devices DROP COLUMN pause;
         DROP TABLE session_keys; DROP TABLE app_clocks;
         DROP TABLE browsers; DROP TABLE browser_sessions; DROP TABLE bans;
          DROP TABLE recovery; DROP TABLE places; DROP TABLE notices;
         DROP TABLE mails; DROP TABLE resets; DROP TABLE tokens;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(db);
    let store = open(folder.path()).unwrap();
    let mut kept = session(7, 1);
    kept.agent.clear();
    assert_eq!(store.sessions().await.unwrap(), [kept]);
}

#[tokio::test]
async fn a_person_is_known_by_factors_or_a_session_until_removed() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    assert!(!store.knows("alice").await.unwrap());
    store.put_session(session(7, 1)).await.unwrap();
    assert!(store.knows("alice").await.unwrap());
    assert!(!store.knows("bob").await.unwrap());
    store.remove_user("alice").await.unwrap();
    assert!(!store.knows("alice").await.unwrap());
    store
        .put_credentials("alice", credentials(0))
        .await
        .unwrap();
    assert!(store.knows("alice").await.unwrap());
}
