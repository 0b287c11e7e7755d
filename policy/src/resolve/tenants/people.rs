//! Who is whose: people of the root, of a tenant, of another tenant.

use std::collections::{BTreeMap, BTreeSet};

use super::{EVERYBODY, Spaces, split};
use crate::syntax::{Ast, Def, GroupAst, Word};

/// Which files say that a person exists. Positions are those of tenants; `None` is the root.
#[derive(Clone, Debug, Default)]
pub(super) struct People {
    /// By a users.toml.
    listed: BTreeMap<String, Option<usize>>,
    /// By being in a group, where no users.toml says who exists.
    named: BTreeMap<String, BTreeSet<Option<usize>>>,
}

/// What a file may make of a person's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may name them.
    Known,
    /// They are another tenant's.
    Foreign(usize),
    Unknown,
}

impl People {
    pub(super) fn new(ast: &Ast, spaces: &Spaces) -> Self {
        let mut out = Self::default();
        for def in &ast.users {
            let owner = spaces.position(def.name.span.file);
            out.listed.entry(def.name.v.to_string()).or_insert(owner);
        }
        for def in &ast.groups {
            let (space, _) = split(&def.name.v);
            if spaces.is_listed(space) {
                continue;
            }
            for word in def
                .body
                .members
                .iter()
                .filter(|word| !word.v.starts_with('@'))
            {
                let owners = out.named.entry(word.v.to_string()).or_default();
                owners.insert(spaces.find(space));
            }
        }
        out
    }

    /// What files of a tenant or the root may make of a name.
    pub(super) fn standing(&self, name: &str, own: Option<usize>) -> Standing {
        if let Some(&owner) = self.listed.get(name) {
            return match owner {
                Some(at) if owner != own => Standing::Foreign(at),
                _ => Standing::Known,
            };
        }
        let Some(owners) = self.named.get(name) else {
            return Standing::Unknown;
        };
        if owners.contains(&None) || owners.contains(&own) {
            return Standing::Known;
        }
        owners
            .iter()
            .flatten()
            .next()
            .map_or(Standing::Unknown, |&at| Standing::Foreign(at))
    }

    /// All names that files of a tenant may use.
    pub(super) fn visible(&self, own: Option<usize>) -> impl Iterator<Item = &str> {
        let all = self.listed.keys().chain(self.named.keys());
        all.filter(move |name| self.standing(name, own) == Standing::Known)
            .map(String::as_str)
    }
}

/// Adds for each tenant the group of all whom its files name: in groups, as `who` of its rules, in its users.toml.
pub(super) fn everybody(ast: &mut Ast, spaces: &Spaces) {
    let mut named: BTreeMap<String, BTreeMap<String, Word>> = BTreeMap::new();
    let mut add = |space: Option<&str>, word: &Word| {
        let plain = !word.v.starts_with(['@', '!']) && word.v != "anyone" && word.v != EVERYBODY;
        if let (Some(space), true) = (space, plain) {
            let names = named.entry(space.to_owned()).or_default();
            names
                .entry(word.v.to_string())
                .or_insert_with(|| word.clone());
        }
    };
    for def in &ast.users {
        add(spaces.of(def.name.span.file), &def.name);
    }
    for def in &ast.groups {
        let (space, _) = split(&def.name.v);
        def.body.members.iter().for_each(|word| add(space, word));
    }
    for def in &ast.apps {
        let (space, _) = split(&def.name.v);
        let areas = def.body.areas.iter().map(|area| &area.body);
        let allows = areas.chain([&def.body.root]).flat_map(|area| &area.allows);
        let lists = allows.filter_map(|allow| allow.body.who.as_ref());
        lists
            .flat_map(|words| words.list().v)
            .for_each(|word| add(space, word));
    }
    let taken: BTreeSet<String> = ast
        .groups
        .iter()
        .map(|def| def.name.v.to_string())
        .collect();
    for tenant in &spaces.tenants {
        if taken.contains(&format!("{}/{EVERYBODY}", tenant.name.v)) {
            continue;
        }
        let members = named.remove(tenant.name.v.as_str()).unwrap_or_default();
        ast.groups.push(Def {
            name: Word {
                v: format!("{}/{EVERYBODY}", tenant.name.v).into(),
                span: tenant.name.span,
            },
            body: GroupAst {
                members: members.into_values().collect(),
                optional: true,
                from: None,
            },
        });
    }
}
