//! Where tenants' apps may send requests: not to the gateway's own machine, and not where others' apps stand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::split;
use crate::diag::{Diagnostic, show};
use crate::ir::At;
use crate::source::Span;
use crate::syntax::{Ast, FrontAst, Sp};

/// Checks the upstreams of all tenants' apps.
pub(super) fn check(ast: &Ast, diags: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<&At, (Option<&str>, Span)> = BTreeMap::new();
    let apps = || {
        ast.apps.iter().flat_map(|def| {
            let owner = split(&def.name.v).0;
            let areas = def.body.areas.iter().map(|area| &area.body);
            let areas = areas.chain([&def.body.root]);
            let fronts = areas.filter_map(|area| area.front.as_deref());
            fronts.map(move |front| (owner, front))
        })
    };
    for (_, front) in apps().filter(|(owner, _)| owner.is_some()) {
        diags.extend(front.local.iter().map(|span| local(*span)));
    }
    // the root's first, then the tenants' in the order of their files: the later one is at fault
    let root = apps()
        .filter(|(owner, _)| owner.is_none())
        .flat_map(members);
    let tenants = apps()
        .filter(|(owner, _)| owner.is_some())
        .flat_map(members);
    for (owner, at) in root.chain(tenants) {
        if owner.is_some() && is_near(at.v) {
            diags.push(near(&at));
        }
        let (other, span) = *taken.entry(at.v).or_insert((owner, at.span));
        if other != owner {
            diags.push(shared(&at, other, span));
        }
    }
}

type Owned<'a> = (Option<&'a str>, Sp<&'a At>);

fn members<'a>((owner, front): (Option<&'a str>, &'a FrontAst)) -> Vec<Owned<'a>> {
    let members = front.members.iter();
    let at = |m: &'a Sp<crate::front::Member>| Sp {
        v: &m.v.to.at,
        span: m.span,
    };
    members.map(|m| (owner, at(m))).collect()
}

/// Whether it is the gateway's own machine or what only its own link reaches, such as a cloud's metadata service.
fn is_near(at: &At) -> bool {
    let At::Net(host, _) = at else { return false };
    let Ok(ip) = host.parse::<IpAddr>() else {
        return host == "localhost" || host.ends_with(".localhost");
    };
    crate::front::is_near(ip)
}

fn written(at: &At) -> String {
    match at {
        At::Net(host, port) if host.contains(':') => format!("[{}]:{port}", show(host)),
        At::Net(host, port) => format!("{}:{port}", show(host)),
        At::Unix(path) => show(path),
    }
}

fn near(at: &Sp<&At>) -> Diagnostic {
    let title = format!(
        "`{}` is on the gateway's own machine or link",
        written(at.v)
    );
    Diagnostic::error("upstream-of-gateway", at.span, title)
        .help("write the address of the tenant's own server")
}

fn local(span: Span) -> Diagnostic {
    let title = "a tenant's app names a file or socket of the gateway's own machine";
    Diagnostic::error("upstream-of-gateway", span, title)
        .help("files and sockets are for apps of the root's files")
}

fn shared(at: &Sp<&At>, other: Option<&str>, span: Span) -> Diagnostic {
    let whose = other.map_or_else(|| "the root".to_owned(), |name| format!("tenant {name}"));
    let title = format!("`{}` is an upstream of {whose} too", written(at.v));
    Diagnostic::error("upstream-of-others", at.span, title)
        .related(span, "theirs")
        .help("an app behind two owners' rules is open to both; write the address of the tenant's own server")
}
