//! Who used what: the pairs of person and app or net that the journal has an allow for.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::event::Event;
use super::query::{Text, each_line};

/// Pairs kept at most; people and resources are named in the policy, so this is 1,000 people of 200 apps each.
const PAIRS_MAX: usize = 200_000;

/// What was in use since some time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Person and id of the app or net, such as `("nadia", "app.pay")`.
    pub(crate) pairs: BTreeSet<(String, String)>,
    /// Pairs that found no place; only the first 200,000 are kept.
    pub(crate) left_out: bool,
}

/// Reads which people were allowed to which apps and nets since a wall time, in ms since the UNIX epoch. Reads the
/// segments of those days line by line; lines that are no records are passed over.
///
/// # Errors
/// If the folder or a segment cannot be read; a folder that is not there holds nothing.
pub(crate) fn used_pairs(dir: &Path, since: u64) -> io::Result<Used> {
    let mut used = Used::default();
    if !dir.try_exists()? {
        return Ok(used);
    }
    each_line(dir, Some(since), &mut |line| {
        if let Some((user, id)) = pair(line) {
            used.add((user, id));
        }
        Ok(())
    })?;
    Ok(used)
}

impl Used {
    fn add(&mut self, pair: (String, String)) {
        if self.pairs.len() < PAIRS_MAX || self.pairs.contains(&pair) {
            self.pairs.insert(pair);
        } else {
            self.left_out = true;
        }
    }
}

/// The fields of a line that name a pair.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    event: Text<'a>,
    #[serde(borrow)]
    outcome: Option<Text<'a>>,
    #[serde(borrow)]
    rule: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
}

/// The pair a line stands for, if it is an allow of a named person by a rule of an app or net.
fn pair(line: &[u8]) -> Option<(String, String)> {
    let fields = serde_json::from_slice::<Fields<'_>>(line).ok()?;
    let decided = [Event::AccessDecided, Event::FlowDecided];
    if fields.outcome?.0 != "allow" || !decided.iter().any(|event| fields.event.0 == event.name()) {
        return None;
    }
    let (user, rule) = (fields.user?, fields.rule?);
    Some((user.0.into_owned(), resource(&rule.0)?.to_owned()))
}

/// The app or net of a rule's id: `app.pay` of `app.pay/admin#it`. The gateway's own pages are neither.
fn resource(rule: &str) -> Option<&str> {
    let id = rule.split('#').next().unwrap_or_default();
    let (id, _) = policy::cut_area(id);
    // a tenant's stands behind its name, as in acme/app.pay
    let own = id.rsplit('/').next().unwrap_or_default();
    (own.starts_with("app.") || own.starts_with("net.")).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::{Used, pair, resource, used_pairs};
    use crate::audit::journal::tests::Scratch;

    fn line(event: &str, outcome: &str, rule: &str, user: &str, time: &str) -> String {
        format!(
            r#"{{"seq":1,"time":"{time}","event":"{event}","outcome":"{outcome}","reason":"rule","rule":{rule},"user":{user},"chain":"x"}}"#
        )
    }

    #[test]
    fn the_resource_of_a_rule_is_its_app_or_net() {
        for (rule, id) in [
            ("app.pay#staff", Some("app.pay")),
            ("app.pay/admin#it", Some("app.pay")),
            ("app.pay=/healthz#all", Some("app.pay")),
            ("net.ssh#ops", Some("net.ssh")),
            ("acme/app.pay#staff", Some("acme/app.pay")),
            ("acme/app.pay/admin#it", Some("acme/app.pay")),
            ("acme/deny.all", None),
            ("builtin.own-pages", None),
        ] {
            assert_eq!(resource(rule), id, "{rule}");
        }
    }

    #[test]
    fn only_allows_of_named_people_by_rules_are_pairs() {
        let day = "2026-01-05T10:00:00.000Z";
        let of = |event, outcome, rule, user| {
            pair(line(event, outcome, rule, user, day).as_bytes()).is_some()
        };
        assert!(of("access-decided.1", "allow", r#""app.a#x""#, r#""u""#));
        assert!(of("flow-decided.1", "allow", r#""net.a#x""#, r#""u""#));
        assert!(!of("request-ended.1", "allow", r#""app.a#x""#, r#""u""#));
        assert!(!of("access-decided.1", "step-up", r#""app.a#x""#, r#""u""#));
        assert!(!of("access-decided.1", "allow", r#""app.a#x""#, "null"));
        assert!(!of(
            "access-decided.1",
            "allow",
            r#""builtin.own-pages""#,
            r#""u""#
        ));
        assert!(pair(b"no record").is_none());
    }

    #[test]
    fn pairs_are_read_once_each_and_not_from_before() {
        let dir = Scratch::new();
        std::fs::create_dir(dir.path()).unwrap();
        let write = |day: &str, users: &[&str]| {
            let lines = users.iter().flat_map(|user| {
                let time = format!("{day}T10:00:00.000Z");
                let user = format!("{user:?}");
                [1, 2].map(|_| {
                    line("access-decided.1", "allow", r#""app.a/x#y""#, &user, &time) + "\n"
                })
            });
            std::fs::write(
                dir.path().join(format!("{day}.jsonl")),
                lines.collect::<String>(),
            )
            .unwrap();
        };
        write("2026-01-04", &["old"]);
        write("2026-01-05", &["ada", "bob"]);
        let since = 1_767_571_200_000; // 2026-01-05
        let used = used_pairs(dir.path(), since).unwrap();
        let pair = |user: &str| (user.to_owned(), "app.a".to_owned());
        assert_eq!(used.pairs, [pair("ada"), pair("bob")].into());
        assert!(!used.left_out);
        assert_eq!(used_pairs(dir.path(), 0).unwrap().pairs.len(), 3);
        assert_eq!(
            used_pairs(dir.path(), since + 86_400_000).unwrap(),
            Used::default()
        );
    }

    #[test]
    fn a_journal_that_is_not_there_holds_no_pairs() {
        let dir = Scratch::new();
        assert_eq!(
            used_pairs(&dir.path().join("audit"), 0).unwrap(),
            Used::default()
        );
    }
}
