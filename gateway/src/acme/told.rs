//! What was warned of, kept over a restart.

use std::path::Path;

use certs::Alerts;
use serde::{Deserialize, Serialize};

use crate::proxy::tls::files::{self, FileError, Readers};

/// The file in the state folder.
const FILE: &str = "certificate-warnings.json";

#[derive(Serialize, Deserialize)]
struct Told {
    name: String,
    not_after: i64,
    days: i64,
}

/// Reads what was told; one that cannot be read is empty, so that a warning is rather repeated.
pub(super) fn read(data: &Path) -> Alerts {
    let bytes = files::read_secret(&data.join(FILE), Readers::Owner);
    let told: Option<Vec<Told>> = bytes.ok().and_then(|b| serde_json::from_slice(&b).ok());
    let told = told.unwrap_or_default().into_iter();
    told.map(|t| (t.name, t.not_after, t.days)).collect()
}

/// Replaces what was told, whole or not at all.
///
/// # Errors
/// [`FileError`] if it cannot be written.
pub(super) fn write(data: &Path, alerts: &Alerts) -> Result<(), FileError> {
    let told = alerts.given().map(|(name, not_after, days)| Told {
        name: name.to_owned(),
        not_after,
        days,
    });
    let told: Vec<_> = told.collect();
    let text = serde_json::to_vec(&told).unwrap_or_default();
    files::replace(&data.join(FILE), &text, 0o600)
}

#[cfg(test)]
mod tests {
    use certs::{Alerts, DAY};

    use super::{FILE, read, write};
    use crate::config::tests::Folder;

    #[test]
    fn what_was_told_is_not_told_again_after_a_restart() {
        let folder = Folder::new();
        let mut alerts = read(folder.path());
        assert_eq!(alerts.look("a.test", 0, 90 * DAY, 77 * DAY), Some(14));
        write(folder.path(), &alerts).unwrap();
        let mut again = read(folder.path());
        assert_eq!(again.look("a.test", 0, 90 * DAY, 78 * DAY), None);
        assert_eq!(again.look("a.test", 0, 90 * DAY, 83 * DAY), Some(7));
        assert_eq!(again.look("b.test", 0, 90 * DAY, 83 * DAY), Some(7));
    }

    #[test]
    fn a_damaged_file_repeats_a_warning_and_loses_none() {
        let folder = Folder::new();
        std::fs::write(folder.path().join(FILE), "[{").unwrap();
        assert_eq!(read(folder.path()).given().count(), 0);
        let mut alerts = Alerts::new();
        assert!(alerts.look("a.test", 0, 90 * DAY, 89 * DAY).is_some());
        write(folder.path(), &alerts).unwrap();
        assert_eq!(read(folder.path()).given().count(), 1);
    }
}
