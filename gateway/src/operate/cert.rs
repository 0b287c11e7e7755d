//! Certificates as operators ask about them.

use std::sync::Arc;

use certs::Chain;
use certs::plan::{Asked, Haste};

use crate::acme::{self, Wished, time};
use crate::clock;
use crate::control::cert::{Ask, Course, Renewed, Told};
use crate::gateway::Gateway;
use crate::reload;

/// Answers a question about certificates.
pub(super) async fn answer(gw: &Arc<Gateway>, ask: &Ask) -> Told {
    match ask {
        Ask::List => Told {
            certificates: acme::lines(gw),
            ..Told::default()
        },
        Ask::Renew { name, force } => {
            let haste = if *force { Haste::Forced } else { Haste::Due };
            Told {
                renewed: renew(gw, name.as_deref(), haste).await,
                ..Told::default()
            }
        }
        Ask::Test { http, https } => Told {
            checks: acme::test::all(gw, *http, *https).await,
            ..Told::default()
        },
    }
}

/// Renews what directories sign, and leaves of the internal authority: one of them, or all.
async fn renew(gw: &Arc<Gateway>, name: Option<&str>, haste: Haste) -> Vec<Renewed> {
    if gw.acme.trouble().is_some() {
        // what was signed may lie there and wait
        drop(reload::renew_certificates(gw, None).await);
    }
    let leaves = leaves(gw, name);
    let mut done = Vec::new();
    if name.is_none() || leaves.is_empty() {
        let wished = acme::renew(gw, name, haste).await;
        done.extend(wished.into_iter().map(|wish| renewed(gw, wish)));
    }
    done.extend(renew_leaves(gw, leaves, haste).await);
    done
}

/// Lists the hosts that have a leaf of the internal authority and are not ordered, with their leaf.
fn leaves(gw: &Gateway, name: Option<&str>) -> Vec<(String, Arc<Chain>)> {
    let name = name.map(certs::same_host_form);
    let snap = gw.snapshot.load();
    let leaves = snap.certs.leaves();
    let wanted = leaves.filter(|(host, _)| name.as_ref().is_none_or(|name| name == host));
    wanted
        .filter(|(host, _)| !gw.acme.orders(host))
        .map(|(host, leaf)| (host.to_owned(), Arc::clone(leaf)))
        .collect()
}

/// Makes leaves anew that are due, or all of them, each with another key.
async fn renew_leaves(
    gw: &Arc<Gateway>,
    leaves: Vec<(String, Arc<Chain>)>,
    haste: Haste,
) -> Vec<Renewed> {
    let now = clock::unix();
    let due_at = |leaf: &Chain| certs::due_at(leaf.not_before(), leaf.not_after());
    let is_wanted = |leaf: &Chain| haste == Haste::Forced || due_at(leaf) <= now;
    let wanted = leaves.iter().filter(|(_, leaf)| is_wanted(leaf));
    let hosts: Vec<_> = wanted.map(|(host, _)| host.clone()).collect();
    let is_tried = !hosts.is_empty();
    let is_done = is_tried && reload::renew_leaves(gw, hosts).await.is_ok();
    let snap = gw.snapshot.load_full();
    let done = leaves.into_iter().map(|(host, before)| {
        let held = snap.certs.leaf(&host).unwrap_or(&before);
        let (outcome, course) = match is_wanted(&before) {
            false => ("not-due", Course::default()),
            true if is_done => ("renewed", Course::default()),
            true => ("failed", troubled(gw)),
        };
        Renewed {
            outcome: outcome.to_owned(),
            not_after: Some(time(held.not_after())),
            course: Course {
                next: Some(time(due_at(held))),
                ..course
            },
            name: host,
        }
    });
    done.collect()
}

/// Says why certificates cannot be built anew.
fn troubled(gw: &Gateway) -> Course {
    let mut course = Course::default();
    if let Some(trouble) = gw.acme.trouble() {
        course.tell(trouble);
    }
    course
}

fn renewed(gw: &Gateway, wish: Wished) -> Renewed {
    let state = wish.state;
    let mut course = state.as_ref().map(Course::of).unwrap_or_default();
    let outcome = match wish.asked {
        Asked::Unknown => "unknown",
        Asked::NotDue { .. } => "not-due",
        Asked::Guarded { .. } => "guarded",
        Asked::Soon => match &state {
            Some(state) if state.ordering => "under-way",
            Some(state) if state.failed.is_some() => "failed",
            Some(state) if state.held.is_none() => "under-way",
            Some(_) if gw.acme.trouble().is_some() => "not-in-force",
            Some(_) => "renewed",
            None => "unknown",
        },
    };
    if outcome == "not-in-force" {
        course = troubled(gw);
    }
    course.next = match wish.asked {
        Asked::Unknown => None,
        Asked::NotDue { due: at } | Asked::Guarded { until: at } => Some(time(at)),
        Asked::Soon => course.next,
    };
    Renewed {
        name: wish.name,
        outcome: outcome.to_owned(),
        not_after: state.and_then(|s| s.held).map(|held| time(held.not_after)),
        course,
    }
}
