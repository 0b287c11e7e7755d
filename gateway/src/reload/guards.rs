//! What is asked before a policy goes in force: whom it locks out, what it opens, what it takes away.

use std::collections::{BTreeMap, BTreeSet};

use policy::{Diff, Outcome, Policy, QueryText, Severity, guard};
use serde::{Deserialize, Serialize};

use super::history::How;

/// Pairs of person and app or net that were allowed, such as `("ann", "app.paie")`.
pub(crate) type Pairs = BTreeSet<(String, String)>;

/// One in so many used pairs may be lost without a word.
const LOSS_SHARE: usize = 20;
/// The most names in one sentence.
const NAMES_MAX: usize = 8;

/// What the person who applies a policy has accepted, in exact numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Accept {
    /// Doors that open to the world and openings of `[tunnel]`; where guards are lost, all pairs that are allowed more.
    pub(crate) wider: Option<usize>,
    /// Used pairs of person and app that end.
    pub(crate) loss: Option<usize>,
    /// People who were shut out and come back by a rollback.
    pub(crate) back: Option<usize>,
    /// The own access.
    pub(crate) own: bool,
}

/// Who applies a policy and from where; they should still get in afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Own {
    /// The person.
    pub(crate) user: String,
    /// Their zone or address.
    pub(crate) from: Option<String>,
    /// The class of their device.
    pub(crate) device: Option<String>,
    /// What they must still reach: a URL or `admin`.
    pub(crate) to: String,
}

/// Why a change does not go in force by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stop {
    /// `lock-out`, `world-open`, `tunnel-open`, `deny-lost`, `loss`, `people-back`, `own-access`, `taken-back` or `unconfirmed`.
    pub(crate) guard: String,
    /// What would happen.
    pub(crate) text: String,
    /// The option that accepts it; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) accept: Option<String>,
}

/// A change as the guards see it.
pub(crate) struct Asked<'a> {
    /// The policy in force.
    pub(crate) before: &'a Policy,
    /// The candidate.
    pub(crate) after: &'a Policy,
    /// Who has both factors.
    pub(crate) enrolled: &'a dyn Fn(&str) -> bool,
    /// What was in use in the last days.
    pub(crate) used: &'a Pairs,
    /// What is accepted.
    pub(crate) accept: &'a Accept,
    /// Who applies it.
    pub(crate) own: Option<&'a Own>,
    /// How it was asked for.
    pub(crate) how: How,
    /// Whether it only takes a person out, which never waits for a guard of those who stay.
    pub(crate) revokes: bool,
    /// Seconds since the UNIX epoch.
    pub(crate) now: i64,
}

/// What the guards found.
pub(crate) struct Judged {
    /// Everything that changes.
    pub(crate) diff: Diff,
    /// How many pairs of person and place are allowed more.
    pub(crate) widened: u64,
    /// How many are allowed less.
    pub(crate) narrowed: u64,
    /// What surprises people, and is as written.
    pub(crate) notes: Vec<String>,
    /// What is worth a look.
    pub(crate) warnings: Vec<String>,
    /// What must be accepted first, or cannot be.
    pub(crate) stops: Vec<Stop>,
}

/// Asks all guards.
pub(crate) fn judge(asked: &Asked<'_>) -> Judged {
    let diff = policy::diff(asked.before, asked.after);
    let (widened, narrowed) = counts(&diff);
    let mut judged = Judged {
        widened,
        narrowed,
        notes: new_areas(asked, &diff),
        warnings: Vec::new(),
        stops: Vec::new(),
        diff,
    };
    lock_out(asked, &mut judged);
    widening(asked, &mut judged);
    loss(asked, &mut judged);
    people_back(asked, &mut judged);
    own_access(asked, &mut judged);
    judged
}

/// Counts the pairs of person and place that are allowed more, and those that are allowed less.
pub(crate) fn counts(diff: &Diff) -> (u64, u64) {
    let count = |is: fn(&policy::Change) -> bool| {
        u64::try_from(diff.changes.iter().filter(|c| is(c)).count()).unwrap_or(u64::MAX)
    };
    (
        count(|c| c.after == Outcome::Allow),
        count(|c| c.before == Outcome::Allow),
    )
}

/// The command that accepts all stops; `None` if one of them cannot be accepted.
pub(crate) fn command(stops: &[Stop], what: &str) -> Option<String> {
    let options: Option<Vec<&str>> = stops.iter().map(|s| s.accept.as_deref()).collect();
    let mut words = vec![what];
    words.extend(options?.into_iter().filter(|option| !option.is_empty()));
    Some(words.join(" "))
}

