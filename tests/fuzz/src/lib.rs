//! What the fuzz targets do with the bytes they are given, and what must hold whatever these are.
//!
//! The readers of the gateway that need nothing else of it (UAPI, wg-quick's files) are its very files.

mod device;
mod inner;
mod outer;
mod texts;

/// As the gateway's own modules name it.
mod config {
    pub(crate) use crate::problem::Problem;
}
/// What a problem of a file needs besides.
mod snapshot {
    pub(crate) mod files {
        #[derive(Debug, thiserror::Error)]
        #[error("a file")]
        pub(crate) struct FileError;
    }
}
#[allow(dead_code, reason = "the gateway uses the rest")]
mod problem;
#[allow(dead_code, reason = "the gateway uses the rest")]
mod uapi;
#[allow(dead_code, reason = "the gateway uses the rest")]
mod wgquick;

pub use inner::inner;
pub use outer::datagrams;
pub use texts::{conf, uapi};
