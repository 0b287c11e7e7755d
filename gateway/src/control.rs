//! The local control socket: one JSON request line, one JSON answer line, nothing for anybody but the owner and root.

pub(crate) mod acts;
mod apps;
pub(crate) mod cert;
mod client;
mod device;
pub(crate) mod import;
mod policy;
pub(crate) mod purge;
pub(crate) mod room;
mod server;
mod token;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::doctor::Diagnosis;
use crate::reload::history::{By, Entry};

pub(crate) use crate::bans::line as ban;
pub(crate) use apps::AppClock;
pub(crate) use client::Remote;
pub(crate) use device::{DeviceAdded, DeviceClass, DeviceLine, NewDevice, Preshared};
pub(crate) use policy::{Apply, Confirmed, Rollback, Verdict};
pub(crate) use server::{bind, serve};
pub(crate) use token::{TokenLine, TokensEnded};

/// What an operator may ask of a gateway; each answer is given when its effect is in force.
///
/// The running gateway implements it behind the socket, [`Remote`] asks it through the socket, and the command line
/// has a third form that works on the state folder of a gateway that does not run.
#[async_trait]
pub(crate) trait Operator: Send + Sync {
    /// Tells how the gateway is.
    async fn status(&self) -> Result<Status, Refusal>;
    /// Loads policy and certificates again and waits; [`Code::Config`] with diagnostics keeps the old set.
    async fn reload(&self) -> Result<Reloaded, Refusal>;
    /// Records what the command line did to a person's entry, then loads the policy again and waits.
    async fn user_changed(&self, user: &str, act: UserAct) -> Result<Reloaded, Refusal>;
    /// Lists the users who have both factors.
    async fn user_enrolled(&self) -> Result<Vec<String>, Refusal>;
    /// Lists the people whose authenticator app shows another time.
    async fn user_clocks(&self) -> Result<Vec<AppClock>, Refusal> {
        Err(Refusal::new(
            Code::Unavailable,
            "this gateway does not say whose clock is off",
        ))
    }
    /// Makes a one-time enrolment link; an earlier one of the same user is void.
    async fn user_invite(&self, user: &str) -> Result<Invitation, Refusal>;
    /// Forgets the factors of a user, ends what they opened and revokes their devices; the name may be gone from the
    /// policy.
    async fn user_forget(&self, user: &str) -> Result<Ended, Refusal>;
    /// Forgets the factors of a user and ends their sessions; devices stay.
    async fn user_reset(&self, user: &str) -> Result<Ended, Refusal> {
        let text = format!("this gateway cannot forget the factors of {user} alone");
        Err(Refusal::new(Code::Unavailable, text))
    }
    /// Records that a local user read the journal with a command.
    async fn audit_read(&self, uid: u32, what: &str) -> Result<(), Refusal> {
        let text = format!("this gateway cannot record that user {uid} read: {what}");
        Err(Refusal::new(Code::Unavailable, text))
    }
    /// Takes the second factor of a user away and keeps the password, for a reason the person is told; makes the link
    /// that leads to a new one.
    async fn user_reset_totp(&self, user: &str, why: &str) -> Result<Invitation, Refusal> {
        let text = format!("this gateway cannot reset the second factor of {user} for {why}");
        Err(Refusal::new(Code::Unavailable, text))
    }
    /// Keeps verifiers of another product for users who have no password; returns who got one.
    async fn user_import(&self, people: &[Imported]) -> Result<Vec<String>, Refusal> {
        let text = format!("this gateway cannot import {} passwords", people.len());
        Err(Refusal::new(Code::Unavailable, text))
    }
    /// Lists live sessions, oldest first.
    async fn session_list(&self) -> Result<Vec<SessionLine>, Refusal>;
    /// Ends sessions and every stream they opened.
    async fn session_revoke(&self, which: &Which) -> Result<Ended, Refusal>;
    /// Lists the tokens that count, in the order of people.
    async fn token_list(&self) -> Result<Vec<TokenLine>, Refusal> {
        cannot()
    }
    /// Revokes tokens and cuts what they have open.
    async fn token_revoke(&self, _which: &Which) -> Result<TokensEnded, Refusal> {
        cannot()
    }
    /// Lists devices, revoked ones too.
    async fn device_list(&self) -> Result<Vec<DeviceLine>, Refusal>;
    /// Registers a device by its public key.
    async fn device_add(&self, new: &NewDevice) -> Result<DeviceAdded, Refusal>;
    /// Revokes a device; its tunnel ends at once.
    async fn device_revoke(&self, id: &str) -> Result<DeviceLine, Refusal>;
    /// Takes the devices of a WireGuard server over, all or none.
    async fn device_import(&self, _: &import::Import) -> Result<import::DevicesImported, Refusal> {
        cannot()
    }
    /// Walks why a device does not get through.
    async fn device_doctor(&self, _which: &str) -> Result<Diagnosis, Refusal> {
        cannot()
    }
    /// Gives a device another preshared key; its session ends, and the next handshake needs the new one.
    async fn device_rotate_psk(&self, _id: &str) -> Result<DeviceAdded, Refusal> {
        cannot()
    }
    /// Forgets that a device's key was seen in two places and which time its handshakes claimed; its session ends.
    async fn device_clear(&self, _id: &str) -> Result<DeviceLine, Refusal> {
        cannot()
    }
    /// Lists, makes and lifts bans.
    async fn ban(&self, _ask: &ban::Ask) -> Result<Vec<ban::Line>, Refusal> {
        let text = "this gateway knows no bans";
        Err(Refusal::new(Code::Unavailable, text))
    }
    /// Forgets kept answers and records that this local user said so.
    async fn cache_purge(&self, _ask: &purge::Ask, _uid: u32) -> Result<purge::Purged, Refusal> {
        cannot()
    }
    /// Lists, orders and tests certificates.
    async fn certs(&self, _ask: &cert::Ask) -> Result<cert::Told, Refusal> {
        cannot()
    }
    /// Says whether a device is managed.
    async fn device_mark(&self, id: &str, class: DeviceClass) -> Result<DeviceLine, Refusal>;
    /// Puts a policy in force, or tells what that would do.
    async fn policy_apply(&self, _: &Apply) -> Result<Verdict, Refusal> {
        cannot()
    }
    /// Returns to an earlier policy.
    async fn policy_rollback(&self, _: &Rollback) -> Result<Verdict, Refusal> {
        cannot()
    }
    /// Ends the waiting of a policy that is to be confirmed.
    async fn policy_confirm(&self) -> Result<Confirmed, Refusal> {
        cannot()
    }
    /// Lists what was put in force and what was refused, oldest first.
    async fn policy_history(&self) -> Result<Vec<Entry>, Refusal> {
        cannot()
    }
    /// Sends a test mail and waits for the server's answer.
    async fn mail_test(&self, _to: &str) -> Result<MailSent, Refusal> {
        cannot()
    }
    /// Returns the same operator acting for a local user, where it matters who acts.
    fn acting_for(&self, _: By) -> Option<Box<dyn Operator>> {
        None
    }
}

