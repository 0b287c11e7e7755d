//! What an explanation says would be allowed.

use policy::QueryText;

use crate::answers::load;

const FILE: &str = r#"postern = 1
[schedule.day]
time = "08:00-18:00"
tz = "UTC"
[schedule.night]
time = "22:00-05:00"
tz = "UTC"
[schedule.weekend]
days = ["sat", "sun"]
tz = "UTC"
[group]
it = ["nadia", "olivier"]
ops = ["@it"]
former = ["olivier"]
hr = ["ines", "max"]
[app.night]
host = "night.example"
upstream = "http://h"
allow.it = { who = "@it" }
[app.week]
host = "week.example"
upstream = "http://h"
allow.it = { who = "@it", when = "day" }
[app.left]
host = "left.example"
upstream = "http://h"
allow.ops = { who = "@ops" }
[app.one]
host = "one.example"
upstream = "http://h"
allow.ines = { who = "ines" }
[app.two]
host = "two.example"
upstream = "http://h"
tokens = "30d"
allow.code = { who = "@it", mfa = "5m", login = "20h" }
allow.fresh = { who = "@it", mfa = "none", login = "1h" }
[deny.night]
when = "night"
on = "app.night"
reason = "r"
[deny.week]
unless-when = "weekend"
on = "app.week"
reason = "r"
[deny.left]
who = "@former"
on = "app.left"
reason = "r"
[deny.max]
who = "max"
on = "app.one"
reason = "r"
"#;

fn flips(user: &str, at: &str, to: &str, [mfa, login]: [&str; 2]) -> Vec<String> {
    let policy = load(FILE);
    let text = QueryText {
        user: Some(user.to_owned()),
        at: (!at.is_empty()).then(|| at.to_owned()),
        mfa: Some(mfa.to_owned()),
        login: Some(login.to_owned()),
        to: format!("https://{to}.example/"),
        ..QueryText::default()
    };
    policy.explain(&policy.query(&text).unwrap()).would_allow
}

#[test]
fn an_answer_names_what_would_change_it_and_nothing_else() {
    for (user, at, to, expected) in [
        ("nadia", "mon 23:00", "night", &["outside night"][..]),
        ("nadia", "", "night", &["outside night"]),
        ("nadia", "mon 23:00", "week", &["in day and in weekend"]),
        ("nadia", "mon 10:00", "week", &["in day and in weekend"]),
        ("nadia", "sat 23:00", "week", &["in day and in weekend"]),
        ("olivier", "mon 10:00", "left", &["not being in @former"]),
        ("nadia", "mon 10:00", "one", &["being named with ines"]),
        // two changes away
        ("ines", "mon 10:00", "week", &[]),
        ("ines", "mon 23:00", "night", &[]),
    ] {
        let told = flips(user, at, to, ["1m", "1m"]);
        assert_eq!(told, expected, "{user} {at} {to}");
    }
}

#[test]
fn each_proof_that_would_do_is_named() {
    for (ages, expected) in [
        (
            ["1h", "2h"],
            &["a token", "a fresh code", "a fresh sign-in"][..],
        ),
        (["1h", "30h"], &["a token", "a fresh sign-in"]),
        (
            ["none", "2h"],
            &["a token", "a fresh code", "a fresh sign-in"],
        ),
    ] {
        assert_eq!(flips("nadia", "", "two", ages), expected, "{ages:?}");
    }
}

#[test]
fn guards_that_stop_nobody_are_told_with_why() {
    let policy = load(FILE);
    let asked = |user: &str, at: &str, to: &str| {
        let text = QueryText {
            user: (!user.is_empty()).then(|| user.to_owned()),
            at: Some(at.to_owned()),
            to: format!("https://{to}.example/"),
            ..QueryText::default()
        };
        policy.explain(&policy.query(&text).unwrap())
    };
    for (user, at, to, rule, why) in [
        (
            "nadia",
            "mon 10:00",
            "left",
            "deny.left",
            "who: nadia is not in @former (olivier)",
        ),
        ("", "mon 10:00", "left", "deny.left", "who: not signed in"),
        (
            "nadia",
            "mon 10:00",
            "night",
            "deny.night",
            "when: outside, only night",
        ),
        (
            "nadia",
            "sat 10:00",
            "week",
            "deny.week",
            "unless-when: in weekend",
        ),
    ] {
        let told = asked(user, at, to);
        assert!(told.guards.is_empty(), "{user} {to}");
        let [only] = told.guards_passed.as_slice() else {
            panic!("{:?}", told.guards_passed)
        };
        assert_eq!((&*only.rule, &*only.why), (rule, why));
        assert!(
            told.to_text()
                .contains(&format!("  {rule:<22} no   {why}\n"))
        );
        let json = serde_json::to_value(&told).unwrap();
        let expected = serde_json::json!([{"rule": rule, "why": why}]);
        assert_eq!(json["guards_passed"], expected);
    }
    let held = asked("olivier", "mon 10:00", "left");
    assert_eq!(held.guards, ["deny.left"]);
    assert!(held.guards_passed.is_empty());
}

#[test]
fn every_condition_of_a_guard_that_fails_is_told() {
    let policy = load(
        "postern = 1\n[zone]\noffice = \"10.0.0.0/8\"\n[group]\nit = [\"nadia\"]\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\ntokens = \"1d\"\n\
         allow.it = { who = \"@it\" }\n[app.b]\nhost = \"b.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\" }\n\
         [deny.away]\nwho = \"@it\"\nfrom = \"internet\"\ndevice-not = \"known\"\nreason = \"r\"\n",
    );
    let asked = |to: &str, from: &str, device: &str, by: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let text = QueryText {
            user: some("nadia"),
            from: some(from),
            device: some(device),
            by: some(by),
            mfa: some("1m"),
            to: format!("https://{to}.example/"),
            ..QueryText::default()
        };
        policy.explain(&policy.query(&text).unwrap())
    };
    for (to, from, device, by, why) in [
        (
            "a",
            "office",
            "managed",
            "",
            "from: office, not internet; device-not: managed, which is known too",
        ),
        ("a", "internet", "known", "", "device-not: known"),
        (
            "b",
            "internet",
            "any",
            "token",
            "by: tokens are not taken here",
        ),
    ] {
        let told = asked(to, from, device, by);
        let whys: Vec<&str> = told.guards_passed.iter().map(|guard| &*guard.why).collect();
        assert_eq!(whys, [why], "{from} {device} {by}");
        assert_ne!(told.rule, "deny.away");
    }
    for (to, by) in [("a", ""), ("a", "token"), ("b", "")] {
        let told = asked(to, "internet", "any", by);
        assert_eq!((&*told.rule, told.guards_passed.len()), ("deny.away", 0));
    }
}
