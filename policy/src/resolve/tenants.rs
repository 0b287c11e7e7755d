//! Tenants: which files are whose, and the names of their files written out in full.
//!
//! After [`settle`] every name is unique over all files: a tenant's is `acme/gestion`, the root's stands alone, so
//! that what follows resolves names without knowing whose they are.

mod claims;
mod domains;
mod misplaced;
mod names;
mod people;
mod root;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::{Diagnostic, Severity};
use crate::ir::Host;
use crate::source::{FileId, Sources, Span};
use crate::syntax::{Ast, Sp, Word};
pub use claims::{Wanted, wanted};
pub(super) use claims::{list_path, lists_sound};

/// The group of all whom a tenant's files name.
pub(crate) const EVERYBODY: &str = "any-user";

/// One tenant as the root files say.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) name: Word,
    /// Folder below the policy folder.
    pub(crate) dir: String,
    pub(crate) domains: Vec<(Host, Span)>,
    pub(crate) apps: Option<Sp<u64>>,
    pub(crate) allows: Option<Sp<u64>>,
}

/// Whose each file is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spaces {
    /// Sorted by name.
    pub(crate) tenants: Vec<Tenant>,
    /// For files of tenants, the tenant's position.
    files: BTreeMap<FileId, usize>,
    /// Who has a users.toml: the root is `None`.
    listed: BTreeSet<Option<usize>>,
    /// References already reported as unknown.
    reported: BTreeSet<Span>,
}

impl Spaces {
    /// The tenant a file belongs to; `None` is the root.
    pub(crate) fn of(&self, file: FileId) -> Option<&str> {
        let tenant = self.tenants.get(self.position(file)?)?;
        Some(&tenant.name.v)
    }

    /// Whether a tenant, or the root, has a users.toml of its own.
    pub(crate) fn has_list(&self, space: Option<&str>) -> bool {
        self.listed.contains(&self.find(space))
    }

    /// Whether a users.toml says who exists for the files of a tenant or the root: its own or the root's.
    pub(crate) fn is_listed(&self, space: Option<&str>) -> bool {
        self.has_list(space) || self.listed.contains(&None)
    }

    /// Drops what later steps said about references that are reported already; the first `kept` findings stay.
    pub(crate) fn drop_repeats(&self, diags: &mut Vec<Diagnostic>, kept: usize) {
        let mut at = 0;
        diags.retain(|diag| {
            at += 1;
            let again = ["unknown-name", "bad-test"].contains(&diag.code);
            at <= kept || !again || !self.reported.contains(&diag.span)
        });
    }

    /// The tenants as the resolved policy keeps them.
    pub(crate) fn resolved(&self) -> Vec<crate::ir::Tenant> {
        let tenants = self.tenants.iter();
        tenants
            .map(|tenant| crate::ir::Tenant {
                name: tenant.name.v.to_string(),
                domains: tenant
                    .domains
                    .iter()
                    .map(|(host, _)| host.clone())
                    .collect(),
                apps: tenant.apps.as_ref().map(|count| count.v),
                allows: tenant.allows.as_ref().map(|count| count.v),
            })
            .collect()
    }

    fn position(&self, file: FileId) -> Option<usize> {
        self.files.get(&file).copied()
    }

    fn find(&self, space: Option<&str>) -> Option<usize> {
        let name = space?;
        self.tenants.iter().position(|t| t.name.v == name)
    }

    fn is_tenant(&self, name: &str) -> bool {
        self.find(Some(name)).is_some()
    }
}

/// The tenant in front of a full name such as `acme/gestion`, and the rest.
pub(crate) fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((tenant, rest)) => (Some(tenant), rest),
        None => (None, name),
    }
}

/// The id of a thing by its full name: `app.portail`, or `acme/app.portail` for a tenant's.
pub(crate) fn id(kind: &str, name: &str) -> String {
    match split(name) {
        (Some(tenant), rest) => [tenant, "/", kind, ".", rest].concat(),
        (None, name) => [kind, ".", name].concat(),
    }
}

/// The tenant whose thing an id such as `acme/app.portail/admin` names; `None` is the root.
pub(crate) fn owner(id: &str) -> Option<&str> {
    let (first, rest) = id.split_once('/')?;
    let glob = !first.contains('*') && rest == "*";
    let prefix =
        !first.contains('.') && (glob || ["app.", "deny."].iter().any(|k| rest.starts_with(k)));
    prefix.then_some(first)
}

/// Cuts the id of an area into that of its app and its path: `acme/app.portail` and `/admin`. Ids of nets and of the
/// console have no path.
pub fn cut_area(id: &str) -> (&str, &str) {
    let start = owner(id).map_or(0, |tenant| tenant.len() + 1);
    let rest = id.get(start..).unwrap_or_default();
    let cut = rest.find(['/', '=']).unwrap_or(rest.len());
    id.split_at_checked(start + cut).unwrap_or((id, ""))
}

/// Says whose each file is, refuses what does not belong there, and writes all names out in full. `None` when it is
/// not known whose a file is: then there is no use in looking further.
pub(crate) fn settle(
    ast: &mut Ast,
    sources: &Sources,
    diags: &mut Vec<Diagnostic>,
) -> Option<Spaces> {
    let mut spaces = claims::claim(ast, sources, diags)?;
    if spaces.tenants.is_empty() {
        return Some(spaces);
    }
    misplaced::refuse(ast, &spaces, diags);
    names::define(ast, &spaces, diags);
    let known = names::Names::new(ast, &spaces);
    names::refer(ast, &mut spaces, &known, diags);
    root::check(ast, &spaces, &known.people, diags);
    people::everybody(ast, &spaces);
    domains::check(ast, &spaces, diags);
    upstreams::check(ast, diags);
    Some(spaces)
}

pub(super) fn failed(diags: &[Diagnostic]) -> bool {
    diags.iter().any(|diag| diag.severity == Severity::Error)
}
