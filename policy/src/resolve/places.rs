//! `[zone]` and CIDR lists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::settings::bad;
use super::tenants::split;
use super::{empty_list, limit, unique};
use crate::diag::{Diagnostic, show};
use crate::ir::Zone;
use crate::source::Span;
use crate::syntax::{Def, Word};

/// Most zones of one policy, built-in ones included.
const MAX_ZONES: usize = 65_536;

/// The built-in zones, then the named ones sorted.
pub(super) fn zones(defs: &[Def<Vec<Word>>], diags: &mut Vec<Diagnostic>) -> Vec<Zone> {
    let mut zones: Vec<Zone> = ["tunnel", "internet"]
        .map(|name| Zone {
            name: name.to_owned(),
            nets: Vec::new(),
            span: Span::default(),
        })
        .into();
    let defs = unique(defs, "zone", diags);
    let owners = defs.iter().filter_map(|def| split(&def.name.v).0);
    for tenant in owners.collect::<BTreeSet<&str>>() {
        zones.push(Zone {
            name: format!("{tenant}/internet"),
            nets: Vec::new(),
            span: Span::default(),
        });
    }
    for def in defs {
        if matches!(split(&def.name.v).1, "tunnel" | "internet") {
            diags.push(
                Diagnostic::error(
                    "reserved",
                    def.name.span,
                    format!("zone `{}` is built in", def.name.v),
                )
                .help("choose another name"),
            );
            continue;
        }
        if def.body.is_empty() {
            diags.push(empty_list(def.name.span, &show(&def.name.v)));
        }
        zones.push(Zone {
            name: def.name.v.to_string(),
            nets: cidrs(&def.body, diags),
            span: def.name.span,
        });
        diags.extend(limit("zones", zones.len(), MAX_ZONES, &def.name));
    }
    if let Some(named) = zones.get_mut(2..) {
        named.sort_by(|a, b| a.name.cmp(&b.name));
    }
    zones
}

/// Groups of zones by name, as sorted zones.
pub(super) fn zone_groups(
    defs: &[Def<Vec<Word>>],
    zones: &[Zone],
    diags: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Vec<u32>> {
    let mut out = BTreeMap::new();
    for def in unique(defs, "group of zones", diags) {
        if zones.iter().any(|zone| def.name.v == zone.name.as_str()) {
            diags.push(
                Diagnostic::error(
                    "defined-twice",
                    def.name.span,
                    format!("`{}` is a zone and a group of zones", show(&def.name.v)),
                )
                .help("choose another name for one of them"),
            );
        }
        if def.body.is_empty() {
            diags.push(empty_list(def.name.span, &show(&def.name.v)));
        }
        let mut members = Vec::new();
        for word in &def.body {
            match zones.iter().position(|zone| word.v == zone.name.as_str()) {
                Some(ix) => members.extend(u32::try_from(ix).ok()),
                None => {
                    let names = zones.iter().map(|zone| zone.name.as_str());
                    diags.push(super::unknown(word, "zone", names));
                }
            }
        }
        members.sort_unstable();
        members.dedup();
        out.insert(def.name.v.to_string(), members);
    }
    out
}

/// Reads networks or single addresses, sorted, each once.
pub(crate) fn cidrs(words: &[Word], diags: &mut Vec<Diagnostic>) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> = words.iter().filter_map(|word| cidr(word, diags)).collect();
    nets.sort_unstable();
    nets.dedup();
    nets
}

/// Whether a text is a network or an address, with or without bits behind the prefix.
pub(super) fn is_network(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok()
}

fn cidr(word: &Word, diags: &mut Vec<Diagnostic>) -> Option<IpNet> {
    let text = word.v.as_str();
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => match text.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => {
                diags.push(
                    bad(word, "a network")
                        .help("write 192.168.1.0/24, 2001:db8::/32 or one address"),
                );
                return None;
            }
        },
    };
    if mapped(net) {
        diags.push(
            bad(word, "a network that can match")
                .help("an IPv4 address inside IPv6 is read as IPv4: write it as IPv4"),
        );
        return None;
    }
    if net.trunc() != net {
        diags.push(
            Diagnostic::error(
                "host-bits",
                word.span,
                format!("`{}` has bits behind its prefix", show(text)),
            )
            .help(format!(
                "the network is {}; one host is {}",
                net.trunc(),
                net.addr()
            )),
        );
        return None;
    }
    Some(net)
}

fn mapped(net: IpNet) -> bool {
    match net {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().is_some(),
        IpNet::V4(_) => false,
    }
}
