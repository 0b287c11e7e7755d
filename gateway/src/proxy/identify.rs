//! Step 3: who is asking.

use super::conn::ConnCtx;
use super::cookies::{self, Cookies};
use crate::access::{Caller, Quarantine};
use crate::clock;
use crate::gateway::Gateway;
use crate::ids::Door;

/// What a request told of its sender.
pub(crate) struct Identified {
    /// The caller as policy sees it.
    pub(crate) caller: Caller,
    /// The cookies of ours it carried.
    pub(crate) cookies: Cookies,
    /// It came through a tunnel device that nobody has opened; then the caller has no session,
    /// whatever its cookies say.
    pub(crate) quarantine: Quarantine,
}

/// Reads session cookie and tunnel device. A device in quarantine makes its requests anonymous.
pub(crate) fn identify(
    gw: &Gateway,
    conn: &ConnCtx,
    headers: &http::HeaderMap,
    host: &str,
) -> Identified {
    let now = clock::unix();
    let cookies = Cookies::read(headers);
    let session = cookies
        .one(cookies::SESSION)
        .and_then(|token| gw.sessions.find(token, host, now));
    let device = conn.device.and_then(|id| gw.devices.get(id));
    let opened = match (conn.door, &device) {
        (Door::Web, _) => true,
        (Door::Tunnel, Some(device)) => gw.sessions.opened_by(device.id, now).is_some(),
        (Door::Tunnel, None) => false,
    };
    Identified {
        caller: Caller {
            session: session.filter(|_| opened),
            device,
            source: conn.peer.ip(),
            door: conn.door,
        },
        cookies,
        quarantine: if opened {
            Quarantine::Open
        } else {
            Quarantine::Closed
        },
    }
}
