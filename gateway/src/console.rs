//! The console of the administrators, under `/admin` of the sign-in host.
//!
//! No request gets here without a permit of the policy's `[admin]`: GET and HEAD look, POST acts
//! and wants a fresh code. What a page asks and does goes through [`Console`]; a request that was
//! decided as a look has nothing to act with.

mod act;
mod bans;
mod call;
mod certs;
mod decisions;
mod deed;
mod desk;
mod devices;
mod drafts;
mod groups;
mod health;
mod ledger;
mod pager;
mod people;
mod policy;
mod rulebook;
mod sessions;
mod shell;
mod texts;
mod tokens;

use axum::Router;
use axum::routing::{get, post};

pub(crate) use deed::{Consent, Deed};
pub(crate) use desk::{
    Acts, Again, AppClock, At, Console, Device, Factors, FileDiff, GroupLine, GroupOf, GroupView,
    Locked, Member, NotDone, Outcome, Page, PersonLine, PersonView, Preview, Reach, SessionLine,
    SharedConsole, Slice, StopLine, TokenLine,
};
pub(crate) use health::{Certificate, Disk, Health, Journal, StreamCount, Upstream};
pub(crate) use ledger::{Asked, Entry, Ledger, Listing, Told};
pub(crate) use rulebook::{
    Amend, Answer, Asking, Change, Effect, FileLine, FileText, Findings, NotKept, NotMade,
    Overview, Past, Question, Rulebook, TestLine, Waiting,
};

/// What a request to the console is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Look.
    Read,
    /// Change something.
    Write,
}

impl Act {
    /// Tells what a method does: whatever is not a plain look counts as an act.
    pub(crate) fn of(method: &str) -> Self {
        match method {
            "GET" | "HEAD" => Self::Read,
            _ => Self::Write,
        }
    }
}

/// Tells whether a path of the sign-in host belongs to the console.
pub(crate) fn is_path(path: &str) -> bool {
    path == "/admin" || path.starts_with("/admin/")
}

/// The most bytes that a body sent to a path may have.
pub(crate) fn body_max(path: &str) -> usize {
    match path {
        "/admin/policy/file" => policy::change::BODY_MAX,
        _ => crate::pages::FORM_MAX,
    }
}

/// Whether what is sent to a path is worth keeping where a fresh code is due first.
pub(crate) fn is_kept(path: &str) -> bool {
    path == "/admin/policy/file"
}

/// Keeps what somebody sent to a page of the console until they open it again.
pub(crate) fn keep(user: &str, path_and_query: &str, body: bytes::Bytes) {
    DRAFTS.keep(user, path_and_query, body, crate::clock::now());
}

static DRAFTS: std::sync::LazyLock<drafts::Drafts> = std::sync::LazyLock::new(Default::default);

/// The routes of the console; each request needs the pages' desk and the console as extensions.
pub(crate) fn routes() -> Router {
    let routes = Router::new()
        .route("/admin", get(call::home))
        .route("/admin/people", get(people::list))
        .route("/admin/person", get(people::person))
        .route("/admin/groups", get(groups::list))
        .route("/admin/group", get(groups::group))
        .route("/admin/devices", get(devices::list))
        .route("/admin/sessions", get(sessions::list))
        .route("/admin/tokens", get(tokens::list))
        .route("/admin/bans", get(bans::list))
        .route("/admin/certs", get(certs::list))
        .route("/admin/decisions", get(decisions::list))
        .route("/admin/decisions/events", get(decisions::events))
        .route("/admin/decisions/{which}", get(decisions::one))
        .route("/admin/policy", get(policy::overview))
        .route("/admin/policy/ask", get(policy::ask::ask))
        .route("/admin/policy/findings", get(policy::findings))
        .merge(changes())
        .route("/admin/health", get(health::health))
        .route("/admin/do/{deed}", get(act::ask).post(act::carry_out));
    crate::pages::finished(routes)
}

/// The routes of what changes the policy.
fn changes() -> Router {
    use policy::change::{ask_confirm, carry_out, confirm, show};
    Router::new()
        .route("/admin/policy/file", get(show).post(carry_out))
        .route("/admin/policy/rollback", get(show).post(carry_out))
        .route("/admin/policy/folder", get(show).post(carry_out))
        .route(
            "/admin/policy/confirm",
            get(ask_confirm).merge(post(confirm)),
        )
}

#[cfg(test)]
mod tests;
