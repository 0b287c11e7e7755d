//! Users and groups: who exists, who is in what through nesting.

use std::collections::{BTreeMap, BTreeSet};

use super::tenants::{Spaces, split};
use super::{unique, unknown};
use crate::diag::{Diagnostic, Meant, show};
use crate::ir::{Group, User, index};
use crate::syntax::{Ast, Def, GroupAst, UserAst, Word};

/// Most levels of groups in groups.
const MAX_DEPTH: usize = 16;
const RESERVED: [&str; 3] = ["any-user", "anyone", "anonymous"];

pub(super) struct People {
    pub(super) users: Vec<User>,
    pub(super) groups: Vec<Group>,
}

pub(super) fn resolve(ast: &Ast, spaces: &Spaces, diags: &mut Vec<Diagnostic>) -> People {
    let defs = unique(&ast.groups, "group", diags);
    let mut users = users(ast, spaces, &defs, diags);
    let mut groups: Vec<Group> = Vec::with_capacity(defs.len());
    let mut nested: Vec<Vec<u32>> = Vec::with_capacity(defs.len());
    for def in &defs {
        let mut members = Vec::new();
        let mut children = Vec::new();
        let (space, _) = split(&def.name.v);
        for word in &def.body.members {
            match word.v.strip_prefix('@') {
                Some(name) => match index(&defs, name, |def| &def.name.v) {
                    Some(ix) => children.push(ix),
                    None => diags.push(unknown_group(word, &defs)),
                },
                None => match index(&users, &word.v, |user| &user.name) {
                    Some(ix) => members.push(ix),
                    None if spaces.is_listed(space) || crate::syntax::is_name(&word.v) => {
                        diags.push(unknown_user(word, &users, &defs));
                    }
                    None => {}
                },
            }
        }
        if let Some(word) = &def.body.from {
            members = attributed(word, &users, spaces, space, diags);
        }
        nested.push(children);
        groups.push(Group {
            name: def.name.v.clone(),
            members,
            within: Vec::new(),
            span: def.name.span,
        });
    }
    let order = children_first(&nested, &defs, diags);
    if let Some(order) = order {
        close(&mut groups, &nested, &order);
    }
    for (ix, group) in (0u32..).zip(&groups) {
        for &member in &group.members {
            if let Some(user) = users.get_mut(member as usize) {
                user.groups.push(ix);
            }
        }
    }
    warn_empty(&defs, &groups, diags);
    People { users, groups }
}

/// `attr:<attribute>=<value>[,…]`: the people of the same users.toml whose attributes are all as said; `*` is any
/// value.
fn attributed(
    word: &Word,
    users: &[User],
    spaces: &Spaces,
    space: Option<&str>,
    diags: &mut Vec<Diagnostic>,
) -> Vec<u32> {
    let help = "write attr:department=finance, attr:department=it,team=dev or attr:department=*";
    let parts = word.v.strip_prefix("attr:").map(|rest| rest.split(','));
    let wanted: Option<Vec<(&str, &str)>> = parts.and_then(|parts| {
        let pair = |part: &'_ str| part.split_once('=').map(|_| ());
        let parts: Vec<&str> = parts.collect();
        parts.iter().all(|part| pair(part).is_some()).then(|| {
            let pairs = parts.into_iter().filter_map(|part| part.split_once('='));
            pairs.collect()
        })
    });
    let sound = |(name, value): &(&str, &str)| crate::syntax::is_name(name) && !value.is_empty();
    let Some(wanted) = wanted.filter(|list| list.iter().all(sound)) else {
        diags.push(super::settings::bad(word, "a source of members").help(help));
        return Vec::new();
    };
    if !spaces.has_list(space) {
        diags.push(
            Diagnostic::error(
                "no-attributes",
                word.span,
                "[group-from] needs users.toml, where attributes stand",
            )
            .help("add users.toml, or list the members in [group]"),
        );
        return Vec::new();
    }
    let own: Vec<(u32, &User)> = (0u32..)
        .zip(users)
        .filter(|(_, user)| user.tenant.as_deref() == space)
        .collect();
    for (name, _) in &wanted {
        let mut users = own.iter().map(|(_, user)| user);
        if !users
            .clone()
            .any(|user| user.attributes.contains_key(*name))
        {
            let names = users.by_ref().flat_map(|user| user.attributes.keys());
            let names: BTreeSet<&String> = names.collect();
            let meant = Meant::near(name, names);
            diags.push(
                Diagnostic::error(
                    "unknown-name",
                    word.span,
                    format!("no user has an attribute `{}`", show(name)),
                )
                .meant(meant),
            );
        }
    }
    let has = |user: &User| {
        wanted.iter().all(|(name, value)| {
            let own = user.attributes.get(*name);
            own.is_some_and(|own| *value == "*" || own == value)
        })
    };
    let found = own.into_iter().filter(|(_, user)| has(user));
    found.map(|(ix, _)| ix).collect()
}

