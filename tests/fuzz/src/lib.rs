//! What the fuzz targets do with the bytes they are given, and what must hold whatever these are.
//!
//! The readers of the gateway that need nothing else of it (UAPI, wg-quick's files) are its very files; devices and
//! packets are those of the simulation.

mod inner;
mod outer;
mod texts;
mod world;

#[path = "../../sim/src/config.rs"]
mod node;
#[path = "../../sim/src/device.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod device;
#[path = "../../sim/src/packet.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod packet;

/// Files of the gateway, as they are.
#[path = "../../../gateway/src"]
#[allow(dead_code, reason = "the gateway uses the rest")]
mod gateway {
    #[path = "config/error.rs"]
    pub(crate) mod problem;
    #[path = "tunnel/uapi.rs"]
    pub(crate) mod uapi;
    pub(crate) mod wgquick;
}
/// As these files name it.
mod config {
    pub(crate) use crate::gateway::problem::Problem;
}
/// What a problem of a file needs besides.
mod snapshot {
    pub(crate) mod files {
        #[derive(Debug, thiserror::Error)]
        #[error("a file")]
        pub(crate) struct FileError;
    }
}

pub use inner::inner;
pub use outer::datagrams;
pub use texts::{conf, uapi};
