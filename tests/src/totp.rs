//! One-time codes as an authenticator app shows them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use totp_rs::{Builder, Secret};

use crate::wait;

/// Seconds of one time step (RFC 6238 `X`).
pub const STEP: u64 = 30;

/// Returns the code of the step that holds `unix` seconds.
#[must_use]
pub fn code_at(secret_base32: &str, unix: u64) -> String {
    let secret = Secret::try_from_base32(secret_base32).unwrap();
    let totp = Builder::new().with_secret(secret).build().unwrap();
    totp.generate(unix).to_string()
}

/// Returns the wall time in seconds.
#[must_use]
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// Returns a code of a later step than `last`, and that step; waits when the app could show none
/// that the gateway takes yet (it takes one step of drift either way).
pub fn fresh_code(secret_base32: &str, last: Option<u64>) -> (String, u64) {
    let step = wait::until(Duration::from_secs(65), "a fresh code", || {
        let current = now() / STEP;
        let wanted = last.map_or(current, |last| (last + 1).max(current));
        (wanted <= current + 1).then_some(wanted)
    });
    (code_at(secret_base32, step * STEP), step)
}

#[cfg(test)]
mod tests {
    use super::code_at;

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        // ASCII "12345678901234567890"; the last six of the eight digits printed there
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (2_000_000_000, "279037"),
        ] {
            assert_eq!(code_at(secret, time), code);
        }
    }
}