/// The people of every users.toml, and, where none says who exists, those that are in groups.
fn users(
    ast: &Ast,
    spaces: &Spaces,
    groups: &[&Def<GroupAst>],
    diags: &mut Vec<Diagnostic>,
) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    for def in unique(&ast.users, "user", diags) {
        let mut user = make(&def.name, &def.body, diags);
        user.tenant = spaces.of(def.name.span.file).map(str::to_owned);
        users.push(user);
    }
    let mut names: BTreeMap<&str, &Word> = BTreeMap::new();
    let free = |def: &&&Def<GroupAst>| !spaces.is_listed(split(&def.name.v).0);
    for word in groups.iter().filter(free).flat_map(|def| &def.body.members) {
        let listed = || {
            users
                .binary_search_by(|user| user.name.cmp(&word.v))
                .is_ok()
        };
        if !word.v.starts_with('@') && !listed() {
            names.entry(&word.v).or_insert(word);
        }
    }
    let blank = UserAst::default();
    let (fine, bad): (Vec<&Word>, Vec<&Word>) = names
        .into_values()
        .partition(|word| crate::syntax::is_name(&word.v));
    diags.extend(bad.into_iter().map(bad_user_name));
    users.extend(fine.into_iter().map(|word| make(word, &blank, diags)));
    users.sort_by(|a, b| a.name.cmp(&b.name));
    users
}

fn make(name: &Word, ast: &UserAst, diags: &mut Vec<Diagnostic>) -> User {
    if RESERVED.contains(&name.v.as_str()) {
        diags.push(
            Diagnostic::error(
                "reserved",
                name.span,
                format!("`{}` has a meaning of its own and cannot be a user", name.v),
            )
            .help("choose another name"),
        );
    }
    let text = |word: &Option<Word>| word.as_ref().map(|word| word.v.to_string());
    User {
        name: name.v.clone(),
        display: text(&ast.display),
        mail: text(&ast.mail),
        language: text(&ast.language),
        disabled: ast.disabled,
        attributes: ast
            .attributes
            .iter()
            .map(|def| (def.name.v.to_string(), def.body.v.to_string()))
            .collect(),
        groups: Vec::new(),
        tenant: None,
    }
}

fn bad_user_name(word: &Word) -> Diagnostic {
    Diagnostic::error(
        "bad-name",
        word.span,
        format!("`{}` is not a name for a user", show(&word.v)),
    )
    .help("a name is up to 64 of a-z 0-9 . _ - and begins with a letter or digit")
}

fn unknown_group(word: &Word, defs: &[&Def<GroupAst>]) -> Diagnostic {
    let names: Vec<String> = defs.iter().map(|def| format!("@{}", def.name.v)).collect();
    unknown(word, "group", names.iter().map(String::as_str))
}

fn unknown_user(word: &Word, users: &[User], groups: &[&Def<GroupAst>]) -> Diagnostic {
    if groups.iter().any(|def| def.name.v == word.v) {
        return unknown(word, "user", [""]).meant(Some(Meant::group(&word.v)));
    }
    unknown(word, "user", users.iter().map(|user| user.name.as_str()))
}

