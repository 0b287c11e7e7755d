//! A hundred at once: of one code, recovery code or link exactly one use counts.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::*;
use crate::identity::UserName;
use crate::identity::login::{AwaitingPassword, PasswordRight, Second};
use crate::identity::password::Verdict;
use crate::identity::session::token_hash;
use crate::ids;
use crate::store::LinkRow;

const RUNNERS: usize = 100;

fn races() -> i64 {
    match std::env::var_os("POSTERN_LONG") {
        Some(_) => 1000,
        None => 100,
    }
}

/// Starts everybody at the same moment and counts for whom `did` held.
async fn race<F>(bench: &Arc<Bench>, did: impl Fn(Arc<Bench>, usize) -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let start = Arc::new(Barrier::new(RUNNERS));
    let runners: Vec<_> = (0..RUNNERS)
        .map(|n| {
            let (start, run) = (Arc::clone(&start), did(Arc::clone(bench), n));
            tokio::spawn(async move {
                start.wait().await;
                run.await
            })
        })
        .collect();
    let mut won = 0;
    for runner in runners {
        won += usize::from(runner.await.unwrap());
    }
    won
}

/// A half-way sign-in as a right password leaves it, without the cost of one.
fn half(bench: &Bench, user: &str) -> String {
    let name = UserName::parse(user);
    let kept = Some((String::new(), Second::Present));
    let epoch = bench.identity.sessions.epoch(user);
    let waiting = AwaitingPassword::new(name, Standing::Active, kept, epoch);
    let right = waiting.verified(Verdict::Match, Standing::Active, NOW + 30 * races());
    let Ok(PasswordRight::Code(half)) = right else {
        panic!("{right:?}")
    };
    let token = ids::token();
    bench.identity.halves.put(token_hash(&token).unwrap(), half);
    token
}

fn source(n: usize) -> String {
    format!("198.51.100.{n}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_uses_of_a_code_one_signs_in() {
    let bench = Arc::new(Bench::new().await);
    for n in 1..=races() {
        let at = NOW + 30 * n;
        let halves: Arc<Vec<String>> = (0..RUNNERS)
            .map(|_| half(&bench, "alice"))
            .collect::<Vec<_>>()
            .into();
        let won = race(&bench, |bench, runner| {
            let halves = Arc::clone(&halves);
            async move {
                let from = bench.from(at, &source(runner));
                let step = bench.identity.code(&halves[runner], &code(at), &from).await;
                matches!(step, CodeStep::SignedIn { .. })
            }
        });
        assert_eq!(won.await, 1, "race {n}");
        let opened = bench.journal.count(Event::SignedIn, "signed-in");
        assert_eq!(opened, usize::try_from(n).unwrap());
        bench.identity.unlock("alice", at).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_uses_of_a_step_the_store_accepts_one() {
    let bench = Arc::new(Bench::new().await);
    for n in 1..=races() {
        let won = race(&bench, |bench, _| async move {
            bench
                .store
                .accept_step("alice", NOW / 30 + n)
                .await
                .unwrap()
        });
        assert_eq!(won.await, 1, "race {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_uses_of_a_recovery_code_one_counts() {
    let bench = Arc::new(Bench::new().await);
    for n in 1..=races() {
        let (shown, kept) = bench.identity.draw_codes("alice");
        bench.store.put_recovery("alice", kept).await.unwrap();
        let code: Arc<str> = shown[3].as_str().into();
        let halves: Arc<Vec<String>> = (0..RUNNERS)
            .map(|_| half(&bench, "alice"))
            .collect::<Vec<_>>()
            .into();
        let at = NOW + 30 * n;
        let won = race(&bench, |bench, runner| {
            let (halves, code) = (Arc::clone(&halves), Arc::clone(&code));
            async move {
                let from = bench.from(at, &source(runner));
                let step = bench.identity.recover(&halves[runner], &code, &from).await;
                matches!(step, RecoverStep::Enrol { .. })
            }
        });
        assert_eq!(won.await, 1, "race {n}");
        assert_eq!(bench.identity.recovery_left("alice").await.unwrap(), 9);
        bench.identity.unlock("alice", at).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_uses_of_a_recovery_code_the_store_takes_one() {
    let bench = Arc::new(Bench::new().await);
    for n in 1..=races() {
        let (_, kept) = bench.identity.draw_codes("alice");
        let hash = kept[0];
        bench.store.put_recovery("alice", kept).await.unwrap();
        let won = race(&bench, |bench, _| async move {
            bench.store.use_recovery("alice", &hash).await.unwrap()
        });
        assert_eq!(won.await, 1, "race {n}");
    }
}

/// Opens a link, then everybody confirms it with the right code.
async fn race_for(bench: &Arc<Bench>, token: &str, at: i64) -> usize {
    let view = bench.identity.enrol_begin(token, &bench.at(at)).await;
    let secret = view.unwrap().secret_base32;
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes());
    let code: Arc<str> = totp::code_at(&secret.unwrap(), at).into();
    let token: Arc<str> = token.into();
    let won = race(bench, |bench, runner| {
        let (token, code) = (Arc::clone(&token), Arc::clone(&code));
        async move {
            let answers = Answers {
                password: Zeroizing::new(PASSWORD.to_owned()),
                code: &code,
            };
            let from = bench.from(at, &source(runner));
            let step = bench.identity.enrol_finish(&token, answers, &from).await;
            matches!(step, EnrolStep::Done(_))
        }
    });
    won.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_uses_of_an_invitation_one_enrols() {
    let bench = Arc::new(Bench::new().await);
    // each of these costs up to a hundred runs of argon2
    let races = if races() == 1000 { 1000 } else { 5 };
    for n in 1..=races {
        let at = NOW + 30 * n;
        let token = bench.identity.enrol_link("carol", at).await.unwrap();
        assert_eq!(race_for(&bench, &token, at).await, 1, "race {n}");
        let enrolled = bench.journal.count(Event::FactorChanged, "enrolled");
        assert_eq!(enrolled, usize::try_from(n).unwrap());
        bench.identity.unlock("enrol:carol", at).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_parallel_uses_of_a_link_to_a_new_app_one_counts() {
    let bench = Arc::new(Bench::new().await);
    for n in 1..=races() {
        let at = NOW + 30 * n;
        let token = ids::token();
        let link = LinkRow {
            kind: LinkKind::Recovery,
            hash: token_hash(&token).unwrap(),
            user: "alice".to_owned(),
            expires: at + 600,
            pending: None,
        };
        assert!(bench.store.put_ticket(link, at).await.unwrap());
        assert_eq!(race_for(&bench, &token, at).await, 1, "race {n}");
        bench.identity.unlock("enrol:alice", at).await.unwrap();
    }
}
