//! The contexts a question of reach is asked for: all, those of this instant, or those of a zone or time.

use std::net::IpAddr;

use super::World;
use crate::compile::{Policy, TimeClass};
use crate::query::QueryError;

/// For which contexts it is asked who can reach what. What a scope leaves open may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// In any context.
    #[default]
    Ever,
    /// At this instant, in seconds since 1970, from anywhere.
    Now(i64),
    /// In the contexts of a text: `office` (a zone or an address, at any time), `@tue 10:00` (a time as in
    /// [`crate::QueryText::at`], from anywhere) or `office@tue 10:00`.
    In(String),
}

/// A scope as one policy reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    from: Option<From>,
    at: Option<TimeClass>,
}

#[derive(Clone, Copy, Debug)]
enum From {
    /// Somewhere in a zone.
    Zone(u32),
    Address(IpAddr),
}

impl Scope {
    /// What an answer says it was asked for; `None` is "ever".
    pub(super) fn named(&self) -> Option<String> {
        match self {
            Self::Ever => None,
            Self::Now(_) => Some("now".to_owned()),
            Self::In(text) => Some(text.clone()),
        }
    }

    /// Resolves the scope.
    ///
    /// # Errors
    /// Of [`Self::In`]: no such zone, or no time.
    pub(super) fn bounds(&self, policy: &Policy) -> Result<Bounds, QueryError> {
        let text = match self {
            Self::Ever => return Ok(Bounds::default()),
            Self::Now(unix) => {
                return Ok(Bounds {
                    from: None,
                    at: Some(policy.tick(*unix)),
                });
            }
            Self::In(text) => text,
        };
        let (from, at) = match text.split_once('@') {
            Some((from, at)) => (Some(from).filter(|from| !from.is_empty()), Some(at)),
            None => (Some(text.as_str()), None),
        };
        let from = match from {
            None => None,
            Some(from) => Some(match from.parse() {
                Ok(ip) => From::Address(ip),
                Err(_) => From::Zone(policy.query_named_zone(from)?),
            }),
        };
        let at = match at {
            None => None,
            Some(at) => Some(policy.query_time(at)?),
        };
        Ok(Bounds { from, at })
    }
}

impl World<'_> {
    /// Keeps only the contexts within bounds, which are of the first policy.
    pub(super) fn within(mut self, bounds: Bounds) -> Self {
        let policy = self.first();
        if let (Some(from), Some(policy)) = (bounds.from, policy) {
            self.zones.retain(|(classes, _)| {
                classes.first().is_some_and(|&class| match from {
                    From::Zone(zone) => policy
                        .zones
                        .members(class)
                        .is_some_and(|members| members.contains(&zone)),
                    From::Address(ip) => class == policy.zone(ip, false),
                })
            });
        }
        self.only_at = bounds.at.and_then(TimeClass::unix);
        self
    }
}
