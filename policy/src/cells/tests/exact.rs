//! What a diff says of contexts against both policies, read plainly: a change is there exactly where it says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{has_methods, load, long, target};
use crate::cells::{Change, World, diff};
use crate::compile::Policy;
use crate::decide::Outcome;
use crate::ir::{Device, Ir};
use crate::naive::world::{Dice, USERS, add_like, sources};
use crate::naive::{Request, Target, any_holds, decide, enforced, zones_of};
use crate::resolve::values::duration;
use crate::source::Sources;

const NETS: [&str; 6] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3",
    "192.0.2.0/25",
    "2001:db8::/32",
];

/// A line as it may be in the second policy.
pub(super) fn altered(dice: &mut Dice, line: &str) -> Option<String> {
    let quoted = |key: &str, word: &str| format!("{key} = {word:?}");
    let (key, _) = line.split_once(" = ").unwrap_or((line, ""));
    let other = match key {
        "z0" | "z1" | "z2" if dice.chance(40) => format!("{key} = {}", dice.some(&NETS, 1)),
        "time" if dice.chance(50) => quoted(
            key,
            dice.pick(&["18:00-19:00", "06:00-21:00", "23:00-03:30"]),
        ),
        "days" if dice.chance(40) => quoted(key, dice.pick(&["mon-thu", "sat-mon", "sun"])),
        "tz" if dice.chance(15) => quoted(key, dice.pick(&["UTC", "Europe/Paris"])),
        "g0" | "g1" if dice.chance(20) => format!("{key} = {}", dice.some(&USERS, 2)),
        _ if line.starts_with("allow.") && dice.chance(3) => return None,
        _ => line.to_owned(),
    };
    Some(other)
}

/// The first policy with other zones, schedules and groups, and without some of its rules.
pub(super) fn moved(dice: &mut Dice, first: &Sources) -> Option<Policy> {
    for _ in 0..8 {
        let mut changed = Sources::new();
        for file in first.files() {
            let lines = first.text(file).lines();
            let text: Vec<String> = lines.filter_map(|line| altered(dice, line)).collect();
            add_like(&mut changed, first, file, format!("{}\n", text.join("\n")));
        }
        if let Ok(loaded) = crate::load(&changed) {
            return Some(loaded.policy);
        }
    }
    None
}

/// How many parts of a context are not true of a request, by their words alone, and whether the words leave open if
/// an unusual method counts.
fn misses(context: &str, sides: [&Ir; 2], asked: &Request) -> (usize, bool) {
    let method = match &asked.target {
        Target::Http(_, _, method) | Target::Admin(method) => method.as_str(),
        Target::Flow(..) => "GET",
    };
    let mut open = !["GET", "HEAD", "POST", "PUT"].contains(&method);
    let mut missed = 0;
    for part in context.split("; ").filter(|part| !part.is_empty()) {
        let (word, rest) = part.split_once(' ').unwrap();
        let range = |what: &str, age| part.split(" or ").any(|range| aged(range, what, age));
        let held = match word {
            "from" => labels(rest)
                .iter()
                .any(|label| is_from(label, sides, asked)),
            "device" => rest.split(" or ").any(|name| {
                let name = if name == "unknown" { "any" } else { name };
                Device::from_word(name).unwrap() == asked.device
            }),
            "methods" => {
                open = false;
                rest.split(", ").any(|name| name == method)
            }
            "in" | "outside" => part.split(" or ").any(|state| {
                let mut parts = state.split(" and ");
                parts.all(|part| stands(part, sides, asked.unix.unwrap()))
            }),
            _ if part.contains("code") => range("code", asked.mfa_age),
            _ if part.contains("sign-in") => range("sign-in", Some(asked.login_age)),
            _ => panic!("{part} of {context}"),
        };
        missed += usize::from(!held);
    }
    (missed, open)
}

fn aged(range: &str, what: &str, age: Option<u32>) -> bool {
    let Some(age) = age else {
        return range == "no code";
    };
    if range == "no code" {
        return false;
    }
    if range == format!("with a {what}") {
        return true;
    }
    let range = range.strip_prefix(what).unwrap().trim_start();
    let secs = |text: &str| duration(text).unwrap();
    if let Some(least) = range.strip_prefix("older than ") {
        return age > secs(least);
    }
    let range = range.strip_suffix(" old").unwrap();
    match (range.strip_prefix("up to "), range.split_once(" to ")) {
        (Some(most), _) => age <= secs(most),
        (None, Some((least, most))) => age > secs(least) && age <= secs(most),
        (None, None) => panic!("{range}"),
    }
}

/// Labels between commas outside of brackets.
fn labels(text: &str) -> Vec<String> {
    let (mut out, mut depth) = (vec![String::new()], 0);
    for ch in text.chars() {
        depth += i32::from(ch == '(') - i32::from(ch == ')');
        match (ch, depth) {
            (',', 0) => out.push(String::new()),
            _ => out.last_mut().unwrap().push(ch),
        }
    }
    out.iter().map(|label| label.trim().to_owned()).collect()
}

