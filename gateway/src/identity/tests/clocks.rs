//! Whose authenticator app shows another time.

use super::{Bench, NOW, StepUp, code};

#[tokio::test]
async fn an_app_that_is_off_is_told_of_over_a_restart_until_a_code_is_right() {
    let bench = Bench::new().await;
    let (session, cookie) = bench.sign_in("alice", NOW).await;
    assert!(bench.identity.app_clocks().is_empty());
    let ahead = code(NOW + 150);
    let from = bench.at(NOW + 30);
    let wrong = bench.identity.step_up(&session, &ahead, &from).await;
    assert!(matches!(wrong, StepUp::Refused));
    let bench = bench.restart(NOW + 60).await;
    let clocks = bench.identity.app_clocks();
    let seen: Vec<_> = clocks.iter().map(|c| (c.user.as_str(), c.off)).collect();
    assert_eq!(seen, [("alice", 120)]);
    let sessions = bench.identity.sessions();
    let session = sessions.find(&cookie, super::HOST, NOW + 60).unwrap();
    let from = bench.at(NOW + 90);
    let right = bench
        .identity
        .step_up(&session, &code(NOW + 90), &from)
        .await;
    assert!(matches!(right, StepUp::Done { .. }));
    assert!(bench.identity.app_clocks().is_empty());
    assert!(
        bench
            .restart(NOW + 120)
            .await
            .identity
            .app_clocks()
            .is_empty()
    );
}

#[tokio::test]
async fn a_code_of_nobody_s_clock_tells_nothing() {
    let bench = Bench::new().await;
    let (session, _) = bench.sign_in("alice", NOW).await;
    let from = bench.at(NOW + 30);
    let wrong = bench.identity.step_up(&session, "000000", &from).await;
    assert!(matches!(wrong, StepUp::Refused));
    assert!(bench.identity.app_clocks().is_empty());
}
