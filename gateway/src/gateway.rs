//! The running gateway's shared state.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::audit::Audit;
use crate::config::Config;
use crate::identity::{Devices, Identity, Sessions};
use crate::limits::Limits;
use crate::proxy::Edges;
use crate::proxy::handover::Handover;
use crate::secrets::Keys;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::streams::Streams;
use crate::tunnel;

/// Everything the two doors, the control socket and the sweeps share.
pub(crate) struct Gateway {
    /// The configuration it was started with.
    pub(crate) config: Arc<Config>,
    /// The set in force: policy and certificates.
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// Durable state.
    pub(crate) store: Arc<dyn Store>,
    /// The master key.
    pub(crate) keys: Arc<Keys>,
    /// The journal.
    pub(crate) audit: Arc<Audit>,
    /// The login engine.
    pub(crate) identity: Arc<Identity>,
    /// Live sessions.
    pub(crate) sessions: Arc<Sessions>,
    /// Tunnel devices.
    pub(crate) devices: Arc<Devices>,
    /// Open streams.
    pub(crate) streams: Arc<Streams>,
    /// Rate budgets.
    pub(crate) limits: Arc<Limits>,
    /// Pending hand-overs.
    pub(crate) handover: Handover,
    /// The threads that serve connections.
    pub(crate) edges: OnceLock<Edges>,
    /// The tunnel door, once it was started.
    pub(crate) tunnel: OnceLock<tunnel::Handle>,
    /// The last reload that was refused, as the person should read it.
    pub(crate) reload_error: parking_lot::Mutex<Option<String>>,
    /// When it was started, in seconds since the UNIX epoch.
    pub(crate) started: i64,
}
