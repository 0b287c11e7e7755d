//! Why a device does not get through: what is known of it, in the order a packet meets it; no IO.

pub(crate) mod golive;
pub(crate) mod listeners;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::control::DeviceLine;
use crate::identity::Standing;

/// Seconds after which a session that is used has made a new handshake (WireGuard paper 6.2).
const REJECT_AFTER: u64 = 180;
/// The largest inner packet that fits lines of 1500 bytes over IPv6 outside.
const MTU_OF_1500: u16 = 1420;

/// The answer about one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Diagnosis {
    /// The device.
    pub(crate) device: DeviceLine,
    /// What was looked at, in order.
    pub(crate) findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// What was looked at, such as `handshake`.
    pub(crate) check: String,
    /// Whether it is as it should be.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It is.
    Ok,
    /// It may explain trouble.
    Note,
    /// Nothing gets through.
    Fault,
}

impl Verdict {
    /// Names the verdict as lists write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Fault => "FAULT",
        }
    }
}

/// What is known of a device and its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The device.
    pub(crate) device: DeviceLine,
    /// Why the tunnel is shut; `None` while it is open.
    pub(crate) tunnel_shut: Option<String>,
    /// How its owner stands.
    pub(crate) standing: Standing,
    /// Whether its owner has password and second factor.
    pub(crate) enrolled: bool,
    /// Whether its preshared key can be opened, if it has one.
    pub(crate) key_opens: bool,
    /// Its session in the tunnel; `None` if the tunnel does not know it.
    pub(crate) peer: Option<wg::PeerStatus>,
    /// When it last made a handshake by its own clock.
    pub(crate) stamp: Option<String>,
    /// Whether that clock is far ahead of ours.
    pub(crate) clock_ahead: bool,
    /// What came to the socket since the tunnel was opened.
    pub(crate) noise: Noise,
    /// The zones of its outer address.
    pub(crate) zones: Vec<String>,
    /// The sign-in that opens it, with its end.
    pub(crate) session: Option<(String, String)>,
    /// Why it is closed though somebody did sign in through it.
    pub(crate) closed: Option<String>,
    /// Sign-ins of its owner that do not open it.
    pub(crate) other_sessions: usize,
    /// Services of the policy that its owner reaches, with the conditions.
    pub(crate) services: Vec<String>,
    /// Networks that it may reach and to which this host has no route.
    pub(crate) unrouted: Vec<String>,
    /// Resolvers and whether they answered.
    pub(crate) resolvers: Vec<(String, bool)>,
    /// What its configuration should say.
    pub(crate) conf: Conf,
}

/// What came to the socket from anybody.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noise {
    /// All datagrams.
    pub(crate) datagrams: u64,
    /// Handshakes for another server key.
    pub(crate) bad_mac: u64,
    /// Handshakes of keys that are not registered.
    pub(crate) unknown: u64,
}

/// What a configuration should say.
#[derive(Clone, Debug)]
pub(crate) struct Conf {
    /// The gateway's public key.
    pub(crate) server_public_key: String,
    /// Where it is reached.
    pub(crate) endpoint: String,
    /// Networks to route.
    pub(crate) allowed_ips: String,
    /// The largest inner packet in bytes.
    pub(crate) mtu: u16,
    /// The page that opens the device.
    pub(crate) sign_in: String,
}

/// Looks at everything in order; after what stops all, the rest is left out.
pub(crate) fn examine(facts: &Facts) -> Diagnosis {
    let mut findings = vec![tunnel(facts), registered(facts), owner(facts)];
    if findings.iter().all(|f| f.verdict != Verdict::Fault) {
        findings.extend(handshake(facts));
        findings.extend([clock(facts), endpoint(facts), open(facts)]);
        findings.extend([services(facts), dns(facts), mtu(facts)]);
    }
    Diagnosis {
        device: facts.device.clone(),
        findings,
    }
}

fn ok(check: &str, found: impl Into<String>) -> Finding {
    finding(check, Verdict::Ok, found.into(), None)
}

fn note(check: &str, found: impl Into<String>, next: impl Into<String>) -> Finding {
    finding(check, Verdict::Note, found.into(), Some(next.into()))
}

fn fault(check: &str, found: impl Into<String>, next: impl Into<String>) -> Finding {
    finding(check, Verdict::Fault, found.into(), Some(next.into()))
}

