//! Open HTTP requests, asked again.

use std::sync::Arc;

use super::{Caller, answer, decide_http, session_stands};
use crate::audit::reason;
use crate::clock;
use crate::gateway::Gateway;
use crate::ids::Door;
use crate::proxy::head::Target;
use crate::reproof::Standing;
use crate::streams::{Answer, Question};

/// The question behind an open HTTP request.
pub(crate) struct HttpQuestion {
    pub(crate) gw: Arc<Gateway>,
    pub(crate) caller: Caller,
    pub(crate) target: Target,
    pub(crate) method: String,
    /// Whether its person said why they came.
    pub(crate) justified: bool,
}

impl Question for HttpQuestion {
    fn ask(&self) -> Answer {
        let snap = self.gw.snapshot.load_full();
        if !session_stands(self.caller.session.as_ref()) {
            return Answer::Gone(reason::REVOKED);
        }
        let token = self.caller.token.as_ref();
        if token.is_some_and(|token| !token.is_live(clock::unix())) {
            return Answer::Gone(reason::REVOKED);
        }
        let mut caller = self.caller.clone();
        if caller.door == Door::Tunnel {
            let device = caller.device.and_then(|d| self.gw.devices.get(d.id));
            let Some(device) = device.filter(|d| d.revoked.is_none()) else {
                return Answer::Gone(reason::DEVICE_REVOKED);
            };
            match self.gw.standing(device.id) {
                Standing::Open(_) => {}
                Standing::Held(_, due) => return Answer::Gone(due.reason()),
                Standing::Shut => return Answer::Gone(reason::QUARANTINE),
            }
            caller.device = Some(device);
            if caller.mismatch() {
                return Answer::Gone(reason::DEVICE_MISMATCH);
            }
        }
        if !self.justified && asks_why(&snap.policy, &self.target) {
            return Answer::Gone(reason::REASON_NEEDED);
        }
        let facts = caller.facts(&snap, clock::unix());
        answer(decide_http(&snap, &facts, &self.target, &self.method))
    }
}

/// Whether a policy asks people why they come there.
fn asks_why(policy: &policy::Policy, target: &Target) -> bool {
    let app = policy.app_for(&target.host);
    app.is_some_and(|app| {
        let front = policy.app(app).fronts.get(policy.front(app, &target.path));
        front.is_some_and(|front| front.justify.is_some())
    })
}
