//! The templates about devices, with their values.

use askama::Template;

use super::desk::devices::DeviceView;
use super::texts::{DeviceTexts, fill};
use super::views::{Frame, minute};

#[derive(Template)]
#[template(path = "devices.html")]
pub(crate) struct Devices<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) d: &'static DeviceTexts,
    pub(crate) csrf: String,
    /// Whether password and code were given, so that the forms are there.
    pub(crate) confirmed: bool,
    pub(crate) live: Vec<DeviceView>,
    /// Revoked, the newest first.
    pub(crate) gone: Vec<DeviceView>,
    pub(crate) error: Option<String>,
}

impl Devices<'_> {
    fn heard(&self, view: &DeviceView) -> String {
        view.heard
            .map_or_else(|| self.d.heard_never.to_owned(), minute)
    }

    fn traffic(&self, view: &DeviceView) -> Option<String> {
        let (rx, tx) = view.traffic?;
        let text = fill(self.d.traffic_line, "rx", &amount(rx));
        Some(fill(&text, "tx", &amount(tx)))
    }

    fn revoked(&self, view: &DeviceView) -> String {
        let time = view.revoked.map(minute).unwrap_or_default();
        fill(self.d.gone_since, "time", &time)
    }

    fn revoke_label(&self, view: &DeviceView) -> String {
        fill(self.d.revoke_label, "name", &view.name)
    }

    fn minute(&self, unix: &i64) -> String {
        minute(*unix)
    }
}

#[derive(Template)]
#[template(path = "device-add.html")]
pub(crate) struct DeviceAdd<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) d: &'static DeviceTexts,
    pub(crate) csrf: String,
    pub(crate) name: &'a str,
    pub(crate) public_key: &'a str,
    pub(crate) error: Option<String>,
}

/// The configuration of a device whose keys were made elsewhere.
#[derive(Template)]
#[template(path = "device-added.html")]
pub(crate) struct DeviceAdded<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) d: &'static DeviceTexts,
    pub(crate) name: &'a str,
    pub(crate) config: &'a str,
    /// The same as a `data:` address.
    pub(crate) file: String,
}

/// Writes a count of bytes in steps of a thousand, rounded down.
fn amount(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB"];
    let mut rest = bytes;
    for unit in units {
        if rest < 1000 {
            return format!("{rest} {unit}");
        }
        rest /= 1000;
    }
    format!("{rest} TB")
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_are_written_in_steps_of_a_thousand() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 kB"),
            (2_999_999, "2 MB"),
            (5_000_000_000, "5 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(amount(bytes), text);
        }
    }
}
