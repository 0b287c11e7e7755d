//! The list of tunnel devices.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::call::Call;
use super::desk::{Device, Page};
use super::pager::Pager;
use super::shell::{Section, Shell};
use super::texts;
use crate::pages::fill;
use crate::uri::encode;

/// Devices on one page of the list.
const PER_PAGE: usize = 50;

#[derive(Serialize)]
struct Devices {
    search: String,
    devices: Page<Device>,
}

#[derive(Template)]
#[template(path = "console/devices.html")]
struct DevicesPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Devices,
    m: &'a Devices,
    pager: Pager,
}

/// `GET /admin/devices`: the list, those that match `?q=`.
pub(crate) async fn list(call: Call) -> Response {
    let search = call.query.get("q").unwrap_or_default().to_owned();
    let devices = call.console.devices(&search, call.slice(PER_PAGE)).await;
    let model = Devices { search, devices };
    let view = DevicesPage {
        f: call.shell(Section::Devices),
        w: texts::Devices::of(call.ctx.lang),
        pager: Pager::new(&call, &model.devices, PER_PAGE),
        m: &model,
    };
    call.reply(StatusCode::OK, &model, &view)
}

impl Device {
    pub(crate) fn person(&self) -> String {
        format!("/admin/person?user={}", encode(&self.user))
    }

    pub(crate) fn revoke(&self) -> String {
        format!("/admin/do/revoke-device?device={}", encode(&self.id))
    }

    pub(crate) fn mark(&self) -> String {
        let class = if self.managed { "known" } else { "managed" };
        format!(
            "/admin/do/mark-device?device={}&class={class}",
            encode(&self.id)
        )
    }

    pub(crate) fn clear(&self) -> String {
        format!("/admin/do/clear-device?device={}", encode(&self.id))
    }

    /// Says what [`Self::clear`] would take back.
    pub(crate) fn trouble(&self, w: &texts::Devices) -> Option<&'static str> {
        match (self.is_revoked(), self.disputed, self.clock_ahead) {
            (true, ..) | (_, false, false) => None,
            (_, true, _) => Some(w.disputed),
            (_, false, true) => Some(w.clock_ahead),
        }
    }

    pub(crate) fn mark_text(&self, w: &texts::Devices) -> &'static str {
        if self.managed {
            w.mark_known
        } else {
            w.mark_managed
        }
    }

    pub(crate) fn class_text(&self, w: &texts::Devices) -> &'static str {
        if self.managed { w.managed } else { w.known }
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.state == "revoked"
    }

    pub(crate) fn state_text(&self, w: &texts::Devices) -> &'static str {
        match self.state.as_str() {
            "open" => w.open,
            "revoked" => w.revoked,
            "never" => w.never,
            _ => w.quarantine,
        }
    }

    /// Names the style of the mark beside the state.
    pub(crate) fn class(&self) -> &'static str {
        match self.state.as_str() {
            "open" => "open",
            "quarantine" => "closed",
            _ => "off",
        }
    }

    pub(crate) fn heard(&self, w: &texts::Devices) -> String {
        match self.handshake_age_s {
            Some(age) if age < 120 => fill(w.seconds_ago, "count", &age.to_string()),
            Some(age) => fill(w.minutes_ago, "count", &(age / 60).to_string()),
            None => "–".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake;
    use super::texts;
    use crate::pages::Lang;

    #[test]
    fn what_is_noted_against_a_device_is_told_and_can_be_cleared_unless_it_is_revoked() {
        let w = texts::Devices::of(Lang::En);
        for (state, disputed, clock_ahead, told) in [
            ("open", false, false, None),
            ("quarantine", true, false, Some(w.disputed)),
            ("quarantine", true, true, Some(w.disputed)),
            ("never", false, true, Some(w.clock_ahead)),
            ("revoked", true, true, None),
        ] {
            let mut device = fake::device();
            device.state = state.to_owned();
            device.disputed = disputed;
            device.clock_ahead = clock_ahead;
            assert_eq!(device.trouble(w), told, "{state}");
        }
    }
}
