//! Warnings before a certificate ends, each given once.

use std::collections::BTreeMap;

use crate::DAY;

/// The days left at which a warning is due; zero is the end itself.
pub const WARN_DAYS: [i64; 6] = [30, 14, 7, 3, 1, 0];

/// Remembers which warnings were given for which certificate.
#[derive(Debug, Default)]
pub struct Alerts {
    given: BTreeMap<String, Given>,
}

#[derive(Debug)]
struct Given {
    not_after: i64,
    days: i64,
}

impl Alerts {
    /// Makes an empty memory: the first look at a certificate gives at most one warning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the days of a warning that is due for the certificate of `name` and was not given;
    /// of several that are, the last.
    ///
    /// A warning of more days than two fifths of the certificate's life is none, so a certificate
    /// for a week does not warn from its first day on.
    pub fn look(&mut self, name: &str, not_before: i64, not_after: i64, now: i64) -> Option<i64> {
        let (life, left) = (
            not_after.saturating_sub(not_before),
            not_after.saturating_sub(now),
        );
        let fits = |days: &&i64| **days * DAY <= life / 5 * 2 && left <= **days * DAY;
        let due = WARN_DAYS.iter().rev().find(fits).copied()?;
        let given = self.given.get(name);
        if given.is_some_and(|g| g.not_after == not_after && g.days <= due) {
            return None;
        }
        let given = Given {
            not_after,
            days: due,
        };
        self.given.insert(name.to_owned(), given);
        Some(due)
    }

    /// Lists what was given: the certificate, its end, and the days of the last warning.
    pub fn given(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        let given = self.given.iter();
        given.map(|(name, given)| (name.as_str(), given.not_after, given.days))
    }

    /// Forgets every certificate that is not kept.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.given.retain(|name, _| keep(name));
    }
}

/// What [`Alerts::given`] listed before a restart.
impl FromIterator<(String, i64, i64)> for Alerts {
    fn from_iter<T: IntoIterator<Item = (String, i64, i64)>>(given: T) -> Self {
        let given = given.into_iter();
        let given = given.map(|(name, not_after, days)| (name, Given { not_after, days }));
        Self {
            given: given.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Alerts;
    use crate::DAY;

    #[test]
    fn each_warning_is_given_once_and_again_for_the_next_certificate() {
        let mut alerts = Alerts::new();
        let given: Vec<_> = (0..=90)
            .filter_map(|day| alerts.look("a.test", 0, 90 * DAY, day * DAY))
            .collect();
        assert_eq!(given, [30, 14, 7, 3, 1, 0]);
        assert_eq!(alerts.look("a.test", 0, 90 * DAY, 95 * DAY), None);
        assert_eq!(alerts.look("a.test", 90 * DAY, 180 * DAY, 95 * DAY), None);
        let next = alerts.look("a.test", 90 * DAY, 180 * DAY, 151 * DAY);
        assert_eq!(next, Some(30));
    }

    #[test]
    fn a_late_look_gives_the_nearest_warning_only() {
        let mut alerts = Alerts::new();
        assert_eq!(alerts.look("a.test", 0, 90 * DAY, 88 * DAY), Some(3));
        assert_eq!(alerts.look("a.test", 0, 90 * DAY, 88 * DAY), None);
        alerts.retain(|_| false);
        assert_eq!(alerts.look("a.test", 0, 90 * DAY, 88 * DAY), Some(3));
    }

    #[test]
    fn a_restart_between_any_two_looks_repeats_no_warning() {
        let mut alerts = Alerts::new();
        let mut given = Vec::new();
        for hour in 0..=90 * 24 {
            given.extend(alerts.look("a.test", 0, 90 * DAY, hour * 3600));
            let kept: Vec<_> = alerts
                .given()
                .map(|(name, end, days)| (name.to_owned(), end, days))
                .collect();
            alerts = kept.into_iter().collect();
        }
        assert_eq!(given, [30, 14, 7, 3, 1, 0]);
    }

    #[test]
    fn a_short_life_is_not_warned_about_all_along() {
        let mut alerts = Alerts::new();
        let days: Vec<_> = (0..=6)
            .filter_map(|day| alerts.look("a.test", 0, 6 * DAY, day * DAY))
            .collect();
        assert_eq!(days, [1, 0]);
    }
}
