//! The service manager: tells it when everything listens, and that the gateway is alive.
//!
//! Source: `sd_notify(3)`, `sd_watchdog_enabled(3)`.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The manager's socket, if a manager started us.
pub(crate) struct Notify {
    socket: Option<(UnixDatagram, std::path::PathBuf)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Reads `NOTIFY_SOCKET` and `WATCHDOG_USEC`; sockets in the abstract namespace are not
    /// spoken to.
    pub(crate) fn from_environment() -> Self {
        let path = std::env::var_os("NOTIFY_SOCKET").map(std::path::PathBuf::from);
        let path = path.filter(|p| p.is_absolute());
        let socket = UnixDatagram::unbound().ok().zip(path);
        let usec = std::env::var("WATCHDOG_USEC").ok();
        let watchdog = usec
            .and_then(|text| text.parse().ok())
            .map(|usec: u64| Duration::from_micros(usec) / 2);
        Self { socket, watchdog }
    }

    /// Says that everything listens.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// Says that the gateway is stopping.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Says that the gateway is alive, as often as the manager asked, as long as `alive` holds.
    pub(crate) async fn watch(&self, alive: impl Fn() -> bool) {
        let Some(period) = self.watchdog.filter(|p| !p.is_zero()) else {
            return std::future::pending().await;
        };
        let mut tick = tokio::time::interval(period);
        loop {
            tick.tick().await;
            if alive() {
                self.send("WATCHDOG=1");
            }
        }
    }

    fn send(&self, text: &str) {
        if let Some((socket, path)) = &self.socket {
            drop(socket.send_to(text.as_bytes(), path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Notify;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_manager_hears_that_we_are_ready() {
        let name = format!("postern-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(std::fs::remove_file(&path));
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify {
            socket: Some((UnixDatagram::unbound().unwrap(), path.clone())),
            watchdog: None,
        };
        notify.ready();
        let mut heard = [0; 32];
        let n = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..n], b"READY=1");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nobody_is_told_when_nobody_asked() {
        let notify = Notify {
            socket: None,
            watchdog: None,
        };
        notify.ready();
        notify.stopping();
    }
}
