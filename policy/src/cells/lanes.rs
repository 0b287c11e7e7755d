//! What tokens, and devices alone, open under one policy and not under another.

use std::collections::BTreeMap;

use super::{Change, Diff, Grid, JointPlace, Side, Split, World};
use crate::decide::Outcome;
use crate::ir::{Device, TUNNEL};
use crate::lane::Lanes;
use crate::resolve::invariants::Place;
use crate::resolve::values::show_duration;

/// What each side takes in a place that both or one of them has.
pub(crate) fn of(side: &Side<'_>) -> Lanes {
    let Some(Place::Area(app, area)) = side.place else {
        return Lanes::default();
    };
    let app = side.policy.ir.apps.get(app as usize);
    let areas = app.filter(|app| !app.shadow).map(|app| &app.areas);
    let area = areas.and_then(|areas| areas.get(area as usize));
    area.map_or_else(Lanes::default, |area| area.lanes)
}

/// Adds for everybody whom an area lets in what changes for tokens and for devices alone.
pub(super) fn compare<'p>(world: &mut World<'p>, place: &JointPlace<'p>, out: &mut Diff) {
    let [before, after] = place.sides.as_slice() else {
        return;
    };
    if of(before) == of(after) {
        return;
    }
    for (user, [was, is]) in openings(world, place) {
        if was.device != is.device {
            let text = "by a tunnel device without a cookie".to_owned();
            out.note(place, user.clone(), is.device, Outcome::Login, text);
        }
        if was.tokens != is.tokens {
            let text = ages(was.tokens, is.tokens);
            out.note(place, user, is.tokens > was.tokens, Outcome::Deny, text);
        }
    }
}

/// What each person may come in by, somewhere in a place, on each side.
fn openings<'p>(world: &mut World<'p>, place: &JointPlace<'p>) -> BTreeMap<String, [Lanes; 2]> {
    let takes: Vec<Lanes> = place.sides.iter().map(of).collect();
    let split = Split {
        from: Some(vec![TUNNEL]),
        ..Split::default()
    };
    let grid = Grid::new(world, &place.sides, &split);
    let mut open: BTreeMap<usize, [Lanes; 2]> = BTreeMap::new();
    grid.run(|group, [z, _, d, _, _, _], decisions| {
        if group.anonymous() {
            return;
        }
        let device = grid.devices.get(d).copied().unwrap_or_default();
        let here = open.entry(group.id).or_default();
        for (ix, (side, decision)) in place.sides.iter().zip(decisions).enumerate() {
            let allowed = decision.outcome == Outcome::Allow;
            let (Some(own), Some(takes), true) = (here.get_mut(ix), takes.get(ix), allowed) else {
                continue;
            };
            let zone = grid.zones.get(z).and_then(|zones| zones.get(ix));
            let tunnel = zone.is_some_and(|zone| *zone == side.policy.zones.tunnel());
            own.device |= takes.device && tunnel;
            if device == Device::Any {
                own.tokens = takes.tokens;
            }
        }
    });
    let mut people = BTreeMap::new();
    for (id, lanes) in open {
        let names = grid.groups.get(id).map(super::Group::names);
        people.extend(names.into_iter().flatten().map(|name| (name, lanes)));
    }
    people
}

/// Says which tokens are concerned, by the greatest age each side takes.
fn ages(was: Option<u32>, is: Option<u32>) -> String {
    let (less, more) = (was.min(is), was.max(is).unwrap_or(0));
    match less {
        None => format!("by a token up to {} old", show_duration(more)),
        Some(less) => format!(
            "by a token from {} to {} old",
            show_duration(less),
            show_duration(more)
        ),
    }
}

impl Diff {
    fn note(
        &mut self,
        place: &JointPlace<'_>,
        user: String,
        opens: bool,
        closed: Outcome,
        context: String,
    ) {
        let [before, after] = place.sides.as_slice() else {
            return;
        };
        let side = if after.place.is_some() { after } else { before };
        let area = match side.place {
            Some(Place::Area(app, area)) => {
                let app = side.policy.ir.apps.get(app as usize);
                app.and_then(|app| app.areas.get(area as usize))
            }
            Some(Place::Net(_) | Place::Admin) | None => None,
        };
        let line = area.and_then(|area| side.policy.places.line(area.span));
        let (file, line) = line.map_or((String::new(), 0), |(file, line)| (file.to_string(), line));
        let (was, is) = match opens {
            true => (closed, Outcome::Allow),
            false => (Outcome::Allow, closed),
        };
        self.widens |= opens;
        self.changes.push(Change {
            user,
            resource: place.id.clone(),
            before: was,
            after: is,
            contexts: vec![context],
            decides: (file.clone(), line),
            file,
            line,
            what: None,
        });
    }
}
