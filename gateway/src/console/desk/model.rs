//! What the pages of the console show, and JSON says.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::clock;
use crate::edits::lines::Line;
use crate::pages::minute;

/// An instant in seconds since the UNIX epoch: to the minute for people, RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(pub(crate) i64);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&minute(self.0))
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let ms = u64::try_from(self.0).unwrap_or(0).saturating_mul(1000);
        to.serialize_str(&clock::rfc3339(ms))
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// How many entries come before it.
    pub(crate) skip: usize,
    /// How many entries it has at most.
    pub(crate) take: usize,
}

impl Slice {
    /// Cuts the part out of a list.
    pub(crate) fn of<T>(self, all: impl ExactSizeIterator<Item = T>) -> Page<T> {
        Page {
            total: all.len(),
            skipped: self.skip,
            lines: all.skip(self.skip).take(self.take).collect(),
        }
    }
}

/// A part of a list with its place in the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Page<T> {
    /// How many entries there are.
    pub(crate) total: usize,
    /// How many come before these.
    pub(crate) skipped: usize,
    /// The entries.
    pub(crate) lines: Vec<T>,
}

/// A token for an app.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TokenLine {
    /// The id as lists write it.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) user: String,
    /// Such as `app.git`.
    pub(crate) app: String,
    /// The device it was made for.
    pub(crate) name: String,
    /// When it was made.
    pub(crate) created: At,
    /// When it ends.
    pub(crate) expires: At,
    /// When it was last used.
    pub(crate) last_used: Option<At>,
    /// The zones and the address it was last used from; empty if it never was.
    pub(crate) place: String,
}

/// A person in the list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PersonLine {
    /// The name to sign in with.
    pub(crate) user: String,
    /// The name people read; may be empty.
    pub(crate) name: String,
    /// All groups.
    pub(crate) groups: Vec<String>,
    /// Shut out.
    pub(crate) disabled: bool,
    /// Has both factors.
    pub(crate) enrolled: bool,
    /// How many live sessions.
    pub(crate) sessions: usize,
    /// Waits because of many wrong tries.
    pub(crate) locked: bool,
    /// By how much the clock of the authenticator app is off, where a code told that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) app_clock: Option<AppClock>,
}

/// The clock of an authenticator app that shows another time, as the last refused code told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AppClock {
    /// By how many seconds; positive is ahead.
    pub(crate) off_s: i64,
    /// When that code was refused.
    pub(crate) at: At,
}

/// All of one person.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PersonView {
    /// The name to sign in with.
    pub(crate) user: String,
    /// The name people read; may be empty.
    pub(crate) name: String,
    /// The mail address; may be empty.
    pub(crate) mail: String,
    /// Attributes of the directory.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Shut out.
    pub(crate) disabled: bool,
    /// All groups.
    pub(crate) groups: Vec<GroupOf>,
    /// Groups they could be put into.
    pub(crate) joinable: Vec<String>,
    /// What they sign in with.
    pub(crate) factors: Factors,
    /// By how much the clock of the authenticator app is off, where a code told that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) app_clock: Option<AppClock>,
    /// When they last signed in.
    pub(crate) last_sign_in: Option<At>,
    /// Seconds until the next try from places nobody knows.
    pub(crate) locked_s: Option<u64>,
    /// Live sessions.
    pub(crate) sessions: Vec<SessionLine>,
    /// Devices, revoked ones last.
    pub(crate) devices: Vec<Device>,
    /// What they may reach.
    pub(crate) reach: Vec<Reach>,
}

/// What a person signs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Factors {
    /// Has a password.
    pub(crate) password: bool,
    /// Has an authenticator app.
    pub(crate) totp: bool,
    /// How many recovery codes are left.
    pub(crate) recovery_codes: usize,
    /// A link of an administrator waits for them.
    pub(crate) invited: bool,
}

/// A group of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct GroupOf {
    /// Its name.
    pub(crate) group: String,
    /// Whether the group names the person itself, so that it can be left.
    pub(crate) named: bool,
}

