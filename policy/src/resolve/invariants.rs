//! `[[invariant]]`: what must hold for all people, times and networks.

use super::access::{who, zones};
use super::settings::{bad, device, mfa, positive};
use super::tenants::{cut_area, owner};
use super::{Cx, empty_list, unknown};
use crate::diag::Diagnostic;
use crate::ir::{App, Device, Mfa, Net, Who};
use crate::source::Span;
use crate::syntax::{InvariantAst, Sp, Word};

/// One thing to reach, as places: an area of an app, a net, the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Area(u32, u32),
    Net(u32),
    Admin,
}

#[derive(Clone, Debug)]
pub(crate) enum Demand {
    Only(Who),
    Never(Who),
    Requires {
        device: Device,
        mfa: Mfa,
        login: Option<u32>,
        from: Option<Vec<u32>>,
    },
    CanReach(Who),
    /// Nobody a tenant's files name reaches what is another tenant's.
    Disjoint,
}

/// A resolved invariant.
#[derive(Clone, Debug)]
pub(crate) struct Invariant {
    pub(crate) name: String,
    pub(crate) places: Vec<Place>,
    pub(crate) demands: Vec<Demand>,
    pub(crate) span: Span,
}

pub(super) fn invariants(
    cx: &mut Cx<'_>,
    asts: &[InvariantAst],
    apps: &[App],
    nets: &[Net],
) -> Vec<Invariant> {
    asts.iter()
        .map(|ast| invariant(cx, ast, apps, nets))
        .collect()
}

fn invariant(cx: &mut Cx<'_>, ast: &InvariantAst, apps: &[App], nets: &[Net]) -> Invariant {
    let id = "an invariant";
    let mut demands = Vec::new();
    if let Some(list) = &ast.only {
        demands.extend(who(cx, list.list(), &id).map(Demand::Only));
    }
    if let Some(list) = &ast.never {
        demands.extend(who(cx, list.list(), &id).map(Demand::Never));
    }
    if let Some(list) = &ast.who {
        demands.extend(who(cx, list.list(), &id).map(Demand::CanReach));
    }
    if let Some(ast) = &ast.requires {
        let asked = ast.mfa.as_ref().and_then(|word| mfa(word, cx.diags));
        demands.push(Demand::Requires {
            device: ast
                .device
                .as_ref()
                .and_then(|word| device(word, cx.diags))
                .unwrap_or_default(),
            mfa: asked.unwrap_or(Mfa::None),
            login: ast.login.as_ref().and_then(|word| positive(word, cx.diags)),
            from: ast.from.as_ref().map(|list| zones(cx, list.list())),
        });
    }
    let disjoint = ast.disjoint.as_ref().is_some_and(|word| word.v);
    if disjoint {
        demands.push(Demand::Disjoint);
    }
    let about_people = ast.only.is_some() || ast.never.is_some() || ast.requires.is_some();
    let shape = match (&ast.reach, &ast.who, &ast.can_reach) {
        (None, None, None) => disjoint && !about_people,
        _ if disjoint => false,
        (Some(_), None, None) => about_people,
        (None, Some(_), Some(_)) => !about_people,
        _ => false,
    };
    if !shape {
        cx.diags.push(
            Diagnostic::error(
                "bad-invariant",
                ast.span,
                "this invariant says nothing that can be checked",
            )
            .help("write reach with only, never or requires; or who with can-reach; or tenants-disjoint = true"),
        );
    }
    let mut listed = Vec::new();
    for list in ast.reach.iter().chain(&ast.can_reach) {
        listed.extend(places(cx, list, apps, nets));
    }
    if disjoint {
        listed.extend(tenants_areas(apps));
    }
    listed.sort_unstable();
    listed.dedup();
    Invariant {
        name: ast
            .name
            .clone()
            .unwrap_or_else(|| "without a name".to_owned()),
        places: listed,
        demands,
        span: ast.span,
    }
}

fn places(cx: &mut Cx<'_>, list: &Sp<Vec<Word>>, apps: &[App], nets: &[Net]) -> Vec<Place> {
    if list.v.is_empty() {
        cx.diags.push(empty_list(list.span, "reach"));
    }
    let mut out = Vec::new();
    for word in &list.v {
        let found = matching(&word.v, apps, nets);
        if found.is_empty() {
            let areas = apps.iter().flat_map(|app| {
                let areas = app.areas.iter();
                areas.map(|area| format!("{}{}", app.id, area.pattern.text))
            });
            let nets = nets.iter().map(|net| net.id.clone());
            let ids: Vec<String> = areas.chain(nets).chain(["admin".to_owned()]).collect();
            let finding = if word.v.contains('*') {
                bad(word, "a resource that exists")
            } else {
                unknown(word, "resource", ids)
            };
            cx.diags.push(match finding.help {
                Some(_) => finding,
                None => finding.help("write app.<id>, app.<id>/area, net.<id>, net.* or admin"),
            });
        }
        out.extend(found);
    }
    out
}

/// All areas of all tenants.
fn tenants_areas(apps: &[App]) -> Vec<Place> {
    let theirs = apps
        .iter()
        .zip(0u32..)
        .filter(|(app, _)| owner(&app.id).is_some());
    let areas = theirs.flat_map(|(app, ix)| {
        let areas = app.areas.iter().zip(0u32..);
        areas.map(move |(_, at)| Place::Area(ix, at))
    });
    areas.collect()
}

/// The places a word stands for: a whole app, an area with all below it, nets, the console; `*` in ids of apps and nets.
fn matching(text: &str, apps: &[App], nets: &[Net]) -> Vec<Place> {
    let (id, area) = cut_area(text);
    let mut out = Vec::new();
    if text == "admin" || text == "*" {
        out.push(Place::Admin);
    }
    for (app, ix) in apps.iter().zip(0u32..) {
        if !glob(id, &app.id) {
            continue;
        }
        let wanted = app.areas.iter().find(|other| other.pattern.text == area);
        let all = area.is_empty() || area == "/";
        for (other, at) in app.areas.iter().zip(0u32..) {
            if all || wanted.is_some_and(|wanted| wanted.pattern.contains(&other.pattern)) {
                out.push(Place::Area(ix, at));
            }
        }
    }
    if area.is_empty() {
        let hit = nets.iter().zip(0u32..).filter(|(net, _)| glob(id, &net.id));
        out.extend(hit.map(|(_, ix)| Place::Net(ix)));
    }
    out
}

/// Whether `pattern`, in which `*` stands for any text, matches the whole of `text`.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
    rest.ends_with(last)
}
