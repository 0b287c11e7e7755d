use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::journal::tests::Scratch;
use super::query::{Cursor, Filter, search, show, since};
use super::verify::verify;
use super::writer::Pace;
use super::{Audit, AuditError, Durability, Event, Record, reason};

const KEY: [u8; 32] = [7; 32];
/// 2023-11-14T22:13:20Z.
const T: u64 = 1_700_000_000_000;

fn open(dir: &Scratch) -> Audit {
    let pace = Pace {
        batch: Duration::from_millis(1),
        tick: Duration::from_millis(2),
    };
    Audit::open_with(dir.path(), &[Zeroizing::new(KEY)], || T, pace).unwrap()
}

fn by(user: &str) -> Record {
    Record {
        user: Some(user.into()),
        host: Some("app.example.org".into()),
        ..Record::new(Event::SignedIn, "ok", reason::RULE)
    }
}

fn anonymous() -> Record {
    Record {
        source: Some("192.0.2.1".parse().unwrap()),
        ..Record::new(Event::AccessDecided, "login", reason::NOT_SIGNED_IN)
    }
}

fn lines(dir: &Scratch, filter: &Filter) -> Vec<serde_json::Value> {
    let mut found = Vec::new();
    search(dir.path(), filter, &mut |line| {
        found.push(serde_json::from_slice(line)?);
        Ok(())
    })
    .unwrap();
    found
}

fn all(dir: &Scratch) -> Vec<serde_json::Value> {
    lines(dir, &Filter::default())
}

#[tokio::test]
async fn a_durable_record_is_in_the_file_before_the_answer() {
    let dir = Scratch::new();
    let audit = open(&dir);
    for n in 1..=5 {
        assert_eq!(
            audit.write(by("demo"), Durability::Durable).await.unwrap(),
            n
        );
        assert_eq!(all(&dir).len() as u64, n);
        assert_eq!(audit.seq(), n);
    }
}

