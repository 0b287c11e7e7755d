//! What the pages ask of the rest of the gateway, as plain values.

pub(crate) mod devices;
pub(crate) mod proofs;
pub(crate) mod tokens;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use self::devices::DeviceDesk;
use self::proofs::ProofDesk;
use self::tokens::TokenDesk;
use super::texts::Texts;
use crate::identity::{Notice, Others, ShownCodes};
use crate::ids::{Door, SessionId};

/// The gateway as one request to the pages sees it.
#[async_trait]
pub(crate) trait Desk: DeviceDesk + ProofDesk + TokenDesk + Send + Sync {
    /// Tells who asks, from where, and under which name of ours.
    fn visit(&self) -> &Visit;
    /// Returns a cookie of the request that stands exactly once.
    fn cookie(&self, name: &str) -> Option<&str>;
    /// Keys the proof of forms shown before a sign-in.
    fn csrf_key(&self) -> &[u8];

    /// Tries name and password, the first half of a sign-in.
    async fn password(&self, attempt: Credentials) -> FirstStep;
    /// Tries the code, the second half; on success the tunnel devices it opens are open.
    ///
    /// On somebody else's device `next` is `None`: the portal then says why it stays closed.
    async fn code(&self, half: &str, code: &str, rt: Option<&str>) -> SecondStep;
    /// Tries a recovery code, in place of the second half.
    async fn recover(&self, half: &str, code: &str) -> RecoveryStep;
    /// Tries a fresh code for the session of this request; on success the person's own device
    /// the request came through is open too, which is what the portal's button is for.
    async fn step_up(&self, code: &str, rt: Option<&str>) -> SecondStep;
    /// Tells whether mails can be sent.
    fn has_mail(&self) -> bool;
    /// Takes the name of somebody who forgot the password; tells the same for every name.
    async fn forgot(&self, user: &str) -> ForgotStep;
    /// Names the user of a link of a forgotten password, while it is good.
    async fn reset_user(&self, token: &str) -> Option<String>;
    /// Uses such a link up and sets the password.
    async fn reset(&self, token: &str, new: Zeroizing<String>) -> ResetStep;
    /// Keeps a path of this host as a return target for after the sign-in.
    fn leave(&self, path: &str) -> String;
    /// Sends the session of this request on to the return target `rt`; `None` if there is none.
    async fn onward(&self, rt: &str) -> Option<String>;
    /// Names the origin of a return target.
    fn target_origin(&self, rt: &str) -> Option<String>;

    /// Returns the root certificate of the internal authority as PEM; `None` where it is off.
    fn ca_root(&self) -> Option<String>;
    /// Lists the applications the person may open from here.
    fn apps(&self) -> Vec<App>;
    /// Lists the person's own devices.
    fn devices(&self) -> Vec<DeviceLine>;
    /// Tries password and code for acts on the own account.
    async fn confirm(&self, password: Zeroizing<String>, code: &str) -> SecondStep;
    /// Tells whether the session was confirmed within five minutes.
    fn is_confirmed(&self) -> bool;
    /// Tells the fewest characters of a password.
    fn password_minimum(&self) -> usize;
    /// Changes the person's password, if the session is confirmed.
    async fn change_password(&self, new: Zeroizing<String>, others: Others) -> ChangeStep;
    /// Gives the secret for another authenticator app, if the session is confirmed.
    fn other_app(&self) -> Option<Enrolment>;
    /// Puts the other app in place of the one in use, if the session is confirmed.
    async fn change_app(&self, code: &str, others: Others) -> ChangeStep;
    /// Makes the person's recovery codes anew, if the session is confirmed.
    async fn new_codes(&self) -> ChangeStep;
    /// Counts the person's recovery codes; `None` if that cannot be known now.
    async fn codes_left(&self) -> Option<usize>;
    /// Lists what the person has to hear of.
    async fn notices(&self) -> Vec<Notice>;
    /// Forgets one of the person's notices.
    async fn dismiss(&self, notice: i64) -> bool;
    /// Ends every session of the person but this one; false if that could not be recorded.
    async fn end_others(&self) -> bool;

    /// Lists the person's own live sessions.
    fn sessions(&self) -> Vec<SessionRow>;
    /// Ends one of the person's own sessions; false if it is not theirs or already over.
    async fn end(&self, session: SessionId) -> bool;
    /// Ends every session of the person; false if that could not be recorded.
    async fn end_all(&self) -> bool;
    /// Ends the session of this request by the person's wish; false if it could not be recorded.
    async fn sign_out(&self) -> bool;

