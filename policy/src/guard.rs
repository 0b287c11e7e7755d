//! Questions asked before a policy is put in force: does it lock people out, does it open more than before.

use std::collections::{BTreeMap, BTreeSet};

use crate::cells::{Change, Diff, Grid, Setting, Side, Split, World, joint_places};
use crate::compile::Policy;
use crate::decide::Outcome;
use crate::diag::Diagnostic;
use crate::query::{QueryError, QueryText};
use crate::resolve::tenants::cut_area;
use crate::source::Span;

/// The method by which the console is asked to act; who may only read it cannot change a policy back.
const ACT: &str = "POST";

/// Finds whether the console stays usable: people who can act there, not only look. `enrolled` says who can sign in
/// with a code; a context counts if no schedule takes it away. Nobody is an error, one person a warning.
pub fn lockout(candidate: &Policy, enrolled: impl Fn(&str) -> bool) -> Vec<Diagnostic> {
    let admins = standing(candidate);
    let able: Vec<&String> = admins.iter().filter(|name| enrolled(name)).collect();
    let span = candidate
        .ir
        .admin
        .first()
        .map_or_else(Span::default, |allow| allow.span);
    match able.as_slice() {
        [] => vec![
            Diagnostic::error("lock-out", span, "nobody could act in the console")
                .help("let somebody who is enrolled reach [admin] at any time, by a rule without `methods`"),
        ],
        [only] => vec![
            Diagnostic::warning(
                "one-admin",
                span,
                format!("only {only} could act in the console"),
            )
            .help("let a second person reach [admin] at any time, by a rule without `methods`"),
        ],
        _ => Vec::new(),
    }
}

/// People who can act in the console in some context at all times.
fn standing(policy: &Policy) -> BTreeSet<String> {
    let mut world = World::new(&[policy]);
    let grid = Grid::new(&mut world, &[Side::admin(policy)], &Split::default());
    let [_, times, ..] = grid.sizes();
    let mut open: BTreeMap<(usize, [usize; 5]), usize> = BTreeMap::new();
    let mut out = BTreeSet::new();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    grid.run(|group, [z, _, d, m, c, l], decisions| {
        let allowed = decisions.iter().any(|d| d.outcome == Outcome::Allow);
        if !allowed || !grid.has_method(m, ACT) {
            return;
        }
        let held = open.entry((group.id, [z, d, m, c, l])).or_default();
        *held += 1;
        if *held == times && seen.insert(group.id) {
            out.extend(group.names());
        }
    });
    out
}

/// Whether the person who applies a policy would still be allowed what `me` asks, at `now` in seconds since 1970.
///
/// # Errors
/// The question names what the candidate does not know; that is a loss too.
pub fn keeps_access(candidate: &Policy, me: &QueryText, now: i64) -> Result<bool, QueryError> {
    let query = candidate.query_at(me, now)?;
    Ok(candidate.decide(&query).outcome == Outcome::Allow)
}

/// Of pairs of person and app or net (by id) that were in use, those the candidate allows in no context.
pub fn lost<'a>(
    candidate: &Policy,
    used: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<(&'a str, &'a str)> {
    let mut world = World::new(&[candidate]);
    let mut reach: BTreeSet<(String, String)> = BTreeSet::new();
    for place in joint_places(&[candidate]) {
        let grid = Grid::new(&mut world, &place.sides, &Split::default());
        let (id, _) = cut_area(&place.id);
        let id = id.to_owned();
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        grid.run(|group, _, decisions| {
            let allowed = decisions.iter().any(|d| d.outcome == Outcome::Allow);
            if allowed && seen.insert(group.id) {
                reach.extend(group.names().into_iter().map(|name| (name, id.clone())));
            }
        });
    }
    used.into_iter()
        .filter(|(user, id)| !reach.contains(&((*user).to_owned(), (*id).to_owned())))
        .collect()
}

/// Changes that open a door to the world: to `anyone`, or to every user on a net or the console. A person who is new
/// or enabled again walks through doors that are open already; that is no such change.
pub fn world_open(diff: &Diff, before: &Policy, after: &Policy) -> Vec<Change> {
    let mut broad: BTreeSet<(String, u32)> = BTreeSet::new();
    let nets = after.ir.nets.iter().zip(&after.nets);
    let mut places: Vec<_> = nets.map(|(net, rules)| (&net.allows, rules)).collect();
    places.push((&after.ir.admin, &after.admin));
    for (allows, rules) in places {
        for (allow, compiled) in allows.iter().zip(&rules.allows) {
            if allow.who.any_user {
                let rule = after.rule(compiled.rule);
                broad.insert((rule.file.to_string(), rule.line));
            }
        }
    }
    let known = |user: &str| before.user(user).is_some_and(|user| !user.disabled);
    let opens = |change: &&Change| {
        let plain = change.resource == "admin" || change.resource.starts_with("net.");
        change.after == Outcome::Allow
            && (change.user == "anyone"
                || (plain && broad.contains(&change.decides) && known(&change.user)))
    };
    diff.changes.iter().filter(opens).cloned().collect()
}

/// What a change opens in `[tunnel]`, as a person reads it: managed devices that come to a net without a sign-in and
/// needed one, and settings by which devices are opened more easily, stay open longer or look up more names.
pub fn tunnel_open(diff: &Diff, before: &Policy, after: &Policy) -> Vec<String> {
    let entries = after.ir.headless.iter().flat_map(|entry| {
        let nets = entry.nets.iter().map(|&ix| ix as usize);
        nets.filter_map(move |ix| after.ir.nets.get(ix))
            .map(move |net| (entry, net))
    });
    let new = entries.filter(|(entry, net)| {
        let user = after.ir.users.get(entry.user as usize);
        user.is_some_and(|user| !exempt(before, &user.name, entry.device.as_deref(), &net.id))
    });
    let devices = new.map(|(entry, net)| {
        let place = after.places.line(entry.span);
        let place = place.map_or_else(String::new, |(file, line)| format!(" ({file}:{line})"));
        let device = entry.name(&after.ir.users);
        format!("{} to {device} without a sign-in{place}", net.id)
    });
    let settings = diff.settings.iter().filter(|setting| {
        let tunnel = setting.of.strip_prefix("tunnel");
        setting.widens && tunnel.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "(unsaid)".to_owned());
    let settings = settings.map(|setting: &Setting| {
        let (was, is) = (said(&setting.before), said(&setting.after));
        format!("[{}] {} {was} -> {is}", setting.of, setting.key)
    });
    devices.chain(settings).collect()
}

/// Whether a device needs no sign-in for a net, by its own name or with all of its person's.
fn exempt(policy: &Policy, user: &str, device: Option<&str>, net: &str) -> bool {
    let ir = &policy.ir;
    ir.headless.iter().any(|entry| {
        let own = ir.users.get(entry.user as usize);
        let nets = entry.nets.iter().map(|&ix| ix as usize);
        own.is_some_and(|own| own.name == user)
            && (entry.device.is_none() || entry.device.as_deref() == device)
            && nets
                .filter_map(|ix| ir.nets.get(ix))
                .any(|own| own.id == net)
    })
}
