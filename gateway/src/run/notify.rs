//! The service manager: tells it when everything listens, and that the gateway is alive, and gives it the sockets to
//! keep over a restart.
//!
//! Source: `sd_notify(3)`, `sd_watchdog_enabled(3)`, `sd_pid_notify_with_fds(3)`.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

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

    /// Gives a socket to keep, which the next start is passed; one that keeps none ignores it. Errors that wait on the
    /// socket are no reason to close it.
    pub(crate) fn keep(&self, name: &str, socket: &impl AsFd) {
        let Some((own, path)) = &self.socket else {
            return;
        };
        let text = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0");
        let fds = [socket.as_fd().as_raw_fd()];
        let sent = UnixAddr::new(path).and_then(|manager| {
            let text = [IoSlice::new(text.as_bytes())];
            let rights = [ControlMessage::ScmRights(&fds)];
            sendmsg(
                own.as_raw_fd(),
                &text,
                &rights,
                MsgFlags::empty(),
                Some(&manager),
            )
        });
        if let Err(error) = sent {
            tracing::warn!(%error, name, "the service manager does not keep a socket over a restart");
        }
    }

    /// Asks to close a socket that was kept.
    pub(crate) fn forget(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
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
