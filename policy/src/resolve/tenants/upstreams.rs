//! Where tenants' apps may send requests: not to the gateway's own machine, and not where others' apps stand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::split;
use crate::diag::{Diagnostic, show};
use crate::resolve::values::upstream;
use crate::source::Span;
use crate::syntax::{Ast, Word};

/// Checks the upstreams of all tenants' apps.
pub(super) fn check(ast: &Ast, diags: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<(String, u16), (Option<&str>, Span)> = BTreeMap::new();
    let apps = || {
        ast.apps.iter().filter_map(|def| {
            let word = def.body.upstream.as_ref()?;
            Some((split(&def.name.v).0, word))
        })
    };
    // the root's first, then the tenants' in the order of their files: the later one is at fault
    let root = apps().filter(|(owner, _)| owner.is_none());
    for (owner, word) in root.chain(apps().filter(|(owner, _)| owner.is_some())) {
        // one that is none is refused where apps are read
        let Some(at) = upstream(&word.v) else {
            continue;
        };
        if owner.is_some() && is_near(&at.host) {
            diags.push(near(word));
        }
        let (other, span) = *taken
            .entry((at.host, at.port))
            .or_insert((owner, word.span));
        if other != owner {
            diags.push(shared(word, other, span));
        }
    }
}

/// Whether it is the gateway's own machine or what only its own link reaches, such as a cloud's metadata service.
fn is_near(host: &str) -> bool {
    let Ok(ip) = host.parse::<IpAddr>() else {
        return host == "localhost" || host.ends_with(".localhost");
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.octets().starts_with(&[0]),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local(),
    }
}

fn near(word: &Word) -> Diagnostic {
    let title = format!(
        "`{}` is on the gateway's own machine or link",
        show(&word.v)
    );
    Diagnostic::error("upstream-of-gateway", word.span, title)
        .help("write the address of the tenant's own server")
}

fn shared(word: &Word, other: Option<&str>, span: Span) -> Diagnostic {
    let whose = other.map_or_else(|| "the root".to_owned(), |name| format!("tenant {name}"));
    let title = format!("`{}` is an upstream of {whose} too", show(&word.v));
    Diagnostic::error("upstream-of-others", word.span, title)
        .related(span, "theirs")
        .help("an app behind two owners' rules is open to both; write the address of the tenant's own server")
}