    /// Opens an enrolment link; `None` if it is used, replaced, too old or never was.
    ///
    /// The secret stays the same until the enrolment is complete.
    async fn enrolment(&self, token: &str) -> Option<Enrolment>;
    /// Completes an enrolment.
    ///
    /// The password is the one the [`Ask`] of the link wants, else empty.
    async fn enrol(&self, token: &str, password: Zeroizing<String>, code: &str) -> EnrolStep;
}

/// One request to the pages.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The request id, shown on error pages.
    pub(crate) request_id: Arc<str>,
    /// `host[:port]` as the browser wrote it, canonical.
    pub(crate) authority: String,
    /// The host of the authority.
    pub(crate) host: String,
    /// The URL of the sign-in host to use in links away from application hosts, ending with `/`.
    pub(crate) portal: String,
    /// The signed-in person.
    pub(crate) person: Option<Person>,
    /// Whether the console would let the person look.
    pub(crate) console: bool,
    /// The tunnel device the request came through.
    pub(crate) here: Here,
    /// Whom to ask for help, from the configuration.
    pub(crate) contact: Option<String>,
}

/// The signed-in person of a request.
#[derive(Clone)]
pub(crate) struct Person {
    /// The user name.
    pub(crate) user: Arc<str>,
    /// The secret the forms of this session are proved with.
    pub(crate) csrf: String,
    /// The language of the person's setting.
    pub(crate) language: Option<String>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The tunnel device a request came through, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    /// None: from outside the tunnel.
    Web,
    /// The person's own, and open.
    Open(String),
    /// The person's own, and still closed.
    Closed(String),
    /// Somebody else's.
    NotYours(String),
}

/// A name and a password to try.
pub(crate) struct Credentials {
    /// The name as typed.
    pub(crate) user: String,
    /// The password as typed.
    pub(crate) password: Zeroizing<String>,
    /// The `User-Agent`, for the record.
    pub(crate) agent: String,
}

/// The answer to name and password.
#[derive(Debug)]
pub(crate) enum FirstStep {
    /// Right so far: the half-way cookie value, good for five minutes.
    Code(String),
    /// Right, brought from elsewhere: the enrolment link that it opens.
    Enrol(String),
    /// Wrong, unknown, or disabled: not told apart.
    Refused,
    /// Too many tries.
    Throttled(Duration),
    /// No place to check a password at this moment.
    Overloaded,
    /// The gateway cannot sign anyone in now.
    Unavailable,
}

/// The answer to a code.
#[derive(Debug)]
pub(crate) enum SecondStep {
    /// Signed in, or confirmed.
    Done {
        /// The value of the session cookie of this host.
        cookie: String,
        /// Where the browser goes next, if somewhere else than the portal.
        next: Option<String>,
    },
    /// Wrong, or used before.
    Refused,
    /// Too many tries.
    Throttled(Duration),
    /// The first half is too old, or was never there.
    Expired,
    /// The gateway cannot sign anyone in now.
    Unavailable,
}

/// The answer to a recovery code.
#[derive(Debug)]
pub(crate) enum RecoveryStep {
    /// Right: the enrolment link that it opens.
    Enrol(String),
    /// Wrong, or used before.
    Refused,
    /// Too many tries.
    Throttled(Duration),
    /// The first half is too old, or was never there.
    Expired,
    /// The gateway cannot sign anyone in now.
    Unavailable,
}

/// The answer to the name of somebody who forgot the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForgotStep {
    /// A mail is on its way if the name is that of somebody.
    Taken,
    /// Too many from here.
    Throttled(Duration),
}

/// The answer to a new password in place of a forgotten one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResetStep {
    /// It is set.
    Done,
    /// It was not taken.
    Weak(Weakness),
    /// The link is not good any more.
    Dead,
    /// Too many tries.
    Throttled(Duration),
    /// No place to work on a password at this moment.
    Overloaded,
    /// It could not be stored now.
    Unavailable,
}

/// The answer to a change of the own factors.
#[derive(Debug)]
pub(crate) enum ChangeStep {
    /// Done.
    Done,
    /// Done; these recovery codes are shown once.
    Codes(ShownCodes),
    /// Password and code are wanted first.
    NotConfirmed,
    /// The password was not taken.
    Weak(Weakness),
    /// The code is not right.
    WrongCode,
    /// Too many tries.
    Throttled(Duration),
    /// No place to work on a password at this moment.
    Overloaded,
    /// It could not be stored now.
    Unavailable,
}

