//! How long a flow was silent. The timer of a flow is set when it rings, not with each packet: there
//! may be thousands of them.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The silence of one flow.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Duration,
    heard: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Silence {
    /// Begins now; it is over after `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            heard: Instant::now(),
            timer: Box::pin(sleep(limit)),
        }
    }

    /// Breaks it.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Waits until it was not broken for as long as its limit.
    pub(super) async fn over(&mut self) {
        loop {
            self.timer.as_mut().await;
            let end = self.heard + self.limit;
            if end <= Instant::now() {
                return;
            }
            self.timer.as_mut().reset(end);
        }
    }
}
