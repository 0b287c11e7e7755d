//! Who is banned, and who is about to be. No IO; times are steady seconds.
//!
//! A source is one IPv4 address, or the /64 of an IPv6 address; a /56 is banned when its parts
//! together do four times as much as a source may, or when four of them are banned.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::hits::Hits;
use crate::audit::reason;
use crate::config::{Bans as Figures, Jail};
use crate::limits::SITE_FACTOR;
use crate::store::BanRow;

/// Bans in memory, those that are over too.
const BANS_MAX: usize = 65_536;
/// Of them, those that operators made.
const BY_OPERATORS_MAX: usize = 10_000;
/// A ban is remembered for so long after its end.
const MEMORY: i64 = 30 * 86_400;
/// Bits of an IPv6 site.
const SITE: u8 = 56;

/// What a source did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// A password, code or link was wrong.
    SignIn,
    /// It was answered 429.
    Limited,
    /// It asked for what is not there, or not for strangers.
    Probe,
    /// It asked for what only scanners ask for.
    Scan,
}

impl Offence {
    const ALL: [Self; 4] = [Self::SignIn, Self::Limited, Self::Probe, Self::Scan];

    fn reason(self) -> &'static str {
        match self {
            Self::SignIn => reason::MANY_FAILURES,
            Self::Limited => reason::MANY_LIMITS,
            Self::Probe => reason::MANY_PROBES,
            Self::Scan => reason::MANY_SCANS,
        }
    }
}

/// A network that did too much and is not banned yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) network: IpNet,
    pub(crate) offence: Offence,
}

/// What happened to a ban, for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Banned(BanRow),
    /// It is over, or was lifted by an operator.
    Unbanned(BanRow, &'static str),
}

/// Why an operator's ban was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BookError {
    #[error("operators have made {BY_OPERATORS_MAX} bans; remove some, or ban wider networks")]
    Full,
}

/// Changes that the store does not have yet.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) rows: Vec<BanRow>,
    pub(crate) gone: Vec<IpNet>,
    pub(crate) notices: Vec<Notice>,
}

/// The bans of the gateway.
///
/// Inputs: [`Book::hit`], then [`Book::ban`] or [`Book::spare`] of a choice of the candidate it gave;
/// [`Book::add`] and [`Book::remove`] of operators; [`Book::sweep`] each second. Outputs:
/// [`Book::find`], [`Book::list`], [`Book::take_changes`].
pub(crate) struct Book {
    figures: Figures,
    failures: Hits,
    limited: Hits,
    probes: Hits,
    scans: Hits,
    rows: HashMap<IpNet, BanRow>,
    /// Those in force, by their end.
    active: BTreeSet<(i64, IpNet)>,
    /// How many bans in force have a prefix of this length; the first is whether it is IPv6.
    lengths: BTreeMap<(bool, u8), usize>,
    changed: BTreeSet<IpNet>,
    notices: Vec<Notice>,
}

impl Book {
    /// Takes up what was kept. Times that lie after `now` count as `now`.
    pub(crate) fn new(figures: Figures, rows: Vec<BanRow>, now: i64) -> Self {
        let mut book = Self {
            failures: Hits::default(),
            limited: Hits::default(),
            probes: Hits::default(),
            scans: Hits::default(),
            rows: HashMap::new(),
            active: BTreeSet::new(),
            lengths: BTreeMap::new(),
            changed: BTreeSet::new(),
            notices: Vec::new(),
            figures,
        };
        for mut row in rows.into_iter().take(BANS_MAX) {
            let ahead = row.since.saturating_sub(now).max(0);
            row.since = row.since.saturating_sub(ahead);
            row.until = row.until.map(|until| until.saturating_sub(ahead));
            if row.until.is_none_or(|until| until > now) {
                book.enter(&row);
            }
            book.rows.insert(row.network, row);
        }
        book
    }

