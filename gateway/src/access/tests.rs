use super::*;
use crate::identity::tests::{Bench, NOW};

fn caller(session: &Arc<Session>) -> Caller {
    Caller {
        session: Some(Arc::clone(session)),
        token: None,
        by: Proof::SignIn,
        device: None,
        source: "192.0.2.1".parse().unwrap(),
        door: Door::Web,
    }
}

#[tokio::test]
async fn a_browser_is_known_from_its_second_sign_in_on_and_another_one_is_not() {
    let bench = Bench::new().await;
    let sessions = bench.identity.sessions();
    let (first, _) = bench.sign_in("alice", NOW).await;
    let token = sessions.remember_browser(&first, None).await.unwrap();
    assert_eq!(caller(&first).class(), policy::Device::Any);
    let (second, _) = bench.sign_in("alice", NOW + 30).await;
    let kept = sessions.remember_browser(&second, token.as_deref()).await;
    assert!(kept.unwrap().is_some());
    assert_eq!(caller(&second).class(), policy::Device::Known);
    let (third, _) = bench.sign_in("alice", NOW + 60).await;
    sessions.remember_browser(&third, None).await.unwrap();
    assert_eq!(caller(&third).class(), policy::Device::Any);
}