/// Why a password was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// It has too few characters.
    Short,
    /// It has too many characters.
    Long,
    /// It is known, or little more than a name.
    Common,
}

/// What an enrolment asks for besides the code, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A new password: the account is new.
    NewPassword,
    /// A new password: the imported one is too weak.
    BetterPassword,
    /// The password that stands: the second factor was reset.
    Password,
    /// Nothing: a recovery code was right.
    Recovered,
    /// Nothing: an imported password was right.
    Imported,
}

impl Ask {
    /// Tells whether a new password is chosen.
    pub(crate) fn is_new(self) -> bool {
        matches!(self, Self::NewPassword | Self::BetterPassword)
    }
}

/// What an enrolment link is for.
#[derive(Clone)]
pub(crate) struct Enrolment {
    /// What the form asks for.
    pub(crate) ask: Ask,
    /// The sessions of the person, where a sign-in led here.
    pub(crate) sessions: Vec<SessionRow>,
    /// The user name.
    pub(crate) user: String,
    /// The `otpauth:` URL for the QR code.
    pub(crate) otpauth: Zeroizing<String>,
    /// The same secret in base32, for typing.
    pub(crate) secret: Zeroizing<String>,
    /// The fewest characters of a password.
    pub(crate) minimum: usize,
}

/// The answer to a completed enrolment form.
#[derive(Debug)]
pub(crate) enum EnrolStep {
    /// The account is ready; these recovery codes are shown once.
    Done(ShownCodes),
    /// The new password was not taken.
    Weak(Weakness),
    /// The password that stands is not right.
    WrongPassword,
    /// The code is not right.
    WrongCode,
    /// The link is not good any more.
    Dead,
    /// Too many tries.
    Throttled(Duration),
    /// No place to work on a password at this moment.
    Overloaded,
    /// It could not be stored now.
    Unavailable,
}

/// An application on the portal.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// The name people know it by.
    pub(crate) name: String,
    /// Its address.
    pub(crate) url: String,
    /// Whether it asks for a fresh code first.
    pub(crate) needs_code: bool,
}

impl App {
    /// Returns the first letter of the name, for the tile.
    pub(crate) fn letter(&self) -> String {
        let first = self.name.chars().find(|c| c.is_alphanumeric());
        first.map_or_else(String::new, |c| c.to_uppercase().collect())
    }

    /// Returns the address without scheme and trailing slash.
    pub(crate) fn shown_host(&self) -> &str {
        let bare = self.url.strip_prefix("https://").unwrap_or(&self.url);
        bare.trim_end_matches('/')
    }
}

/// A device of the person.
#[derive(Clone, Debug)]
pub(crate) struct DeviceLine {
    /// `d7`.
    pub(crate) id: String,
    /// The name it was given.
    pub(crate) name: String,
    /// Its tunnel address.
    pub(crate) address: String,
    /// Whether an administrator manages it.
    pub(crate) managed: bool,
    /// Whether it may pass.
    pub(crate) state: DeviceState,
}

impl DeviceLine {
    pub(crate) fn class_text(&self, t: &'static Texts) -> &'static str {
        if self.managed {
            t.class_managed
        } else {
            t.class_known
        }
    }
}

/// Whether a device may pass traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceState {
    /// A live session opened it.
    Open,
    /// No live session opened it.
    Closed,
    /// It was never heard of.
    Never,
    /// It is revoked for good.
    Revoked,
}

impl DeviceState {
    pub(crate) fn text(self, t: &'static Texts) -> &'static str {
        match self {
            Self::Open => t.device_open,
            Self::Closed => t.device_closed,
            Self::Never => t.device_never,
            Self::Revoked => t.device_revoked,
        }
    }

    /// Names the style of the mark beside it.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Never | Self::Revoked => "off",
        }
    }
}

/// A live session of the person.
#[derive(Clone, Debug)]
pub(crate) struct SessionRow {
    /// The id as lists write it.
    pub(crate) id: SessionId,
    /// The door it came by.
    pub(crate) door: Door,
    /// The address it came from.
    pub(crate) source: IpAddr,
    /// The zones of the policy the address is in.
    pub(crate) zones: Vec<String>,
    /// Browser and system in a few words; empty if unknown.
    pub(crate) browser: String,
    /// The tunnel devices it opens.
    pub(crate) devices: Vec<String>,
    /// Seconds since the UNIX epoch.
    pub(crate) created: i64,
    /// Seconds since the UNIX epoch.
    pub(crate) last_used: i64,
    /// Whether it is the one of this request.
    pub(crate) current: bool,
}
