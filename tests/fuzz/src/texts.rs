//! What tools and admins hand in: messages of WireGuard's UAPI, files of wg-quick.

use std::path::Path;

use crate::gateway::{uapi as messages, wgquick};

/// Reads a message of the UAPI: whatever it says, nothing but `get=1` is answered.
pub fn uapi(bytes: &[u8]) {
    let whole = messages::is_whole(bytes);
    let get = messages::operation(bytes).is_ok();
    assert_eq!(get, bytes == b"get=1\n\n");
    assert!(whole || !get);
}

/// Reads a file of wg-quick: what is wrong is told by a place within it, and what is right is in its bounds.
pub fn conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match wgquick::parse(Path::new("wg0.conf"), &text) {
        Ok(server) => {
            for peer in &server.peers {
                assert!(text.get(peer.span.clone()).is_some());
            }
            for line in wgquick::undo(&server.hooks, "wg0") {
                assert!(!line.is_empty());
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = text.split('\n').count();
            for problem in problems {
                assert!((1..=lines).contains(&problem.line), "{problem}");
                assert!(problem.column > 0 && !problem.what.is_empty());
            }
        }
    }
}
