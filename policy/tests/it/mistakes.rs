//! Mistakes seen in other systems, and what keeps each from being made here: folders that are refused, and what the
//! language means where nothing can be refused.

use policy::{Outcome, Policy, QueryText, Severity, Sources, guard};

use crate::support;

/// One mistake with all that shows it cannot be made.
struct Row {
    mistake: &'static str,
    /// Folders of `tests/bad`, and the reason code each must give.
    refused: &'static [(&'static str, &'static str)],
    shown: &'static [fn()],
}

const ROWS: [Row; 12] = [
    Row {
        mistake: "order decides, a late rule is never reached",
        refused: &[
            ("overlap", "overlap"),
            ("overlap-of-exact", "overlap"),
            ("net-tie", "overlap"),
            ("area-spelled-twice", "area-twice"),
        ],
        shown: &[the_order_of_tables_and_rules_decides_nothing],
    },
    Row {
        mistake: "a broad allow covers the sensitive path",
        refused: &[("invariant-broken", "invariant-broken")],
        shown: &[an_area_hands_nothing_down],
    },
    Row {
        mistake: "a typo in a key is ignored",
        refused: &[
            ("unknown-key-in-rule", "unknown-key"),
            ("unknown-key-in-area", "unknown-key"),
            ("unknown-section", "unknown-key"),
            ("schedule-unknown-key", "unknown-key"),
            ("test-unknown-key", "unknown-key"),
            ("invariant-unknown-key", "unknown-key"),
            ("users-toml-keys", "unknown-key"),
        ],
        shown: &[a_typo_is_told_with_what_was_meant],
    },
    Row {
        mistake: "a typo in a name kills or widens a rule",
        refused: &[
            ("unknown-group", "unknown-name"),
            ("unknown-nested-group", "unknown-name"),
            ("unknown-user-in-who", "unknown-name"),
            ("unknown-zone", "unknown-name"),
            ("unknown-rate", "unknown-name"),
            ("when-unknown", "unknown-name"),
            ("unless-when-unknown", "unknown-name"),
            ("deny-unknown-resource", "unknown-name"),
            ("schedule-unknown-zone", "bad-value"),
            ("user-not-in-users-toml", "unknown-name"),
        ],
        shown: &[],
    },
    Row {
        mistake: "of two equal keys the last wins",
        refused: &[
            ("duplicate-key", "duplicate-key"),
            ("duplicate-section", "duplicate-key"),
            ("name-in-two-files", "defined-twice"),
            ("host-twice", "host-twice"),
            ("schedule-twice", "defined-twice"),
        ],
        shown: &[],
    },
    Row {
        mistake: "and or or, by a dash or a block",
        refused: &[],
        shown: &[fields_are_and_and_lists_are_or_in_allow_and_deny],
    },
    Row {
        mistake: "deny shows a sign-in page, or is skipped for strangers, or a 403 stands where a sign-in would help",
        refused: &[],
        shown: &[sign_in_is_offered_exactly_where_it_can_help],
    },
    Row {
        mistake: "a deny that cannot be evaluated lets through",
        refused: &[
            ("deny-device", "bad-value"),
            ("bad-duration", "bad-value"),
            ("schedule-bad-time", "bad-value"),
        ],
        shown: &[what_is_not_known_closes],
    },
    Row {
        mistake: "an empty policy or list is open",
        refused: &[
            ("empty-who", "empty-who"),
            ("empty-from", "empty-list"),
            ("empty-methods", "empty-list"),
            ("empty-zone", "empty-list"),
            ("when-empty", "empty-list"),
            ("deny-empty-on", "empty-list"),
            ("who-missing", "missing-key"),
            ("who-only-subtracts", "empty-who"),
            ("world-open", "world-open"),
            ("users-toml-empty", "unknown-name"),
        ],
        shown: &[what_is_left_out_is_closed],
    },
    Row {
        mistake: "tests cannot say what rules can",
        refused: &[
            ("test-fails", "test-failed"),
            ("test-fails-by-rule", "test-failed"),
            ("test-unknown-names", "bad-test"),
            ("test-unknown-rule", "unknown-name"),
            ("test-without-expect", "missing-key"),
            ("invariant-never-broken", "invariant-broken"),
            ("invariant-cannot-reach", "invariant-broken"),
            ("invariant-says-nothing", "bad-invariant"),
        ],
        shown: &[a_test_names_all_that_a_rule_can_ask_for],
    },
    Row {
        mistake: "a pasted deny of everything locks everybody out",
        refused: &[
            ("deny-everything", "denies-all"),
            ("deny-anyone", "bad-who"),
            ("deny-without-reason", "missing-key"),
        ],
        shown: &[a_lock_out_is_found_before_it_is_in_force],
    },
    Row {
        mistake: "nobody can say what a change would do",
        refused: &[],
        shown: &[a_change_is_told_before_it_is_in_force],
    },
];