fn lock_out(asked: &Asked<'_>, judged: &mut Judged) {
    let found = guard::lockout(asked.after, asked.enrolled);
    let is_locked =
        |found: &[policy::Diagnostic]| found.iter().any(|d| d.severity == Severity::Error);
    if !is_locked(&found) {
        judged.warnings.extend(found.into_iter().map(|d| d.title));
        return;
    }
    let text = "nobody who is enrolled could act in [admin] at all times";
    // a fresh installation has nobody enrolled, and must be able to change
    let already = is_locked(&guard::lockout(asked.before, asked.enrolled));
    if already || asked.revokes {
        judged
            .warnings
            .push(format!("{text}; only the local command line is left"));
    } else {
        judged.stops.push(Stop {
            guard: "lock-out".to_owned(),
            text: format!("{text}: let somebody who is enrolled reach [admin] without a schedule"),
            accept: None,
        });
    }
}

/// What a change opens that must be accepted.
struct Openings {
    /// Pairs of person and place that come to be open to the world, or with a lost guard all that are allowed more.
    pairs: usize,
    /// Where the world comes in.
    doors: BTreeSet<String>,
    /// Guards that are lost while something is allowed more.
    denies: BTreeSet<String>,
    /// Openings of `[tunnel]`.
    tunnel: BTreeSet<String>,
}

impl Openings {
    /// A lost guard is counted with all that the change opens: which of it the guard held shut is not told apart.
    fn of(asked: &Asked<'_>, judged: &Judged) -> Self {
        let open = guard::world_open(&judged.diff, asked.before, asked.after);
        let tunnel = guard::tunnel_open(&judged.diff, asked.before, asked.after);
        let mut openings = Self {
            pairs: open.len(),
            doors: open.iter().map(door).collect(),
            denies: BTreeSet::new(),
            tunnel: tunnel.into_iter().collect(),
        };
        let denies = lost_denies(asked);
        if judged.widened > 0 && !denies.is_empty() {
            openings.pairs = usize::try_from(judged.widened).unwrap_or(usize::MAX);
            openings.denies = denies;
        }
        openings
    }

    /// The number to accept.
    fn count(&self) -> usize {
        self.pairs.saturating_add(self.tunnel.len())
    }

    fn guard(&self) -> &'static str {
        match (self.denies.is_empty(), self.pairs, self.tunnel.len()) {
            (false, _, _) => "deny-lost",
            (true, 0, 1..) => "tunnel-open",
            (true, _, _) => "world-open",
        }
    }

    /// What it comes to, where so many were accepted.
    fn text(&self, accepted: Option<usize>) -> String {
        let accepted = match accepted {
            None => String::new(),
            Some(accepted) => format!(", not the {accepted} that were accepted"),
        };
        let (pairs, tunnel) = (self.pairs, self.tunnel.len());
        let doors = some(&self.doors);
        let mut parts = Vec::new();
        if !self.denies.is_empty() {
            let denies = some(&self.denies);
            parts.push(format!(
                "{pairs} pairs of person and place are allowed more{accepted} while guards are no longer enforced: {denies}"
            ));
            if !self.doors.is_empty() {
                parts.push(format!("open to the world: {doors}"));
            }
        } else if self.guard() == "world-open" {
            parts.push(format!(
                "{pairs} pairs of person and place become open to the world{accepted}: {doors}"
            ));
        }
        if tunnel > 0 {
            let accepted = if parts.is_empty() {
                accepted.as_str()
            } else {
                ""
            };
            let opened = some(&self.tunnel);
            parts.push(format!(
                "{tunnel} openings of the tunnel{accepted}: {opened}"
            ));
        }
        parts.join("; ")
    }
}

fn widening(asked: &Asked<'_>, judged: &mut Judged) {
    let openings = Openings::of(asked, judged);
    let (count, accepted) = (openings.count(), asked.accept.wider);
    if accepted.unwrap_or(0) != count {
        judged.stops.push(Stop {
            guard: openings.guard().to_owned(),
            text: openings.text(accepted),
            accept: Some(match count {
                0 => String::new(),
                count => format!("--accept-wider {count}"),
            }),
        });
        return;
    }
    if !openings.denies.is_empty() {
        let denies = some(&openings.denies);
        judged.warnings.push(format!("no longer enforces {denies}"));
    }
    for opened in [&openings.doors, &openings.tunnel] {
        if !opened.is_empty() {
            judged.warnings.push(format!("opens {}", some(opened)));
        }
    }
}

fn door(change: &policy::Change) -> String {
    let who = match change.user.as_str() {
        "anyone" => "anyone",
        _ => "any user",
    };
    let (file, line) = (&change.file, change.line);
    format!("{} to {who} ({file}:{line})", change.resource)
}

/// The guards that the policy in force has and the candidate has not, or has in shadow.
fn lost_denies(asked: &Asked<'_>) -> BTreeSet<String> {
    let left: BTreeSet<&str> = asked.after.guard_ids().collect();
    let before = asked.before.guard_ids();
    before
        .filter(|id| !left.contains(id))
        .map(str::to_owned)
        .collect()
}

