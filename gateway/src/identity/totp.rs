//! Time-based one-time codes: SHA-1, 30 seconds, 6 digits.
//!
//! Source: [RFC 6238](https://www.rfc-editor.org/rfc/rfc6238), defaults of authenticator apps.

use data_encoding::BASE32_NOPAD;
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::ids;
use crate::uri::encode;

/// Seconds of one time step `X`.
pub(crate) const STEP_SECS: u64 = 30;
/// Steps before and after the present one that count, for clocks that differ (RFC 6238 section 5.2).
const SKEW: u16 = 1;
const DIGITS: u8 = 6;
/// Steps within which a refused code tells of a clock that is off.
const OFF_STEPS: i64 = 10;

/// A shared secret `K` of 160 bits.
pub(crate) type SharedSecret = Zeroizing<[u8; 20]>;

/// Draws a new shared secret.
pub(crate) fn draw() -> SharedSecret {
    Zeroizing::new(ids::random())
}

/// Six digits as a person typed them.
pub(crate) struct Code(Zeroizing<String>);

impl Code {
    /// Reads exactly six ASCII digits; one blank may stand in the middle, as apps show them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let halves = match text.len() {
            6 => (text.get(..3)?, text.get(3..)?),
            7 => text.split_once(' ').filter(|(head, _)| head.len() == 3)?,
            _ => return None,
        };
        let mut digits = Zeroizing::new(String::with_capacity(6));
        digits.push_str(halves.0);
        digits.push_str(halves.1);
        let plain = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then_some(Self(digits))
    }
}

/// The time step a right code belongs to; only [`check`] makes one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matched(u64);

impl Matched {
    /// The step as the store counts it.
    pub(crate) fn step(&self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

/// Compares a code with those of `secret` at `now` (UNIX seconds of the wall clock).
///
/// A match says nothing about use before: the store decides that by comparing and setting the
/// step. Source: [RFC 6238 section 5.2](https://www.rfc-editor.org/rfc/rfc6238#section-5.2).
pub(crate) fn check(secret: &[u8], code: &Code, now: i64) -> Option<Matched> {
    let now = u64::try_from(now).ok()?;
    generator(secret)?.check(&code.0, now).map(Matched)
}

/// Tells by how many seconds the clock of the app that showed a refused code seems to be off, at
/// most five minutes; positive is ahead. For people who look into it, never to accept a code.
pub(crate) fn off_by(secret: &[u8], code: &Code, now: i64) -> Option<i64> {
    let totp = generator(secret)?;
    let step = i64::try_from(STEP_SECS).unwrap_or(30);
    let shown = |steps: i64| {
        let at = u64::try_from(now.saturating_add(steps * step)).ok()?;
        (totp.generate(at).to_string() == *code.0).then_some(steps * step)
    };
    (2..=OFF_STEPS).find_map(|steps| shown(-steps).or_else(|| shown(steps)))
}

fn generator(secret: &[u8]) -> Option<Totp> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_skew(SKEW)
        .with_step_duration(STEP_SECS)
        .with_secret(Secret::new(secret.into()))
        .build()
        .ok()
}

/// Writes a secret as authenticator apps take it by hand.
pub(crate) fn base32(secret: &[u8; 20]) -> Zeroizing<String> {
    Zeroizing::new(BASE32_NOPAD.encode(secret))
}

/// Writes the URL behind the QR code; issuer and user are percent-encoded.
pub(crate) fn otpauth(issuer: &str, user: &str, secret: &[u8; 20]) -> Zeroizing<String> {
    let (issuer, user) = (encode(issuer), encode(user));
    let secret = base32(secret);
    Zeroizing::new(format!(
        "otpauth://totp/{issuer}:{user}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECS}",
        secret.as_str()
    ))
}

/// The code an authenticator app shows at `now`; for tests.
#[cfg(test)]
pub(crate) fn code_at(secret: &[u8], now: i64) -> String {
    let now = u64::try_from(now).unwrap();
    generator(secret).unwrap().generate(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Code, check, code_at, otpauth};

    /// The secret of RFC 6238 appendix B for SHA-1.
    const RFC_SECRET: &[u8; 20] = b"12345678901234567890";

    fn matches(code: &str, now: i64) -> Option<i64> {
        let code = Code::parse(code)?;
        check(RFC_SECRET, &code, now).map(|m| m.step())
    }

    #[test]
    fn rfc_6238_appendix_b_sha1() {
        // The table has eight digits; six-digit codes are their last six (RFC 4226 section 5.3).
        for (time, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let (_, six) = code.split_at(2);
            assert_eq!(matches(six, time), Some(time / 30), "T = {time}");
            assert_eq!(code_at(RFC_SECRET, time), six);
        }
    }

    #[test]
    fn a_code_of_the_step_before_or_after_is_accepted() {
        let code = code_at(RFC_SECRET, 1_000_000_000);
        let step = 1_000_000_000 / 30;
        for now in [1_000_000_000 - 30, 1_000_000_000, 1_000_000_000 + 30] {
            assert_eq!(matches(&code, now), Some(step));
        }
    }

    #[test]
    fn a_code_two_steps_away_is_refused() {
        let code = code_at(RFC_SECRET, 1_000_000_000);
        for now in [1_000_000_000 - 60, 1_000_000_000 + 60] {
            assert_eq!(matches(&code, now), None);
        }
    }

    #[test]
    fn a_refused_code_tells_how_far_off_its_clock_is_up_to_five_minutes() {
        let now = 1_000_000_000;
        let off = |by: i64| {
            let code = Code::parse(&code_at(RFC_SECRET, now + by)).unwrap();
            assert!(by.abs() < 60 || check(RFC_SECRET, &code, now).is_none());
            super::off_by(RFC_SECRET, &code, now)
        };
        for by in [-300, -60, 60, 120, 300] {
            assert_eq!(off(by), Some(by));
        }
        for by in [-330, 0, 330, 86_400] {
            assert_eq!(off(by), None);
        }
    }

    #[test]
    fn six_digits_are_read_with_or_without_the_blank() {
        let (time, code) = (59, "287082");
        assert!(matches(code, time).is_some());
        assert!(matches("287 082", time).is_some());
    }

    #[test]
    fn everything_else_is_no_code() {
        for bad in [
            "",
            "28708",
            "2870822",
            " 287082",
            "287082 ",
            "28 7082",
            "2870 82",
            "287  082",
            "287-082",
            "+87082",
            "-87082",
            "28708a",
            "\u{ff12}87082",
            "287\u{a0}082",
            "287082\n",
            "287082\0",
            "0x1234",
            "٢٨٧٠٨٢",
            "28708\u{662}",
        ] {
            assert!(Code::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_clock_before_1970_accepts_nothing() {
        assert_eq!(matches("287082", -59), None);
    }

    #[test]
    fn issuer_and_user_are_percent_encoded() {
        let url = otpauth("Acme & Co", "alice", RFC_SECRET);
        assert_eq!(
            url.as_str(),
            "otpauth://totp/Acme%20%26%20Co:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Acme%20%26%20Co&algorithm=SHA1&digits=6&period=30"
        );
    }
}
