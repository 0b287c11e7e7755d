//! Names to indexes, defaults written out, everything sorted: the tree becomes an [`Ir`].

mod access;
mod dns;
mod front;
mod headers;
mod held;
pub(crate) mod invariants;
mod lists;
mod parts;
mod people;
mod places;
mod resource;
mod schedules;
mod sessions;
mod settings;
pub(crate) mod tenants;
mod tunnel;
pub(crate) mod values;

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Meant, Severity, show};
use crate::headers::HeaderSet;
use crate::ir::{Defaults, Group, Ir, RateDef, Schedule, User, Zone};
use crate::query::Names;
use crate::source::Sources;
use crate::syntax::{Ast, Def, Part, Word};
use crate::testrun;
use held::Held;
use invariants::Invariant;
pub(crate) use places::cidrs;
use tenants::Spaces;
pub use tenants::{Wanted, cut_area, wanted};

/// Resolves a tree. Findings are added to `diags`; an error among them means there is no policy.
/// Names of tenants' files are written out in full in the tree.
/// The apps of `parts` join those of the tree; where that fails, the files must be read whole.
pub(crate) fn resolve(
    ast: &mut Ast,
    parts: &[Part],
    sources: &Sources,
    diags: &mut Vec<Diagnostic>,
) -> Option<(Ir, Vec<Invariant>)> {
    let spaces = tenants::settle(ast, sources, diags)?;
    let kept = diags.len();
    lists::read(ast, &spaces.tenants, sources, diags);
    let resolved = settled(ast, (parts, sources), &spaces, diags);
    spaces.drop_repeats(diags, kept);
    resolved
}

fn settled(
    ast: &mut Ast,
    (parts, sources): (&[Part], &Sources),
    spaces: &Spaces,
    diags: &mut Vec<Diagnostic>,
) -> Option<(Ir, Vec<Invariant>)> {
    let people = people::resolve(ast, spaces, diags);
    let zones = places::zones(&ast.zones, diags);
    let zone_groups = places::zone_groups(&ast.zone_groups, &zones, diags);
    let schedules = schedules::schedules(&ast.schedules, diags);
    let rates = settings::rates(&ast.rates, diags);
    let header_sets = headers::sets(&ast.headers, diags);
    let defaults = settings::defaults(&ast.default, &rates, &header_sets, diags);
    let (own, defaults) = (&defaults.tenants, defaults.root);
    let sign_in = settings::tunnel(&ast.tunnel, diags);
    let mut cx = Cx {
        users: &people.users,
        groups: &people.groups,
        zones: &zones,
        zone_groups: &zone_groups,
        schedules: &schedules,
        rates: &rates,
        header_sets: &header_sets,
        defaults: &defaults,
        tenants: own,
        allows: 0,
        held: Held::default(),
        diags,
    };
    // the largest part of the tree goes as it is read
    let apps = resource::apps(&mut cx, std::mem::take(&mut ast.apps));
    let apps = parts::join(&mut cx, apps, parts, sources)?;
    let nets = resource::nets(&mut cx, &ast.nets);
    let admin = resource::admin(&mut cx, &ast.admin);
    let guards = access::guards(&mut cx, &ast.guards, &apps, &nets);
    let (reprove, headless) = tunnel::resolve(&mut cx, &ast.tunnel, &nets);
    let dns = dns::resolve(&ast.tunnel, cx.diags);
    let invariants = invariants::invariants(&mut cx, &ast.invariants, &apps, &nets);
    testrun::check(cx.names(), &ast.tests, cx.diags);
    if diags.iter().any(|d| d.severity == Severity::Error) {
        return None;
    }
    let ir = Ir {
        users: people.users,
        groups: people.groups,
        zones,
        schedules,
        rates,
        header_sets,
        defaults,
        sign_in,
        reprove,
        headless,
        dns,
        apps,
        nets,
        guards,
        admin,
        tenants: spaces.resolved(),
    };
    Some((ir, invariants))
}