fn cannot<T>() -> Result<T, Refusal> {
    let text = "no gateway runs that could do this";
    Err(Refusal::new(Code::Unavailable, text))
}

/// One request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// See [`Operator::status`].
    Status,
    /// See [`Operator::reload`].
    Reload,
    /// See [`Operator::user_changed`].
    UserChanged { user: String, act: UserAct },
    /// See [`Operator::user_enrolled`].
    UserEnrolled,
    /// See [`Operator::user_clocks`].
    UserClocks,
    /// See [`Operator::user_invite`].
    UserInvite { user: String },
    /// See [`Operator::user_forget`].
    UserForget { user: String },
    /// See [`Operator::user_reset`].
    UserReset { user: String },
    /// See [`Operator::audit_read`]; the user is the one who asks.
    AuditRead { what: String },
    /// See [`Operator::user_reset_totp`].
    UserResetTotp { user: String, why: String },
    /// See [`Operator::user_import`].
    UserImport { people: Vec<Imported> },
    /// See [`Operator::session_list`].
    SessionList,
    /// See [`Operator::session_revoke`].
    SessionRevoke { which: Which },
    /// See [`Operator::token_list`].
    TokenList,
    /// See [`Operator::token_revoke`].
    TokenRevoke { which: Which },
    /// See [`Operator::device_list`].
    DeviceList,
    /// See [`Operator::device_add`].
    DeviceAdd { new: NewDevice },
    /// See [`Operator::device_revoke`].
    DeviceRevoke { id: String },
    /// See [`Operator::device_doctor`].
    DeviceDoctor { which: String },
    /// See [`Operator::device_import`].
    DeviceImport { import: import::Import },
    /// See [`Operator::device_rotate_psk`].
    DeviceRotatePsk { id: String },
    /// See [`Operator::device_clear`].
    DeviceClear { id: String },
    /// See [`Operator::ban`].
    Ban { ask: ban::Ask },
    /// See [`Operator::cache_purge`]; the user is the one who asks.
    CachePurge { ask: purge::Ask },
    /// See [`Operator::certs`].
    Certs { what: cert::Ask },
    /// See [`Operator::device_mark`].
    DeviceMark { id: String, class: DeviceClass },
    /// See [`Operator::policy_apply`].
    PolicyApply { apply: Apply },
    /// See [`Operator::policy_rollback`].
    PolicyRollback { rollback: Rollback },
    /// See [`Operator::policy_confirm`].
    PolicyConfirm,
    /// See [`Operator::policy_history`].
    PolicyHistory,
    /// See [`Operator::mail_test`].
    MailTest { to: String },
}

