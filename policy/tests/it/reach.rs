//! Reach for some contexts only.

use policy::{QueryField, Scope};
use serde_json::json;

use crate::answers::{BASE, load};

#[test]
fn reach_is_asked_for_an_instant_a_zone_or_both() {
    let policy = load(BASE);
    let who = |resource: &str, scope: Scope| {
        let answer = policy.who_can_in(resource, &scope).unwrap();
        let users = answer.users.into_iter();
        let told = users.map(|user| (user.name, user.contexts.join(" | ")));
        told.collect::<Vec<_>>()
    };
    let within = |text: &str| Scope::In(text.to_owned());
    let ines = [(
        "ines".to_owned(),
        "with a code; sign-in up to 12h old".to_owned(),
    )];
    // 2026-01-05 10:00 and 20:00 in Paris
    let (morning, evening) = (1_767_603_600, 1_767_639_600);
    assert_eq!(who("app.web", Scope::Now(morning)), ines);
    assert_eq!(who("app.web", Scope::Now(evening)), []);
    assert_eq!(who("app.web", within("@mon 10:00")), ines);
    assert_eq!(who("app.web", within("internet@mon 10:00")), ines);
    assert_eq!(who("app.web", within("office@mon 20:00")), []);
    assert_eq!(
        who("app.web", within("office"))[0].1,
        format!("in day; {}", ines[0].1)
    );
    let it = "code up to 15m old; sign-in up to 12h old";
    let expected = ["nadia", "olivier"].map(|name| (name.to_owned(), it.to_owned()));
    for office in [
        "office",
        "192.168.1.9",
        "192.168.1.9@sun 03:00",
        "office@mon 20:00",
    ] {
        assert_eq!(who("app.web/admin", within(office)), expected, "{office}");
    }
    for elsewhere in ["internet", "tunnel", "192.0.2.1", "internet@mon 10:00"] {
        assert_eq!(who("app.web/admin", within(elsewhere)), [], "{elsewhere}");
    }
    assert_eq!(who("app.web", Scope::Ever).len(), 1);
    let what = policy.what_can_in("ines", &Scope::Now(evening)).unwrap();
    assert_eq!(
        serde_json::to_value(&what).unwrap(),
        json!({"user": "ines", "in": "now", "resources": [
            {"resource": "app.web=/health", "outcome": "allow", "rule": "app.web=/health#any", "contexts": ["methods GET, HEAD"]},
        ]})
    );
    assert!(
        what.to_text().starts_with("ines   (now)\n"),
        "{}",
        what.to_text()
    );
    for (wrong, field) in [
        ("offce", QueryField::From),
        ("", QueryField::From),
        ("office@noon", QueryField::At),
        ("@", QueryField::At),
    ] {
        let error = policy.who_can_in("app.web", &within(wrong)).unwrap_err();
        assert_eq!(error.field, field, "{wrong}");
        assert_eq!(
            policy.what_can_in("ines", &within(wrong)).unwrap_err(),
            error
        );
    }
}
