//! What a directory allows one account, for all its names together.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::guard::{Limit, Spent};
use super::{DAY, HOUR, LONGEST_BLOCK, Plan, Rest};

/// The limits of one account at one directory, besides those of each name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// New orders.
    pub orders: Limit,
    /// Certificates for names of one registered domain, which is taken to be its last two labels. A
    /// renewal counts against none.
    pub per_domain: Limit,
}

impl Budget {
    /// Those of Let's Encrypt.
    ///
    /// Source: [Rate limits](https://letsencrypt.org/docs/rate-limits/).
    pub const LETS_ENCRYPT: Self = Self {
        orders: Limit {
            count: 300,
            within: 3 * HOUR,
        },
        per_domain: Limit {
            count: 50,
            within: 7 * DAY,
        },
    };

    /// Leaves room for so many orders under way, all of which may be for one domain.
    fn beside(self, parallel: usize) -> Self {
        let Limit { count, within } = self.per_domain;
        let count = count.saturating_sub(parallel.saturating_sub(1)).max(1);
        let per_domain = Limit { count, within };
        Self { per_domain, ..self }
    }
}

/// One directory of the plan.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) blocked_until: i64,
    pub(super) failures: u32,
    budget: Option<Budget>,
    orders: Spent,
    domains: BTreeMap<String, Spent>,
}

impl Directory {
    pub(super) fn limit(&mut self, budget: Budget, parallel: usize) {
        self.budget = Some(budget.beside(parallel));
    }

    /// Counts an order.
    pub(super) fn spend_order(&mut self, now: i64) {
        if let Some(budget) = self.budget {
            self.orders.spend(budget.orders, now);
        }
    }

    /// Counts a certificate for a name that had none.
    pub(super) fn spend_new(&mut self, name: &str, now: i64) {
        if let Some(budget) = self.budget {
            let spent = self.domains.entry(domain(name).to_owned()).or_default();
            spent.spend(budget.per_domain, now);
        }
    }

    /// Returns from when on its budget allows an order for a name, which may have a certificate.
    pub(super) fn free_at(&self, name: &str, is_renewal: bool) -> i64 {
        let Some(budget) = self.budget else {
            return i64::MIN;
        };
        let orders = self.orders.free_at(budget.orders);
        let domain = self.domains.get(domain(name)).filter(|_| !is_renewal);
        orders.max(domain.map_or(i64::MIN, |spent| spent.free_at(budget.per_domain)))
    }

    /// Forgets its failures after a success.
    pub(super) fn succeed(&mut self) {
        (self.blocked_until, self.failures) = (0, 0);
    }

    /// Returns what must not be forgotten.
    pub(super) fn rest(&self, now: i64) -> Rest {
        let (orders, domains) = match self.budget {
            None => (Vec::new(), BTreeMap::new()),
            Some(budget) => {
                let times = |spent: &Spent| spent.times(budget.per_domain, now);
                let domains = self
                    .domains
                    .iter()
                    .map(|(d, spent)| (d.clone(), times(spent)));
                let domains = domains.filter(|(_, times)| !times.is_empty());
                (self.orders.times(budget.orders, now), domains.collect())
            }
        };
        Rest {
            blocked_until: self.blocked_until,
            failures: self.failures,
            orders,
            domains,
        }
    }

    /// Takes back what [`Directory::rest`] returned.
    pub(super) fn remember(&mut self, rest: Rest, now: i64) {
        let longest = now.saturating_add(LONGEST_BLOCK);
        let domains = rest.domains.into_iter();
        self.blocked_until = rest.blocked_until.min(longest);
        self.failures = rest.failures;
        self.orders = Spent::of(rest.orders, now);
        self.domains = domains
            .map(|(d, times)| (d, Spent::of(times, now)))
            .collect();
    }
}

impl Plan {
    /// Keeps the orders at a directory within a budget, before the first [`Plan::remember`].
    pub fn keep_within(&mut self, directory: usize, budget: Budget) {
        if let Some(directory) = self.directories.get_mut(directory) {
            directory.limit(budget, self.rules.parallel);
        }
    }

    /// When the limits of a name and of the account allow an order.
    pub(super) fn limited_at(&self, entry: &Entry, at: usize) -> i64 {
        let name = entry.names.first().map_or("", String::as_str);
        let account = self.directories.get(at);
        let account = account.map_or(i64::MAX, |d| d.free_at(name, entry.held.is_some()));
        account.max(entry.free_at(at, &self.rules))
    }
}

