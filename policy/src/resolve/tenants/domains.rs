//! Domains and quotas: where a tenant's apps may stand, and how many there may be.

use std::collections::BTreeMap;

use super::{Spaces, Tenant, id, split};
use crate::canon;
use crate::diag::{Diagnostic, show};
use crate::ir::Host;
use crate::resolve::empty_list;
use crate::resolve::resource::{parse_host, refuse_host};
use crate::source::Span;
use crate::syntax::{AppAst, Ast, Def, Sp, TenantAst};

/// Reads the domains of a tenant; none may meet those of the tenants before it.
pub(super) fn read(
    def: &Def<TenantAst>,
    before: &[Tenant],
    diags: &mut Vec<Diagnostic>,
) -> Vec<(Host, Span)> {
    let Some(list) = &def.body.domains else {
        return Vec::new();
    };
    if list.v.is_empty() {
        diags.push(empty_list(list.span, "domains"));
    }
    let mut out: Vec<(Host, Span)> = Vec::new();
    for word in &list.v {
        let Ok(domain) = parse_host(&word.v) else {
            diags.push(refuse_host(word, "a domain"));
            continue;
        };
        let rivals = before.iter().flat_map(|tenant| &tenant.domains);
        if let Some((_, span)) = rivals.clone().find(|(other, _)| meet(other, &domain)) {
            diags.push(
                Diagnostic::error(
                    "domain-twice",
                    word.span,
                    format!("domain `{}` overlaps that of another tenant", show(&word.v)),
                )
                .related(*span, "the other tenant's domain")
                .help("a host belongs to one tenant; name the hosts one by one"),
            );
        }
        out.push((domain, word.span));
    }
    out
}

/// Whether some host name matches both.
fn meet(a: &Host, b: &Host) -> bool {
    match (a.wildcard, b.wildcard) {
        (true, true) | (false, false) => a.name == b.name,
        (true, false) => covers(a, b),
        (false, true) => covers(b, a),
    }
}

/// Whether every host name of `host` is one of `domain`.
fn covers(domain: &Host, host: &Host) -> bool {
    if domain.wildcard == host.wildcard {
        return domain.name == host.name;
    }
    let suffix = host.name.split_once('.').map(|(_, suffix)| suffix);
    domain.wildcard && suffix == Some(domain.name.as_str())
}

/// Whether the host that a URL without its scheme begins with lies in a tenant's domains, or is none.
pub(super) fn allows(tenant: &Tenant, rest: &str) -> bool {
    let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, _) = rest.split_at_checked(cut).unwrap_or((rest, ""));
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => authority,
    };
    let Ok(host) = canon::host(name) else {
        return true;
    };
    let host = Host {
        wildcard: false,
        name: host.as_str().to_owned(),
    };
    let mut domains = tenant.domains.iter();
    domains.any(|(domain, _)| covers(domain, &host))
}

/// Checks the hosts of all apps against the domains of all tenants, and the quotas.
pub(super) fn check(ast: &Ast, spaces: &Spaces, diags: &mut Vec<Diagnostic>) {
    for def in &ast.apps {
        let (own, _) = split(&def.name.v);
        for word in def.body.host.iter().flatten() {
            // a host that is none is refused where apps are read
            let Ok(host) = parse_host(&word.v) else {
                continue;
            };
            match own.and_then(|name| spaces.tenants.iter().find(|t| t.name.v == name)) {
                Some(tenant) => {
                    if !tenant
                        .domains
                        .iter()
                        .any(|(domain, _)| covers(domain, &host))
                    {
                        diags.push(outside(&word.v, word.span, tenant));
                    }
                }
                None => diags.extend(taken(&host, word.span, spaces)),
            }
        }
    }
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for def in &ast.apps {
        if let (Some(tenant), _) = split(&def.name.v) {
            let (apps, allows) = counts.entry(tenant).or_default();
            *apps += 1;
            *allows += rules(&def.body);
        }
    }
    for tenant in &spaces.tenants {
        let (apps, allows) = counts
            .get(tenant.name.v.as_str())
            .copied()
            .unwrap_or((0, 0));
        for (quota, found, what) in [
            (&tenant.apps, apps, "apps"),
            (&tenant.allows, allows, "rules"),
        ] {
            diags.extend(exceeded(tenant, quota.as_ref(), found, what));
        }
    }
}

fn rules(app: &AppAst) -> u64 {
    let areas = app.areas.iter().map(|area| &area.body);
    let count = areas
        .chain([&app.root])
        .map(|area| area.allows.len())
        .sum::<usize>();
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn exceeded(
    tenant: &Tenant,
    quota: Option<&Sp<u64>>,
    found: u64,
    what: &str,
) -> Option<Diagnostic> {
    let most = quota.filter(|quota| found > quota.v)?;
    let title = format!(
        "tenant {} has {found} {what}, its quota is {}",
        tenant.name.v, most.v
    );
    Some(Diagnostic::error("quota", most.span, title).help("take some out, or raise the quota"))
}

fn outside(host: &str, span: Span, tenant: &Tenant) -> Diagnostic {
    let shown = tenant
        .domains
        .iter()
        .map(|(domain, _)| match domain.wildcard {
            true => format!("*.{}", domain.name),
            false => domain.name.clone(),
        });
    let shown: Vec<String> = shown.collect();
    let title = format!(
        "host `{}` lies outside the domains of tenant {}",
        show(host),
        tenant.name.v
    );
    Diagnostic::error("outside-domains", span, title)
        .related(tenant.name.span, "the tenant")
        .help(format!("its domains are {}", shown.join(", ")))
}

/// A host of the root that a tenant could claim.
fn taken(host: &Host, span: Span, spaces: &Spaces) -> Option<Diagnostic> {
    let domains = spaces.tenants.iter().flat_map(|tenant| {
        let domains = tenant.domains.iter();
        domains.map(move |(domain, span)| (tenant, domain, span))
    });
    let (tenant, _, domain) = domains
        .into_iter()
        .find(|(_, domain, _)| meet(domain, host))?;
    let title = format!("this host lies in the domains of tenant {}", tenant.name.v);
    let apps = id("app", &format!("{}/…", tenant.name.v));
    Some(
        Diagnostic::error("in-tenant-domain", span, title)
            .related(*domain, "the tenant's domain")
            .help(format!(
                "only {apps} may answer there; move the app to its folder, or take the domain out"
            )),
    )
}