#[test]
fn every_mistake_is_refused_or_shown_to_mean_nothing() {
    for row in &ROWS {
        assert!(
            !row.refused.is_empty() || !row.shown.is_empty(),
            "nothing shows: {}",
            row.mistake
        );
        for (folder, code) in row.refused {
            let dir = support::root().join("tests/bad").join(folder);
            let diags = policy::load(&support::folder(&dir)).err();
            let diags = diags.unwrap_or_else(|| panic!("{}: {folder} was loaded", row.mistake));
            let codes: Vec<&str> = diags.iter().map(|diag| diag.code).collect();
            assert!(
                codes.contains(code),
                "{}: {folder} gives {codes:?}",
                row.mistake
            );
            assert!(diags.iter().all(|diag| diag.severity == Severity::Error));
        }
        row.shown.iter().for_each(|shown| shown());
    }
}

const BASE: &str = r#"
[zone]
office = "192.168.1.0/24"
[group]
it = ["nadia", "olivier"]
hr = ["ines"]
[admin]
allow.it = { who = "@it" }
[app.web]
host = "web.example"
upstream = "http://10.0.0.1"
allow.hr = { who = "@hr" }
allow.it = { who = "@it" }
[app.web."/admin"]
allow.it = { who = "@it", from = "office" }
"#;

fn load(text: &str) -> Policy {
    let mut sources = Sources::new();
    sources.add("policy.toml", format!("postern = 1\n{text}"));
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{}", lines.join("\n"))
    });
    loaded.policy
}

fn question(user: &str, from: &str, to: &str) -> QueryText {
    QueryText {
        user: (!user.is_empty()).then(|| user.to_owned()),
        from: Some(from.to_owned()),
        to: to.to_owned(),
        ..QueryText::default()
    }
}

fn ask(policy: &Policy, user: &str, from: &str, path: &str) -> Outcome {
    let text = question(user, from, &format!("https://web.example{path}"));
    policy.decide(&policy.query(&text).unwrap()).outcome
}

fn the_order_of_tables_and_rules_decides_nothing() {
    let lines = [
        "allow.hr = { who = \"@hr\" }\n",
        "allow.it = { who = \"@it\" }\n",
    ];
    let one = load(BASE);
    let other = load(&BASE.replace(&lines.concat(), &format!("{}{}", lines[1], lines[0])));
    let (head, area) = BASE.split_at(BASE.find("[app.web.").unwrap());
    let third = load(&format!("{area}{head}"));
    for user in ["", "nadia", "ines"] {
        for (from, path) in [
            ("office", "/"),
            ("office", "/admin"),
            ("internet", "/admin"),
        ] {
            let was = ask(&one, user, from, path);
            assert_eq!(was, ask(&other, user, from, path), "{user} {from} {path}");
            assert_eq!(was, ask(&third, user, from, path), "{user} {from} {path}");
        }
    }
    assert_eq!(one.digest(), third.digest());
}

fn an_area_hands_nothing_down() {
    let policy = load(BASE);
    assert_eq!(ask(&policy, "ines", "office", "/"), Outcome::Allow);
    assert_eq!(ask(&policy, "ines", "office", "/admin"), Outcome::Deny);
    assert_eq!(ask(&policy, "nadia", "office", "/admin/x"), Outcome::Allow);
    assert_eq!(
        ask(&policy, "ines", "office", "/administrator"),
        Outcome::Allow
    );
}

fn a_typo_is_told_with_what_was_meant() {
    let mut sources = Sources::new();
    let text = BASE.replace("from = \"office\"", "form = \"office\"");
    sources.add("policy.toml", format!("postern = 1\n{text}"));
    let diags = policy::load(&sources).unwrap_err();
    let helps: Vec<&str> = diags
        .iter()
        .filter_map(|diag| diag.help.as_deref())
        .collect();
    assert_eq!(helps, ["did you mean `from`?"]);
}