/// What access away takes goes in force without a word when nobody is at hand: it can be taken
/// back, and a revocation that waits for a journal to be read is none. Who applies a policy is.
fn loss(asked: &Asked<'_>, judged: &mut Judged) {
    if !matches!(asked.how, How::Apply | How::Rollback) {
        return;
    }
    let losses = losses(asked.before, asked.after, asked.used);
    let count = losses.lost.len();
    let text = match asked.accept.loss {
        Some(accepted) if accepted == count => return,
        None if !losses.are_many() => return,
        Some(accepted) => format!("{losses} (accepted were {accepted})"),
        None => losses.to_string(),
    };
    judged.stops.push(Stop {
        guard: "loss".to_owned(),
        text,
        accept: Some(match count {
            0 => String::new(),
            count => format!("--accept-loss {count}"),
        }),
    });
}

/// Pairs in use that a change would refuse.
pub(crate) struct Losses {
    lost: BTreeSet<String>,
    total: usize,
}

/// Finds the pairs in use that `before` allows in some context and `after` in none.
pub(crate) fn losses(before: &Policy, after: &Policy, used: &Pairs) -> Losses {
    let pairs = || used.iter().map(|(user, app)| (user.as_str(), app.as_str()));
    let gone: BTreeSet<(&str, &str)> = guard::lost(before, pairs()).into_iter().collect();
    let standing: Vec<(&str, &str)> = pairs().filter(|pair| !gone.contains(pair)).collect();
    let lost = guard::lost(after, standing.iter().copied());
    Losses {
        lost: lost
            .iter()
            .map(|(user, app)| format!("{user} at {app}"))
            .collect(),
        total: standing.len(),
    }
}

impl Losses {
    /// Tells whether they are more than one in twenty.
    pub(crate) fn are_many(&self) -> bool {
        self.lost.len().saturating_mul(LOSS_SHARE) > self.total
    }
}

impl std::fmt::Display for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, total) = (self.lost.len(), self.total);
        let names = some(&self.lost);
        write!(
            f,
            "{count} of the {total} pairs of person and app in use in the last 7 days are refused: {names}"
        )
    }
}

/// An earlier policy lets in who was shut out since: that is rarely why it is brought back.
fn people_back(asked: &Asked<'_>, judged: &mut Judged) {
    if asked.how != How::Rollback {
        return;
    }
    let active = |policy: &Policy, name: &str| policy.user(name).is_some_and(|u| !u.disabled);
    let names = asked.after.users().map(|user| user.name.to_string());
    let back: BTreeSet<String> = names
        .filter(|name| active(asked.after, name) && !active(asked.before, name))
        .collect();
    let count = back.len();
    if asked.accept.back.unwrap_or(0) == count {
        return;
    }
    judged.stops.push(Stop {
        guard: "people-back".to_owned(),
        text: format!(
            "{count} people who are shut out would be let in again: {}",
            some(&back)
        ),
        accept: Some(match count {
            0 => String::new(),
            count => format!("--accept-back {count}"),
        }),
    });
}

fn own_access(asked: &Asked<'_>, judged: &mut Judged) {
    let Some(own) = asked.own else { return };
    let me = QueryText {
        user: Some(own.user.clone()),
        from: own.from.clone(),
        device: own.device.clone(),
        // who may only look at the console could not take the change back
        to: match own.to.as_str() {
            "admin" => "POST admin".to_owned(),
            to => to.to_owned(),
        },
        ..QueryText::default()
    };
    let keeps = |policy| guard::keeps_access(policy, &me, asked.now);
    let text = match (keeps(asked.before), keeps(asked.after)) {
        (_, Ok(true)) => return,
        (Ok(false) | Err(_), Ok(false)) => {
            format!(
                "{} does not reach {} before the change either",
                own.user, own.to
            )
        }
        (_, Ok(false)) => format!("{} would no longer reach {} from there", own.user, own.to),
        (_, Err(error)) => format!("{} would no longer reach {}: {error}", own.user, own.to),
    };
    if asked.accept.own {
        judged.warnings.push(text);
    } else {
        judged.stops.push(Stop {
            guard: "own-access".to_owned(),
            text,
            accept: Some("--i-lose-access".to_owned()),
        });
    }
}

/// An area replaces its parent: names the new ones that take away what the parent gave there.
fn new_areas(asked: &Asked<'_>, diff: &Diff) -> Vec<String> {
    let old: BTreeSet<String> = asked.before.resource_ids().into_iter().collect();
    let mut refused: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for change in &diff.changes {
        let id = change.resource.as_str();
        let is_area = !matches!(policy::cut_area(id).1, "" | "/");
        if is_area && change.before == Outcome::Allow && !old.contains(id) {
            refused.entry(id).or_default().insert(change.user.clone());
        }
    }
    let new = refused.into_iter();
    new.map(|(id, users)| {
        let users = some(&users);
        format!("{id} is new and replaces what is above it: it takes access there from {users}")
    })
    .collect()
}

fn some(names: &BTreeSet<String>) -> String {
    let mut text: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let rest = names.len().saturating_sub(NAMES_MAX);
    let more = format!("and {rest} more");
    if rest > 0 {
        text.push(&more);
    }
    text.join(", ")
}

#[cfg(test)]
mod tests;
