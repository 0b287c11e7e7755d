mod tunnel;

use policy::{Policy, Sources};

use super::{Accept, Asked, Judged, Own, Pairs, command, judge};
use crate::reload::history::How;

const BASE: &str = r#"postern = 1
[user.ann]
[user.bob]
[user.carl]
[group]
it = ["ann", "bob"]
[app.wiki]
host = "wiki.example"
upstream = "http://127.0.0.1:1"
allow.staff = { who = ["ann", "bob", "carl"] }
[net.ssh]
to = "10.0.0.5"
port = "22/tcp"
allow.it = { who = "@it" }
[admin]
allow.it = { who = "@it" }
"#;

fn policy(text: &str) -> Policy {
    let mut sources = Sources::new();
    // people stand in a file of their own
    let (people, rules): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|l| l.starts_with("[user."));
    sources.add(
        "users.toml",
        format!("postern = 1\n{}\n", people.join("\n")),
    );
    sources.add("policy.toml", rules.join("\n"));
    policy::load(&sources).unwrap().policy
}

fn with(from: &str, to: &str) -> Policy {
    assert!(BASE.contains(from), "{from}");
    policy(&BASE.replace(from, to))
}

struct Case {
    enrolled: &'static [&'static str],
    used: &'static [(&'static str, &'static str)],
    accept: Accept,
    own: Option<Own>,
    how: How,
    revokes: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            enrolled: &["ann", "bob"],
            used: &[],
            accept: Accept::default(),
            own: None,
            how: How::Apply,
            revokes: false,
        }
    }
}

impl Case {
    /// One in which so much was accepted as wider.
    fn wider(how: How, wider: Option<usize>) -> Self {
        Self {
            how,
            accept: Accept {
                wider,
                ..Accept::default()
            },
            ..Self::default()
        }
    }

    fn judge(&self, before: &Policy, after: &Policy) -> Judged {
        let used = self
            .used
            .iter()
            .map(|(u, a)| ((*u).to_owned(), (*a).to_owned()));
        let used: Pairs = used.collect();
        judge(&Asked {
            before,
            after,
            enrolled: &|user| self.enrolled.contains(&user),
            used: &used,
            accept: &self.accept,
            own: self.own.as_ref(),
            how: self.how,
            revokes: self.revokes,
            now: 1_800_000_000,
        })
    }

    fn stops(&self, before: &Policy, after: &Policy) -> Vec<String> {
        let stops = self.judge(before, after).stops;
        stops.into_iter().map(|s| s.guard).collect()
    }
}

const ADMIN: &str = "[admin]\nallow.it = { who = \"@it\" }";

#[test]
fn a_policy_that_locks_everybody_out_is_stopped_and_cannot_be_accepted() {
    let (before, after) = (
        policy(BASE),
        with(ADMIN, "[admin]\nallow.c = { who = \"carl\" }"),
    );
    let judged = Case::default().judge(&before, &after);
    assert_eq!(judged.stops[0].guard, "lock-out");
    assert_eq!(command(&judged.stops, "apply"), None);
    for how in [How::Watch, How::Signal, How::Reload, How::Rollback] {
        let case = Case {
            how,
            ..Case::default()
        };
        assert_eq!(case.stops(&before, &after), ["lock-out"], "{how:?}");
    }
    let enrolled = Case {
        enrolled: &["ann", "bob", "carl"],
        ..Case::default()
    };
    assert_eq!(enrolled.stops(&before, &after), [""; 0]);
}

#[test]
fn one_admin_who_is_left_is_a_warning() {
    let (before, after) = (
        policy(BASE),
        with(ADMIN, "[admin]\nallow.a = { who = \"ann\" }"),
    );
    let judged = Case::default().judge(&before, &after);
    assert!(judged.stops.is_empty());
    assert_eq!(judged.warnings.len(), 1, "{:?}", judged.warnings);
    let two = Case::default().judge(&before, &with("\"carl\"] }", "\"bob\"] }"));
    assert!(two.warnings.is_empty(), "{:?}", two.warnings);
}

#[test]
fn a_fresh_installation_and_a_revocation_are_not_stopped_by_a_lock_out() {
    let (before, after) = (
        policy(BASE),
        with(ADMIN, "[admin]\nallow.c = { who = \"carl\" }"),
    );
    let fresh = Case {
        enrolled: &[],
        ..Case::default()
    };
    let revokes = Case {
        how: How::User,
        revokes: true,
        ..Case::default()
    };
    for case in [fresh, revokes] {
        let judged = case.judge(&before, &after);
        assert!(judged.stops.is_empty());
        assert!(
            judged.warnings[0].contains("nobody who is enrolled"),
            "{:?}",
            judged.warnings
        );
    }
}

