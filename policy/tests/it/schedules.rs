//! Schedules, zone groups, groups from attributes, shadow, Windows paths and invariants, case by case.

use policy::{Context, Device, Outcome, Policy, QueryText, Sources, Subject, canon};

fn sources(text: &str, users: &str) -> Sources {
    let mut sources = Sources::new();
    sources.add("policy.toml", format!("postern = 1\n{text}"));
    if !users.is_empty() {
        sources.add("users.toml", format!("postern = 1\n{users}"));
    }
    sources
}

fn load(text: &str) -> Policy {
    let sources = sources(text, "");
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{}", lines.join("\n"))
    });
    loaded.policy
}

fn ask(policy: &Policy, user: &str, at: &str, to: &str) -> String {
    let text = QueryText {
        user: (!user.is_empty()).then(|| user.to_owned()),
        at: (!at.is_empty()).then(|| at.to_owned()),
        to: to.to_owned(),
        ..QueryText::default()
    };
    let explained = policy.explain(&policy.query(&text).unwrap());
    format!("{} {}", explained.outcome, explained.rule)
}

const TIMED: &str = r#"
[group]
it = ["nadia"]
ext = ["x"]
[schedule.days]
days = "mon-sat"
time = "07:00-21:00"
tz = "Europe/Monaco"
[schedule.night]
time = "22:00-06:00"
tz = "Europe/Monaco"
[schedule.contract]
between = "2026-09-01..2026-12-31"
tz = "Europe/Monaco"
[deny.ext]
who = "@ext"
unless-when = "contract"
reason = "r"
[app.a]
host = "a.example"
upstream = "http://h"
allow.it = { who = "@it", when = "days" }
allow.ext = { who = "@ext" }
[app.b]
host = "b.example"
upstream = "http://h"
allow.it = { who = "@it", when = ["days", "night"] }
"#;

#[test]
fn schedules_follow_the_wall_clock_of_their_zone() {
    let policy = load(TIMED);
    for (at, a, b) in [
        ("tue 06:59", "deny", "deny"),
        ("tue 07:00", "allow", "allow"),
        ("tue 20:59", "allow", "allow"),
        ("tue 21:00", "deny", "deny"),
        ("sun 10:00", "deny", "deny"),
        ("sun 22:30", "deny", "allow"),
        ("sun 05:59", "deny", "allow"),
        ("sun 06:00", "deny", "deny"),
        // the same wall time in winter and in summer
        ("2026-01-06 07:00", "allow", "allow"),
        ("2026-07-07 07:00", "allow", "allow"),
        ("2026-07-07 05:00 UTC", "allow", "allow"),
        ("2026-01-06 05:00 UTC", "deny", "deny"),
        ("", "deny", "deny"),
    ] {
        for (host, want) in [("a", a), ("b", b)] {
            let got = ask(&policy, "nadia", at, &format!("https://{host}.example/"));
            assert!(got.starts_with(want), "{host} {at}: {got}");
        }
    }
    for (at, want) in [
        ("2026-08-31 23:59", "deny deny.ext"),
        ("2026-09-01 00:00", "allow app.a#ext"),
        ("2026-12-31 23:59", "allow app.a#ext"),
        ("2027-01-01 00:00", "deny deny.ext"),
        // a time that is not known never lifts a guard
        ("", "deny deny.ext"),
    ] {
        assert_eq!(ask(&policy, "x", at, "https://a.example/"), want, "{at}");
    }
}

#[test]
fn an_explanation_names_the_schedule_that_is_missing() {
    let policy = load(TIMED);
    let text = QueryText {
        user: Some("nadia".to_owned()),
        at: Some("sun 10:00".to_owned()),
        to: "https://a.example/".to_owned(),
        ..QueryText::default()
    };
    let explained = policy.explain(&policy.query(&text).unwrap());
    assert_eq!(explained.allows[0].why, "when: outside, only days");
    assert_eq!(explained.would_allow, ["in days"]);
    let tuesday = QueryText { at: None, ..text };
    // 2026-01-06 12:00 in Monaco
    let now = policy.query_at(&tuesday, 1_767_697_200).unwrap();
    assert_eq!(policy.decide(&now).outcome, Outcome::Allow);
    let unknown = policy.explain(&policy.query(&tuesday).unwrap());
    assert!(unknown.allows[0].why.contains("the time is not known"));
}

