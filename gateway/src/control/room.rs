//! What `status` tells of room for connections.

use serde::{Deserialize, Serialize};

/// Client connections and descriptors in a [`super::Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomStatus {
    /// Open client connections.
    pub(crate) connections: usize,
    /// The most that may be.
    pub(crate) most: usize,
    /// Those closed for want of room since the start.
    pub(crate) refused: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// The most that may be.
    pub(crate) limit: usize,
}