    /// Finds the ban in force that covers an address.
    pub(crate) fn find(&self, source: IpAddr, now: i64) -> Option<&BanRow> {
        let source = source.to_canonical();
        let mut lengths = self.lengths.keys();
        lengths.find_map(|(v6, length)| {
            if *v6 != source.is_ipv6() {
                return None;
            }
            let network = IpNet::new(source, *length).ok()?.trunc();
            self.rows.get(&network).filter(|row| in_force(row, now))
        })
    }

    /// Counts what a source did. A candidate must be banned or spared next.
    pub(crate) fn hit(&mut self, source: IpAddr, what: Offence, now: i64) -> Option<Candidate> {
        let jail = self.jail(what);
        if !self.figures.enabled || jail.maxretry == 0 || self.find(source, now).is_some() {
            return None;
        }
        let findtime = seconds(jail.findtime);
        let hits = self.hits(what);
        let mut widest = None;
        for (network, factor) in networks(source) {
            let most = jail.maxretry.saturating_mul(factor);
            if hits.count(network, findtime, most, now) {
                widest = Some(network);
            }
        }
        widest.map(|network| Candidate {
            network,
            offence: what,
        })
    }

    /// Lists what a candidate stands for, the widest first: a site of which enough is banned, the
    /// candidate itself, and the source that did it.
    fn choices(&self, who: Candidate, source: IpAddr, now: i64) -> Vec<Candidate> {
        let site = self.site_of_many(who.network, now);
        let own = networks(source).into_iter().next().map(|(own, _)| own);
        let mut all: Vec<IpNet> = [site, Some(who.network), own]
            .into_iter()
            .flatten()
            .collect();
        all.dedup();
        let offence = who.offence;
        let candidates = all.into_iter();
        candidates
            .map(|network| Candidate { network, offence })
            .collect()
    }

