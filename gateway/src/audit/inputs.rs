//! What a decision was taken from, so that it can be taken again.

use std::sync::Arc;

use policy::{Device, HeaderSet, Outcome, Proof};

/// The inputs of a decision of the policy that the record does not name elsewhere.
///
/// With the record's source, host, method and path (of a flow: its path, `tcp://ip:port`) they are
/// all that the policy reads. A journal line holds them in `inputs`; records of what the policy did
/// not decide have `null` there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// The instant decided for, seconds since the UNIX epoch.
    pub(crate) at: i64,
    /// Whether the caller came through the tunnel.
    pub(crate) tunnel: bool,
    /// The zones of the source then, separated by commas; for people, the source is what counts.
    pub(crate) zones: String,
    /// What was known of the device.
    pub(crate) class: Device,
    /// By what the person was known; a line names it where it was no sign-in.
    pub(crate) by: Proof,
    /// Seconds since the last code; `None` without one.
    pub(crate) mfa_age: Option<u32>,
    /// Seconds since the sign-in; `None` when the decision was taken as for nobody signed in.
    pub(crate) login_age: Option<u32>,
    /// What rules in shadow would have made of it.
    pub(crate) shadow: Option<Answer>,
    /// The policy's own answer where the gateway refused for another reason: quarantine, or a
    /// device of somebody else.
    pub(crate) own: Option<Answer>,
    /// The rate tier that an allow counts against.
    pub(crate) rate: Option<Arc<str>>,
    /// The set of fields that an allow has the app told.
    pub(crate) headers: Option<Arc<HeaderSet>>,
    /// Of a person whom no rule let in, the rule that missed fewest conditions, and which: `app.a#it: from, mfa`.
    pub(crate) nearest: Option<String>,
    /// The question was about the console; host, method and path only tell where it was asked.
    pub(crate) console: bool,
}

/// An outcome and the rule it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) rule: Arc<str>,
}

impl Inputs {
    /// Tells whether a decision from these comes to the same at nearly the same time.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let at = self.at;
        *self
            == Self {
                at,
                ..other.clone()
            }
    }
}
