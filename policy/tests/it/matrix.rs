//! The access matrix of each example, written down: every place, every kind of person, every zone and proof.
//! Nothing here is a list by hand: places, people and zones come from the compiled policy.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use policy::{Outcome, Policy, QueryText, Sample, SubjectBits};

use crate::support;

const HEAD: &str = "\
A allow, S step-up, L login, - deny
five columns a zone: device any with no code, with a code 20m old, with a fresh code; device known, then managed, with a fresh code
a line stands for all people the rules do not tell apart, under the first name
";

/// Monday noon and Sunday night in Europe.
const TIMES: [&str; 2] = ["2026-10-12 10:00 UTC", "2026-10-11 21:30 UTC"];

const PROOFS: [(&str, &str); 5] = [
    ("none", "any"),
    ("20m", "any"),
    ("0s", "any"),
    ("0s", "known"),
    ("0s", "managed"),
];

#[test]
fn the_access_matrix_of_each_example_is_as_written_down() {
    let mut differ = Vec::new();
    let mut names = BTreeSet::new();
    for (name, policy) in support::examples() {
        let matrix = matrix(&name, &policy);
        let file = support::root().join(format!("tests/golden/{name}-matrix.txt"));
        differ.extend(support::golden(&file, &matrix).err());
        names.insert(format!("{name}-matrix.txt"));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    let kept = support::listed(&support::root().join("tests/golden"));
    let kept = kept.iter().filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        name.ends_with("-matrix.txt").then_some(name)
    });
    assert_eq!(
        kept.collect::<BTreeSet<_>>(),
        names,
        "matrices and examples"
    );
}

/// The twin of the test above: it would see a place that has no line.
#[test]
fn every_area_net_and_console_of_each_example_has_a_line() {
    for (name, policy) in support::examples() {
        let sampled: BTreeSet<String> = policy.samples().into_iter().map(|s| s.resource).collect();
        let all: BTreeSet<String> = policy.resource_ids().into_iter().collect();
        assert_eq!(sampled, all, "{name}");
        let hosts = policy.apps().flat_map(|(_, app)| &app.hosts).count();
        let roots = policy.samples().into_iter();
        let roots = roots.filter(|s| s.resource.contains("app.") && s.resource.ends_with('/'));
        assert_eq!(roots.count(), hosts, "{name}: a host without a line");
    }
}

fn matrix(name: &str, policy: &Policy) -> String {
    let people = people(policy);
    let zones: Vec<&str> = policy.zones().collect();
    let mut out = format!("{name}\n{HEAD}zones: {}\n", zones.join(" "));
    for sample in policy.samples() {
        leads_there(policy, &sample);
        write!(out, "\n{} {}\n", sample.resource, sample.to).unwrap();
        let methods: &[&str] = match sample.to.as_str() {
            "admin" => &["GET", "POST"],
            to if to.starts_with("https:") => &["GET", "POST", "DELETE", "OPTIONS"],
            _ => &["GET"],
        };
        let mut told: Vec<(String, Vec<&str>)> = Vec::new();
        for method in methods {
            let block = blocks(policy, &sample, method, &people, &zones);
            match told.iter_mut().find(|(known, _)| *known == block) {
                Some((_, same)) => same.push(method),
                None => told.push((block, vec![method])),
            }
        }
        for (block, same) in told {
            if methods.len() > 1 && (same.len() < methods.len() || sample.to != "admin") {
                writeln!(out, "  {}", same.join(" ")).unwrap();
            }
            out.push_str(&block);
        }
    }
    out
}

fn leads_there(policy: &Policy, sample: &Sample) {
    let text = QueryText {
        to: sample.to.clone(),
        ..QueryText::default()
    };
    let explained = policy.explain(&policy.query(&text).unwrap());
    let reached = explained.area.or(explained.app);
    assert_eq!(reached.as_deref(), Some(&*sample.resource));
}

/// The lines of one question at both instants; told once where they do not differ.
fn blocks(
    policy: &Policy,
    sample: &Sample,
    method: &str,
    people: &[Option<String>],
    zones: &[&str],
) -> String {
    let block = |at: &str| -> String {
        people
            .iter()
            .map(|user| line(policy, sample, method, user.as_deref(), zones, at))
            .collect()
    };
    let [first, second] = TIMES.map(|at| (at, block(at)));
    match first.1 == second.1 {
        true => first.1,
        false => format!(
            "  at {}\n{}  at {}\n{}",
            first.0, first.1, second.0, second.1
        ),
    }
}

fn line(
    policy: &Policy,
    sample: &Sample,
    method: &str,
    user: Option<&str>,
    zones: &[&str],
    at: &str,
) -> String {
    let mut out = format!("    {:<20}", user.unwrap_or("(nobody)"));
    for from in zones {
        out.push(' ');
        for (mfa, device) in PROOFS {
            let to = match method {
                "GET" => sample.to.clone(),
                _ => format!("{method} {}", sample.to),
            };
            let text = QueryText {
                user: user.map(str::to_owned),
                from: Some((*from).to_owned()),
                at: Some(at.to_owned()),
                mfa: Some(mfa.to_owned()),
                device: Some(device.to_owned()),
                to,
                ..QueryText::default()
            };
            out.push(glyph(policy, &text));
        }
    }
    out.push('\n');
    out
}

fn glyph(policy: &Policy, text: &QueryText) -> char {
    match policy.decide(&policy.query(text).unwrap()).outcome {
        Outcome::Allow => 'A',
        Outcome::StepUp => 'S',
        Outcome::Login => 'L',
        Outcome::Deny => '-',
    }
}

/// Nobody, then the first person of each kind: the same groups, and the same answer to every `who` of the policy.
fn people(policy: &Policy) -> Vec<Option<String>> {
    type Kind = (Vec<String>, Option<SubjectBits>);
    let mut kinds: Vec<Kind> = Vec::new();
    let mut out = vec![None];
    for user in policy.users() {
        let groups = user.groups.iter().map(ToString::to_string).collect();
        let kind = (groups, policy.subject(&user.name));
        if !kinds.contains(&kind) {
            kinds.push(kind);
            out.push(Some(user.name.to_string()));
        }
    }
    out
}