#[test]
fn an_allow_ends_with_its_schedule() {
    let policy = load(TIMED);
    let host = canon::host("a.example").unwrap();
    let path = canon::path(b"/").unwrap();
    let zone = policy.zone("10.0.0.1".parse().unwrap(), false);
    let decide = |user: &str, unix: i64| {
        let bits = policy.subject(user).unwrap();
        let subject = Subject {
            bits: Some(&bits),
            mfa_age: Some(0),
            login_age: 0,
            device: Device::Any,
        };
        let context = Context::new(zone, policy.tick(unix));
        policy.decide_http(&subject, &host, &path, "GET", &context)
    };
    // 2026-01-06 20:50 in Monaco
    let late = decide("nadia", 1_767_729_000);
    assert_eq!((late.outcome, late.expires_in), (Outcome::Allow, Some(600)));
    assert_eq!(decide("nadia", 1_767_729_600).outcome, Outcome::Deny);
    // 2026-12-31 23:00 in Monaco: the guard comes back at midnight
    let last = decide("x", 1_798_754_400);
    assert_eq!(
        (last.outcome, last.expires_in),
        (Outcome::Allow, Some(3600))
    );
    assert_eq!(decide("x", 1_798_758_000).outcome, Outcome::Deny);
}

#[test]
fn a_stranger_is_sent_to_sign_in_only_while_the_schedule_holds() {
    let policy = load(TIMED);
    assert_eq!(
        ask(&policy, "", "tue 10:00", "https://b.example/"),
        "login app.b#it"
    );
    assert_eq!(
        ask(&policy, "", "tue 06:30", "https://b.example/"),
        "deny builtin.default"
    );
}

#[test]
fn zone_groups_and_attributes_name_what_they_hold() {
    let text = "[zone]\nhq = \"10.1.0.0/16\"\nplant = \"10.2.0.0/16\"\n[zone-group]\nsites = [\"hq\", \"plant\"]\n[group-from]\nfin = \"attr:department=finance\"\nall = \"attr:department=*\"\ndev = \"attr:department=it,team=dev\"\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\nallow.fin = { who = \"@fin\", from = \"sites\" }\nallow.dev = { who = \"@dev\" }\n[app.b]\nhost = \"b.example\"\nupstream = \"http://h\"\nallow.all = { who = \"@all\" }\n";
    let users = "[user.f]\nattributes = { department = \"finance\" }\n[user.d]\nattributes = { department = \"it\", team = \"dev\" }\n[user.s]\nattributes = { department = \"it\", team = \"sys\" }\n[user.n]\n";
    let policy = policy::load(&sources(text, users)).unwrap().policy;
    let reach = |user: &str, from: &str, host: &str| {
        let text = QueryText {
            user: Some(user.to_owned()),
            from: Some(from.to_owned()),
            to: format!("https://{host}.example/"),
            ..QueryText::default()
        };
        policy.decide(&policy.query(&text).unwrap()).outcome == Outcome::Allow
    };
    assert!(reach("f", "hq", "a") && reach("f", "plant", "a") && !reach("f", "internet", "a"));
    assert!(reach("d", "internet", "a") && !reach("s", "internet", "a"));
    assert!(reach("s", "internet", "b") && !reach("n", "internet", "b"));
}