fn fields_are_and_and_lists_are_or_in_allow_and_deny() {
    let rule = "allow.it = { who = [\"@it\", \"ines\"], from = [\"office\", \"tunnel\"] }";
    let policy = load(&BASE.replace("allow.it = { who = \"@it\", from = \"office\" }", rule));
    for (user, from, want) in [
        ("ines", "tunnel", Outcome::Allow),
        ("nadia", "office", Outcome::Allow),
        ("nadia", "internet", Outcome::Deny),
    ] {
        assert_eq!(ask(&policy, user, from, "/admin"), want, "{user} {from}");
    }
    let deny =
        "[deny.x]\nwho = [\"nadia\", \"@hr\"]\nfrom = [\"office\", \"tunnel\"]\nreason = \"r\"\n";
    let policy = load(&format!("{BASE}{deny}"));
    for (user, from, want) in [
        ("nadia", "office", Outcome::Deny),
        ("ines", "tunnel", Outcome::Deny),
        ("ines", "internet", Outcome::Allow),
        ("olivier", "office", Outcome::Allow),
    ] {
        assert_eq!(ask(&policy, user, from, "/"), want, "{user} {from}");
    }
}

fn sign_in_is_offered_exactly_where_it_can_help() {
    let policy = load(BASE);
    assert_eq!(ask(&policy, "", "office", "/admin"), Outcome::Login);
    assert_eq!(ask(&policy, "", "internet", "/admin"), Outcome::Deny);
    assert_eq!(ask(&policy, "ines", "office", "/admin"), Outcome::Deny);
    let all = "[deny.x]\nfrom = \"office\"\nreason = \"r\"\n";
    let policy = load(&format!("{BASE}{all}"));
    assert_eq!(
        ask(&policy, "", "office", "/"),
        Outcome::Deny,
        "not skipped"
    );
    assert_eq!(ask(&policy, "", "internet", "/"), Outcome::Login);
    let everybody = "[deny.x]\nwho = \"any-user\"\nfrom = \"office\"\nreason = \"r\"\n";
    let policy = load(&format!("{BASE}{everybody}"));
    assert_eq!(
        ask(&policy, "", "office", "/"),
        Outcome::Deny,
        "nobody could"
    );
}

fn what_is_not_known_closes() {
    let timed = "[schedule.day]\ntime = \"08:00-18:00\"\ntz = \"UTC\"\n[deny.x]\nwho = \"ines\"\nwhen = \"day\"\nreason = \"r\"\n";
    let policy = load(&format!("{BASE}{timed}"));
    assert_eq!(
        ask(&policy, "ines", "office", "/"),
        Outcome::Deny,
        "no clock"
    );
    let at = |at: &str| {
        let text = QueryText {
            at: Some(at.to_owned()),
            ..question("ines", "office", "https://web.example/")
        };
        policy.decide(&policy.query(&text).unwrap()).outcome
    };
    assert_eq!(at("tue 10:00"), Outcome::Deny);
    assert_eq!(at("tue 20:00"), Outcome::Allow);
    let lifted = timed.replace("when = \"day\"", "unless-when = \"day\"");
    let policy = load(&format!("{BASE}{lifted}"));
    assert_eq!(
        ask(&policy, "ines", "office", "/"),
        Outcome::Deny,
        "no clock"
    );
    let opened = BASE.replace("who = \"@hr\" }", "who = \"@hr\", when = \"day\" }");
    let schedule = timed.split("[deny").next().unwrap();
    let policy = load(&format!("{opened}{schedule}"));
    assert_eq!(
        ask(&policy, "ines", "office", "/"),
        Outcome::Deny,
        "no clock"
    );
}

