//! Putting off the end of a session.

use std::time::Duration;

use super::{Bench, HOST, NOW, StepUp, code};
use crate::audit::{Event, reason};

const HOUR: i64 = 3600;
const TWO_HOURS: Option<Duration> = Some(Duration::from_secs(7200));

#[tokio::test]
async fn a_code_puts_the_end_off_once_and_the_same_code_is_refused() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let before = session.absolute_end();
    let now = NOW + 300;
    let code = code(now);
    let from = bench.from(now, "192.0.2.1");
    let none = bench.identity.extend(&session, &code, None, &from).await;
    assert!(
        matches!(none, StepUp::Expired),
        "the policy does not say so"
    );
    let wrong = bench
        .identity
        .extend(&session, "000000", TWO_HOURS, &from)
        .await;
    assert!(matches!(wrong, StepUp::Refused));
    assert_eq!(session.absolute_end(), before);
    let done = bench
        .identity
        .extend(&session, &code, TWO_HOURS, &from)
        .await;
    let StepUp::Done { cookie } = done else {
        panic!("{done:?}")
    };
    assert_eq!(session.absolute_end(), before + 2 * HOUR);
    let sessions = bench.identity.sessions();
    assert_eq!(sessions.find(&cookie, HOST, now).unwrap().id, session.id);
    assert_eq!(bench.journal.count(Event::SignedIn, reason::EXTENDED), 1);
    let again = bench
        .identity
        .extend(&session, &code, TWO_HOURS, &from)
        .await;
    assert!(matches!(again, StepUp::Expired));
}

#[tokio::test]
async fn a_code_that_was_used_puts_nothing_off() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let code = code(NOW);
    let from = bench.from(NOW, "192.0.2.1");
    let replayed = bench
        .identity
        .extend(&session, &code, TWO_HOURS, &from)
        .await;
    assert!(matches!(replayed, StepUp::Refused));
    assert_eq!(session.extended(), 0);
}

#[tokio::test]
async fn what_was_put_off_survives_a_restart_and_no_session_lives_longer_than_a_day() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    let now = NOW + 60;
    let code = code(now);
    let week = Some(Duration::from_secs(7 * 86_400));
    let from = bench.from(now, "192.0.2.1");
    let done = bench.identity.extend(&session, &code, week, &from).await;
    let StepUp::Done { cookie: renewed } = done else {
        panic!("{done:?}")
    };
    assert_eq!(session.absolute_end(), session.created + 86_400);
    let end = session.absolute_end();
    let bench = bench.restart(now).await;
    let sessions = bench.identity.sessions();
    assert!(sessions.find(&cookie, HOST, now).is_none());
    let kept = sessions.find(&renewed, HOST, now).unwrap();
    assert_eq!(kept.absolute_end(), end);
    assert!(bench.identity.may_extend(&kept, TWO_HOURS).is_none());
}
