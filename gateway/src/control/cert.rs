//! What operators ask about certificates.

use serde::{Deserialize, Serialize};

pub(crate) use crate::acme::{Course, Failing, Line};

/// A question about certificates, or a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// Lists what is in force and what is wanted.
    List,
    /// Orders, or makes anew, what is due or all that is named, and waits.
    Renew {
        /// One certificate; all if absent.
        name: Option<String>,
        /// Whether it is ordered although nothing is due.
        force: bool,
    },
    /// Tests what a first order needs.
    Test {
        /// The port that the world reaches the plain listener by.
        http: u16,
        /// The port that the world reaches the TLS listener by.
        https: u16,
    },
}

/// The answer; what was not asked for is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    /// For [`Ask::List`].
    pub(crate) certificates: Vec<Line>,
    /// For [`Ask::Renew`].
    pub(crate) renewed: Vec<Renewed>,
    /// For [`Ask::Test`].
    pub(crate) checks: Vec<Check>,
}

/// What became of one wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renewed {
    /// The certificate.
    pub(crate) name: String,
    /// `renewed`, `not-due`, `guarded`, `under-way`, `failed`, `not-in-force` or `unknown`.
    pub(crate) outcome: String,
    /// When the one in use ends, RFC 3339.
    pub(crate) not_after: Option<String>,
    /// What the plan knows of it.
    #[serde(flatten)]
    pub(crate) course: Course,
}

/// One thing a first order needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// The name it is about; a directory's URL for `directory`.
    pub(crate) name: String,
    /// `directory`, `dns`, `http` or `https`.
    pub(crate) check: String,
    /// Whether it is as it must be.
    pub(crate) ok: bool,
    /// What was seen.
    pub(crate) detail: String,
    /// Whether an order needs it; what it does not need is told all the same.
    pub(crate) needed: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) meaning: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}
