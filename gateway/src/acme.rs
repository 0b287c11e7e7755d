//! Certificates that look after themselves: the plan of the `certs` crate, driven with directories,
//! files and the doors.

mod accounts;
pub(crate) mod answers;
mod failure;
pub(crate) mod lookup;
mod memory;
pub(crate) mod names;
mod order;
mod records;
mod report;
pub(crate) mod shelf;
mod tenants;
pub(crate) mod test;
mod told;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certs::Alerts;
use certs::plan::{Asked, Budget, Failure, Haste, Held, Output, Plan, Rules, State};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::config::{Challenge, Config};
use crate::gateway::Gateway;
use crate::mail::Alarm;
use crate::reload::{self, Trouble};
use crate::secrets::Keys;

use accounts::Accounts;
use answers::Answers;
use names::Names;
use shelf::Shelf;

pub(crate) use report::{Course, Ending, Failing, Line, failing, lines, time};

/// The directory whose limits for an account are known; others have their own.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/";

/// The longest between two looks at what is wanted.
const LOOK: Duration = Duration::from_secs(60);
/// How long an operator is kept waiting for an order.
const PATIENCE: Duration = Duration::from_secs(50);

/// Failures in a row after which administrators hear that a name has no certificate: one or two
/// may be a moment's.
const TOLD_AFTER: u32 = 3;

/// The orders of this gateway, and what they need.
pub(crate) struct Acme {
    plan: Mutex<Plan>,
    names: Mutex<Names>,
    alerts: Mutex<Alerts>,
    data: PathBuf,
    answers: Arc<Answers>,
    shelf: Shelf,
    accounts: Accounts,
    keys: Arc<Keys>,
    trouble: Mutex<Option<Trouble>>,
    wake: Notify,
    ended: Notify,
}

impl Acme {
    /// Makes the driver; nothing is asked before [`run`].
    pub(crate) fn new(config: &Config, keys: &Arc<Keys>) -> Self {
        let seed = u64::from_le_bytes(crate::ids::random::<8>());
        let count = config.acme.directory.len();
        let mut plan = Plan::new(Rules::default(), count, seed);
        for (at, directory) in config.acme.directory.iter().enumerate() {
            let url = directory.url(config.acme.staging).unwrap_or_default();
            if url.starts_with(LETS_ENCRYPT) {
                plan.keep_within(at, Budget::LETS_ENCRYPT);
            }
        }
        plan.remember(memory::read(config), clock::unix());
        Self {
            plan: Mutex::new(plan),
            names: Mutex::default(),
            alerts: Mutex::new(told::read(&config.data)),
            data: config.data.clone(),
            answers: Arc::default(),
            shelf: Shelf::new(config),
            accounts: Accounts::new(&config.data.join("acme"), Arc::clone(keys)),
            keys: Arc::clone(keys),
            trouble: Mutex::default(),
            wake: Notify::new(),
            ended: Notify::new(),
        }
    }

    /// Returns the answers that are alive for directories.
    pub(crate) fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// Has names and dates looked at soon, because the policy or the time changed.
    pub(crate) fn look_soon(&self) {
        self.wake.notify_one();
    }

