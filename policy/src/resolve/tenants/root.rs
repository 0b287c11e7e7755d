//! What root files may make of tenants' names: nothing by which one tenant's files would bind another.

use std::collections::BTreeSet;

use super::people::{People, Standing};
use super::{Spaces, owner, split};
use crate::diag::{Diagnostic, show};
use crate::syntax::{Ast, Def, GuardAst, Word};

/// Checks the root's groups, groups of zones, default rate and guards.
pub(super) fn check(ast: &Ast, spaces: &Spaces, people: &People, diags: &mut Vec<Diagnostic>) {
    let named = |word: &Word| {
        let name = word.v.trim_start_matches(['!', '@']);
        let (tenant, _) = split(name);
        tenant
            .filter(|tenant| spaces.is_tenant(tenant))
            .map(str::to_owned)
    };
    for def in ast.groups.iter().filter(|def| is_root(def)) {
        for word in &def.body.members {
            let help = "a group of the root is the same for all tenants; name the tenant's group in the rule itself";
            let title = match (named(word), people.standing(&word.v, None)) {
                (Some(tenant), _) => format!("`{}` is a group of tenant {tenant}", show(&word.v)),
                (None, Standing::Foreign(at)) if !word.v.starts_with('@') => {
                    let tenant = spaces.tenants.get(at).map_or("", |t| &t.name.v);
                    format!("`{}` is a person of tenant {tenant}", show(&word.v))
                }
                _ => continue,
            };
            diags.push(Diagnostic::error("other-tenant", word.span, title).help(help));
        }
    }
    for word in ast
        .zone_groups
        .iter()
        .filter(|def| is_root(def))
        .flat_map(|def| &def.body)
    {
        if let Some(tenant) = named(word) {
            let title = format!("`{}` is a zone of tenant {tenant}", show(&word.v));
            let help = "a group of zones of the root is the same for all tenants; name the zone in the rule itself";
            diags.push(Diagnostic::error("other-tenant", word.span, title).help(help));
        }
    }
    for word in ast
        .default
        .iter()
        .filter(|def| is_root(def))
        .flat_map(|def| [&def.body.rate, &def.body.headers])
        .flatten()
    {
        if let Some(tenant) = named(word) {
            let title = format!("`{}` belongs to tenant {tenant}", show(&word.v));
            let help = "the root's [default] holds for all tenants; define it in the root";
            diags.push(Diagnostic::error("other-tenant", word.span, title).help(help));
        }
    }
    for def in ast.guards.iter().filter(|def| is_root(def)) {
        diags.extend(guard(def, &named));
    }
}

fn is_root<T>(def: &Def<T>) -> bool {
    split(&def.name.v).0.is_none()
}

/// A guard that names what a tenant defines may bind that tenant's apps and the root's things only.
fn guard(def: &Def<GuardAst>, named: &impl Fn(&Word) -> Option<String>) -> Option<Diagnostic> {
    let ast = &def.body;
    let lists = [&ast.who, &ast.from, &ast.when, &ast.unless_when];
    let words = lists.into_iter().flatten().flat_map(|list| &list.v);
    let mut found = words.filter_map(|word| Some((named(word)?, word)));
    let (tenant, word) = found.next()?;
    let others = found.any(|(other, _)| other != tenant);
    let bound: BTreeSet<Option<&str>> = match &ast.on {
        Some(on) => on.v.iter().map(|word| owner(&word.v)).collect(),
        None => BTreeSet::new(),
    };
    let theirs = |space: &Option<&str>| space.is_none() || *space == Some(tenant.as_str());
    let fine = match others {
        true => bound.iter().all(Option::is_none),
        false => bound.iter().all(theirs),
    };
    if ast.on.is_some() && fine {
        return None;
    }
    let help = match others {
        true => "write one guard for each tenant".to_owned(),
        false => {
            format!("add  on = [\"{tenant}/app.…\"]  with apps of {tenant} or things of the root")
        }
    };
    let title = format!(
        "deny.{} would bind other tenants by `{}` of tenant {tenant}",
        show(&def.name.v),
        show(&word.v)
    );
    Some(Diagnostic::error("other-tenant", word.span, title).help(help))
}
