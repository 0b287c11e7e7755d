//! Certificates as operators ask about them.

use std::sync::Arc;

use certs::plan::{Asked, Haste};

use crate::acme::{self, Wished};
use crate::clock;
use crate::control::cert::{Ask, Renewed, Told};
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
    let failed = state.as_ref().and_then(|s| s.failed.clone());
    let (outcome, next) = match wish.asked {
        Asked::Unknown => ("unknown", None),
        Asked::NotDue { due } => ("not-due", Some(due)),
        Asked::Guarded { until } => ("guarded", Some(until)),
        Asked::Soon => {
            let next = state.as_ref().map(|s| s.next);
            match &state {
                Some(state) if state.ordering => ("under-way", next),
                Some(state) if state.failed.is_some() => ("failed", next),
                Some(state) if state.held.is_none() => ("under-way", next),
                Some(_) => ("renewed", next),
                None => ("unknown", None),
            }
        }
    };
    Renewed {
        name: wish.name,
        outcome: outcome.to_owned(),
        not_after: state.and_then(|s| s.held).map(|held| time(held.not_after)),
        next: next.map(time),
        cause: failed.as_ref().map(|f| f.cause.code().to_owned()),
        advice: failed.as_ref().map(|f| f.cause.advice().to_owned()),
        detail: failed.map(|f| f.detail),
    }
}

fn time(unix: i64) -> String {
    clock::rfc3339(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}
