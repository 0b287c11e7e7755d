//! Clocks of authenticator apps, and what several of them say about our own.

use serde::{Deserialize, Serialize};

/// Apps that agree before the gateway's own clock is doubted.
const APPS_MIN: usize = 3;
/// Seconds by which apps that agree may differ: two steps of a code.
const AGREE_S: u64 = 60;

/// A person whose authenticator app shows another time, as the last refused code told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppClock {
    /// The name to sign in with.
    pub(crate) user: String,
    /// By how many seconds; positive is ahead.
    pub(crate) off_s: i64,
    /// When that code was refused, RFC 3339.
    pub(crate) at: String,
}

impl AppClock {
    /// Says it in words.
    pub(crate) fn words(&self) -> String {
        let side = if self.off_s < 0 { "behind" } else { "ahead" };
        format!("about {} s {side}", self.off_s.unsigned_abs())
    }

    /// Tells by how many seconds the gateway's own clock seems to be off, positive is ahead: several
    /// apps that agree are more likely right than it is.
    pub(crate) fn of_gateway(apps: &[Self]) -> Option<i64> {
        let mut offs: Vec<i64> = apps.iter().map(|app| app.off_s).collect();
        offs.sort_unstable();
        let median = *offs.get(offs.len() / 2)?;
        let agree = offs.iter().filter(|off| off.abs_diff(median) <= AGREE_S);
        (agree.count() >= APPS_MIN.max(offs.len() / 2 + 1)).then_some(-median)
    }
}

#[cfg(test)]
mod tests {
    use super::AppClock;

    fn of_gateway(offs: &[i64]) -> Option<i64> {
        let app = |off: &i64| AppClock {
            user: "zoe".to_owned(),
            off_s: *off,
            at: String::new(),
        };
        AppClock::of_gateway(&offs.iter().map(app).collect::<Vec<_>>())
    }

    #[test]
    fn several_apps_that_agree_tell_of_the_gateways_own_clock_and_a_few_do_not() {
        for (offs, own) in [
            (&[][..], None),
            (&[120], None),
            (&[120, 120], None),
            (&[120, 120, 150], Some(-120)),
            (&[-90, -90, -120, -90], Some(90)),
            (&[120, -120, 90], None),
            (&[120, 120, 120, -60, -90, -270], None),
            (&[120, 120, 120, 120, -270, 300], Some(-120)),
        ] {
            assert_eq!(of_gateway(offs), own, "{offs:?}");
        }
    }
}