    /// Returns why certificates could not be built anew when that was last tried, if so.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().clone()
    }

    /// Keeps why certificates could not be built anew, or that they were.
    pub(crate) fn set_trouble(&self, trouble: Option<Trouble>) {
        let is_bad = trouble.is_some();
        *self.trouble.lock() = trouble;
        if is_bad {
            // for who is to be warned
            self.wake.notify_one();
        }
    }

    /// Says whether the plan orders a certificate of this name.
    pub(crate) fn orders(&self, name: &str) -> bool {
        self.state(name).is_some()
    }

    fn keep_alerts(&self) {
        let alerts = self.alerts.lock();
        if let Err(error) = told::write(&self.data, &alerts) {
            tracing::error!(%error, "a warning may be repeated after a restart");
        }
    }

    /// Writes down what directories may count, so that a restart asks none of them too often.
    fn keep_plan(&self, config: &Config) {
        let plan = self.plan.lock();
        if let Err(error) = memory::write(config, plan.memory(clock::unix())) {
            tracing::error!(%error, "orders may be tried again sooner after a restart");
        }
    }

    fn is_of_tenant(&self, name: &str) -> bool {
        self.names.lock().tenants.iter().any(|own| own == name)
    }

    fn challenge_for(&self, config: &Config, name: &str) -> Challenge {
        config.acme.challenge_for(name, self.is_of_tenant(name))
    }

    fn state(&self, name: &str) -> Option<State> {
        self.plan.lock().state(name)
    }

    /// Brings the plan in line with the policy, the own files and the shelf.
    fn look(&self, gw: &Gateway, now: i64) {
        let snap = gw.snapshot.load();
        let wanted = Names::of(&gw.config, &snap.policy, |host| {
            snap.certs.is_own(host, now)
        });
        let mut reading = None;
        let mut plan = self.plan.lock();
        let news = *self.names.lock() != wanted;
        if news {
            plan.handle_names(&wanted.lots, now);
        }
        for name in wanted.firsts() {
            let state = plan.state(name);
            let over = state.as_ref().and_then(|s| s.held);
            if news || over.is_some_and(|held| held.not_after < now) {
                let begin = || gw.checks.begin(Some(&snap.certs), now);
                let reading = reading.get_or_insert_with(begin);
                let held = self.shelf.one(name, reading).map(|chain| held(&chain));
                plan.handle_held(name, held, now);
            }
        }
        drop(plan);
        *self.names.lock() = wanted;
    }
}

fn held(chain: &certs::Chain) -> Held {
    Held {
        not_before: chain.not_before(),
        not_after: chain.not_after(),
    }
}

/// Drives the plan until the gateway ends.
pub(crate) async fn run(gw: Arc<Gateway>) {
    loop {
        let now = clock::unix();
        if gw.snapshot.load().certs.is_over(now) {
            // what is over gives way to what else there is for its names
            drop(reload::renew_certificates(&gw, None).await);
        }
        gw.acme.look(&gw, now);
        report::warn(&gw, now).await;
        while let Some(output) = next(&gw.acme, now) {
            tokio::spawn(act(Arc::clone(&gw), output));
        }
        let at = gw.acme.plan.lock().poll_timeout().map(|(at, _)| at);
        // what could not give way is tried again with the next look
        let end = gw
            .snapshot
            .load()
            .certs
            .good_until()
            .filter(|end| *end >= now);
        let at = at
            .into_iter()
            .chain(end.map(|end| end.saturating_add(1)))
            .min();
        let wait = at.map_or(LOOK, |at| {
            Duration::from_secs(u64::try_from(at.saturating_sub(now)).unwrap_or(0))
        });
        let wait = wait.clamp(Duration::from_secs(1), LOOK);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = gw.acme.wake.notified() => {}
        }
    }
}

fn next(acme: &Acme, now: i64) -> Option<Output> {
    acme.plan.lock().poll_output(now)
}

async fn act(gw: Arc<Gateway>, output: Output) {
    match output {
        Output::Order {
            name,
            names,
            directory,
        } => {
            let config = Arc::clone(&gw.config);
            let Some(at) = config.acme.directory.get(directory) else {
                return;
            };
            let held = gw.acme.state(&name).and_then(|state| state.held);
            if held.is_none() {
                test::before_first(&gw, &names).await;
            }
            tracing::info!(name, directory = at.url, "a certificate is ordered");
            let done = tokio::spawn({
                let (gw, config, at) = (Arc::clone(&gw), Arc::clone(&config), at.clone());
                async move { order::order(&gw.acme, &config, &names, &at).await }
            });
            let broke = || Failure::new(certs::plan::Cause::Other, "the order broke off");
            let done = done.await.unwrap_or_else(|_| Err(broke()));
            finish(&gw, &name, done).await;
            gw.acme.keep_plan(&config);
            gw.acme.ended.notify_waiters();
            gw.acme.wake.notify_one();
        }
        Output::AskWindow { name, directory } => {
            let Some(at) = gw.config.acme.directory.get(directory) else {
                return;
            };
            let held = || gw.acme.state(&name).and_then(|state| state.held);
            let before = held();
            let asked = Box::pin(order::window(&gw.acme, &gw.config, &name, at)).await;
            let (window, again) = asked.unzip();
            if held() != before {
                // it was asked about a certificate that is replaced by now
                return;
            }
            let now = clock::unix();
            gw.acme.plan.lock().handle_window(&name, window, again, now);
            // it may be that the window is now
            gw.acme.wake.notify_one();
        }
    }
}

