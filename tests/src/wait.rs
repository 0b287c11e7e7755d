//! Waiting for something that will happen, with a deadline and never by a fixed sleep.

use std::time::{Duration, Instant};

/// How long something that must happen may take on a machine with much other work: no figure of the gateway's.
pub const PATIENCE: Duration = Duration::from_secs(150);
const PAUSE: Duration = Duration::from_millis(5);

/// Polls `probe` until it gives a value; panics with `what` after `limit`.
pub fn until<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// As [`until`], and says at the end what `probe` found instead.
pub fn until_ok<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(found) => assert!(
                Instant::now() < end,
                "not within {limit:?}: {what}: {found}"
            ),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Polls `holds` until it is true; panics with `what` after `limit`.
pub fn until_true(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    until(limit, what, || holds().then_some(()));
}

/// Asserts that `holds` stays true for all of `span`.
pub fn stays(span: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(holds(), "did not stay: {what}");
        std::thread::sleep(PAUSE);
    }
}