fn finding(check: &str, verdict: Verdict, found: String, next: Option<String>) -> Finding {
    Finding {
        check: check.to_owned(),
        verdict,
        found,
        next,
    }
}

fn tunnel(facts: &Facts) -> Finding {
    match &facts.tunnel_shut {
        None => ok("tunnel", "the tunnel is open"),
        Some(why) => fault(
            "tunnel",
            format!("the tunnel is shut: {why}"),
            "see postern status",
        ),
    }
}

fn registered(facts: &Facts) -> Finding {
    let device = &facts.device;
    if let Some(at) = &device.revoked {
        let next = format!(
            "register a new key: postern device add {} NAME --generate",
            device.user
        );
        return fault("registered", format!("revoked at {at}, for ever"), next);
    }
    if !facts.key_opens {
        let next = format!("postern device rotate-psk {}", device.id);
        return fault("registered", "its preshared key cannot be opened", next);
    }
    let preshared = if device.preshared { "with" } else { "without" };
    let (address, key) = (&device.address, &device.public_key);
    let text = format!("{address}, public key {key}, {preshared} a preshared key");
    ok("registered", text)
}

fn owner(facts: &Facts) -> Finding {
    let user = &facts.device.user;
    match facts.standing {
        Standing::Unknown => {
            let next = format!("postern user add {user}");
            fault("owner", format!("{user} is not in the policy"), next)
        }
        Standing::Disabled => {
            let next = format!("postern user enable {user}");
            fault("owner", format!("{user} is disabled"), next)
        }
        Standing::Active if !facts.enrolled => {
            let next = format!("send a link: postern user invite {user}");
            note(
                "owner",
                format!("{user} has no password and code yet"),
                next,
            )
        }
        Standing::Active => ok("owner", format!("{user} may sign in")),
    }
}

/// Walks what can be wrong with the keys and the way to the socket.
fn handshake(facts: &Facts) -> Vec<Finding> {
    let Some(peer) = &facts.peer else {
        let next = "postern reload; see the log for why the device was left out";
        return vec![fault(
            "handshake",
            "the tunnel does not know the device",
            next,
        )];
    };
    let age = peer.handshake_age.map(|age| age.as_secs());
    match (peer.has_session, age) {
        (true, Some(age)) => vec![ok("handshake", format!("a session since {age} s"))],
        (true, None) => vec![ok("handshake", "a session")],
        (false, Some(age)) if age < REJECT_AFTER => vec![unfinished(facts, age)],
        (false, Some(age)) => {
            let next =
                "is the device on, and its tunnel switched on? It makes a handshake when it sends";
            vec![note("handshake", format!("the last one {age} s ago"), next)]
        }
        (false, None) => never(facts),
    }
}

/// An initiation was right and answered, and nothing came after the answer.
fn unfinished(facts: &Facts, age: u64) -> Finding {
    let found = format!("answered {age} s ago, and the device did not go on");
    let key = if facts.device.preshared {
        format!(
            "compare PresharedKey in its [Peer] (another one: postern device rotate-psk {})",
            facts.device.id
        )
    } else {
        "its [Peer] must have no PresharedKey".to_owned()
    };
    let next = format!("{key}; or a firewall drops UDP from the gateway to the device");
    fault("handshake", found, next)
}

fn never(facts: &Facts) -> Vec<Finding> {
    let Conf {
        server_public_key,
        endpoint,
        ..
    } = &facts.conf;
    let found = match &facts.stamp {
        Some(at) => format!("none since the tunnel was opened; the last one at {at}"),
        None => "never one".to_owned(),
    };
    let Noise {
        datagrams,
        bad_mac,
        unknown,
    } = facts.noise;
    let mut findings = Vec::new();
    if datagrams == 0 {
        let next = format!(
            "nothing at all came to the socket: is UDP let through to it, and does the device \
             say Endpoint = {endpoint}?"
        );
        return vec![fault("handshake", found, next)];
    }
    if bad_mac > 0 {
        findings.push(note(
            "keys",
            format!("{bad_mac} handshakes were for another server key"),
            format!("the device must say PublicKey = {server_public_key}"),
        ));
    }
    if unknown > 0 {
        findings.push(note(
            "keys",
            format!("{unknown} handshakes came with keys that are not registered, or broken"),
            format!(
                "the device's own key must be {}; `wg show` on it tells it",
                facts.device.public_key
            ),
        ));
    }
    let next = format!("is its tunnel switched on, and does it say Endpoint = {endpoint}?");
    findings.insert(0, fault("handshake", found, next));
    findings
}