/// A place that a person may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reach {
    /// Such as `app.paie/admin`.
    pub(crate) resource: String,
    /// The rule that allows.
    pub(crate) rule: String,
    /// Each is a set of conditions that hold together; empty is "always".
    pub(crate) contexts: Vec<String>,
}

/// A group in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct GroupLine {
    /// Its name.
    pub(crate) group: String,
    /// How many people are in it.
    pub(crate) people: usize,
}

/// Who is in a group.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupView {
    /// Its name.
    pub(crate) group: String,
    /// Its people; `named` says whether it names them itself.
    pub(crate) people: Page<Member>,
}

/// A person in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    /// The name to sign in with.
    pub(crate) user: String,
    /// The name people read; may be empty.
    pub(crate) name: String,
    /// Whether the group names the person itself, so that it can be left.
    pub(crate) named: bool,
}

/// A tunnel device.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Device {
    /// Such as `d7`.
    pub(crate) id: String,
    /// Its owner.
    pub(crate) user: String,
    /// Its name.
    pub(crate) name: String,
    /// Its address in the tunnel.
    pub(crate) address: String,
    /// Whether the administrators keep it.
    pub(crate) managed: bool,
    /// `never`, `quarantine`, `open` or `revoked`.
    pub(crate) state: String,
    /// Whether its key was seen in two places, which closes it.
    pub(crate) disputed: bool,
    /// Whether its handshakes claimed a time far ahead, so that they are refused once its clock is right.
    pub(crate) clock_ahead: bool,
    /// Where it was last heard.
    pub(crate) endpoint: Option<String>,
    /// Seconds since its last handshake.
    pub(crate) handshake_age_s: Option<u64>,
}

/// A live session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionLine {
    /// The id as lists write it.
    pub(crate) id: String,
    /// Who signed in.
    pub(crate) user: String,
    /// `web` or `tunnel`.
    pub(crate) door: &'static str,
    /// The address it came from.
    pub(crate) source: String,
    /// The zones of the policy the address is in.
    pub(crate) zones: Vec<String>,
    /// Browser and system in a few words; empty if unknown.
    pub(crate) browser: String,
    /// The tunnel devices it opens.
    pub(crate) devices: Vec<String>,
    /// When it began.
    pub(crate) created: At,
    /// When it was last used.
    pub(crate) last_used: At,
    /// When it ends unless it is used.
    pub(crate) expires: At,
    /// Whether it is the one that looks.
    pub(crate) own: bool,
}

/// An account that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Locked {
    /// Whose.
    pub(crate) user: String,
    /// Seconds until the next try from places nobody knows.
    pub(crate) left_s: u64,
}

/// What an edit would change.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Preview {
    /// The digest of the files it was made of.
    pub(crate) digest: String,
    /// The files that change.
    pub(crate) files: Vec<FileDiff>,
    /// What people may do then, as `policy diff` writes it.
    pub(crate) access: String,
    /// How many pairs of person and place are allowed more.
    pub(crate) widened: u64,
    /// How many are allowed less.
    pub(crate) narrowed: u64,
    /// What is worth a look.
    pub(crate) warnings: Vec<String>,
    /// What keeps it from going in force.
    pub(crate) stops: Vec<StopLine>,
    /// How many openings there are to accept, where accepting them is enough.
    pub(crate) wider: Option<usize>,
    /// Whether the policy folder holds more than what is in force: it would go in force too.
    pub(crate) more: bool,
}

impl Preview {
    /// Tells whether it can go in force, once what there is to accept is accepted.
    pub(crate) fn is_possible(&self) -> bool {
        self.stops.is_empty() || self.wider.is_some()
    }
}

/// What changes in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileDiff {
    /// Its path below the policy folder.
    pub(crate) path: String,
    /// The lines around each change.
    pub(crate) lines: Vec<Line>,
}

/// Why an edit does not go in force by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StopLine {
    /// Such as `lock-out`.
    pub(crate) guard: String,
    /// What would happen.
    pub(crate) text: String,
}
