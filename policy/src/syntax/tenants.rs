//! The sections `[tenant.*]` and `[zone-file]`.

use super::keys;
use super::read::Reader;
use super::tree::Entry;
use super::{Def, TenantAst, Word};
use crate::diag::{Diagnostic, show};

/// Names that would be read as something else in front of a `/`.
const RESERVED: [&str; 2] = ["root", "admin"];

pub(super) fn tenants(r: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<Def<TenantAst>> {
    let defs = r.named(entry, "tenant", tenant);
    for def in &defs {
        let name = def.name.v.as_str();
        let help = if name.contains('.') {
            "the name of a tenant has no dots: write a-b instead of a.b"
        } else if RESERVED.contains(&name) {
            "choose another name"
        } else {
            continue;
        };
        let title = format!("`{}` cannot be the name of a tenant", show(name));
        r.push(Diagnostic::error("reserved", def.name.span, title).help(help));
    }
    defs
}

fn tenant(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<TenantAst> {
    let table = r.table(entry)?;
    let place = format!("[tenant.{}]", show(entry.key));
    let mut tenant = TenantAst::default();
    for e in table.entries() {
        match e.key {
            "dir" => tenant.dir = r.string(&e),
            "domains" => tenant.domains = r.strings(&e),
            "quota" => quota(r, &e, &mut tenant),
            _ => r.stray_key(&e, keys::TENANT, &place),
        }
    }
    let example = format!("\"tenants/{}\"", show(entry.key));
    r.require(table, entry.span, &place, "dir", &example);
    r.require(table, entry.span, &place, "domains", "[\"acme.example\"]");
    Some(tenant)
}

fn quota(r: &mut Reader<'_>, entry: &Entry<'_>, tenant: &mut TenantAst) {
    let Some(table) = r.table(entry) else { return };
    for e in table.entries() {
        match e.key {
            "apps" => tenant.apps = r.integer(&e),
            "allows" => tenant.allows = r.integer(&e),
            _ => r.stray_key(&e, keys::QUOTA, "`quota` of a tenant"),
        }
    }
}

pub(super) fn zone_files(r: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<Def<Word>> {
    r.named(entry, "zone", |r, e| r.string(e))
}