/// The last two labels: where a registry sells names below its own second label, several customers
/// of it count as one, which is fewer orders and never more.
fn domain(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let from = dots.nth(1).map_or(0, |at| at + 1);
    name.get(from..).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Cause, Failure, Held, Output, Plan, Rules};
    use super::{Budget, DAY, HOUR, Limit, domain};

    const NOW: i64 = 1_790_000_000;
    const NAMES: usize = 60;

    #[test]
    fn names_of_one_customer_are_one_domain() {
        for name in ["a.example.org", "*.b.example.org", "example.org"] {
            assert_eq!(domain(name), "example.org");
        }
        assert_eq!(domain("localhost"), "localhost");
    }

    fn names() -> Vec<Vec<String>> {
        let name = |n: usize| format!("h{n}.d{}.test", n % 2);
        (0..NAMES).map(|n| vec![name(n)]).collect()
    }

    /// A directory that counts what one account asks of it, and a plan before it.
    struct World {
        plan: Plan,
        budget: Budget,
        held: BTreeMap<String, Held>,
        open: Vec<(i64, String)>,
        orders: Vec<i64>,
        signed: Vec<(i64, String)>,
        renewed: usize,
    }

    impl World {
        fn new(budget: Budget) -> Self {
            let mut plan = Plan::new(Rules::default(), 1, 1);
            plan.keep_within(0, budget);
            plan.handle_names(&names(), NOW);
            Self {
                plan,
                budget,
                held: BTreeMap::new(),
                open: Vec::new(),
                orders: Vec::new(),
                signed: Vec::new(),
                renewed: 0,
            }
        }

        fn restart(&mut self, now: i64) {
            let memory = self.plan.memory(now);
            self.plan = Plan::new(Rules::default(), 1, 2);
            self.plan.keep_within(0, self.budget);
            self.plan.remember(memory, now);
            self.plan.handle_names(&names(), now);
            for (name, held) in &self.held {
                self.plan.handle_held(name, Some(*held), now);
            }
            self.open.clear();
        }

        fn run(&mut self, from: i64, to: i64) {
            let mut now = from;
            while now < to {
                self.finish(now);
                self.begin(now);
                let plan = self.plan.poll_timeout().map_or(i64::MAX, |(at, _)| at);
                let open = self.open.iter().map(|(at, _)| *at).min();
                now = plan.min(open.unwrap_or(i64::MAX)).min(to).max(now + 1);
            }
        }

        fn begin(&mut self, now: i64) {
            while let Some(output) = self.plan.poll_output(now) {
                match output {
                    Output::Order { name, .. } => {
                        let Limit { count, within } = self.budget.orders;
                        let recent = self.orders.iter().filter(|at| now - **at <= within);
                        assert!(recent.count() < count, "too many orders");
                        self.orders.push(now);
                        self.open.push((now + 60, name));
                    }
                    Output::AskWindow { name, .. } => {
                        self.plan.handle_window(&name, None, Some(DAY), now);
                    }
                }
            }
        }

        fn finish(&mut self, now: i64) {
            let (done, open) = self.open.drain(..).partition(|(at, _)| *at <= now);
            self.open = open;
            for (_, name) in done {
                if self.orders.len().is_multiple_of(7) {
                    let failure = Failure::new(Cause::Server, "a bad time");
                    self.plan.handle_failure(&name, failure, now);
                    continue;
                }
                if self.held.contains_key(&name) {
                    self.renewed += 1;
                } else {
                    let Limit { count, within } = self.budget.per_domain;
                    let same = |(at, other): &&(i64, String)| {
                        now - at <= within && domain(other) == domain(&name)
                    };
                    let recent = self.signed.iter().filter(same).count();
                    assert!(recent < count, "too many for {}", domain(&name));
                    self.signed.push((now, name.clone()));
                }
                let held = Held {
                    not_before: now,
                    not_after: now + 90 * DAY,
                };
                self.held.insert(name.clone(), held);
                self.plan.handle_issued(&name, held, now);
            }
        }
    }

    const SMALL: Budget = Budget {
        orders: Limit {
            count: 9,
            within: 3 * HOUR,
        },
        per_domain: Limit {
            count: 10,
            within: 7 * DAY,
        },
    };

    #[test]
    fn an_account_stays_below_its_limits_over_restarts_and_every_name_has_its_turn() {
        let mut world = World::new(SMALL);
        let mut at = NOW;
        for days in [1, 3, 8, 20, 300] {
            let to = NOW + days * DAY;
            world.run(at, to);
            let most = 2 * 10 * (usize::try_from(days).unwrap() / 7 + 1);
            assert!(world.held.len() <= most, "{days}: {}", world.held.len());
            world.restart(to);
            at = to;
        }
        assert_eq!(world.held.len(), NAMES);
        assert!(world.renewed > 3 * NAMES, "{}", world.renewed);
        assert!(world.held.values().all(|held| held.not_after > at));
    }

    #[test]
    fn without_a_budget_and_below_one_nothing_waits() {
        let mut free = Plan::new(Rules::default(), 1, 1);
        let mut large = Plan::new(Rules::default(), 1, 1);
        large.keep_within(0, Budget::LETS_ENCRYPT);
        for plan in [&mut free, &mut large] {
            plan.handle_names(&names(), NOW);
            let next = |name: &[String]| plan.state(&name[0]).unwrap().next;
            assert!(names().iter().all(|name| next(name) == NOW));
        }
    }
}
