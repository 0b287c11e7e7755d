//! Tokens for apps.

use super::super::{EndReason, NewToken, NoticeKind, Session, Token, TokenError};
use super::account::confirmed;
use super::own_devices::told;
use super::*;

const DAY: i64 = 86_400;

async fn make(
    bench: &Bench,
    session: &Session,
    name: &str,
    now: i64,
) -> Result<(Arc<Token>, Zeroizing<String>), TokenError> {
    let new = NewToken {
        app: "app.git",
        name,
        life: Duration::from_secs(30 * 86_400),
    };
    let from = bench.at(now);
    bench.identity.make_token(session, &new, &from).await
}

fn finds(bench: &Bench, text: &str, now: i64) -> bool {
    let place = "198.51.100.7".parse().unwrap();
    let found = bench.identity.sessions().find_token(text, place, now);
    found.is_some()
}

#[tokio::test]
async fn a_token_counts_for_its_time_and_is_kept_without_its_text() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let (token, text) = make(&bench, &session, "laptop", now).await.unwrap();
    let record = bench.journal.last();
    assert_eq!(record.event, Event::TokenChanged);
    assert_eq!(record.session, Some(session.id));
    assert!(record.detail.unwrap().contains(&token.id.to_string()));
    assert!(!bench.journal.text().contains(text.get(4..).unwrap()));
    assert!(token.used().is_none());
    assert!(finds(&bench, &text, now));
    assert_eq!(token.used().unwrap().place.to_string(), "198.51.100.7");
    let other = format!("{}{}", text.get(..20).unwrap(), "a".repeat(43));
    assert!(!finds(&bench, &other, now));
    let bench = bench.restart(now + 29 * DAY).await;
    assert!(finds(&bench, &text, now + 29 * DAY));
    assert!(!finds(&bench, &text, now + 30 * DAY));
    bench.identity.sweep(now + 30 * DAY).await;
    assert!(bench.store.tokens().await.unwrap().is_empty());
    assert_eq!(bench.journal.count(Event::TokenChanged, "token-expired"), 1);
}

#[tokio::test]
async fn a_token_needs_password_and_code_a_name_of_its_own_and_a_place() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let (plain, _) = bench.sign_in("bob", NOW).await;
    let refused = make(&bench, &plain, "laptop", NOW).await;
    assert!(matches!(refused, Err(TokenError::NotConfirmed)));
    assert!(told(&bench, "bob").await.is_empty());
    assert!(make(&bench, &session, "laptop", now).await.is_ok());
    let news = [(NoticeKind::TokenMade, "laptop, app.git".to_owned())];
    assert_eq!(told(&bench, "alice").await, news);
    let again = make(&bench, &session, "laptop", now).await;
    assert!(matches!(again, Err(TokenError::NameTaken)));
    for bad in ["", "a\nb", &*"x".repeat(65)] {
        let refused = make(&bench, &session, bad, now).await;
        assert!(matches!(refused, Err(TokenError::BadName)), "{bad}");
    }
    for more in 1..20 {
        let made = make(&bench, &session, &format!("n{more}"), now).await;
        assert!(made.is_ok(), "{more}");
    }
    let over = make(&bench, &session, "one more", now).await;
    assert!(matches!(over, Err(TokenError::TooMany(20))));
    let sessions = bench.identity.sessions();
    let gone = sessions.end_tokens(|t| *t.name == *"n1", "revoked").await;
    assert_eq!(gone.unwrap().len(), 1);
    assert!(make(&bench, &session, "one more", now).await.is_ok());
}

#[tokio::test]
async fn tokens_end_when_all_sessions_of_their_person_do_and_not_with_one_of_them() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let (_, text) = make(&bench, &session, "laptop", now).await.unwrap();
    let sessions = bench.identity.sessions();
    sessions
        .end(session.id, EndReason::SignedOut)
        .await
        .unwrap();
    assert!(finds(&bench, &text, now));
    sessions
        .end_user("bob", EndReason::UserDisabled)
        .await
        .unwrap();
    assert!(finds(&bench, &text, now));
    sessions
        .end_user("alice", EndReason::FactorChanged)
        .await
        .unwrap();
    assert!(!finds(&bench, &text, now));
    let bench = bench.restart(now).await;
    assert!(!finds(&bench, &text, now));
}

#[tokio::test]
async fn nothing_is_made_without_a_record_and_revoking_needs_none() {
    let bench = Bench::new().await;
    let (session, now) = confirmed(&bench).await;
    let (token, text) = make(&bench, &session, "laptop", now).await.unwrap();
    bench.journal.break_down();
    let refused = make(&bench, &session, "phone", now).await;
    assert!(matches!(refused, Err(TokenError::Audit(_))));
    assert_eq!(bench.store.tokens().await.unwrap().len(), 1);
    let sessions = bench.identity.sessions();
    let gone = sessions.end_tokens(|t| t.id == token.id, "revoked").await;
    assert_eq!(gone.unwrap().len(), 1);
    assert!(!finds(&bench, &text, now));
    assert!(bench.store.tokens().await.unwrap().is_empty());
}
