//! Certificates without IO: the internal authority, chains read from PEM, and the choice of a
//! chain by host name.
//!
//! Every function takes bytes and the wall time in seconds since the UNIX epoch; files and clocks
//! belong to the caller.
#![forbid(unsafe_code)]

mod alerts;
mod ca;
mod chain;
mod checked;
mod issued;
pub mod plan;
mod selection;

pub use alerts::{Alerts, WARN_DAYS};
pub use ca::{About, Ca, CaError, ImportError, Imported, Leaf, Root, nameless};
pub use chain::{Chain, ChainError};
pub use checked::{Checked, Tag};
pub use issued::{CertRequest, IssuedError, KeyKind, check_issued, tls_alpn_answer};
pub use selection::{Selection, same_host_form};

/// One day in seconds.
pub const DAY: i64 = 86_400;

/// Returns the second from which on a third of a life, or less, is left.
#[must_use]
pub fn due_at(not_before: i64, not_after: i64) -> i64 {
    let life = not_after.saturating_sub(not_before);
    not_after.saturating_sub(life / 3)
}

/// Says whether a third of a life, or less, is left at `now`; true after the end as well.
#[must_use]
pub fn is_due(not_before: i64, not_after: i64, now: i64) -> bool {
    due_at(not_before, not_after) <= now
}

#[cfg(test)]
mod tests {
    use super::is_due;

    #[test]
    fn a_certificate_is_due_in_its_last_third() {
        assert!(!is_due(0, 90, 59));
        assert!(is_due(0, 90, 60));
        assert!(is_due(0, 90, 1000));
    }
}
