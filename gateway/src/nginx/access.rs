//! Who may come from where: `allow` and `deny`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ledger::Ledger;
use super::tree::Directive;

/// From where people may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    Everywhere,
    /// Sorted networks.
    Networks(Vec<IpNet>),
    Nowhere,
}

/// Reads the lines of one block; `None` where it has none. `Err` is a place of what is not understood.
pub(super) fn read(block: &[Directive], ledger: &mut Ledger) -> Option<Result<From, String>> {
    let own = |d: &&Directive| matches!(d.name.as_str(), "allow" | "deny");
    let lines: Vec<&Directive> = block.iter().filter(own).collect();
    let first = lines.first()?;
    let mut networks = Vec::new();
    let mut last = None;
    for d in &lines {
        let next = match (d.name.as_str(), d.arg(0)) {
            ("allow", "all") => Some(From::Everywhere),
            ("deny", "all") => Some(From::Nowhere),
            ("allow", text) => network(text).map(|net| {
                networks.push(net);
                From::Networks(Vec::new())
            }),
            _ => None,
        };
        // what follows `all` is never reached, and a network that is kept out has no place in a zone
        let ended = matches!(last, Some(From::Everywhere | From::Nowhere));
        match next.filter(|_| !ended) {
            Some(next) => last = Some(next),
            None => {
                for d in &lines {
                    let says = "only networks that may come in, then `deny all`, are carried over; write the rest as zones and [deny.NAME]";
                    ledger.unknown(d, says);
                }
                return Some(Err(first.place()));
            }
        }
    }
    networks.sort_unstable();
    networks.dedup();
    let found = match last {
        Some(From::Nowhere) if networks.is_empty() => From::Nowhere,
        Some(From::Nowhere) => From::Networks(networks),
        Some(From::Everywhere | From::Networks(_)) | None => From::Everywhere,
    };
    for d in &lines {
        match &found {
            From::Everywhere => ledger.done(
                d,
                "no zone is named: from everywhere, for whom the group names",
            ),
            From::Networks(_) => ledger.carried(d, "a zone, named by `from` of the rule"),
            From::Nowhere => ledger.carried(d, "no rule: nobody may go there"),
        }
    }
    Some(Ok(found))
}

fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let net = text.parse::<IpNet>().ok().or_else(address)?;
    Some(net.trunc())
}
