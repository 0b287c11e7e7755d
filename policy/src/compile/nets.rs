//! Destination to net: longest prefix, then narrowest ports.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::ir::{self, Ports, Proto};

/// One prefix length of one address family.
#[derive(Debug)]
struct Level {
    v4: bool,
    len: u8,
    nets: HashMap<u128, Vec<(Ports, u32)>>,
}

/// Levels from the longest prefix to the shortest.
#[derive(Debug, Default)]
pub(crate) struct NetTable {
    levels: Vec<Level>,
}

impl NetTable {
    pub(crate) fn find(&self, dst: IpAddr, port: u16, proto: Proto) -> Option<u32> {
        let dst = dst.to_canonical();
        let bits = bits(dst);
        for level in self.levels.iter().filter(|level| level.v4 == dst.is_ipv4()) {
            let key = masked(bits, level.len, level.v4);
            let hit = level.nets.get(&key).and_then(|entries| {
                entries
                    .iter()
                    .find(|(ports, _)| covers(*ports, port, proto))
            });
            if let Some(&(_, net)) = hit {
                return Some(net);
            }
        }
        None
    }
}

fn covers(ports: Ports, port: u16, proto: Proto) -> bool {
    let any_port = proto == Proto::Icmp;
    ports.proto == proto && (any_port || (ports.first..=ports.last).contains(&port))
}

/// The nets; those in shadow only when asked for.
pub(super) fn compile(nets: &[ir::Net], shadow: bool) -> NetTable {
    let mut levels: BTreeMap<(u8, bool), Level> = BTreeMap::new();
    let numbered = nets.iter().zip(0u32..);
    for (net, ix) in numbered.filter(|(net, _)| shadow || !net.shadow) {
        for to in &net.to {
            let v4 = matches!(to, IpNet::V4(_));
            let len = to.prefix_len();
            let level = levels.entry((len, v4)).or_insert_with(|| Level {
                v4,
                len,
                nets: HashMap::new(),
            });
            let entries = level.nets.entry(bits(to.network())).or_default();
            entries.extend(net.ports.iter().map(|&ports| (ports, ix)));
            entries.sort_by_key(|(ports, _)| ports.last - ports.first);
        }
    }
    NetTable {
        levels: levels.into_values().rev().collect(),
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn masked(bits: u128, len: u8, v4: bool) -> u128 {
    let behind = if v4 { 32 } else { 128u32 } - u32::from(len);
    let cut = bits.checked_shr(behind).unwrap_or(0);
    cut.checked_shl(behind).unwrap_or(0)
}