#[tokio::test]
async fn batched_records_are_written_without_a_durable_one() {
    let dir = Scratch::new();
    let audit = open(&dir);
    audit.write(by("demo"), Durability::Batched).await.unwrap();
    audit.note(by("demo"));
    until(|| all(&dir).len() == 2).await;
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_later_writes_fail() {
    let dir = Scratch::new();
    let audit = open(&dir);
    (0..100).for_each(|_| audit.note(by("demo")));
    audit.close().await;
    assert_eq!(all(&dir).len(), 100);
    assert!(verify(dir.path(), &[Zeroizing::new(KEY)]).unwrap().ok);
    assert!(audit.write(by("demo"), Durability::Durable).await.is_err());
    assert!(!audit.healthy());
    audit.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_parallel_writers_make_one_sequence() {
    let dir = Scratch::new();
    let audit = Arc::new(open(&dir));
    let run = |name: &'static str| {
        let audit = Arc::clone(&audit);
        tokio::spawn(async move {
            for _ in 0..1000 {
                audit.write(by(name), Durability::Durable).await.unwrap();
            }
        })
    };
    let (one, two) = (run("one"), run("two"));
    one.await.unwrap();
    two.await.unwrap();
    drop(audit);
    let seqs: Vec<_> = all(&dir)
        .iter()
        .map(|r| r["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=2000).collect::<Vec<_>>());
    let report = verify(dir.path(), &[Zeroizing::new(KEY)]).unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!(open(&dir).seq(), 2000);
}

#[tokio::test]
async fn verify_is_content_beside_a_running_writer() {
    let dir = Scratch::new();
    let audit = open(&dir);
    for _ in 0..50 {
        audit.note(by("demo"));
        audit.write(by("demo"), Durability::Durable).await.unwrap();
        let report = verify(dir.path(), &[Zeroizing::new(KEY)]).unwrap();
        assert!(report.ok, "{report:?}");
    }
}

/// Replaces the folder by a file in one step: a writer that looks after it all the while finds no
/// moment without either in which it could make the folder anew.
fn put_in_the_way(folder: &Path) {
    let aside = Scratch::new();
    std::fs::write(aside.path(), "in the way").unwrap();
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        folder,
        rustix::fs::CWD,
        aside.path(),
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    // a head that is just being written may come in between
    while std::fs::remove_dir_all(aside.path()).is_err() {}
}

#[tokio::test]
async fn a_broken_folder_stops_grants_and_heals_by_itself() {
    let dir = Scratch::new();
    let audit = open(&dir);
    audit.write(by("demo"), Durability::Durable).await.unwrap();
    put_in_the_way(dir.path());
    let refused = audit.write(by("demo"), Durability::Durable).await;
    assert!(matches!(refused, Err(AuditError::Broken { .. })));
    assert!(!audit.healthy());
    for durability in [Durability::Durable, Durability::Batched] {
        assert!(audit.write(by("demo"), durability).await.is_err());
    }
    audit.note(by("demo"));
    std::fs::remove_file(dir.path()).unwrap();
    until(|| audit.healthy()).await;
    assert_eq!(
        audit.write(by("demo"), Durability::Durable).await.unwrap(),
        3
    );
    let records = all(&dir);
    assert_eq!(records[0]["reason"], "journal-recovered");
    assert_eq!(records[0]["seq"], 2);
    let detail = records[0]["detail"].as_str().unwrap();
    assert!(
        detail.ends_with("1 records without an answer are lost"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_flood_of_anonymous_denials_is_summed_and_complete() {
    let dir = Scratch::new();
    let audit = open(&dir);
    for _ in 0..1000 {
        audit.write(anonymous(), Durability::Batched).await.unwrap();
    }
    audit.write(by("demo"), Durability::Durable).await.unwrap();
    audit.close().await;
    let records = all(&dir);
    assert_eq!(records.len(), 12);
    let sum = &records[11];
    assert_eq!(sum["count"], 990);
    assert_eq!(sum["event"], "access-decided.1");
    assert_eq!(sum["source"], "192.0.2.1");
    assert_eq!(sum["first"], "2023-11-14T22:13:20.000Z");
}

#[tokio::test]
async fn a_search_finds_what_matches_all_filters() {
    let dir = Scratch::new();
    let audit = open(&dir);
    let mut guest = by("guest");
    guest.host = Some("other.example.org".into());
    for record in [by("demo"), guest, anonymous(), by("de\"mo\u{202e}")] {
        audit.write(record, Durability::Durable).await.unwrap();
    }
    let seqs = |filter: Filter| -> Vec<_> {
        let found = lines(&dir, &filter);
        found.iter().map(|r| r["seq"].as_u64().unwrap()).collect()
    };
    let none = Filter::default;
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(seqs(none()), [1, 2, 3, 4]);
    assert_eq!(
        seqs(Filter {
            user: some("demo"),
            ..none()
        }),
        [1]
    );
    assert_eq!(
        seqs(Filter {
            user: some("de\"mo\u{202e}"),
            ..none()
        }),
        [4]
    );
    assert_eq!(
        seqs(Filter {
            user: some("dem"),
            ..none()
        }),
        [0; 0]
    );
    assert_eq!(
        seqs(Filter {
            host: some("app.example.org"),
            ..none()
        }),
        [1, 4]
    );
    assert_eq!(
        seqs(Filter {
            outcome: some("login"),
            ..none()
        }),
        [3]
    );
    assert_eq!(
        seqs(Filter {
            event: Some(Event::SignedIn),
            ..none()
        }),
        [1, 2, 4]
    );
    let both = Filter {
        event: Some(Event::SignedIn),
        user: some("guest"),
        ..none()
    };
    assert_eq!(seqs(both), [2]);
    assert_eq!(
        seqs(Filter {
            since: Some(T),
            ..none()
        }),
        [1, 2, 3, 4]
    );
    assert_eq!(
        seqs(Filter {
            since: Some(T + 1),
            ..none()
        }),
        [0; 0]
    );
    assert_eq!(
        seqs(Filter {
            since: Some(T + 86_400_000),
            ..none()
        }),
        [0; 0]
    );
    assert_eq!(
        seqs(Filter {
            limit: Some(2),
            ..none()
        }),
        [3, 4]
    );
    assert_eq!(
        seqs(Filter {
            limit: Some(0),
            ..none()
        }),
        [0; 0]
    );
}

#[tokio::test]
async fn a_cursor_shows_the_last_records_and_then_new_ones() {
    let dir = Scratch::new();
    let audit = open(&dir);
    for _ in 0..500 {
        audit.note(by("demo"));
    }
    audit.write(by("demo"), Durability::Durable).await.unwrap();
    let mut cursor = Cursor::before_last(dir.path(), 3).unwrap();
    let read = |cursor: &mut Cursor| {
        let mut count = 0;
        cursor
            .advance(&mut |_| {
                count += 1;
                Ok(())
            })
            .unwrap();
        count
    };
    assert_eq!(read(&mut cursor), 3);
    assert_eq!(read(&mut cursor), 0);
    audit.write(by("demo"), Durability::Durable).await.unwrap();
    assert_eq!(read(&mut cursor), 1);
    for (n, found) in [(0, 0), (501, 501), (502, 502), (9999, 502)] {
        assert_eq!(
            read(&mut Cursor::before_last(dir.path(), n).unwrap()),
            found
        );
    }
    std::fs::write(dir.path().join("2023-11-15.jsonl"), "{}\n{\"torn").unwrap();
    assert_eq!(read(&mut cursor), 1);
    assert_eq!(read(&mut Cursor::before_last(dir.path(), 2).unwrap()), 2);
}

#[test]
fn a_listing_cannot_deceive_the_eye() {
    let line = r#"{"time":"t","event":"e","outcome":"ok","reason":null,"rule":null,"user":"a\u202eb\u001b[2J","device":null,"source":null,"host":null,"method":null,"path":null,"status":403,"detail":null}"#;
    assert_eq!(
        show(line.as_bytes()),
        "t  e  ok  -  user=a\\u{202e}b\\u{1b}[2J  status=403"
    );
    assert_eq!(show(b"\x1b[2J"), "\\u{1b}[2J");
}

#[test]
fn times_and_ages_are_read() {
    assert_eq!(since("2h", T), Some(T - 7_200_000));
    assert_eq!(since("1d", T), Some(T - 86_400_000));
    assert_eq!(since("2023-11-14T22:13:20Z", 0), Some(T));
    assert_eq!(since("2023-11-14T23:13:20+01:00", 0), Some(T));
    assert_eq!(since("2023-11-14", 0), Some(T - T % 86_400_000));
    for bad in ["", "h", "2x", "yesterday", "-1h", "99999999999999999999d"] {
        assert_eq!(since(bad, T), None, "{bad}");
    }
}

/// Waits for what the writer does on its own.
async fn until(mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap();
}
