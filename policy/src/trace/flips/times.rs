//! Other times: the ways in which the schedules of a place can stand together.

use super::{Flip, Refused};
use crate::cells::standings;
use crate::compile::Policy;
use crate::query::Query;

/// Schedules of the policy with whether each holds; of what is not named, it does not matter.
pub(in crate::trace) type Standing = Vec<(u32, bool)>;

impl Refused<'_> {
    /// Decides at one instant of each way the schedules of the place stand at some time, and tells the ways that
    /// allow by as few schedules as say it.
    pub(super) fn instants(&self, out: &mut Vec<Flip>) {
        let (rules, guards) = self.in_force();
        let lists = rules.filter_map(|rule| rule.when.as_deref());
        let lists = lists.chain(guards.flat_map(|guard| {
            let both = [&guard.when, &guard.unless_when].into_iter().flatten();
            both.map(Vec::as_slice)
        }));
        let mut schedules: Vec<u32> = lists.flatten().copied().collect();
        schedules.sort_unstable();
        schedules.dedup();
        if schedules.is_empty() {
            return;
        }
        let (mut open, mut shut) = (Vec::new(), Vec::new());
        for (at, state) in standings(self.policy, &schedules) {
            let other = Query {
                time: self.policy.tick(at),
                ..self.query.clone()
            };
            match self.allows(&other) {
                true => open.push(state),
                false => shut.push(state),
            }
        }
        let holds = |unix: i64| {
            schedules
                .iter()
                .map(move |&ix| self.policy.times.holds(ix, unix))
        };
        let now: Option<Vec<bool>> = self.query.time.unix().map(|unix| holds(unix).collect());
        for cube in cubes(&open, &shut, now.as_deref()) {
            let named = schedules.iter().zip(cube);
            let named = named.filter_map(|(ix, holds)| Some((*ix, holds?)));
            out.push(Flip::At(named.collect()));
        }
    }
}

impl Policy {
    pub(super) fn say_standing(&self, standing: &Standing) -> String {
        let named = standing.iter().filter_map(|(ix, holds)| {
            let schedule = self.ir.schedules.get(*ix as usize)?;
            let word = if *holds { "in" } else { "outside" };
            Some(format!("{word} {}", schedule.name))
        });
        let named: Vec<String> = named.collect();
        match named.is_empty() {
            true => "at a time that is known".to_owned(),
            false => named.join(" and "),
        }
    }
}

/// Few ways to say which states are open: each schedule in, outside or left out, so that every open state is said and
/// no shut one. What is as it is `now` is left out first.
fn cubes(open: &[Vec<bool>], shut: &[Vec<bool>], now: Option<&[bool]>) -> Vec<Vec<Option<bool>>> {
    let covers = |cube: &[Option<bool>], state: &[bool]| {
        let mut both = cube.iter().zip(state);
        both.all(|(asked, holds)| asked.is_none_or(|asked| asked == *holds))
    };
    let mut out: Vec<Vec<Option<bool>>> = Vec::new();
    for state in open {
        if out.iter().any(|cube| covers(cube, state)) {
            continue;
        }
        let mut cube: Vec<Option<bool>> = state.iter().copied().map(Some).collect();
        let as_now = |at: &usize| now.and_then(|now| now.get(*at)) == state.get(*at);
        let (same, other): (Vec<usize>, Vec<usize>) = (0..state.len()).partition(as_now);
        for at in same.into_iter().chain(other) {
            let mut wider = cube.clone();
            if let Some(slot) = wider.get_mut(at) {
                *slot = None;
            }
            if !shut.iter().any(|state| covers(&wider, state)) {
                cube = wider;
            }
        }
        out.push(cube);
    }
    out
}
