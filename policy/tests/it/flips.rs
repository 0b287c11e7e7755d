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