/// Most rules of one policy.
const MAX_ALLOWS: usize = 200_000;

/// What rules are resolved against.
struct Cx<'a> {
    users: &'a [User],
    groups: &'a [Group],
    zones: &'a [Zone],
    zone_groups: &'a BTreeMap<String, Vec<u32>>,
    schedules: &'a [Schedule],
    rates: &'a [RateDef],
    header_sets: &'a [HeaderSet],
    defaults: &'a Defaults,
    /// Those of tenants that have their own.
    tenants: &'a BTreeMap<String, Defaults>,
    /// Rules seen, for the limit.
    allows: usize,
    held: Held,
    diags: &'a mut Vec<Diagnostic>,
}

impl<'a> Cx<'a> {
    /// What a question may name.
    fn names(&self) -> Names<'a> {
        Names {
            users: self.users,
            groups: self.groups,
            zones: self.zones,
            schedules: self.schedules,
        }
    }

    /// The same names for another thread, which notes findings on its own.
    fn fork<'b>(&'b self, diags: &'b mut Vec<Diagnostic>) -> Cx<'b> {
        Cx {
            users: self.users,
            groups: self.groups,
            zones: self.zones,
            zone_groups: self.zone_groups,
            schedules: self.schedules,
            rates: self.rates,
            header_sets: self.header_sets,
            defaults: self.defaults,
            tenants: self.tenants,
            allows: 0,
            held: Held::default(),
            diags,
        }
    }
}

/// Sorts definitions by name and refuses a name defined twice.
fn unique<'a, T>(defs: &'a [Def<T>], kind: &str, diags: &mut Vec<Diagnostic>) -> Vec<&'a Def<T>> {
    let mut sorted: Vec<&Def<T>> = defs.iter().collect();
    sorted.sort_by(|a, b| a.name.v.cmp(&b.name.v));
    sorted.dedup_by(|def, first| is_second(&def.name, &first.name, kind, diags));
    sorted
}

/// Like [`unique`], for definitions that nobody else needs.
fn unique_own<T>(mut defs: Vec<Def<T>>, kind: &str, diags: &mut Vec<Diagnostic>) -> Vec<Def<T>> {
    defs.sort_by_cached_key(|def| def.name.v.clone());
    defs.dedup_by(|def, first| is_second(&def.name, &first.name, kind, diags));
    defs
}

/// Whether a name is defined before, which is reported.
fn is_second(name: &Word, first: &Word, kind: &str, diags: &mut Vec<Diagnostic>) -> bool {
    let second = name.v == first.v;
    if second {
        diags.push(
            Diagnostic::error(
                "defined-twice",
                name.span,
                format!("{kind} `{}` is defined twice", show(&name.v)),
            )
            .label("second definition")
            .related(first.span, "first definition")
            .help("a name is defined in exactly one place; join the two"),
        );
    }
    second
}

/// Says that a name does not resolve.
fn unknown(word: &Word, kind: &str, names: impl IntoIterator<Item: AsRef<str>>) -> Diagnostic {
    Diagnostic::error(
        "unknown-name",
        word.span,
        format!("unknown {kind} `{}`", show(&word.v)),
    )
    .label(format!("no such {kind}"))
    .meant(Meant::near(&word.v, names))
}

/// Refuses an empty list, which would otherwise mean never or always depending on the reader.
fn empty_list(span: crate::source::Span, key: &str) -> Diagnostic {
    Diagnostic::error("empty-list", span, format!("`{key}` is an empty list"))
        .help(format!("name at least one, or leave `{key}` out"))
}

fn limit(kind: &str, found: usize, most: usize, word: &Word) -> Option<Diagnostic> {
    (found > most).then(|| {
        Diagnostic::error(
            "limit",
            word.span,
            format!("{found} {kind}, the limit is {most}"),
        )
    })
}
