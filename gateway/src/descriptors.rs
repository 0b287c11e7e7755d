//! File descriptors: how many there are, and who may take the last ones.
//!
//! The system gives a new descriptor the lowest number that is free, so the number of a new one tells how full the
//! table is. The last ones are for what must go on: journal, store, control socket, tunnel.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept back of a table: an eighth, within these bounds.
const KEPT_BACK: (usize, usize) = (64, 512);
/// The fewest client connections that are ever allowed, however small the table.
const CONNECTIONS_LEAST: usize = 16;

static TABLE: OnceLock<Table> = OnceLock::new();

/// For whom a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Somebody who is signed in, or comes from where somebody is.
    Known,
    /// Anybody else.
    Stranger,
}

/// The table of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// How many descriptors there can be.
    pub(crate) limit: usize,
}

impl Table {
    /// Returns how many are kept back for the gateway's own work.
    pub(crate) fn kept_back(self) -> usize {
        let (least, most) = KEPT_BACK;
        (self.limit / 8).clamp(least, most).min(self.limit / 2)
    }

    /// Returns how many client connections there may be where `wanted` are configured and `used` descriptors are open
    /// already: each may need another one for its upstream.
    pub(crate) fn connections(self, wanted: usize, used: usize) -> usize {
        let free = self
            .limit
            .saturating_sub(self.kept_back())
            .saturating_sub(used);
        wanted.min((free / 2).max(CONNECTIONS_LEAST))
    }

    /// Tells whether a new descriptor of this number leaves what others need.
    pub(crate) fn fits(self, fd: RawFd, claim: Claim) -> bool {
        let known = self.limit.saturating_sub(self.kept_back());
        let end = match claim {
            Claim::Known => known,
            Claim::Stranger => known - known / 8,
        };
        usize::try_from(fd).is_ok_and(|fd| fd < end)
    }
}

/// Raises the limit of the process to the most the system allows it; the first call counts.
pub(crate) fn claim() -> Table {
    *TABLE.get_or_init(|| {
        let given = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: given.maximum,
            maximum: given.maximum,
        };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => given.maximum,
            Err(error) => {
                tracing::warn!(%error, "the limit of open files cannot be raised");
                given.current
            }
        };
        let limit = current.and_then(|limit| usize::try_from(limit).ok());
        Table {
            limit: limit.unwrap_or(usize::MAX),
        }
    })
}

/// Tells whether a new descriptor leaves what others need.
pub(crate) fn fits(fd: RawFd, claim: Claim) -> bool {
    TABLE.get().is_none_or(|table| table.fits(fd, claim))
}

/// Returns how many descriptors are open, as far as the lowest free one tells.
pub(crate) fn used() -> usize {
    let probe = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let lowest = probe
        .ok()
        .and_then(|fd| usize::try_from(fd.as_raw_fd()).ok());
    lowest.unwrap_or_else(|| TABLE.get().map_or(0, |table| table.limit))
}

#[cfg(test)]
mod tests {
    use super::{Claim, Table, claim, fits, used};

    #[test]
    fn what_is_kept_back_grows_with_the_table_and_ends_at_its_bounds() {
        for (limit, kept) in [
            (64, 32),
            (256, 64),
            (1024, 128),
            (4096, 512),
            (1 << 20, 512),
        ] {
            assert_eq!(Table { limit }.kept_back(), kept, "{limit}");
        }
    }

    #[test]
    fn each_connection_has_room_for_its_upstream() {
        let table = Table { limit: 1024 };
        assert_eq!(table.connections(16_384, 96), 400);
        assert_eq!(table.connections(300, 96), 300);
        let large = Table { limit: 65_536 };
        assert_eq!(large.connections(16_384, 96), 16_384);
        assert_eq!(Table { limit: 64 }.connections(16_384, 60), 16);
    }

    #[test]
    fn the_last_ones_are_for_those_who_are_known_and_the_very_last_for_nobody() {
        let table = Table { limit: 1024 };
        for (fd, known, stranger) in [
            (3, true, true),
            (783, true, true),
            (784, true, false),
            (895, true, false),
            (896, false, false),
            (-1, false, false),
        ] {
            assert_eq!(table.fits(fd, Claim::Known), known, "{fd}");
            assert_eq!(table.fits(fd, Claim::Stranger), stranger, "{fd}");
        }
    }

    #[test]
    fn the_limit_is_raised_to_the_most_there_may_be() {
        let table = claim();
        let now = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert!(used() > 2 && used() < table.limit);
        assert!(fits(3, Claim::Stranger));
    }
}
