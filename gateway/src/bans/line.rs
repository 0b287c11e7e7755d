//! What operators ask of the bans and are answered; the same on the socket and the command line.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::store::BanRow;

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// The bans in force.
    List,
    /// The bans in force, without those a firewall in front must not have: it knows no trust.
    Export,
    /// A ban, for so many seconds or until it is lifted.
    Add {
        #[serde(with = "text")]
        network: IpNet,
        seconds: Option<u64>,
        note: Option<String>,
    },
    /// No more bans of a network.
    Remove {
        #[serde(with = "text")]
        network: IpNet,
    },
}

/// One ban; the shape is a contract with scripts. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Such as `192.0.2.1/32`.
    #[serde(with = "text")]
    pub(crate) network: IpNet,
    /// When it began.
    pub(crate) since: String,
    /// When it ends; `null` until it is lifted.
    pub(crate) until: Option<String>,
    /// Seconds that are left of it.
    pub(crate) left_s: Option<u64>,
    /// How often the network was banned without a month between.
    pub(crate) times: u32,
    /// Why, as a reason code.
    pub(crate) reason: String,
    /// What the operator wrote.
    pub(crate) note: Option<String>,
}

impl Line {
    /// Writes a ban as it is at `now`.
    pub(crate) fn of(row: BanRow, now: i64) -> Self {
        let left = row.until.map(|until| until.saturating_sub(now).max(0));
        Self {
            network: row.network,
            since: time(row.since),
            until: row.until.map(time),
            left_s: left.and_then(|left| u64::try_from(left).ok()),
            times: row.times,
            reason: row.reason,
            note: row.note,
        }
    }
}

/// Reads an address or a network; an IPv6 address stands for its /64, as sources do.
///
/// # Errors
/// What to write instead.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(match ip.to_canonical() {
            IpAddr::V4(ip) => IpNet::from(IpAddr::V4(ip)),
            IpAddr::V6(ip) => IpNet::new(IpAddr::V6(ip), 64)
                .map_err(|e| e.to_string())?
                .trunc(),
        });
    }
    let net: IpNet = text
        .parse()
        .map_err(|_| "not an address or a network such as 192.0.2.0/24".to_owned())?;
    if net != net.trunc() {
        return Err(format!(
            "{net} has host bits; the network is {}",
            net.trunc()
        ));
    }
    Ok(net)
}

/// Networks as JSON writes them.
mod text {
    use ipnet::IpNet;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(net: &IpNet, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(net)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

fn time(unix: i64) -> String {
    clock::rfc3339(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}
