//! The open client connections, so that those of a banned source can be cut.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::conn::ConnCtx;
use crate::ids::Door;

/// The connections of the web door; the caps on connections bound it.
#[derive(Default)]
pub(crate) struct Guests {
    open: Arc<Mutex<HashMap<u64, Weak<ConnCtx>>>>,
    next: AtomicU64,
}

/// One connection's place in the list.
pub(super) struct Guest {
    open: Arc<Mutex<HashMap<u64, Weak<ConnCtx>>>>,
    id: u64,
}

impl Guests {
    /// Enters a connection until the guest is dropped.
    pub(super) fn enter(&self, conn: &Arc<ConnCtx>) -> Guest {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(id, Arc::downgrade(conn));
        Guest {
            open: Arc::clone(&self.open),
            id,
        }
    }

    /// Cuts the connections of strangers whose source is banned; those that carry a session stay.
    pub(crate) fn cut(&self, banned: impl Fn(IpAddr) -> bool) {
        let open: Vec<Arc<ConnCtx>> = self
            .open
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for conn in open {
            if conn.door == Door::Web && !conn.is_held() && banned(conn.peer.ip()) {
                conn.kill.kill();
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.open.lock().remove(&self.id);
    }
}