#[test]
fn what_is_in_shadow_is_told_and_never_enforced() {
    let text = "[group]\nit = [\"nadia\"]\nhr = [\"ines\"]\n[deny.new]\nwho = \"@it\"\non = \"app.a\"\nreason = \"r\"\nshadow = true\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\" }\nallow.hr = { who = \"@hr\", shadow = true }\n[app.a.\"/x\"]\nshadow = true\nallow.hr = { who = \"@hr\" }\n";
    let policy = load(text);
    let ask = |user: &str, path: &str| {
        let text = QueryText {
            user: Some(user.to_owned()),
            to: format!("https://a.example{path}"),
            ..QueryText::default()
        };
        let decision = policy.decide(&policy.query(&text).unwrap());
        let shadow = decision
            .shadow
            .map(|(o, rule)| format!("{o} {}", policy.rule(rule).id));
        (decision.outcome, shadow)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(ask("nadia", "/"), (Outcome::Allow, some("deny deny.new")));
    assert_eq!(ask("ines", "/"), (Outcome::Deny, some("allow app.a#hr")));
    assert_eq!(ask("ines", "/x"), (Outcome::Deny, some("allow app.a/x#hr")));
}

#[test]
fn windows_paths_have_one_reading() {
    let policy = load(
        "[group]\nit = [\"nadia\"]\nhr = [\"ines\"]\n[app.w]\nhost = \"w.example\"\nupstream = \"http://h\"\nwindows = true\nallow.hr = { who = \"@hr\" }\n[app.w.\"/admin\"]\nallow.it = { who = \"@it\" }\n[app.w.\"/%C3%A9t%C3%A9\"]\nallow.it = { who = \"@it\" }\n[app.c]\nhost = \"c.example\"\nupstream = \"http://h\"\nallow.hr = { who = \"@hr\" }\n[app.c.\"/admin\"]\nallow.it = { who = \"@it\" }\n",
    );
    for (host, path, want) in [
        ("w", "/ADMIN/params", "deny builtin.default"),
        ("w", "/Admin", "deny builtin.default"),
        ("w", "/%C3%89T%C3%89", "deny builtin.default"),
        ("w", "/admin.", "deny builtin.bad-request"),
        ("w", "/admin./x", "deny builtin.bad-request"),
        ("w", "/admin%20", "deny builtin.bad-request"),
        ("w", "/admin:x", "deny builtin.bad-request"),
        ("w", "/ADMINI~1", "deny builtin.bad-request"),
        ("w", "/~ines", "allow app.w#hr"),
        ("w", "/a.txt", "allow app.w#hr"),
        ("c", "/ADMIN", "allow app.c#hr"),
        ("c", "/admin.", "allow app.c#hr"),
    ] {
        let got = ask(
            &policy,
            "ines",
            "",
            &format!("https://{host}.example{path}"),
        );
        assert_eq!(got, want, "{host} {path}");
    }
}

#[test]
fn an_invariant_that_does_not_hold_names_who_breaks_it() {
    let base = "[group]\nit = [\"nadia\"]\nhr = [\"ines\"]\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\nallow.hr = { who = \"@hr\" }\n[app.a.\"/admin\"]\nallow.it = { who = \"@it\", mfa = \"15m\" }\n[net.ssh]\nto = \"10.0.0.1\"\nport = \"22/tcp\"\nallow.it = { who = \"@it\", device = \"managed\" }\n[admin]\nallow.it = { who = \"@it\" }\n";
    for (text, want) in [
        (
            "reach = [\"app.a/admin\", \"admin\", \"net.*\"]\nonly = \"@it\"",
            None,
        ),
        (
            "reach = \"app.a\"\nonly = \"@it\"",
            Some("ines reaches app.a/ by app.a#hr"),
        ),
        (
            "reach = \"app.*\"\nnever = \"@it\"",
            Some("nadia reaches app.a/admin by app.a/admin#it"),
        ),
        (
            "reach = \"app.a\"\nnever = \"@it\"",
            Some("nadia reaches app.a/admin"),
        ),
        (
            "reach = \"net.*\"\nrequires = { device = \"known\", mfa = \"session\" }",
            None,
        ),
        (
            "reach = \"net.*\"\nrequires = { mfa = \"8h\" }",
            Some("without such a code"),
        ),
        (
            "reach = \"app.a/admin\"\nrequires = { mfa = \"15m\", login = \"12h\" }",
            None,
        ),
        (
            "reach = \"app.a/admin\"\nrequires = { mfa = \"10m\" }",
            Some("without such a code"),
        ),
        (
            "reach = \"app.a\"\nrequires = { device = \"known\" }",
            Some("on a lesser device"),
        ),
        (
            "reach = \"app.a\"\nrequires = { login = \"1h\" }",
            Some("with an older sign-in"),
        ),
        (
            "reach = \"admin\"\nrequires = { from = \"tunnel\" }",
            Some("from elsewhere"),
        ),
        ("who = \"@it\"\ncan-reach = [\"admin\", \"net.ssh\"]", None),
        (
            "who = \"@hr\"\ncan-reach = \"admin\"",
            Some("ines cannot reach admin"),
        ),
    ] {
        let sources = sources(&format!("{base}[[invariant]]\nname = \"n\"\n{text}\n"), "");
        match (policy::load(&sources), want) {
            (Ok(_), None) => {}
            (Err(diags), Some(want)) => {
                let first = diags.first().unwrap();
                assert_eq!(first.code, "invariant-broken", "{}", first.title);
                assert!(first.title.contains(want), "{} not {want}", first.title);
            }
            (got, want) => panic!("{text}: {want:?} {:?}", got.err()),
        }
    }
}
