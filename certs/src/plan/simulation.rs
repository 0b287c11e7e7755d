//! The plan through thousands of renewals in virtual time, against directories that fail as they
//! like and count what they are asked.

use std::collections::{BTreeMap, VecDeque};

use super::dice::Dice;
use super::{Cause, Failure, Held, Output, Plan, Rules, Window};
use crate::{Alerts, DAY};

const START: i64 = 1_790_000_000;
const HOUR: i64 = 3600;
const LIFE: i64 = 90 * DAY;
const NAMES: usize = 20;
/// How long a directory must work before a certificate ends for its end to be our fault: the
/// longest wait of the plan, and the time orders take.
const CHANCE: i64 = 13 * HOUR;
/// The longest time that an order takes here, in seconds.
const ORDER: i64 = 120;
/// How long a directory must work after the end for the lack of another to be our fault: the longest
/// wait where nothing valid is in use, and the time that the orders of all names take, some at a time.
/// Each further directory may be tried in vain before.
fn longest_lack(directories: usize, names: usize) -> i64 {
    let rounds = names.div_ceil(Rules::default().parallel) + 1;
    let orders = ORDER * i64::try_from(rounds).unwrap();
    i64::try_from(directories).unwrap() * (HOUR + orders)
}

/// A directory with good and bad times, and the limits of a public one.
struct Directory {
    dice: Dice,
    /// When it turns from bad to good and back, ascending; it begins good.
    turns: Vec<i64>,
    failed: BTreeMap<String, VecDeque<i64>>,
    issued: BTreeMap<String, VecDeque<i64>>,
    /// Until when it told a name to wait, or when it last gave it something unusable: before that no
    /// certificate could be had.
    barred: BTreeMap<String, i64>,
    offers_windows: bool,
}

impl Directory {
    fn new(seed: u64, end: i64) -> Self {
        let mut dice = Dice::new(seed);
        let (mut at, mut turns) = (START, Vec::new());
        while at < end {
            let good = dice.between(HOUR, 40 * DAY);
            let bad = match dice.between(0, 3) {
                0 => dice.between(10 * DAY, 60 * DAY),
                _ => dice.between(60, 5 * DAY),
            };
            turns.extend([at + good, at + good + bad]);
            at += good + bad;
        }
        Self {
            offers_windows: dice.between(0, 1) == 1,
            dice,
            turns,
            failed: BTreeMap::new(),
            issued: BTreeMap::new(),
            barred: BTreeMap::new(),
        }
    }

    /// Since when it has been good; `None` in a bad time.
    fn good_since(&self, now: i64) -> Option<i64> {
        let passed = self.turns.partition_point(|at| *at <= now);
        let since = passed.checked_sub(1).map_or(START, |i| self.turns[i]);
        (passed % 2 == 0).then_some(since)
    }

    /// The longest good time between `from` and `to`.
    fn longest_good(&self, from: i64, to: i64) -> i64 {
        let ends = [START].into_iter().chain(self.turns.iter().copied());
        let spans: Vec<_> = ends.collect();
        let good = spans.chunks(2).map(|pair| {
            let end = pair.get(1).copied().unwrap_or(i64::MAX);
            end.min(to) - pair[0].max(from)
        });
        good.max().unwrap_or(0)
    }

    /// How long a name could have had a certificate by now.
    fn would_sign_for(&self, name: &str, now: i64) -> i64 {
        let barred = self.barred.get(name).copied().unwrap_or(START);
        self.good_since(now)
            .map_or(0, |since| now - since.max(barred))
    }

