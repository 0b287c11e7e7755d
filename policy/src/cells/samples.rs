//! One target for each place, so that a table over a policy can leave none out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use super::places::{corners, id_of, sample, witnesses};
use crate::compile::Policy;
use crate::ir::{App, Proto};
use crate::resolve::invariants::Place;

/// A question that leads to one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Sample {
    /// The place, such as `app.paie/admin`.
    pub resource: String,
    /// What to ask for, as in [`crate::QueryText::to`].
    pub to: String,
}

impl Policy {
    /// One question for each host of each area in force, for each net in force, and for `admin` when it has rules;
    /// sorted by place. Where a star stands, a label or segment is taken that no file names.
    pub fn samples(&self) -> Vec<Sample> {
        let mut out: BTreeSet<Sample> = BTreeSet::new();
        for (app, ix) in self.ir.apps.iter().zip(0u32..) {
            out.extend(self.sample_areas(app, ix));
        }
        let (ips, ports) = corners(&[self]);
        for (_, ix) in self.ir.nets.iter().zip(0u32..) {
            let mut all = ips
                .iter()
                .flat_map(|ip| ports.iter().map(move |port| (*ip, *port)));
            let found =
                all.find(|&(ip, (proto, port))| self.net_table.find(ip, port, proto) == Some(ix));
            out.extend(found.map(|(ip, (proto, port))| Sample {
                resource: id_of(self, Place::Net(ix)),
                to: flow(ip, port, proto),
            }));
        }
        if !self.ir.admin.is_empty() {
            out.insert(Sample {
                resource: "admin".to_owned(),
                to: "admin".to_owned(),
            });
        }
        out.into_iter().collect()
    }

    fn sample_areas(&self, app: &App, ix: u32) -> Vec<Sample> {
        let Some(rules) = self.app_rules.get(ix as usize) else {
            return Vec::new();
        };
        let lengths = app.areas.iter().map(|area| area.pattern.segs.len());
        let deepest = lengths.max().unwrap_or(0);
        let mut out = Vec::new();
        for (area, at) in app.areas.iter().zip(0u32..) {
            let paths = witnesses(&area.pattern, deepest, false);
            let inside =
                |(path, _): &(String, _)| self.trees.find_text(rules.tree, path) == Some(at);
            let Some((path, _)) = paths.into_iter().find(inside) else {
                continue;
            };
            let hosts = app.hosts.iter();
            let hosts = hosts.filter(|host| self.hosts.find(&sample(host)) == Some(ix));
            out.extend(hosts.map(|host| Sample {
                resource: id_of(self, Place::Area(ix, at)),
                to: format!("https://{}{path}", sample(host)),
            }));
        }
        out
    }
}

fn flow(ip: IpAddr, port: u16, proto: Proto) -> String {
    let host = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    match proto {
        Proto::Tcp => format!("tcp://{host}:{port}"),
        Proto::Udp => format!("udp://{host}:{port}"),
        Proto::Icmp => format!("icmp://{ip}"),
    }
}