fn clock(facts: &Facts) -> Finding {
    if facts.clock_ahead {
        let at = facts.stamp.as_deref().unwrap_or("later");
        let next = format!(
            "set the device's clock; if it is right now, postern device clear {}",
            facts.device.id
        );
        return note("clock", format!("its handshakes say it is {at}"), next);
    }
    let stale = facts.peer.as_ref();
    let stale = stale.map_or(0, |p| if p.has_session { 0 } else { p.stale_handshakes });
    if stale > 0 {
        let next = format!(
            "set the device's clock; if it is right now, postern device clear {}",
            facts.device.id
        );
        let found = format!("{stale} handshakes said that it is no later than at one before");
        return fault("clock", found, next);
    }
    ok("clock", "its handshakes carry no time ahead of ours")
}

fn endpoint(facts: &Facts) -> Finding {
    let peer = facts.peer.as_ref();
    let Some(endpoint) = peer.and_then(|p| p.endpoint) else {
        return note("endpoint", "not heard from anywhere", "see handshake");
    };
    let zones = match facts.zones.is_empty() {
        true => String::new(),
        false => format!(" ({})", facts.zones.join(", ")),
    };
    let (rx, tx) = peer.map_or((0, 0), |p| (p.rx_bytes, p.tx_bytes));
    let text = format!("{endpoint}{zones}, {rx} bytes from it, {tx} to it");
    ok("endpoint", text)
}

fn open(facts: &Facts) -> Finding {
    if let Some((session, expires)) = &facts.session {
        let text = format!("open by sign-in {session}, until {expires} unless it is used");
        return ok("sign-in", text);
    }
    let user = &facts.device.user;
    let found = match (&facts.closed, facts.other_sessions) {
        (Some(why), _) => format!("quarantine: {why}"),
        (None, 0) => format!("quarantine: {user} is not signed in"),
        (None, 1) => format!("quarantine: {user} is signed in elsewhere, not through this device"),
        (None, n) => {
            format!("quarantine: {user} is signed in {n} times elsewhere, not through this device")
        }
    };
    let next = format!(
        "open {} in a browser on the device, with the tunnel on, and sign in",
        facts.conf.sign_in
    );
    fault("sign-in", found, next)
}

fn services(facts: &Facts) -> Finding {
    let user = &facts.device.user;
    if facts.services.is_empty() {
        let next = format!("allow something in [net.NAME], or see postern policy what-can {user}");
        let found = format!("the policy lets {user} reach no service but the apps");
        return note("policy", found, next);
    }
    if !facts.unrouted.is_empty() {
        let found = format!("this host has no route to {}", facts.unrouted.join(", "));
        let next =
            "add one (ip route add NETWORK via ROUTER), or name the right network in the policy";
        return fault("policy", found, next);
    }
    let routes = &facts.conf.allowed_ips;
    let text = format!("{}; the device routes {routes}", facts.services.join("; "));
    ok("policy", text)
}

fn dns(facts: &Facts) -> Finding {
    let silent: Vec<&str> = facts
        .resolvers
        .iter()
        .filter(|r| !r.1)
        .map(|r| r.0.as_str())
        .collect();
    if facts.resolvers.is_empty() {
        let next = "name resolvers in [tunnel] dns";
        return note("dns", "only names of this gateway are answered", next);
    }
    if silent.is_empty() {
        return ok("dns", "the resolvers answer");
    }
    let found = format!("no answer of {}", silent.join(", "));
    note(
        "dns",
        found,
        "correct [tunnel] dns, or let UDP port 53 through to it",
    )
}

fn mtu(facts: &Facts) -> Finding {
    let mtu = facts.conf.mtu;
    if mtu > MTU_OF_1500 {
        let found = format!("packets of {mtu} bytes do not fit lines of 1500 with their wrapping");
        return note(
            "mtu",
            found,
            "set [tunnel] mtu = 1420, and MTU = 1420 on the device",
        );
    }
    ok(
        "mtu",
        format!("{mtu}; if only large pages hang, write MTU = 1280 on the device"),
    )
}
