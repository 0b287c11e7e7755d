//! Proofs that are due, and the end of the session, for the pages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Counter;
use super::tokens::shown;
use crate::access::Quarantine;
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::{Due, Session, StepUp};
use crate::ids::DeviceId;
use crate::justify::Reason;
use crate::pages::{Ending, Held, KeptForm, ProofDesk, Said, SecondStep, Watch, Wondering};
use crate::proxy::identify::Identified;
use crate::proxy::{cookies, kept};
use crate::reproof::Browsers;

/// How long after a code a browser may give its key.
const KEY_WITHIN: Duration = Duration::from_secs(300);

/// What an open page is told of the device it came by.
pub(crate) fn here_now(gw: &Gateway, device: Option<DeviceId>, who: &Identified) -> Value {
    match (who.quarantine, &who.held) {
        (Quarantine::Open, _) if who.caller.session.is_some() => json!({ "state": "open" }),
        (Quarantine::Held(due), Some(session)) => {
            let moved = device.filter(|_| due == Due::Moved);
            let asked = moved.and_then(|id| {
                let (place, browsers) = (gw.place_of(id)?, &gw.reproof.browsers);
                browsers.ask(session.id, id, place, clock::now())
            });
            json!({ "state": "held", "why": due.reason(), "challenge": asked })
        }
        _ => json!({ "state": "shut" }),
    }
}

#[async_trait]
impl ProofDesk for Counter {
    fn held(&self) -> Option<Held> {
        let Quarantine::Held(due) = self.quarantine else {
            return None;
        };
        let (session, device) = (self.held.as_ref()?, self.caller.device.as_ref()?);
        Some(Held {
            csrf: session.csrf(),
            device: device.name.to_string(),
            due,
        })
    }

    async fn prove_again(&self, code: &str, rt: Option<&str>) -> SecondStep {
        let Some(session) = &self.held else {
            return SecondStep::Expired;
        };
        match self.gw.identity.step_up(session, code, &self.from()).await {
            StepUp::Done { cookie } => {
                self.open_devices(session).await;
                let next = rt.and_then(|rt| self.arrive(rt, session));
                SecondStep::Done { cookie, next }
            }
            refused @ (StepUp::Refused
            | StepUp::Throttled { .. }
            | StepUp::Expired
            | StepUp::Unavailable) => step(refused),
        }
    }

    fn watch(&self) -> Option<Watch> {
        let session = self.in_own_device()?;
        let fresh = session.mfa_age(clock::unix()) < KEY_WITHIN;
        Some(if fresh {
            Watch::WithNewKey
        } else {
            Watch::WithKey
        })
    }

    async fn keep_key(&self, raw: &[u8]) -> bool {
        let (Some(Watch::WithNewKey), Some(key)) = (self.watch(), Browsers::point(raw)) else {
            return false;
        };
        let Some(session) = self.in_own_device() else {
            return false;
        };
        match self.gw.sessions.keep_browser_key(session.id, key).await {
            Ok(true) => {
                self.gw.reproof.browsers.put(session.id, key);
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::error!(%error, "the key of a browser could not be kept");
                false
            }
        }
    }

    async fn signed(&self, signature: &[u8]) -> bool {
        let (Some(session), Quarantine::Held(Due::Moved)) = (&self.held, self.quarantine) else {
            return false;
        };
        let Some(device) = &self.caller.device else {
            return false;
        };
        self.gw.prove_by_key(device.id, session, signature).await
    }

    fn ending(&self) -> Option<Ending> {
        let session = self.caller.session.as_ref()?;
        let policy = &self.snap.policy;
        let most = policy.session_extend();
        Some(Ending {
            within: session.ends_in(policy.default_login(), clock::unix()),
            more: self.gw.identity.may_extend(session, most),
        })
    }

    fn kept_form(&self, id: &str) -> Option<KeptForm> {
        let session = self.caller.session.as_ref()?;
        let owner = kept::Owner {
            user: &session.user,
            nonce: self.cookies.one(cookies::NONCE).unwrap_or_default(),
            host: &self.visit.host,
        };
        let (store, keys) = (&self.gw.kept, &self.gw.keys);
        let form = store.take(keys, &owner, id, clock::now())?;
        Some(KeptForm {
            fields: kept::fields(&form.body)?,
            to: form.path_and_query,
        })
    }

    fn wondering(&self, rt: &str) -> Option<Wondering> {
        let target = self.gw.handover.target(rt, clock::now())?;
        let asked = target.asked?;
        Some(Wondering {
            app: shown(&asked.app).to_owned(),
            hold: asked.hold(),
        })
    }

    fn justify(&self, rt: &str, reason: &str) -> Said {
        let now = clock::now();
        let asked = self.gw.handover.target(rt, now).and_then(|t| t.asked);
        let (Some(session), Some(asked)) = (&self.caller.session, asked) else {
            return Said::Kept(None);
        };
        let Some(reason) = Reason::parse(reason) else {
            return Said::Unclear;
        };
        self.gw.reasons.give(session.id, &asked, reason, now);
        Said::Kept(self.arrive(rt, session))
    }

    async fn extend(&self, code: &str) -> SecondStep {
        let Some(session) = &self.caller.session else {
            return SecondStep::Expired;
        };
        let most = self.snap.policy.session_extend();
        let (identity, from) = (&self.gw.identity, self.from());
        step(identity.extend(session, code, most, &from).await)
    }
}

impl Counter {
    /// The session, if the request came through an open device of the person's own that is to be
    /// closed where it moves.
    fn in_own_device(&self) -> Option<&Arc<Session>> {
        let session = self.caller.session.as_ref()?;
        let device = self.caller.device.as_ref()?;
        let own = device.user == session.user && self.quarantine == Quarantine::Open;
        let moved = self.snap.policy.tunnel_reprove().moved;
        (own && moved).then_some(session)
    }
}

fn step(refused: StepUp) -> SecondStep {
    match refused {
        StepUp::Done { cookie } => SecondStep::Done { cookie, next: None },
        StepUp::Refused => SecondStep::Refused,
        StepUp::Throttled { retry_after } => SecondStep::Throttled(retry_after),
        StepUp::Expired => SecondStep::Expired,
        StepUp::Unavailable => SecondStep::Unavailable,
    }
}
