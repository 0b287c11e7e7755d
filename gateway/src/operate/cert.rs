//! Certificates as operators ask about them.

use std::sync::Arc;

use certs::plan::{Asked, Haste};

use crate::acme::{self, Wished, time};
use crate::control::cert::{Ask, Course, Renewed, Told};
use crate::gateway::Gateway;

/// Answers a question about certificates.
pub(super) async fn answer(gw: &Arc<Gateway>, ask: &Ask) -> Told {
    match ask {
        Ask::List => Told {
            certificates: acme::lines(gw),
            ..Told::default()
        },
        Ask::Renew { name, force } => {
            let haste = if *force { Haste::Forced } else { Haste::Due };
            let wished = acme::renew(gw, name.as_deref(), haste).await;
            Told {
                renewed: wished.into_iter().map(renewed).collect(),
                ..Told::default()
            }
        }
        Ask::Test { http, https } => Told {
            checks: acme::test::all(gw, *http, *https).await,
            ..Told::default()
        },
    }
}

fn renewed(wish: Wished) -> Renewed {
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
            Some(_) => "renewed",
            None => "unknown",
        },
    };
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
