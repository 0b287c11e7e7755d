//! How the gateway is.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::act;
use super::call::Call;
use super::shell::{Section, Shell};
use super::texts;
use crate::control::{AppClock, Status};
use crate::explain::short;
use crate::pages::fill;

/// What `postern status --json` tells, and what else can be seen from inside.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Health {
    /// The status of the command line.
    #[serde(flatten)]
    pub(crate) status: Status,
    /// The certificates, the one that ends first at the top.
    pub(crate) certificates: Vec<Certificate>,
    /// The journal on disk.
    pub(crate) journal: Journal,
    /// The disk of the data folder.
    pub(crate) disk: Disk,
    /// Bytes of the store; absent if they cannot be found out.
    pub(crate) store_bytes: Option<u64>,
    /// Where requests go, and whether it takes connections.
    pub(crate) upstreams: Vec<Upstream>,
    /// Sources that are shut out.
    pub(crate) bans: usize,
    /// Sources and people whose rates are counted.
    pub(crate) rates: usize,
    /// Open streams, such as requests, flows and sockets.
    pub(crate) streams: Vec<StreamCount>,
}

/// Open streams of a kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StreamCount {
    /// The kind.
    pub(crate) kind: &'static str,
    /// How many.
    pub(crate) count: usize,
}

/// A certificate in use.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Certificate {
    /// The hosts it is for.
    pub(crate) names: Vec<String>,
    /// When it ends, RFC 3339.
    pub(crate) not_after: String,
    /// Whole days left; negative once it is over.
    pub(crate) days_left: i64,
}

/// The journal on disk.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Journal {
    /// Its files.
    pub(crate) files: usize,
    /// Bytes of all.
    pub(crate) bytes: u64,
}

/// A disk.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Disk {
    /// Bytes we may still write; absent if that cannot be found out.
    pub(crate) free: Option<u64>,
    /// All its bytes.
    pub(crate) total: Option<u64>,
}

/// Where requests of an app go.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Upstream {
    /// Its address, such as `http://10.0.0.1:8501`.
    pub(crate) url: String,
    /// The apps.
    pub(crate) apps: Vec<String>,
    /// Whether a connection was taken just now; absent where it was not tried.
    pub(crate) open: Option<bool>,
}

#[derive(Template)]
#[template(path = "console/health.html")]
struct HealthPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Health,
    m: &'a Health,
}

/// `GET /admin/health`
pub(crate) async fn health(call: Call) -> Response {
    let health = match call.console.health().await {
        Ok(health) => health,
        Err(refusal) => {
            return act::failure(&call, Section::Health, "/admin/health".to_owned(), &refusal);
        }
    };
    let view = HealthPage {
        f: call.shell(Section::Health),
        w: texts::Health::of(call.ctx.lang),
        m: &health,
    };
    call.reply(StatusCode::OK, &health, &view)
}

impl Health {
    fn uptime(&self, w: &texts::Health) -> String {
        let secs = self.status.uptime_s;
        let parts = [
            ("days", secs / 86_400),
            ("hours", secs / 3600 % 24),
            ("minutes", secs / 60 % 60),
        ];
        parts
            .iter()
            .fold(w.uptime_text.to_owned(), |text, (name, value)| {
                fill(&text, name, &value.to_string())
            })
    }

    fn short(&self) -> &str {
        short(&self.status.policy.digest)
    }

    fn free(&self) -> String {
        match (self.disk.free, self.disk.total) {
            (Some(free), Some(total)) => format!("{} / {}", bytes(free), bytes(total)),
            (free, _) => free.map(bytes).unwrap_or_default(),
        }
    }

    fn journal_text(&self, w: &texts::Health) -> String {
        let text = fill(
            w.journal_text,
            "records",
            &self.status.audit.seq.to_string(),
        );
        let text = fill(&text, "files", &self.journal.files.to_string());
        fill(&text, "size", &bytes(self.journal.bytes))
    }

    /// What several apps say about the clock of this machine.
    pub(super) fn clock(&self, w: &texts::Health) -> Option<String> {
        let off = AppClock::of_gateway(&self.status.app_clocks)?;
        let text = if off < 0 {
            w.clock_behind
        } else {
            w.clock_ahead
        };
        Some(fill(text, "seconds", &off.unsigned_abs().to_string()))
    }

    fn store(&self) -> String {
        self.store_bytes.map(bytes).unwrap_or_default()
    }
}

impl Certificate {
    fn left(&self, w: &texts::Health) -> String {
        fill(w.days, "days", &self.days_left.to_string())
    }

    fn is_near(&self) -> bool {
        self.days_left < 14
    }
}

/// A length for people, in steps of 1024.
fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut rest, mut at) = (count, 0, 0);
    while value >= 1024 && at + 1 < units.len() {
        rest = value % 1024;
        value /= 1024;
        at += 1;
    }
    let unit = units.get(at).copied().unwrap_or_default();
    match at {
        0 => format!("{value} {unit}"),
        _ => format!("{value}.{} {unit}", rest * 10 / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn lengths_are_written_for_people() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