const STAFF: &str = "allow.staff = { who = [\"ann\", \"bob\", \"carl\"] }";
const WORLD: &str = "public = \"a page for all\"\nallow.all = { who = \"anyone\" }";

#[test]
fn a_door_to_the_world_opens_only_with_the_exact_number() {
    let (before, after) = (policy(BASE), with(STAFF, WORLD));
    for how in [
        How::Apply,
        How::Watch,
        How::Signal,
        How::Reload,
        How::User,
        How::Rollback,
    ] {
        let case = Case {
            how,
            revokes: how == How::User,
            ..Case::default()
        };
        let stops = case.judge(&before, &after).stops;
        assert_eq!(stops[0].guard, "world-open", "{how:?}");
        let count: usize = stops[0]
            .accept
            .as_ref()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        for (wider, held) in [(count, false), (count + 1, true), (count - 1, true)] {
            let case = Case::wider(how, Some(wider));
            assert_eq!(
                !case.stops(&before, &after).is_empty(),
                held,
                "{how:?} {wider}"
            );
        }
    }
    assert_eq!(
        Case::default().stops(&after, &before),
        [""; 0],
        "closing needs nobody"
    );
}

#[test]
fn a_number_accepted_where_nothing_opens_is_stopped() {
    let case = Case::wider(How::Apply, Some(1));
    let narrower = with("\"bob\", \"carl\"]", "\"bob\"]");
    let stops = case.judge(&policy(BASE), &narrower).stops;
    assert_eq!(command(&stops, "apply").as_deref(), Some("apply"));
}

#[test]
fn a_lost_deny_that_opens_anything_is_held_until_the_exact_number_is_accepted() {
    let deny = "[deny.carl]\nwho = \"carl\"\non = \"app.wiki\"\nreason = \"left\"\n[admin]";
    let before = with("[admin]", deny);
    let shadow = with("[admin]", &deny.replace("reason", "shadow = true\nreason"));
    for after in [policy(BASE), shadow] {
        for how in [How::Apply, How::Watch, How::Signal, How::Reload] {
            let case = |wider| Case::wider(how, wider);
            let judged = case(None).judge(&before, &after);
            let count = usize::try_from(judged.widened).unwrap();
            let [stop] = judged.stops.as_slice() else {
                panic!("{:?}", judged.stops)
            };
            assert_eq!(stop.guard, "deny-lost", "{how:?}");
            assert!(stop.text.contains("deny.carl"), "{}", stop.text);
            assert_eq!(
                stop.accept.as_deref(),
                Some(&*format!("--accept-wider {count}"))
            );
            assert_eq!(case(Some(count)).stops(&before, &after), [""; 0]);
            assert_eq!(case(Some(count + 1)).stops(&before, &after), ["deny-lost"]);
        }
    }
}

#[test]
fn a_lost_deny_that_opens_nothing_and_a_wider_rule_beside_a_kept_one_need_nobody() {
    let deny = "[deny.carl]\nwho = \"carl\"\non = \"app.wiki\"\nreason = \"left\"\n[admin]";
    let before = with("[admin]", deny);
    let moot = with("\"bob\", \"carl\"]", "\"bob\"]");
    assert_eq!(Case::default().stops(&before, &moot), [""; 0]);
    let wider = BASE.replace(
        "it = [\"ann\", \"bob\"]",
        "it = [\"ann\", \"bob\", \"carl\"]",
    );
    let judged = Case::default().judge(&before, &policy(&wider.replace("[admin]", deny)));
    assert!(judged.widened > 0);
    assert!(judged.stops.is_empty(), "{:?}", judged.stops);
}

#[test]
fn any_user_on_a_net_is_the_world_and_a_new_person_behind_an_open_door_is_not() {
    let net = "allow.it = { who = \"@it\" }\n[admin]";
    let open = BASE.replace(net, "allow.all = { who = \"any-user\" }\n[admin]");
    let before = policy(BASE);
    assert_eq!(
        Case::default().stops(&before, &policy(&open)),
        ["world-open"]
    );
    let more = open.replace("[user.carl]", "[user.carl]\n[user.dora]");
    let judged = Case::default().judge(&policy(&open), &policy(&more));
    assert!(judged.widened > 0);
    assert!(judged.stops.is_empty(), "{:?}", judged.stops);
}

const USED: &[(&str, &str)] = &[
    ("ann", "app.wiki"),
    ("bob", "app.wiki"),
    ("carl", "app.wiki"),
    ("carl", "app.gone"),
];