fn what_is_left_out_is_closed() {
    let nothing = load("");
    assert_eq!(ask(&nothing, "", "internet", "/"), Outcome::Deny);
    let text = question("", "internet", "admin");
    let admin = nothing.decide(&nothing.query(&text).unwrap());
    assert_eq!(admin.outcome, Outcome::Deny);
    let bare = "[app.web]\nhost = \"web.example\"\nupstream = \"http://h\"\n[app.web.\"/x\"]\n";
    let policy = load(&format!(
        "[group]\nit = [\"nadia\"]\n[admin]\nallow.it = {{ who = \"@it\" }}\n{bare}"
    ));
    for path in ["/", "/x", "/y"] {
        for user in ["", "nadia"] {
            assert_eq!(
                ask(&policy, user, "tunnel", path),
                Outcome::Deny,
                "{user} {path}"
            );
        }
    }
    let no_rules = BASE.replace("[admin]\nallow.it = { who = \"@it\" }\n", "");
    let policy = load(&no_rules);
    let text = question("nadia", "office", "admin");
    let admin = policy.decide(&policy.query(&text).unwrap());
    assert_eq!(admin.outcome, Outcome::Deny);
}

fn a_test_names_all_that_a_rule_can_ask_for() {
    let rule = "[schedule.day]\ntime = \"08:00-18:00\"\ntz = \"UTC\"\n[app.web.\"/all\"]\nallow.all = { who = \"@hr\", from = \"office\", when = \"day\", device = \"managed\", mfa = \"5m\", login = \"1h\", methods = \"POST\" }\n";
    let test = |as_: &str, to: &str, expect: &str| {
        format!("[[test]]\nas = {{ {as_} }}\nto = \"{to}\"\nexpect = \"{expect}\"\n")
    };
    let full = "user = \"nadia\", groups = [\"hr\"], from = \"office\", at = \"tue 10:00\", device = \"managed\", mfa = \"1m\", login = \"10m\"";
    let to = "POST https://web.example/all";
    let with = |test: String| {
        let mut sources = Sources::new();
        sources.add("policy.toml", format!("postern = 1\n{BASE}{rule}{test}"));
        policy::load(&sources)
    };
    assert!(with(test(full, to, "allow")).is_ok());
    for (without, want) in [
        (full.replace(", groups = [\"hr\"]", ""), "deny"),
        (
            full.replace("from = \"office\"", "from = \"tunnel\""),
            "deny",
        ),
        (full.replace("tue 10:00", "tue 20:00"), "deny"),
        (full.replace("managed", "known"), "deny"),
        (full.replace("1m", "6m"), "step-up"),
        (full.replace("10m", "2h"), "login"),
    ] {
        assert!(with(test(&without, to, want)).is_ok(), "{without}");
        assert!(with(test(&without, to, "allow")).is_err(), "{without}");
    }
    assert!(with(test(full, "https://web.example/all", "deny")).is_ok());
}

fn a_lock_out_is_found_before_it_is_in_force() {
    let good = load(BASE);
    assert!(guard::lockout(&good, |_| true).is_empty());
    let deny = "[deny.x]\nwho = \"any-user\"\nreason = \"pasted\"\n";
    let bad = load(&format!("{BASE}{deny}"));
    let codes = |policy: &Policy| {
        let found = guard::lockout(policy, |_| true);
        found.iter().map(|d| d.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&bad), ["lock-out"]);
    let zones = "[deny.x]\nfrom = [\"tunnel\", \"internet\", \"office\"]\nreason = \"pasted\"\n";
    assert_eq!(codes(&load(&format!("{BASE}{zones}"))), ["lock-out"]);
    let me = question("nadia", "office", "admin");
    assert!(guard::keeps_access(&good, &me, 0).unwrap());
    assert!(!guard::keeps_access(&bad, &me, 0).unwrap());
}

fn a_change_is_told_before_it_is_in_force() {
    let before = load(BASE);
    let after = load(&BASE.replace("who = \"@it\", from = \"office\"", "who = \"any-user\""));
    let diff = policy::diff(&before, &after);
    assert!(diff.widens);
    let opened = |user: &str| {
        diff.changes.iter().any(|change| {
            change.user == user
                && change.resource == "app.web/admin"
                && change.after == Outcome::Allow
        })
    };
    assert!(opened("ines") && opened("nadia"));
    assert!(policy::diff(&before, &before).changes.is_empty());
    let shadow = load(&BASE.replace(
        "allow.hr = { who = \"@hr\" }",
        "allow.hr = { who = \"@hr\", shadow = true }",
    ));
    let text = question("ines", "office", "https://web.example/");
    let decision = shadow.decide(&shadow.query(&text).unwrap());
    assert_eq!(decision.outcome, Outcome::Deny);
    assert_eq!(
        decision.shadow.map(|(outcome, _)| outcome),
        Some(Outcome::Allow)
    );
}
