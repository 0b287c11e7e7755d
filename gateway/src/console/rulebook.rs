//! The policy as the console shows, asks and changes it.

use async_trait::async_trait;
use serde::Serialize;

use super::desk::FileDiff;
use crate::control::{Refusal, Verdict};
use crate::reload::Finding;
use crate::reload::guards::Accept;

/// Reads the policy for one permitted request.
#[async_trait]
pub(crate) trait Rulebook: Send + Sync {
    /// Tells what is in force, what waits and what was before.
    ///
    /// # Errors
    /// The policy folder cannot be read.
    async fn overview(&self) -> Result<Overview, Refusal>;

    /// Gives a file of the policy folder; `None` if it has none of that name.
    ///
    /// # Errors
    /// As [`Rulebook::overview`].
    async fn file(&self, name: &str) -> Result<Option<FileText>, Refusal>;

    /// Looks for what is allowed but looks like a mistake, and runs the tests, of the policy in force.
    ///
    /// # Errors
    /// As [`Rulebook::overview`].
    async fn findings(&self) -> Result<Findings, Refusal>;

    /// Answers a question by the policy in force, as the command line does.
    ///
    /// # Errors
    /// [`Refusal`] with what is wrong in the question, and what to write instead.
    async fn answer(&self, question: &Question) -> Result<Answer, Refusal>;

    /// Tells what a change would do; nothing is changed.
    ///
    /// # Errors
    /// Why it cannot go in force.
    async fn preview(&self, change: &Change, accept: &Accept) -> Result<Effect, NotMade>;
}

/// Changes the policy.
#[async_trait]
pub(crate) trait Amend: Send + Sync {
    /// Puts a change in force unless a guard stops it: then the preview says so.
    ///
    /// # Errors
    /// Why it cannot go in force; nothing was changed.
    async fn put(
        &self,
        change: &Change,
        accept: &Accept,
        confirm_s: Option<u64>,
    ) -> Result<Effect, NotMade>;

    /// Keeps what waits to be confirmed.
    ///
    /// # Errors
    /// See [`NotKept`].
    async fn confirm(&self) -> Result<(), NotKept>;
}

/// Why what waits is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotKept {
    /// It is asked over a connection from before the change.
    OldConnection,
    /// Nothing waits, or it cannot be kept.
    Refused(Refusal),
}

/// A change of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// One file of the policy folder gets this text.
    Edit {
        /// Its name below the folder.
        name: String,
        /// The new text.
        text: String,
        /// The digest of the files that were there when it was opened.
        base: String,
    },
    /// An earlier generation comes back.
    Rollback {
        /// Its number; the one before if absent.
        to: Option<String>,
    },
    /// The folder as it lies.
    Folder,
}

/// What a change does or would do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Effect {
    /// The lines that change, by file.
    pub(crate) files: Vec<FileDiff>,
    /// The access that changes, and what stands against it.
    pub(crate) verdict: Verdict,
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum NotMade {
    /// The files are wrong.
    Wrong(Vec<Finding>),
    /// Somebody else changed the folder in the meantime; holds the lines.
    Stale(Vec<FileDiff>),
    /// Anything else.
    Refused(Refusal),
}

/// The policy in force, and what waits.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Overview {
    /// Digest of what is in force.
    pub(crate) digest: String,
    /// Its generation.
    pub(crate) generation: u64,
    /// When it was put in force, RFC 3339.
    pub(crate) loaded: String,
    /// Whether the last good policy stands in for a folder that gave none.
    pub(crate) cached: bool,
    /// The files of the folder.
    pub(crate) files: Vec<FileLine>,
    /// Whether the folder holds what is in force.
    pub(crate) same: bool,
    /// Why the files that lie there are not in force.
    pub(crate) error: Option<String>,
    /// What waits to be confirmed.
    pub(crate) pending: Option<Waiting>,
    /// The last first.
    pub(crate) history: Vec<Past>,
}

/// A file of the policy folder.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileLine {
    /// Its name below the folder.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) bytes: usize,
    /// Whether this text is in force.
    pub(crate) in_force: bool,
}

/// A change that is taken back unless it is confirmed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Waiting {
    /// Its generation.
    pub(crate) generation: u64,
    /// When it is taken back, RFC 3339.
    pub(crate) until: String,
}

/// A line of the history.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Past {
    /// Its generation; absent where it was refused.
    pub(crate) generation: Option<u64>,
    /// The first digits of its digest.
    pub(crate) digest: Option<String>,
    /// When, RFC 3339.
    pub(crate) time: String,
    /// How it was asked for.
    pub(crate) how: &'static str,
    /// By whom.
    pub(crate) by: String,
    /// `applied`, `refused` or `held`.
    pub(crate) result: String,
    /// How many pairs of person and place were allowed more.
    pub(crate) widened: u64,
    /// How many less.
    pub(crate) narrowed: u64,
    /// Why it was refused.
    pub(crate) why: Option<String>,
    /// Whether its files are kept, so that it can come back.
    pub(crate) kept: bool,
}

/// A file of the policy folder, whole.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileText {
    /// Its name below the folder.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
    /// The digest of all files of the folder.
    pub(crate) base: String,
}

/// What lint and the tests find.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Findings {
    /// Digest of the policy they are about.
    pub(crate) digest: String,
    /// What looks like a mistake.
    pub(crate) lint: Vec<Finding>,
    /// The tests, in the order of the files.
    pub(crate) tests: Vec<TestLine>,
}

/// A test of the policy.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TestLine {
    /// What it is called.
    pub(crate) name: String,
    /// Where it stands, `file:line`.
    pub(crate) at: String,
    /// Whether it passed.
    pub(crate) passed: bool,
    /// What it expects.
    pub(crate) expected: String,
    /// What the policy answers.
    pub(crate) got: String,
}

/// A question to the policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Who can reach a thing.
    WhoCan(String),
    /// What a person can reach.
    WhatCan(String),
    /// Why a request is decided as it is.
    Explain(Box<Asking>),
}

/// A request that is asked about; an absent part is as the command line has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asking {
    /// Who is signed in; nobody if absent.
    pub(crate) user: Option<String>,
    /// A zone or a source address.
    pub(crate) from: Option<String>,
    /// A time such as `tue 10:00`.
    pub(crate) at: Option<String>,
    /// Age of the code, or `none`.
    pub(crate) mfa: Option<String>,
    /// Age of the sign-in.
    pub(crate) login: Option<String>,
    /// any, known or managed.
    pub(crate) device: Option<String>,
    /// What is asked for.
    pub(crate) to: String,
}

/// An answer, as the command line gives it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// What it prints.
    pub(crate) text: String,
    /// What it prints with `--json`.
    pub(crate) json: serde_json::Value,
}
