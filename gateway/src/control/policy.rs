//! What is asked and answered about putting a policy in force.

use serde::{Deserialize, Serialize};

use crate::reload::folder::Folder;
use crate::reload::guards::{Accept, Own, Stop};

/// A policy to put in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Apply {
    /// The files; absent for those that lie in the policy folder.
    pub(crate) files: Option<Folder>,
    /// What is accepted.
    pub(crate) accept: Accept,
    /// Whose access must last.
    pub(crate) own: Option<Own>,
    /// Seconds after which it is taken back unless it is confirmed.
    pub(crate) confirm_s: Option<u64>,
    /// Whether only to tell.
    pub(crate) dry_run: bool,
}

/// An earlier policy to return to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Rollback {
    /// A generation or the beginning of a digest; absent for the one before.
    pub(crate) to: Option<String>,
    /// What is accepted.
    pub(crate) accept: Accept,
    /// Whose access must last.
    pub(crate) own: Option<Own>,
    /// Whether only to tell.
    pub(crate) dry_run: bool,
}

/// What became of it; the shape is a contract with scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Whether it is in force.
    pub(crate) in_force: bool,
    /// Whether other files than before are asked for.
    pub(crate) changed: bool,
    /// The digest of the policy that was asked for.
    pub(crate) digest: String,
    /// The generation it has or would have.
    pub(crate) generation: u64,
    /// How many pairs of person and place are allowed more.
    pub(crate) widened: u64,
    /// How many are allowed less.
    pub(crate) narrowed: u64,
    /// Every change of access, as `policy diff --json` writes them.
    pub(crate) changes: serde_json::Value,
    /// What else is said otherwise, as `policy diff --json` writes it.
    pub(crate) settings: serde_json::Value,
    /// Every change, for a terminal.
    pub(crate) text: String,
    /// What surprises people, and is as written.
    pub(crate) notes: Vec<String>,
    /// What is worth a look.
    pub(crate) warnings: Vec<String>,
    /// What keeps it from going in force.
    pub(crate) stops: Vec<Stop>,
    /// Until when it must be confirmed, RFC 3339.
    pub(crate) confirm_until: Option<String>,
    /// Where the files are that lay in the policy folder before.
    pub(crate) kept: Option<String>,
    /// Why the policy folder does not hold what is in force.
    pub(crate) not_written: Option<String>,
}

/// A policy that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirmed {
    /// Its generation.
    pub(crate) generation: u64,
}
