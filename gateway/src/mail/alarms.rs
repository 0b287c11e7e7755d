//! Mails to administrators, few of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use certs::plan::Failure;

use super::letters::{self, Reader, Sender};
use super::{DAY, Letter, Mail, with_sender};
use crate::acme::Ending;
use crate::clock;
use crate::gateway::Gateway;
use crate::pages::Lang;
use crate::snapshot::Snapshot;

/// How long the same alarm is not told again, in seconds.
const QUIET: i64 = 3600;
/// Alarms told within that time.
const MOST: usize = 10;
/// Administrators who are written to.
const READERS: usize = 20;

/// What administrators must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// Sign-ins at one account fail so often that they have to wait.
    Series {
        user: Arc<str>,
        source: Option<IpAddr>,
    },
    /// Sign-ins fail at this many accounts.
    Spraying { accounts: usize },
    /// What lies in the policy folder is not in force.
    Policy { why: String },
    /// No certificate can be ordered for a name that has none.
    Order { name: Arc<str>, failure: Failure },
    /// A limit that the policy calls sensitive is used up.
    Limit {
        tier: Arc<str>,
        user: Option<Arc<str>>,
        source: Option<IpAddr>,
        host: Option<Arc<str>>,
    },
}

/// What was told of late, by what it was about.
#[derive(Default)]
pub(super) struct Alarms(BTreeMap<String, i64>);

impl Alarms {
    /// Tells whether an alarm is new enough to be told, and notes it if so.
    fn is_news(&mut self, alarm: &Alarm, now: i64) -> bool {
        self.0.retain(|_, at| now.saturating_sub(*at) < QUIET);
        let key = match alarm {
            Alarm::Series { user, .. } => format!("series {user}"),
            Alarm::Spraying { .. } => "spraying".to_owned(),
            Alarm::Policy { why } => format!("policy {why}"),
            Alarm::Order { name, .. } => format!("order {name}"),
            Alarm::Limit {
                tier, user, source, ..
            } => match (user, source) {
                (Some(user), _) => format!("limit {tier} {user}"),
                (None, source) => format!("limit {tier} {source:?}"),
            },
        };
        if self.0.len() >= MOST || self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, now);
        true
    }
}

impl Mail {
    /// Writes to the administrators soon, unless they were told within the hour.
    pub(crate) fn alarm(self: &Arc<Self>, alarm: Alarm) {
        if !self.is_on() || !self.alarms.lock().is_news(&alarm, clock::unix()) {
            return;
        }
        let mail = Arc::clone(self);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { mail.tell_admins(&alarm).await });
        }
    }

    async fn tell_admins(&self, alarm: &Alarm) {
        let at = clock::unix();
        self.to_admins(|reader, from| match alarm {
            Alarm::Series { user, source } => letters::series(reader, from, at, user, *source),
            Alarm::Spraying { accounts } => letters::spraying(reader, from, at, *accounts),
            Alarm::Policy { why } => letters::policy(reader, from, at, why),
            Alarm::Order { name, failure } => letters::order(reader, from, at, name, failure),
            Alarm::Limit {
                tier,
                user,
                source,
                host,
            } => letters::limit(
                reader,
                from,
                at,
                (tier, host.as_deref()),
                (user.as_deref(), *source),
            ),
        })
        .await;
    }

    /// Tells the administrators of certificates that end; returns once the mails are kept.
    pub(crate) async fn certificates(&self, found: &[Ending]) {
        if self.is_on() {
            self.to_admins(|reader, from| letters::certificates(reader, from, found))
                .await;
        }
    }

    async fn to_admins(&self, compose: impl Fn(&Reader, &Sender<'_>) -> Letter) {
        let Some(gw) = self.gateway() else {
            return;
        };
        let snap = gw.snapshot.load_full();
        let found = Arc::clone(&gw);
        let readers = tokio::task::spawn_blocking(move || readers(&found, &snap));
        for reader in readers.await.unwrap_or_default() {
            let letter = with_sender(&gw, |from| compose(&reader, from));
            self.keep(&gw, "", &letter, DAY).await;
        }
    }
}

/// Lists whom `[mail] admins` names, or else those whom the policy lets into the console.
fn readers(gw: &Gateway, snap: &Snapshot) -> Vec<Reader> {
    let named = &gw.config.mail.admins;
    if !named.is_empty() {
        let plain = |to: &lettre::Address| Reader {
            to: to.to_string(),
            lang: Lang::default(),
            name: String::new(),
        };
        return named.iter().take(READERS).map(plain).collect();
    }
    let admins = snap.policy.who_can("admin");
    let users = admins.map(|found| found.users).unwrap_or_default();
    let reader = |name: &str| {
        let person = snap.policy.user(name)?;
        let lang = person.language.as_deref().and_then(Lang::parse);
        Some(Reader {
            to: person.mail.clone()?,
            lang: lang.unwrap_or_default(),
            name: String::new(),
        })
    };
    let found = users.iter().filter_map(|user| reader(&user.name));
    found.take(READERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(user: &str) -> Alarm {
        Alarm::Series {
            user: user.into(),
            source: None,
        }
    }

    #[test]
    fn the_same_alarm_is_told_once_an_hour_and_another_one_at_once() {
        let mut alarms = Alarms::default();
        assert!(alarms.is_news(&series("ann"), 0));
        assert!(!alarms.is_news(&series("ann"), 3599));
        assert!(alarms.is_news(&series("ben"), 3599));
        assert!(alarms.is_news(&Alarm::Spraying { accounts: 20 }, 3599));
        assert!(alarms.is_news(&series("ann"), 3600));
    }

    #[test]
    fn a_flood_of_alarms_is_ten_mails_an_hour() {
        let mut alarms = Alarms::default();
        let told = |alarms: &mut Alarms, at| {
            let all = (0..500).filter(|n| alarms.is_news(&series(&format!("u{n}")), at));
            all.count()
        };
        assert_eq!(told(&mut alarms, 0), 10);
        assert_eq!(told(&mut alarms, 1800), 0);
        assert_eq!(told(&mut alarms, 3600), 10);
    }
}
