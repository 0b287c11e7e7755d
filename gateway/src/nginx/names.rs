//! What a configuration names in one place and uses in others: zones of rates, groups of upstreams, caches.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Ledger;
use super::measure;
use super::pass::Group;
use super::tree::Directive;

/// How often requests of one zone may come; `None` where it counts something else than addresses.
pub(super) type Rate = Option<(u32, char)>;

/// Everything that has a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) rates: BTreeMap<String, Rate>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) caches: BTreeSet<String>,
    /// Variables that a map makes of `$http_upgrade`.
    pub(super) upgrades: BTreeSet<String>,
}

impl Names {
    /// Collects the names, wherever they stand.
    pub(super) fn collect(
        &mut self,
        directives: &[Directive],
        in_server: bool,
        ledger: &mut Ledger,
    ) {
        for d in directives {
            match (d.name.as_str(), d.block.is_some()) {
                ("limit_req_zone", false) => self.rate(d, in_server, ledger),
                ("upstream", true) => {
                    let group = Group::read(d, ledger);
                    self.groups.insert(d.arg(0).to_owned(), group);
                }
                ("proxy_cache_path", false) => {
                    let zone = option(d, "keys_zone").and_then(|z| z.split(':').next());
                    self.caches.extend(zone.map(str::to_owned));
                    let says = "answers are kept in memory, within the bounds of [http] in postern.toml; nothing of them is on disk";
                    ledger.differs(d, says);
                }
                ("map", true) => self.map(d, ledger),
                (name, true) => self.collect(d.children(), in_server || name == "server", ledger),
                (_, false) => {}
            }
        }
    }

    fn rate(&mut self, d: &Directive, in_server: bool, ledger: &mut Ledger) {
        let zone = option(d, "zone").and_then(|zone| zone.split(':').next());
        let rate = option(d, "rate").and_then(measure::rate);
        let (Some(zone), Some((count, unit))) = (zone, rate) else {
            return ledger.unknown(d, "no zone and rate such as zone=login:10m rate=5r/m");
        };
        let of_address = matches!(d.arg(0), "$binary_remote_addr" | "$remote_addr");
        self.rates
            .insert(zone.to_owned(), of_address.then_some((count, unit)));
        if !of_address {
            let says = "a rate counts people, and strangers by their address; nothing else";
            return ledger.unknown(d, says);
        }
        let outside = if in_server {
            "; nginx itself refuses it within a server, here it is read as if it stood outside"
        } else {
            ""
        };
        ledger.carried(d, format!("a tier of {count}/{unit} in [rate] where a limit_req names it, counted by person, strangers by address{outside}"));
    }

    fn map(&mut self, d: &Directive, ledger: &mut Ledger) {
        if d.arg(0) != "$http_upgrade" {
            ledger.within(
                d,
                super::Verdict::NotUnderstood,
                "in a map that is not understood",
            );
            return ledger.unknown(d, "no values are made of others");
        }
        self.upgrades.insert(d.arg(1).to_owned());
        let says = "an upgrade is passed on where the area allows a WebSocket";
        ledger.within(d, super::Verdict::Done, says);
        ledger.done(d, says);
    }
}

/// The value of `NAME=value` among a directive's words.
pub(super) fn option<'a>(d: &'a Directive, name: &str) -> Option<&'a str> {
    let mut words = d.args.iter();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}
