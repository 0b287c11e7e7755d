//! The section `[bans]`: when a source that guesses is shut out, and for how long.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::value;

/// The section `[bans]`. The first three keys are about wrong passwords, codes and links.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Bans {
    /// Whether sources are banned by themselves; operators can ban in any case.
    pub(crate) enabled: bool,
    /// Failures of one source over all accounts; four times as many for an IPv6 /56.
    #[serde(deserialize_with = "value::range::<_, _, 1, 1000>")]
    pub(crate) maxretry: u32,
    /// The time within which they count together.
    #[serde(deserialize_with = "value::one")]
    pub(crate) findtime: Duration,
    /// How long the first ban lasts.
    #[serde(deserialize_with = "value::one")]
    pub(crate) bantime: Duration,
    /// By how much each next ban of the same source is longer.
    #[serde(deserialize_with = "value::range::<_, _, 1, 100>")]
    pub(crate) growth: u32,
    /// The longest ban.
    #[serde(deserialize_with = "value::one")]
    pub(crate) cap: Duration,
    /// Networks that are never banned, besides loopback, the gateway's own and the upstreams'.
    #[serde(deserialize_with = "value::list")]
    pub(crate) allow: Vec<IpNet>,
    /// Whether a source that somebody is signed in from is spared.
    pub(crate) spare_signed_in: bool,
    /// Bans for answers 429.
    pub(crate) limited: Jail,
    /// Bans for refused requests of strangers.
    pub(crate) probes: Jail,
    /// Bans for strangers' requests of what only scanners ask for.
    pub(crate) scans: Jail,
    /// Accounts with failures, over all sources, that raise the alarm of spraying.
    #[serde(deserialize_with = "value::range::<_, _, 2, 10_000>")]
    pub(crate) spray_accounts: usize,
    /// The time within which they count together.
    #[serde(deserialize_with = "value::one")]
    pub(crate) spray_window: Duration,
}

/// How often is too often, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Jail {
    /// Hits of one source; zero means never.
    #[serde(deserialize_with = "value::range::<_, _, 0, 1000>")]
    pub(crate) maxretry: u32,
    /// The time within which they count together.
    #[serde(default = "ten_minutes", deserialize_with = "value::one")]
    pub(crate) findtime: Duration,
    /// How long the first ban lasts.
    #[serde(default = "one_hour", deserialize_with = "value::one")]
    pub(crate) bantime: Duration,
}

impl Jail {
    fn of(maxretry: u32) -> Self {
        Self {
            maxretry,
            findtime: ten_minutes(),
            bantime: one_hour(),
        }
    }
}

impl Bans {
    /// Says what is wrong with the whole: the key, and a text.
    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let first = [
            ("bantime", self.bantime),
            ("limited", self.limited.bantime),
            ("probes", self.probes.bantime),
            ("scans", self.scans.bantime),
        ];
        let over = first.into_iter().find(|(_, time)| *time > self.cap);
        over.map(|(key, _)| (key, "a first ban cannot be longer than `cap`".to_owned()))
    }
}

impl Default for Bans {
    fn default() -> Self {
        Self {
            enabled: true,
            maxretry: 20,
            findtime: ten_minutes(),
            bantime: one_hour(),
            growth: 2,
            cap: Duration::from_secs(24 * 3600),
            allow: Vec::new(),
            spare_signed_in: true,
            limited: Jail::of(300),
            probes: Jail::of(0),
            scans: Jail::of(5),
            spray_accounts: 20,
            spray_window: ten_minutes(),
        }
    }
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}