    /// Bans the widest choice of a candidate that is not spared. If all are, it begins to count
    /// from nothing, and the answer says why the last was.
    pub(crate) fn judge(
        &mut self,
        who: Candidate,
        source: IpAddr,
        now: i64,
        spares: impl Fn(&IpNet) -> Option<&'static str>,
    ) -> Option<&'static str> {
        let mut last = None;
        for choice in self.choices(who, source, now) {
            last = spares(&choice.network);
            if last.is_none() {
                // What counted for the wider network has led to this ban.
                self.spare(who);
                self.ban(choice, now);
                break;
            }
        }
        if last.is_some() {
            self.spare(who);
        }
        last
    }

    /// Bans a candidate; a network that is banned already stays as it is.
    fn ban(&mut self, who: Candidate, now: i64) {
        let Candidate { network, offence } = who;
        self.forget_hits(&network);
        if self.covers(&network, now) {
            return;
        }
        let first = seconds(self.jail(offence).bantime);
        let times = self.rows.get(&network).map_or(0, |row| row.times);
        let growth = i64::from(self.figures.growth).saturating_pow(times.min(64));
        let length = first.saturating_mul(growth).min(seconds(self.figures.cap));
        self.put(BanRow {
            network,
            since: now,
            until: Some(now.saturating_add(length)),
            times: times.saturating_add(1),
            reason: offence.reason().to_owned(),
            note: None,
        });
    }

    /// Begins to count a candidate from nothing.
    pub(crate) fn spare(&mut self, who: Candidate) {
        self.forget_hits(&who.network);
    }

    /// Bans a network by the word of an operator; `None` until it is lifted.
    ///
    /// # Errors
    /// [`BookError::Full`]; nothing changed.
    pub(crate) fn add(
        &mut self,
        network: IpNet,
        length: Option<Duration>,
        note: Option<String>,
        now: i64,
    ) -> Result<BanRow, BookError> {
        if !self.rows.contains_key(&network) && self.is_full_of_operators() {
            return Err(BookError::Full);
        }
        let before = self.rows.get(&network).map_or(0, |row| row.times);
        let row = BanRow {
            network,
            since: now,
            until: length.map(|length| now.saturating_add(seconds(length))),
            times: before.saturating_add(1),
            reason: reason::BY_OPERATOR.to_owned(),
            note,
        };
        self.put(row.clone());
        Ok(row)
    }

    /// Lifts and forgets the bans of a network and of what lies in it; if there is none, those
    /// that cover it. Returns those that were in force.
    pub(crate) fn remove(&mut self, network: &IpNet, now: i64) -> Vec<BanRow> {
        self.forget_hits(network);
        let within: Vec<IpNet> = self.named(|held| network.contains(held));
        let live = |held: &&IpNet| self.rows.get(*held).is_some_and(|r| in_force(r, now));
        let gone = if within.iter().any(|held| live(&held)) {
            within
        } else {
            self.named(|held| held.contains(network) || network.contains(held))
        };
        let mut lifted = Vec::new();
        for held in gone {
            let Some(row) = self.drop_row(&held) else {
                continue;
            };
            self.forget_hits(&held);
            if in_force(&row, now) {
                let notice = Notice::Unbanned(row.clone(), reason::BY_OPERATOR);
                self.notices.push(notice);
                lifted.push(row);
            }
        }
        lifted.sort_by_key(|row| row.network);
        lifted
    }

    /// Lists the bans in force.
    pub(crate) fn list(&self, now: i64) -> Vec<BanRow> {
        let mut rows: Vec<BanRow> = self.rows.values().cloned().collect();
        rows.retain(|row| in_force(row, now));
        rows.sort_by_key(|row| row.network);
        rows
    }

    /// Counts the bans in force.
    pub(crate) fn count(&self) -> usize {
        self.active.len()
    }

    /// Ends the bans whose time is over and forgets those that ended long ago.
    pub(crate) fn sweep(&mut self, now: i64) {
        while let Some((until, network)) = self.active.first().copied() {
            if until > now {
                break;
            }
            self.leave(&network, until);
            if let Some(row) = self.rows.get(&network) {
                let notice = Notice::Unbanned(row.clone(), reason::EXPIRED);
                self.notices.push(notice);
            }
        }
    }

    /// Forgets what ended long ago; call it each minute.
    pub(crate) fn forget(&mut self, now: i64) {
        let old = |row: &BanRow| {
            let over = |until| now.saturating_sub(until) >= MEMORY;
            row.until.is_some_and(over)
        };
        let old: Vec<IpNet> = self.rows.values().filter(|r| old(r)).map(key).collect();
        for network in old {
            self.drop_row(&network);
        }
        for what in Offence::ALL {
            let findtime = seconds(self.jail(what).findtime);
            self.hits(what).forget(findtime, now);
        }
    }

    /// Takes what the store and the journal do not have yet.
    pub(crate) fn take_changes(&mut self) -> Changes {
        let mut changes = Changes {
            notices: std::mem::take(&mut self.notices),
            ..Changes::default()
        };
        for network in std::mem::take(&mut self.changed) {
            match self.rows.get(&network) {
                Some(row) => changes.rows.push(row.clone()),
                None => changes.gone.push(network),
            }
        }
        changes
    }

    /// Puts back what [`Book::take_changes`] gave and the store could not take.
    pub(crate) fn put_back(&mut self, changes: &Changes) {
        let rows = changes.rows.iter().map(key);
        self.changed
            .extend(rows.chain(changes.gone.iter().copied()));
    }

    fn is_full_of_operators(&self) -> bool {
        let theirs = self.rows.values().filter(|row| by_operator(row));
        self.rows.len() >= BY_OPERATORS_MAX && theirs.count() >= BY_OPERATORS_MAX
    }

    fn jail(&self, what: Offence) -> Jail {
        match what {
            Offence::SignIn => Jail {
                maxretry: self.figures.maxretry,
                findtime: self.figures.findtime,
                bantime: self.figures.bantime,
            },
            Offence::Limited => self.figures.limited,
            Offence::Probe => self.figures.probes,
            Offence::Scan => self.figures.scans,
        }
    }

    fn hits(&mut self, what: Offence) -> &mut Hits {
        match what {
            Offence::SignIn => &mut self.failures,
            Offence::Limited => &mut self.limited,
            Offence::Probe => &mut self.probes,
            Offence::Scan => &mut self.scans,
        }
    }

    fn forget_hits(&mut self, network: &IpNet) {
        for what in Offence::ALL {
            self.hits(what).clear(network);
        }
    }

    fn covers(&self, network: &IpNet, now: i64) -> bool {
        let wider = self
            .lengths
            .keys()
            .filter(|(_, length)| *length <= network.prefix_len());
        wider.into_iter().any(|(_, length)| {
            let around = IpNet::new(network.addr(), *length).map(|net| net.trunc());
            let row = around.ok().and_then(|net| self.rows.get(&net));
            row.is_some_and(|row| in_force(row, now))
        })
    }

    /// Finds the site of a /64 of which so many parts are banned that the whole is.
    fn site_of_many(&self, network: IpNet, now: i64) -> Option<IpNet> {
        if !matches!(network, IpNet::V6(_)) || network.prefix_len() <= SITE {
            return None;
        }
        let site = IpNet::new(network.addr(), SITE).ok()?.trunc();
        let held = self.rows.values().filter(|row| {
            site.contains(&row.network) && row.network != network && in_force(row, now)
        });
        let most = usize::try_from(SITE_FACTOR).unwrap_or(usize::MAX);
        (held.take(most).count() + 1 >= most).then_some(site)
    }

    fn named(&self, wanted: impl Fn(&IpNet) -> bool) -> Vec<IpNet> {
        let all = self.rows.keys().copied();
        all.filter(wanted).collect()
    }

    fn put(&mut self, row: BanRow) {
        if self.rows.len() >= BANS_MAX && !self.rows.contains_key(&row.network) {
            self.make_room();
        }
        self.drop_row(&row.network);
        self.enter(&row);
        self.changed.insert(row.network);
        self.notices.push(Notice::Banned(row.clone()));
        self.rows.insert(row.network, row);
        debug_assert!(self.rows.len() <= BANS_MAX);
    }

    /// Drops the ban of the gateway's own making that ended or ends first.
    fn make_room(&mut self) {
        let own = self.rows.values().filter(|row| !by_operator(row));
        let first = own.min_by_key(|row| (row.until, row.network)).map(key);
        if let Some(network) = first {
            self.drop_row(&network);
        }
    }

    fn drop_row(&mut self, network: &IpNet) -> Option<BanRow> {
        let row = self.rows.remove(network)?;
        self.leave(network, row.until.unwrap_or(i64::MAX));
        self.changed.insert(*network);
        Some(row)
    }

    fn enter(&mut self, row: &BanRow) {
        let until = row.until.unwrap_or(i64::MAX);
        if self.active.insert((until, row.network)) {
            *self.lengths.entry(length(&row.network)).or_default() += 1;
        }
    }

    fn leave(&mut self, network: &IpNet, until: i64) {
        if self.active.remove(&(until, *network)) {
            let length = length(network);
            match self.lengths.get_mut(&length) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.lengths.remove(&length)),
            }
        }
    }
}

/// The networks an address counts for, the narrowest first, and for how many sources each counts.
fn networks(source: IpAddr) -> Vec<(IpNet, u32)> {
    let source = source.to_canonical();
    let lengths: &[(u8, u32)] = match source {
        IpAddr::V4(_) => &[(32, 1)],
        IpAddr::V6(_) => &[(64, 1), (SITE, SITE_FACTOR)],
    };
    let all = lengths.iter();
    all.filter_map(|(length, factor)| Some((IpNet::new(source, *length).ok()?.trunc(), *factor)))
        .collect()
}

fn in_force(row: &BanRow, now: i64) -> bool {
    row.until.is_none_or(|until| until > now)
}

fn by_operator(row: &BanRow) -> bool {
    row.reason == reason::BY_OPERATOR
}

fn key(row: &BanRow) -> IpNet {
    row.network
}

fn length(network: &IpNet) -> (bool, u8) {
    (network.addr().is_ipv6(), network.prefix_len())
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