fn names<'a>(ir: &'a Ir, asked: &Request) -> Vec<&'a str> {
    let zones = zones_of(ir, asked).into_iter();
    let zones = zones.map(|ix| &ir.zones[ix as usize]);
    let named = zones.filter(|zone| zone.internet_of().is_none());
    let mut names: Vec<&str> = named.map(|zone| zone.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn is_from(label: &str, [before, after]: [&Ir; 2], asked: &Request) -> bool {
    let (nets, words) = match label.split_once(" (") {
        Some((nets, words)) => (Some(nets), words.strip_suffix(')').unwrap()),
        None => (None, label),
    };
    let (mut was, mut is) = (Vec::new(), Vec::new());
    let parts = match nets {
        Some(_) => words.split(", ").collect(),
        None if words == "internet as it was and as it will be" => vec![words],
        None => words.split(" and ").collect::<Vec<_>>(),
    };
    for part in parts {
        let (name, rest) = part.split_once(" as it ").unwrap_or((part, ""));
        assert!(
            ["", "was", "will be", "was and as it will be"].contains(&rest),
            "{label}"
        );
        was.extend((rest != "will be").then_some(name));
        is.extend((rest != "was").then_some(name));
    }
    was.sort_unstable();
    is.sort_unstable();
    let held = names(before, asked) == was && names(after, asked) == is;
    if let Some(nets) = nets.filter(|nets| !nets.contains(" more") && !asked.tunnel) {
        let mut nets = nets
            .split(" and ")
            .map(|net| net.parse::<ipnet::IpNet>().unwrap());
        assert_eq!(nets.any(|net| net.contains(&asked.ip)), held, "{label}");
    }
    held
}

fn stands(part: &str, sides: [&Ir; 2], unix: i64) -> bool {
    let (word, rest) = part.split_once(' ').unwrap();
    let (name, which) = rest.split_once(" as it ").unwrap_or((rest, ""));
    let held = sides.into_iter().map(|ir| {
        let mut all = ir.schedules.iter().zip(0u32..);
        let (_, ix) = all.find(|(schedule, _)| schedule.name == name)?;
        Some(any_holds(ir, &[ix], unix))
    });
    let held: Vec<Option<bool>> = held.collect();
    let holds = match which.split_once(" (").map(|(which, _)| which) {
        Some("was") => held[0].unwrap(),
        Some("will be") => held[1].unwrap(),
        None => {
            let known: Vec<bool> = held.into_iter().flatten().collect();
            assert!(
                known.iter().all(|own| *own == known[0]),
                "{part} says two things"
            );
            known[0]
        }
        Some(other) => panic!("{other}"),
    };
    holds == (word == "in")
}

/// What questions are made of, as far as either policy can tell.
struct Pools {
    sources: Vec<(IpAddr, bool)>,
    times: Vec<i64>,
}

const CODES: [Option<u32>; 8] = [
    None,
    Some(0),
    Some(300),
    Some(301),
    Some(3600),
    Some(3601),
    Some(28_800),
    Some(28_801),
];
const LOGINS: [u32; 9] = [
    0, 3600, 3601, 36_000, 36_001, 43_200, 43_201, 72_001, 99_999,
];
const DEVICES: [Device; 3] = [Device::Any, Device::Known, Device::Managed];
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "PROPFIND"];

impl Pools {
    fn new(policies: [&Policy; 2]) -> Self {
        let borders = policies.iter().flat_map(|policy| policy.zones.borders());
        let mut sources: Vec<(IpAddr, bool)> = borders.map(|ip| (ip, false)).collect();
        sources.extend(["192.0.2.200", "2001:db9::1"].map(|ip| (ip.parse().unwrap(), false)));
        sources.push(([10, 0, 0, 1].into(), true));
        let lists =
            policies.map(|policy| -> Vec<u32> { (0..).take(policy.ir.schedules.len()).collect() });
        let mut world = World::new(&policies);
        let states = world.times(&lists).iter();
        Self {
            sources,
            times: states.map(|(at, _)| *at).collect(),
        }
    }

    fn ask(&self, dice: &mut Dice, policy: &Policy, user: Option<&str>, to: &str) -> Request {
        let method = match has_methods(to) {
            true => dice.pick(&METHODS),
            false => "GET",
        };
        let (ip, tunnel) = dice.pick(&self.sources);
        Request {
            user: user.map(str::to_owned),
            mfa_age: dice.pick(&CODES),
            login_age: dice.pick(&LOGINS),
            device: dice.pick(&DEVICES),
            ip,
            tunnel,
            unix: Some(dice.pick(&self.times)),
            target: target(policy, to, method),
        }
    }