/// Puts a new certificate in force, or keeps what is there and says why.
async fn finish(gw: &Arc<Gateway>, name: &str, done: Result<Held, Failure>) {
    match done {
        Ok(held) => {
            if gw.config.acme.staging {
                tracing::info!(name, "a trial certificate was issued; it is not served");
            } else {
                // it is there: what keeps it from being in force is told there and tried again, and
                // costs no other order
                drop(reload::renew_certificates(gw, Some(name)).await);
            }
            tracing::info!(name, "a certificate was issued");
            gw.acme.plan.lock().handle_issued(name, held, clock::unix());
        }
        Err(failure) => {
            let (cause, detail) = (failure.cause.code(), failure.detail.clone());
            let advice = failure.cause.advice();
            tracing::warn!(
                name,
                cause,
                detail,
                advice,
                "a certificate is not renewed; the old one stays"
            );
            let mut record = Record::new(Event::CertificateChanged, "failed", reason::ORDER_FAILED);
            record.detail = Some(format!("{name}: {cause}: {detail}"));
            gw.record_or_owe(record).await;
            let told = failure.clone();
            let now = clock::unix();
            gw.acme.plan.lock().handle_failure(name, failure, now);
            let state = gw.acme.state(name);
            // what is in use and ends is warned of as that
            if state.is_some_and(|s| s.failures == TOLD_AFTER && s.held.is_none()) {
                let (name, failure) = (name.into(), told);
                gw.mail.alarm(Alarm::Order { name, failure });
            }
        }
    }
}

/// What became of an operator's wish for one certificate.
#[derive(Clone, Debug)]
pub(crate) struct Wished {
    /// The certificate.
    pub(crate) name: String,
    /// What the plan said.
    pub(crate) asked: Asked,
    /// How it stands now.
    pub(crate) state: Option<State>,
}

/// Orders one certificate, or all, because an operator wants it, and waits for the end.
pub(crate) async fn renew(gw: &Arc<Gateway>, name: Option<&str>, haste: Haste) -> Vec<Wished> {
    let acme = &gw.acme;
    let now = clock::unix();
    acme.look(gw, now);
    let names: Vec<String> = {
        let plan = acme.plan.lock();
        match name {
            Some(name) => vec![name.to_owned()],
            None => plan.names().map(str::to_owned).collect(),
        }
    };
    let mut wished = Vec::new();
    for name in names {
        let asked = acme.plan.lock().ask(&name, haste, now);
        let state = None;
        wished.push(Wished { name, asked, state });
    }
    acme.wake.notify_one();
    let done = wait(acme, &wished, now);
    drop(tokio::time::timeout(PATIENCE, done).await);
    for wish in &mut wished {
        wish.state = acme.state(&wish.name);
    }
    wished
}

/// Waits until nothing that was asked for at `since` is still to come.
async fn wait(acme: &Acme, wished: &[Wished], since: i64) {
    loop {
        let ended = acme.ended.notified();
        let open = wished.iter().any(|wish| {
            let soon = wish.asked == Asked::Soon;
            let state = acme.state(&wish.name).filter(|_| soon);
            state.is_some_and(|s| s.ordering || s.next <= since)
        });
        if !open {
            return;
        }
        drop(tokio::time::timeout(Duration::from_secs(1), ended).await);
    }
}
