//! Exact answers about large policies, and the time they take when asked for.

use std::fmt::Write as _;

use policy::{Policy, Sources};

/// Apps of ten areas with ten rules each, groups of a hundred people.
fn large(apps: usize, users: usize, mark: &str) -> Policy {
    let mut text = String::from("postern = 1\n[zone]\noffice = \"10.0.0.0/8\"\n[group]\n");
    let groups = users / 100;
    for group in 0..groups {
        let names: Vec<String> = (0..100)
            .map(|at| format!("\"u{}\"", group * 100 + at))
            .collect();
        writeln!(text, "g{group} = [{}]", names.join(", ")).unwrap();
    }
    text.push_str("[admin]\nallow.it = { who = \"@g0\" }\n");
    for app in 0..apps {
        writeln!(
            text,
            "[app.a{app}]\nhost = \"a{app}.example\"\nupstream = \"http://h\""
        )
        .unwrap();
        for area in 0..10 {
            if area > 0 {
                writeln!(text, "[app.a{app}.\"/p{area}\"]").unwrap();
            }
            for rule in 0..10 {
                let group = (app * 7 + area * 3 + rule) % groups;
                let more = match rule % 3 {
                    0 => ", from = \"office\"",
                    1 => ", mfa = \"1h\"",
                    _ => "",
                };
                let more = if app == 0 && area == 1 && rule == 0 {
                    mark
                } else {
                    more
                };
                writeln!(text, "allow.r{rule} = {{ who = \"@g{group}\"{more} }}").unwrap();
            }
        }
    }
    let mut sources = Sources::new();
    sources.add("policy.toml", text);
    policy::load(&sources)
        .unwrap_or_else(|d| panic!("{:?}", d.first()))
        .policy
}

/// The ordinary run takes 2,000 rules and 1,000 people; `POSTERN_LONG=1` takes 100,000 and 10,000 and prints times.
#[test]
#[expect(clippy::disallowed_methods, reason = "a timing reads the clock")]
fn one_changed_rule_among_many_is_the_whole_diff() {
    let long = std::env::var("POSTERN_LONG").is_ok_and(|value| value == "1");
    let (apps, users) = if long { (1000, 10_000) } else { (20, 1000) };
    let before = large(apps, users, ", from = \"office\"");
    let after = large(apps, users, "");
    let start = std::time::Instant::now();
    let answer = before.who_can("app.a0/p1").unwrap();
    let who = start.elapsed();
    assert_eq!(
        answer
            .users
            .iter()
            .map(|user| &user.rule)
            .filter(|rule| rule.ends_with("#r0"))
            .count(),
        100
    );
    let start = std::time::Instant::now();
    let diff = policy::diff(&before, &after);
    let took = start.elapsed();
    assert!(diff.widens);
    assert!(
        diff.changes
            .iter()
            .all(|change| change.resource == "app.a0/p1")
    );
    let people = diff
        .changes
        .iter()
        .filter(|c| c.after.as_str() == "allow" && c.user != "anyone");
    assert_eq!(people.count(), 100);
    if long {
        println!("who-can {who:?}, diff {took:?}");
    }
}

/// Lints look at every class of every place; they run when asked for, not at a load.
#[test]
#[expect(clippy::disallowed_methods, reason = "a timing reads the clock")]
fn one_rule_that_never_decides_is_found_among_many() {
    let long = std::env::var("POSTERN_LONG").is_ok_and(|value| value == "1");
    let (apps, users) = if long { (1000, 10_000) } else { (20, 1000) };
    let start = std::time::Instant::now();
    let plain = large(apps, users, "");
    let loaded = start.elapsed();
    // a second rule for the people of rule r0
    let twice = large(apps, users, " }\nallow.twice = { who = \"@g3\"");
    let codes = |policy: &Policy| -> Vec<String> {
        let found = policy.lint(None).into_iter();
        let found = found.filter(|finding| finding.code == "shadowed-allow");
        found.map(|finding| finding.title).collect()
    };
    let start = std::time::Instant::now();
    assert_eq!(codes(&plain), Vec::<String>::new());
    let linted = start.elapsed();
    let found = codes(&twice);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found.iter().all(|title| title.contains("app.a0/p1#twice")));
    if long {
        println!("load with its text made {loaded:?}, lint {linted:?}");
    }
}

/// A zone of many networks, every second of a /24, but for one of them.
fn listed(without: usize) -> Policy {
    let nets: Vec<String> = (0..NETWORKS)
        .filter(|at| *at != without)
        .map(|at| {
            format!(
                "\"10.{}.{}.{}/32\"",
                at >> 15,
                at >> 7 & 255,
                (at & 127) * 2
            )
        })
        .collect();
    let mut sources = Sources::new();
    let nets = nets.join(", ");
    let text = format!(
        "postern = 1\n[zone]\nlist = [{nets}]\n[group]\nit = [\"ann\"]\n[admin]\n\
         allow.it = {{ who = \"@it\" }}\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\n\
         allow.it = {{ who = \"@it\", from = \"list\" }}\n"
    );
    sources.add("policy.toml", text);
    policy::load(&sources)
        .unwrap_or_else(|d| panic!("{:?}", d.first()))
        .policy
}

const NETWORKS: usize = 60_000;

/// Comparing each network with each would take minutes.
#[test]
#[expect(clippy::disallowed_methods, reason = "a timing reads the clock")]
fn a_network_that_leaves_a_long_list_is_told_alone_and_soon() {
    let (before, after) = (listed(NETWORKS), listed(1000));
    let start = std::time::Instant::now();
    let diff = policy::diff(&before, &after);
    let took = start.elapsed();
    let text = diff.to_text();
    assert!(
        text.contains("-\"10.0.7.208/32\""),
        "{}",
        text.get(..500).unwrap_or(&text)
    );
    assert!(!text.contains("10.0.7.210"), "the others are the same");
    assert!(took.as_secs() < 20, "{took:?}");
}