/// One answer line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer<T> {
    Done(T),
    Refused(Refusal),
}

/// Says why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// Whose fault it is.
    pub(crate) code: Code,
    /// What failed, for people; may have several lines.
    pub(crate) message: String,
}

impl Refusal {
    /// Makes a refusal.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

/// Whose fault a refusal is; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    /// The request makes no sense.
    Usage,
    /// What the request names does not exist or is not as needed.
    Data,
    /// The gateway cannot do it at present.
    Unavailable,
    /// A fault of the gateway.
    Internal,
    /// The caller may not.
    Permission,
    /// Configuration or policy is in the way.
    Config,
    /// A guard waits for somebody to accept.
    Held,
}

/// The answer to [`Operator::status`]; the shape is a contract with scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The version of the binary.
    pub(crate) version: String,
    /// Seconds since the start.
    pub(crate) uptime_s: u64,
    /// The policy in force.
    pub(crate) policy: PolicyStatus,
    /// What listens where, such as `https 0.0.0.0:443`.
    pub(crate) listeners: Vec<String>,
    /// The tunnel door.
    pub(crate) tunnel: TunnelStatus,
    /// All devices that are not forgotten.
    pub(crate) devices: Vec<DeviceStatus>,
    /// How many sessions are live.
    pub(crate) sessions: u64,
    /// The journal.
    pub(crate) audit: AuditStatus,
    /// Client connections, and what there is room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) room: Option<room::RoomStatus>,
    /// Certificates whose last order failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) certificates: Vec<cert::Failing>,
    /// The upstreams of all apps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) upstreams: Vec<UpstreamStatus>,
    /// What is under way at the areas that have a limit or a breaker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) loads: Vec<LoadStatus>,
    /// People whose authenticator app shows another time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) app_clocks: Vec<AppClock>,
}

/// What is under way at the upstreams of an area, in a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoadStatus {
    /// The app and area that names them, such as `app.paie/api`.
    pub(crate) area: String,
    /// Requests under way.
    pub(crate) open: u32,
    /// The most that may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    /// Requests refused since the start.
    pub(crate) refused: u64,
    /// `closed`, `open` or `trying`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) breaker: Option<String>,
}

/// An upstream in a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamStatus {
    /// The app and area that names it, such as `app.paie/api`.
    pub(crate) area: String,
    /// Its address, such as `http://192.168.1.100:8501`.
    pub(crate) url: String,
    /// `up`, `out` (it failed requests and rests) or `down` (its check fails).
    pub(crate) state: String,
    /// Since when it is not up, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// Why it is not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// Whether it only serves browsers that are pinned to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) drain: bool,
    /// Requests under way.
    pub(crate) open: u64,
    /// Requests it was given since the start.
    pub(crate) requests: u64,
    /// How many of them it failed.
    pub(crate) failures: u64,
}

