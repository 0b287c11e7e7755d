//! A forgotten password: the answer goes out before anything is looked up.

use std::sync::Arc;
use std::time::Duration;

use super::{Counter, lines};
use crate::clock;
use crate::identity::{self, Context};
use crate::limits::{Key, Rate};
use crate::pages::{ForgotStep, ResetStep};

/// Names one source may ask for.
const OF_SOURCE: (&str, u32, Duration) = ("forgot-source", 10, Duration::from_secs(15 * 60));
/// Names all sources together may ask for; what is more is dropped, and answered the same.
const OF_ALL: (&str, u32, Duration) = ("forgot", 60, Duration::from_secs(60));
/// Who all of them count as; no user can have the name.
const ALL: &str = "*";

impl Counter {
    /// Counts a try, then looks the name up while the answer is on its way, so that its time says
    /// nothing about the name.
    pub(super) fn take_forgotten(&self, user: &str) -> ForgotStep {
        let limits = &self.gw.limits;
        let source = Key::of(None, self.caller.source);
        if let Err(retry) = limits.rate(&source, &rate(OF_SOURCE), clock::now()) {
            return ForgotStep::Throttled(retry.wait);
        }
        let all = Key::Person(Arc::from(ALL));
        if limits.rate(&all, &rate(OF_ALL), clock::now()).is_err() {
            tracing::warn!("too many ask for a new password; one is dropped");
            return ForgotStep::Taken;
        }
        let gw = Arc::clone(&self.gw);
        let (source, door) = (self.caller.source, self.caller.door);
        let device = self.caller.device.as_ref().map(|device| device.id);
        let (host, agent) = (self.visit.host.clone(), self.agent.clone());
        let request_id = Arc::clone(&self.visit.request_id);
        let (snap, user) = (Arc::clone(&self.snap), user.to_owned());
        tokio::spawn(async move {
            let from = Context {
                now: clock::unix(),
                source,
                door,
                device,
                browser: None,
                host: &host,
                agent: &agent,
                request_id: Some(&request_id),
                directory: &*snap,
            };
            gw.identity.send_reset(&user, &from).await;
        });
        ForgotStep::Taken
    }
}

fn rate((name, count, per): (&str, u32, Duration)) -> Rate {
    Rate {
        name: name.into(),
        count,
        per,
        burst: count.saturating_sub(1),
    }
}

/// The answer in the words of the pages.
pub(super) fn answered(step: identity::ResetStep) -> ResetStep {
    match step {
        identity::ResetStep::Done => ResetStep::Done,
        identity::ResetStep::Weak(weak) => ResetStep::Weak(lines::weakness(weak)),
        identity::ResetStep::Dead => ResetStep::Dead,
        identity::ResetStep::Throttled { retry_after } => ResetStep::Throttled(retry_after),
        identity::ResetStep::Overloaded => ResetStep::Overloaded,
        identity::ResetStep::Unavailable => ResetStep::Unavailable,
    }
}
