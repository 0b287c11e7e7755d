//! Step 3: who is asking.

use std::sync::Arc;

use policy::Proof;

use super::conn::ConnCtx;
use super::cookies::{self, Cookies};
use crate::access::{Caller, Quarantine};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::Session;
use crate::ids::Door;
use crate::reproof::Standing;

/// What a request told of its sender.
pub(crate) struct Identified {
    /// The caller as policy sees it.
    pub(crate) caller: Caller,
    /// The cookies of ours it carried.
    pub(crate) cookies: Cookies,
    /// It came through a tunnel device that nobody has opened; then the caller has no session,
    /// whatever its cookies say.
    pub(crate) quarantine: Quarantine,
    /// The person's session, of a device for which only another proof is due; it opens nothing
    /// but the form for that proof.
    pub(crate) held: Option<Arc<Session>>,
}

/// Whether a request is use by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It keeps the session from being idle.
    Counts,
    /// A page asked by itself.
    Glance,
}

/// Reads session cookie and tunnel device. A device in quarantine makes its requests anonymous.
pub(crate) fn identify(
    gw: &Gateway,
    conn: &ConnCtx,
    headers: &http::HeaderMap,
    host: &str,
    usage: Use,
) -> Identified {
    let now = clock::unix();
    let cookies = Cookies::read(headers);
    let token = cookies.one(cookies::SESSION);
    let session = token.and_then(|token| match usage {
        Use::Counts => gw.sessions.find(token, host, now),
        Use::Glance => gw.sessions.glance(token, host, now),
    });
    let device = conn.device.and_then(|id| gw.devices.get(id));
    let quarantine = match (conn.door, &device) {
        (Door::Web, _) => Quarantine::Open,
        (Door::Tunnel, Some(device)) => match gw.standing(device.id) {
            Standing::Open(_) => Quarantine::Open,
            Standing::Held(_, due) => Quarantine::Held(due),
            Standing::Shut => Quarantine::Closed,
        },
        (Door::Tunnel, None) => Quarantine::Closed,
    };
    let owner = device.as_ref().map(|d| &d.user);
    let (session, held) = match quarantine {
        Quarantine::Open => (session, None),
        Quarantine::Held(_) => (None, session.filter(|s| Some(&s.user) == owner)),
        Quarantine::Closed => (None, None),
    };
    if let (Some(device), Quarantine::Open, Use::Counts) = (&device, quarantine, usage) {
        gw.device_used(device.id);
    }
    Identified {
        caller: Caller {
            session,
            token: None,
            by: Proof::SignIn,
            device,
            source: conn.peer.ip(),
            door: conn.door,
        },
        cookies,
        quarantine,
        held,
    }
}
