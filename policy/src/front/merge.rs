//! The settings of every area, its own keys over those of the areas around it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Cache, Front, Justify, Shared, Source, Timeouts, Written};
use crate::hash::Keyed;
use crate::ir::Area;

/// The settings of an app's areas; equal ones of neighbours are held once.
#[derive(Debug, Default)]
pub(crate) struct Fronts {
    /// The root's first.
    pub(crate) all: Vec<Arc<Front>>,
    /// For each area the place of its settings among them.
    pub(crate) of_area: Vec<u32>,
}

/// The settings that whole apps have, each held once.
pub(crate) type Alike<'a> = HashMap<Option<&'a Written>, Arc<Front>, Keyed>;

impl Fronts {
    /// Merges the keys of an app's areas, the root first as they stand.
    pub(crate) fn of<'a>(areas: &'a [Area], alike: &mut Alike<'a>) -> Self {
        let root = areas.first().and_then(|area| area.front.as_deref());
        let whole = alike.entry(root);
        let whole = whole.or_insert_with(|| Arc::new(over(&Front::default(), root, "/", 0)));
        let mut all = vec![Arc::clone(whole)];
        // what areas below take over; one that is open to the world does not ask itself
        let mut asked = vec![whole.justify.clone()];
        let plain = areas.iter().skip(1).all(|area| area.front.is_none());
        let apart = areas
            .iter()
            .any(|area| is_apart(whole, asks(area, whole.justify.as_ref())));
        if plain && !apart {
            return Self {
                all,
                of_area: vec![0; areas.len()],
            };
        }
        let mut of_area = vec![0_u32; areas.len()];
        let mut order: Vec<usize> = (1..areas.len()).collect();
        let rank = |at: &usize| {
            let pattern = areas.get(*at).map(|area| &area.pattern);
            pattern.map(|p| (p.segs.len(), p.exact, literals(p)))
        };
        order.sort_by_key(rank);
        for (done, &at) in order.iter().enumerate() {
            let Some(area) = areas.get(at) else { continue };
            // areas are closed under intersection: of those around it, the last in rank is inside all others
            let around = order.iter().take(done).rev().find(|&&outer| {
                let outer = areas.get(outer);
                outer.is_some_and(|outer| outer.pattern.contains(&area.pattern))
            });
            let parent = around.and_then(|&at| of_area.get(at)).copied().unwrap_or(0);
            let own = area.front.as_deref();
            let around = asked.get(parent as usize).cloned().flatten();
            let ix = match all.get(parent as usize) {
                Some(front) if own.is_some() || is_apart(front, asks(area, around.as_ref())) => {
                    let depth = area.pattern.segs.len();
                    let none = Written::default();
                    let own = own.unwrap_or(&none);
                    let mut merged = over(front, Some(own), area.pattern.shown(), depth);
                    if own.justify.is_none() {
                        merged.justify = around;
                    }
                    asked.push(merged.justify.clone());
                    merged.justify = asks(area, merged.justify.as_ref()).cloned();
                    all.push(Arc::new(merged));
                    u32::try_from(all.len() - 1).unwrap_or(0)
                }
                Some(_) | None => parent,
            };
            if let Some(place) = of_area.get_mut(at) {
                *place = ix;
            }
        }
        Self { all, of_area }
    }
}

/// Whether settings say what an area below, which asks this of people, does not inherit.
fn is_apart(front: &Front, asks: Option<&Arc<Justify>>) -> bool {
    is_shared(front) || front.justify.as_ref() != asks
}

/// What an area asks of people: where the world may come in, nobody can be asked why.
fn asks<'a>(area: &Area, around: Option<&'a Arc<Justify>>) -> Option<&'a Arc<Justify>> {
    let mut allows = area.allows.iter();
    let open = allows.any(|allow| allow.who.anyone && !allow.shadow);
    around.filter(|_| !open)
}

/// Whether other people's answers may be given.
fn is_shared(front: &Front) -> bool {
    let cache = front.cache.as_ref();
    cache.is_some_and(|cache| cache.shared != Shared::No)
}

fn literals(pattern: &crate::ir::Pattern) -> usize {
    let stars = pattern.segs.iter().filter(|s| **s == crate::ir::Seg::Star);
    pattern.segs.len() - stars.count()
}

fn over(outer: &Front, own: Option<&Written>, at: &str, depth: usize) -> Front {
    let mut front = outer.clone();
    let Some(own) = own else { return front };
    if let Some(source) = &own.source {
        front.source = Source::clone(source);
        at.clone_into(&mut front.source_at);
        front.source_depth = depth;
        // another source has other paths
        (front.strip, front.lead) = (None, None);
    }
    let first = |own: Option<u32>, outer| own.or(outer);
    front.timeout = Timeouts {
        connect: first(own.timeout.connect, outer.timeout.connect),
        head: first(own.timeout.head, outer.timeout.head),
        idle: first(own.timeout.idle, outer.timeout.idle),
        stream: first(own.timeout.stream, outer.timeout.stream),
        body: first(own.timeout.body, outer.timeout.body),
    };
    front.body_max = own.body_max.or(outer.body_max);
    keep(&mut front.methods, own.methods.clone().map(Some));
    keep(&mut front.websocket, own.websocket);
    keep(&mut front.strip, own.strip.clone().map(Some));
    keep(&mut front.lead, own.lead.clone().map(Some));
    keep(&mut front.preset, own.preset.map(Some));
    keep(&mut front.set, own.set.clone());
    keep(&mut front.add, own.add.clone());
    keep(&mut front.remove, own.remove.clone());
    keep(&mut front.keep_app, own.keep_app.clone());
    keep(&mut front.csp_report_only, own.csp_report_only);
    keep(&mut front.csp_reports, own.csp_reports);
    keep(&mut front.cors, own.cors.clone());
    keep(&mut front.compress, own.compress.clone());
    if is_shared(&front) {
        // what is for everybody in one area need not be in another
        front.cache = front.cache.as_deref().map(|cache| {
            Arc::new(Cache {
                shared: Shared::No,
                ..cache.clone()
            })
        });
    }
    keep(&mut front.cache, own.cache.clone());
    keep(&mut front.maintenance, own.maintenance);
    if let Some(asked) = own.justify {
        front.justify = asked.map(|hold| {
            let area = at.to_owned();
            Arc::new(Justify { hold, area })
        });
    }
    front
}

fn keep<T>(into: &mut T, own: Option<T>) {
    if let Some(own) = own {
        *into = own;
    }
}