    fn answer(&mut self, name: &str, now: i64) -> Result<Held, Failure> {
        for log in [&mut self.failed, &mut self.issued] {
            let times = log.entry(name.to_owned()).or_default();
            times.retain(|at| now - at <= 7 * DAY);
        }
        let recent = |log: &BTreeMap<String, VecDeque<i64>>, within: i64| {
            let times = log.get(name);
            times.map_or(0, |t| t.iter().filter(|at| now - **at <= within).count())
        };
        assert!(recent(&self.failed, HOUR) < 5, "{name}: too many failures");
        assert!(
            recent(&self.issued, 7 * DAY) < 5,
            "{name}: too many certificates"
        );
        if self.good_since(now).is_none() {
            return Err(self.fault(name, now));
        }
        self.issued
            .entry(name.to_owned())
            .or_default()
            .push_back(now);
        if self.dice.between(0, 19) == 0 {
            self.barred.insert(name.to_owned(), now);
            let mut unusable = Failure::new(Cause::Unusable, "another key");
            unusable.issued = true;
            return Err(unusable);
        }
        Ok(Held {
            not_before: now - HOUR,
            not_after: now - HOUR + LIFE,
        })
    }

    fn fault(&mut self, name: &str, now: i64) -> Failure {
        let causes = [
            Cause::Unreachable,
            Cause::Server,
            Cause::Dns,
            Cause::Connection,
            Cause::Answer,
            Cause::RateLimited,
            Cause::Hook,
            Cause::Slow,
        ];
        let at = usize::try_from(self.dice.between(0, 7)).unwrap();
        let mut failure = Failure::new(causes[at], "a bad time");
        let of_name = [
            Cause::Dns,
            Cause::Connection,
            Cause::Answer,
            Cause::Hook,
            Cause::Slow,
        ];
        if of_name.contains(&failure.cause) {
            let log = self.failed.entry(name.to_owned()).or_default();
            log.push_back(now);
        }
        if failure.cause == Cause::RateLimited {
            let wait = self.dice.between(1, 6 * HOUR);
            failure.retry_after = Some(wait);
            let until = self.barred.entry(name.to_owned()).or_insert(now);
            *until = (now + wait).max(*until);
        }
        failure
    }

    fn window(&mut self, held: Held) -> Option<Window> {
        let start = held.not_after - LIFE / 3 - self.dice.between(0, 5 * DAY);
        let end = start + 2 * DAY;
        self.offers_windows.then_some(Window { start, end })
    }
}

struct World {
    seed: u64,
    names: Vec<Vec<String>>,
    plan: Plan,
    directories: Vec<Directory>,
    held: BTreeMap<String, Held>,
    /// Which directory signed what is held.
    issuers: BTreeMap<String, usize>,
    under_way: Vec<(i64, String, usize)>,
    alerts: Alerts,
    dice: Dice,
    renewals: usize,
    restarts: usize,
    warned: usize,
    ended: usize,
}

fn names(count: usize) -> Vec<Vec<String>> {
    (0..count).map(|n| vec![format!("h{n}.test")]).collect()
}

impl World {
    fn new(seed: u64, directories: usize, count: usize, end: i64) -> Self {
        let names = names(count);
        let mut plan = Plan::new(Rules::default(), directories, seed);
        plan.handle_names(&names, START);
        let places = u64::try_from(directories).unwrap();
        let made = (0..places).map(|n| Directory::new(seed * 7 + n, end));
        Self {
            seed,
            names,
            plan,
            directories: made.collect(),
            held: BTreeMap::new(),
            issuers: BTreeMap::new(),
            under_way: Vec::new(),
            alerts: Alerts::new(),
            dice: Dice::new(!seed),
            renewals: 0,
            restarts: 0,
            warned: 0,
            ended: 0,
        }
    }

    fn run(&mut self, end: i64) {
        let mut now = START;
        while now < end {
            self.finish(now);
            if self.dice.between(0, 99) == 0 {
                self.restart(now);
            }
            self.begin(now);
            self.look(now);
            let plan = self.plan.poll_timeout().map_or(i64::MAX, |(at, _)| at);
            let order = self.under_way.iter().map(|o| o.0).min();
            let next = plan.min(order.unwrap_or(i64::MAX)).min(now + 4 * HOUR);
            now = next.max(now + 1);
        }
    }

    /// Ends the program, in the middle of orders too, and starts it again with what it wrote.
    fn restart(&mut self, now: i64) {
        self.restarts += 1;
        self.under_way.clear();
        let seed = u64::try_from(self.dice.between(0, i64::MAX - 1)).unwrap();
        let mut plan = Plan::new(Rules::default(), self.directories.len(), seed);
        plan.remember(self.plan.memory(now), now);
        plan.handle_names(&self.names, now);
        for (name, held) in self.held.iter().filter(|(_, held)| held.not_after >= now) {
            plan.handle_held(name, Some(*held), now);
        }
        self.plan = plan;
    }