#[test]
fn used_pairs_that_would_be_refused_stop_who_applies_and_nobody_else() {
    let (before, after) = (policy(BASE), with("\"bob\", \"carl\"] }", "\"bob\"] }"));
    let case = |how, loss| Case {
        used: USED,
        how,
        accept: Accept {
            loss,
            ..Accept::default()
        },
        ..Case::default()
    };
    let stops = case(How::Apply, None).judge(&before, &after).stops;
    assert_eq!(stops[0].accept.as_deref(), Some("--accept-loss 1"));
    // what the policy in force refuses already is no loss
    assert!(
        stops[0].text.starts_with("1 of the 3 pairs"),
        "{}",
        stops[0].text
    );
    assert!(
        stops[0].text.contains("carl at app.wiki"),
        "{}",
        stops[0].text
    );
    assert_eq!(case(How::Apply, Some(1)).stops(&before, &after), [""; 0]);
    assert_eq!(case(How::Apply, Some(2)).stops(&before, &after), ["loss"]);
    for how in [How::Watch, How::Signal, How::Reload, How::User] {
        assert_eq!(case(how, None).stops(&before, &after), [""; 0], "{how:?}");
    }
}

#[test]
fn a_loss_of_one_in_twenty_needs_nobody() {
    let people: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
    let users: String = people.iter().map(|p| format!("[user.{p}]\n")).collect();
    let text = |who: &[String]| {
        BASE.replace("[user.carl]", &format!("{users}[user.carl]"))
            .replace(STAFF, &format!("allow.staff = {{ who = {who:?} }}"))
    };
    let used: Pairs = people
        .iter()
        .map(|p| (p.clone(), "app.wiki".to_owned()))
        .collect();
    let before = policy(&text(&people));
    for (left, many) in [(19, false), (18, true)] {
        let after = policy(&text(&people[..left]));
        assert_eq!(
            super::losses(&before, &after, &used).are_many(),
            many,
            "{left}"
        );
    }
}

#[test]
fn who_applies_a_policy_keeps_what_they_name() {
    let (before, after) = (
        policy(BASE),
        with("it = [\"ann\", \"bob\"]", "it = [\"bob\"]"),
    );
    let own = |user: &str, to: &str| {
        Some(Own {
            user: user.to_owned(),
            from: None,
            device: None,
            to: to.to_owned(),
        })
    };
    let enrolled: &[&str] = &["ann", "bob"];
    for (user, to, held) in [
        ("ann", "admin", true),
        ("ann", "tcp://10.0.0.5:22", true),
        ("ann", "https://wiki.example/", false),
        ("bob", "admin", false),
        ("nobody", "admin", true),
    ] {
        let case = Case {
            own: own(user, to),
            enrolled,
            ..Case::default()
        };
        assert_eq!(!case.stops(&before, &after).is_empty(), held, "{user} {to}");
        let accept = Accept {
            own: true,
            ..Accept::default()
        };
        let case = Case {
            own: own(user, to),
            accept,
            ..Case::default()
        };
        assert_eq!(case.stops(&before, &after), [""; 0], "{user} {to}");
    }
}

#[test]
fn a_new_area_that_takes_access_is_noted() {
    let area = format!("{STAFF}\n[app.wiki.\"/admin\"]\nallow.it = {{ who = \"@it\" }}");
    let after = with(STAFF, &area);
    let judged = Case::default().judge(&policy(BASE), &after);
    assert_eq!(judged.notes.len(), 1, "{:?}", judged.notes);
    assert!(
        judged.notes[0].starts_with("app.wiki/admin is new"),
        "{:?}",
        judged.notes
    );
    assert!(judged.notes[0].ends_with("from carl"), "{:?}", judged.notes);
    let same = Case::default().judge(&after, &after);
    assert!(same.notes.is_empty());
}

#[test]
fn a_rollback_lets_in_who_was_shut_out_only_with_the_exact_number() {
    let gone = BASE.replace("[user.carl]\n", "").replace(", \"carl\"", "");
    let (before, after) = (policy(&gone), policy(BASE));
    for (back, held) in [(None, true), (Some(1), false), (Some(2), true)] {
        let accept = Accept {
            back,
            ..Accept::default()
        };
        let case = Case {
            how: How::Rollback,
            accept,
            ..Case::default()
        };
        assert_eq!(!case.stops(&before, &after).is_empty(), held, "{back:?}");
    }
    let judged = Case {
        how: How::Rollback,
        ..Case::default()
    }
    .judge(&before, &after);
    assert!(judged.stops[0].text.ends_with("again: carl"));
    assert_eq!(
        Case::default().stops(&before, &after),
        [""; 0],
        "who applies it wrote it"
    );
}