/// Groups in an order in which each stands behind those it holds; none for cycles and deep nesting.
fn children_first(
    nested: &[Vec<u32>],
    defs: &[&Def<GroupAst>],
    diags: &mut Vec<Diagnostic>,
) -> Option<Vec<usize>> {
    let mut holders: Vec<Vec<usize>> = vec![Vec::new(); nested.len()];
    let mut open: Vec<usize> = Vec::with_capacity(nested.len());
    for (ix, children) in nested.iter().enumerate() {
        open.push(children.len());
        for &child in children {
            if let Some(list) = holders.get_mut(child as usize) {
                list.push(ix);
            }
        }
    }
    let mut level = vec![1usize; nested.len()];
    let mut order: Vec<usize> = (0..nested.len())
        .filter(|&ix| open.get(ix) == Some(&0))
        .collect();
    let mut at = 0;
    while let Some(&done) = order.get(at) {
        at += 1;
        let above = level.get(done).copied().unwrap_or(1) + 1;
        for &holder in holders.get(done).into_iter().flatten() {
            if let (Some(count), Some(depth)) = (open.get_mut(holder), level.get_mut(holder)) {
                *count -= 1;
                *depth = above.max(*depth);
                if *count == 0 {
                    order.push(holder);
                }
            }
        }
    }
    let left: BTreeSet<usize> = (0..nested.len())
        .filter(|&ix| open.get(ix).is_some_and(|&count| count > 0))
        .collect();
    diags.extend(cycle(&left, nested, defs));
    let deep = level.iter().position(|&depth| depth > MAX_DEPTH);
    if let Some(def) = deep.and_then(|ix| defs.get(ix)) {
        diags.push(
            Diagnostic::error(
                "limit",
                def.name.span,
                format!(
                    "@{} nests groups more than {MAX_DEPTH} levels deep",
                    def.name.v
                ),
            )
            .help("name the people nearer to the top"),
        );
    }
    (left.is_empty() && deep.is_none()).then_some(order)
}

/// Walks from a group left over by the sort to a group it holds until one comes twice.
fn cycle(
    left: &BTreeSet<usize>,
    nested: &[Vec<u32>],
    defs: &[&Def<GroupAst>],
) -> Option<Diagnostic> {
    let mut trail: Vec<usize> = vec![*left.first()?];
    loop {
        let held = nested.get(*trail.last()?)?;
        let next = held
            .iter()
            .map(|&ix| ix as usize)
            .find(|ix| left.contains(ix))?;
        if let Some(from) = trail.iter().position(|&ix| ix == next) {
            trail.push(next);
            let ring = trail.get(from..)?;
            let names: Vec<String> = ring
                .iter()
                .filter_map(|&ix| Some(format!("@{}", defs.get(ix)?.name.v)))
                .collect();
            let title = format!("group cycle: {}", names.join(" holds "));
            return Some(
                Diagnostic::error("group-cycle", defs.get(next)?.name.span, title)
                    .help("take one of them out"),
            );
        }
        trail.push(next);
    }
}

/// Members through nesting, and for each group those it lies within.
fn close(groups: &mut [Group], nested: &[Vec<u32>], order: &[usize]) {
    for &ix in order {
        let mut all: BTreeSet<u32> = BTreeSet::new();
        for &child in nested.get(ix).into_iter().flatten() {
            all.extend(groups.get(child as usize).iter().flat_map(|g| &g.members));
        }
        if let Some(group) = groups.get_mut(ix) {
            all.extend(&group.members);
            group.members = all.into_iter().collect();
        }
    }
    for &ix in order.iter().rev() {
        let own = u32::try_from(ix).unwrap_or(u32::MAX);
        let mut within: BTreeSet<u32> = [own].into();
        if let Some(group) = groups.get_mut(ix) {
            within.extend(&group.within);
            group.within = within.iter().copied().collect();
        }
        for &child in nested.get(ix).into_iter().flatten() {
            if let Some(group) = groups.get_mut(child as usize) {
                group.within.extend(&within);
            }
        }
    }
}

fn warn_empty(defs: &[&Def<GroupAst>], groups: &[Group], diags: &mut Vec<Diagnostic>) {
    for (def, group) in defs.iter().zip(groups) {
        if group.members.is_empty() && !def.body.optional {
            diags.push(
                Diagnostic::warning(
                    "empty-group",
                    def.name.span,
                    format!("nobody is in @{}", show(&def.name.v)),
                )
                .help("if it may be empty, move it to [group-optional]"),
            );
        }
    }
}