/// The policy in a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyStatus {
    /// Its digest in hexadecimal.
    pub(crate) digest: String,
    /// Counts what was put in force since the start.
    pub(crate) generation: u64,
    /// When it was put in force, RFC 3339.
    pub(crate) loaded: String,
    /// Why the files that lie there now are not in force.
    pub(crate) error: Option<String>,
    /// Whether the last good policy stands in for a folder that gave none at the start.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) cached: bool,
    /// Until when it must be confirmed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confirm_until: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The tunnel door in a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TunnelStatus {
    /// `up`, `down` or `off`.
    pub(crate) state: String,
    /// Why it is down, and what to grant.
    pub(crate) why: Option<String>,
    /// Datagrams and packets dropped since it was opened, by reason; those that are none are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Flows, pings and names refused before any decision since it was opened, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) refused: BTreeMap<String, u64>,
}

/// A device in a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceStatus {
    /// Such as `d7`.
    pub(crate) id: String,
    /// Its owner.
    pub(crate) user: String,
    /// Its name.
    pub(crate) name: String,
    /// Its address in the tunnel.
    pub(crate) address: String,
    /// Its IPv6 address in the tunnel, where that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address6: Option<String>,
    /// Where it was last heard.
    pub(crate) endpoint: Option<String>,
    /// Seconds since its last handshake.
    pub(crate) handshake_age_s: Option<u64>,
    /// Bytes received from it.
    pub(crate) rx: u64,
    /// Bytes sent to it.
    pub(crate) tx: u64,
    /// `never`, `quarantine`, `open` or `revoked`.
    pub(crate) state: String,
    /// Why it is in that state.
    pub(crate) why: Option<String>,
}

/// The journal in a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditStatus {
    /// The last record's number.
    pub(crate) seq: u64,
    /// Whether records can be written.
    pub(crate) ok: bool,
}

/// The answer to [`Operator::reload`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// The digest of the policy in force.
    pub(crate) digest: String,
    /// Its generation.
    pub(crate) generation: u64,
    /// Findings that do not stop it, one line each.
    pub(crate) warnings: Vec<String>,
}

/// What was done to a person's entry in the policy folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UserAct {
    /// Declared.
    Add,
    /// Shut out.
    Disable,
    /// Let in again.
    Enable,
    /// Taken out.
    Remove,
}

/// A one-time enrolment link.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// The user.
    pub(crate) user: String,
    /// The link; a secret until it is used.
    pub(crate) link: String,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = &self.user;
        f.debug_struct("Invitation")
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// A person and the password verifier of another product.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Imported {
    /// The user.
    pub(crate) user: String,
    /// The verifier as its file had it.
    pub(crate) verifier: String,
}

impl std::fmt::Debug for Imported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = &self.user;
        f.debug_struct("Imported")
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// The answer to [`Operator::mail_test`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MailSent {
    /// The server that took it, `host:port`.
    pub(crate) server: String,
    /// Whom it was for.
    pub(crate) to: String,
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Which {
    /// The one with this id.
    Id(String),
    /// All of one user.
    User(String),
    /// All.
    All,
}

/// The sessions that were ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Their ids.
    pub(crate) sessions: Vec<String>,
}

/// One session; the shape is a contract with scripts. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionLine {
    /// Such as `saaaaaaaaaaaaa`.
    pub(crate) id: String,
    /// Who signed in.
    pub(crate) user: String,
    /// `web` or `tunnel`.
    pub(crate) door: String,
    /// The source address of the sign-in.
    pub(crate) source: String,
    /// When it began.
    pub(crate) created: String,
    /// When it was last used.
    pub(crate) last_used: String,
    /// When it ends unless it is used.
    pub(crate) expires: String,
    /// Devices it opens.
    pub(crate) devices: Vec<String>,
}

#[cfg(test)]
mod tests;