    fn begin(&mut self, now: i64) {
        while let Some(output) = self.plan.poll_output(now) {
            match output {
                Output::Order {
                    name, directory, ..
                } => {
                    let done = now + self.dice.between(1, ORDER);
                    self.under_way.push((done, name, directory));
                }
                Output::AskWindow { name, directory } => {
                    assert_eq!(
                        self.issuers[&name], directory,
                        "{name}: a stranger is asked"
                    );
                    let window = self.directories[directory].window(self.held[&name]);
                    self.plan.handle_window(&name, window, None, now);
                }
            }
        }
    }

    fn finish(&mut self, now: i64) {
        let (done, open) = self.under_way.drain(..).partition(|o| o.0 <= now);
        self.under_way = open;
        for (_, name, at) in done {
            match self.directories[at].answer(&name, now) {
                Ok(held) => {
                    self.renewals += 1;
                    self.held.insert(name.clone(), held);
                    self.issuers.insert(name.clone(), at);
                    self.plan.handle_issued(&name, held, now);
                }
                Err(failure) => self.plan.handle_failure(&name, failure, now),
            }
        }
    }

    /// The claims: nothing ends while a directory would have signed, and warnings have a cause.
    fn look(&mut self, now: i64) {
        for (name, held) in &self.held {
            let state = self.plan.state(name).unwrap();
            // a renewal that the directory wants late is none to warn about
            let is_late = state.failed.is_some() || state.next <= now;
            let warned = (self.alerts).look(name, held.not_before, held.not_after, now);
            if let Some(days) = warned.filter(|_| is_late) {
                self.warned += 1;
                let told = state.failed.is_some() || state.ordering;
                assert!(told, "seed {}: {name} {days} days, no cause", self.seed);
            }
            let quiet = warned.is_some_and(|days| days < 25) && !is_late;
            assert!(!quiet, "seed {}: {name} ends and nothing is due", self.seed);
            if held.not_after >= now {
                continue;
            }
            self.ended += 1;
            let due = held.not_after - LIFE / 3;
            for directory in &self.directories {
                let chance = directory.longest_good(due, held.not_after);
                assert!(
                    chance < CHANCE,
                    "seed {}: {name} ended, though it could be had for {chance} s",
                    self.seed
                );
                let good = directory.would_sign_for(name, now);
                assert!(
                    good <= longest_lack(self.directories.len(), self.names.len()),
                    "seed {}: {name} is over, and could be had for {good} s",
                    self.seed
                );
            }
        }
    }
}

#[test]
fn no_certificate_ends_while_another_could_be_had_through_thousands_of_renewals() {
    let days = 1200;
    let (mut renewals, mut warned, mut ended) = (0, 0, 0);
    for (seed, directories) in [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2)] {
        let end = START + days * DAY;
        let mut world = World::new(seed, directories, NAMES, end);
        world.run(end);
        assert!(world.renewals >= 250, "seed {seed}: {}", world.renewals);
        assert!(world.restarts >= 50, "seed {seed}: {}", world.restarts);
        renewals += world.renewals;
        warned += world.warned;
        ended += world.ended;
    }
    assert!(renewals >= 1250);
    assert!(warned > 0, "no failure came near an end: nothing was shown");
    assert!(ended > 0, "nothing ever ended: the claim was not tested");
}

#[test]
fn one_name_is_renewed_a_thousand_times_and_never_lacks_what_could_be_had() {
    let end = START + 66_000 * DAY;
    let mut ended = 0;
    for (seed, directories) in [(6, 1), (7, 2)] {
        let mut world = World::new(seed, directories, 1, end);
        world.run(end);
        assert!(world.renewals >= 1000, "seed {seed}: {}", world.renewals);
        assert!(world.restarts >= 500, "seed {seed}: {}", world.restarts);
        ended += world.ended;
    }
    assert!(ended > 0, "nothing ever ended: the claim was not tested");
}