    /// A question of which a context is true, found by turning one thing after the other.
    fn witness(
        &self,
        policy: &Policy,
        to: &str,
        context: &str,
        sides: [&Ir; 2],
        from: Request,
    ) -> Request {
        let missed = |request: &Request| misses(context, sides, request).0;
        let mut best = from;
        let mut turn = |set: &dyn Fn(&mut Request, usize), count: usize| {
            for at in 0..count {
                let mut other = best.clone();
                set(&mut other, at);
                if missed(&other) < missed(&best) {
                    best = other;
                }
            }
        };
        turn(
            &|out, at| (out.ip, out.tunnel) = self.sources[at],
            self.sources.len(),
        );
        turn(&|out, at| out.unix = Some(self.times[at]), self.times.len());
        turn(&|out, at| out.device = DEVICES[at], DEVICES.len());
        turn(&|out, at| out.mfa_age = CODES[at], CODES.len());
        turn(&|out, at| out.login_age = LOGINS[at], LOGINS.len());
        if has_methods(to) {
            let set = |out: &mut Request, at: usize| out.target = target(policy, to, METHODS[at]);
            turn(&set, METHODS.len());
        }
        assert_eq!(missed(&best), 0, "nothing is {context}");
        best
    }
}

/// The contexts of a change; none is "always".
fn contexts(change: &Change) -> Vec<&str> {
    match change.contexts.as_slice() {
        [] => vec![""],
        list => list.iter().map(String::as_str).collect(),
    }
}

/// One pair of policies, both read plainly.
struct Pair {
    a: Policy,
    was: Ir,
    is: Ir,
    pools: Pools,
    told: BTreeMap<(String, String), Vec<Change>>,
}

impl Pair {
    fn new(a: Policy, b: &Policy) -> Self {
        let mut told: BTreeMap<(String, String), Vec<Change>> = BTreeMap::new();
        for change in diff(&a, b).changes {
            let key = (change.user.clone(), change.resource.clone());
            told.entry(key).or_default().push(change);
        }
        Self {
            was: enforced(&a.ir),
            is: enforced(&b.ir),
            pools: Pools::new([&a, b]),
            told,
            a,
        }
    }

    fn outcomes(&self, request: &Request) -> [Outcome; 2] {
        [&self.was, &self.is].map(|ir| decide(ir, request).0)
    }

    /// Asks at random; whether the answers differ.
    fn compare(&self, changes: &[Change], request: &Request) -> bool {
        let sides = [&self.was, &self.is];
        let outcomes = self.outcomes(request);
        let differ = outcomes[0] != outcomes[1];
        let mut covered = false;
        for change in changes {
            for context in contexts(change) {
                let (missed, open) = misses(context, sides, request);
                // a method that no rule names is denied, which goes without saying
                if missed == 0 && (differ || !open) {
                    covered = true;
                    let said = [change.before, change.after];
                    assert_eq!(said, outcomes, "{context} {request:?}");
                }
            }
        }
        assert_eq!(covered, differ, "{request:?} {changes:#?}");
        differ
    }
}

/// Property 8 of contexts: two policies, read plainly, answer a question otherwise exactly where some change says so
/// by words that are true of it, and as it says. Every context is true of some question.
#[test]
fn p8_a_change_is_exactly_where_its_context_says() {
    let (mut asked, mut differ, mut found) = (0, 0, 0);
    let mut marks: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..if long() { 1_000 } else { 24 } {
        let mut dice = Dice(seed);
        let first = sources(&mut dice);
        let a = load(&first);
        let Some(b) = moved(&mut dice, &first) else {
            continue;
        };
        let able = |name: &str| a.subject(name).is_some() && b.subject(name).is_some();
        let users = a.users().map(|user| user.name.to_string());
        let users: Vec<String> = users.filter(|name| able(name)).collect();
        let pair = Pair::new(a, &b);
        for user in users.iter().map(|name| Some(name.as_str())).chain([None]) {
            for sample in pair.a.samples() {
                let key = (user.unwrap_or("anyone").to_owned(), sample.resource.clone());
                let changes = pair.told.get(&key).map_or(&[][..], Vec::as_slice);
                for _ in 0..if changes.is_empty() { 6 } else { 20 } {
                    let request = pair.pools.ask(&mut dice, &pair.a, user, &sample.to);
                    differ += u32::from(pair.compare(changes, &request));
                    asked += 1;
                }
                for change in changes.iter().take(2) {
                    for context in contexts(change).into_iter().take(4) {
                        let from = pair.pools.ask(&mut dice, &pair.a, user, &sample.to);
                        let sides = [&pair.was, &pair.is];
                        let real = pair
                            .pools
                            .witness(&pair.a, &sample.to, context, sides, from);
                        if !misses(context, sides, &real).1 {
                            let said = [change.before, change.after];
                            assert_eq!(pair.outcomes(&real), said, "{seed} {context} {real:?}");
                            found += 1;
                        }
                        for mark in MARKS {
                            *marks.entry(mark).or_default() += u32::from(context.contains(mark));
                        }
                    }
                }
            }
        }
    }
    assert!(asked >= 10_000 && differ >= 300, "{asked} {differ}");
    assert!(found >= 300, "{found}");
    assert!(marks.values().all(|count| *count >= 10), "{marks:?}");
}

/// What the contexts of these policies must have said.
const MARKS: [&str; 4] = [
    "as it was (",
    "as it will be (",
    "as it was)",
    "as it was and as it will be",
];
