//! Traces: what became of requests, told to a collector of OpenTelemetry by OTLP over HTTP.
//!
//! The messages are the standard's own (`opentelemetry-proto`). Its exporter is not used: it takes fields for the
//! collector from the environment as well, and does not say how many spans it dropped.
//!
//! Source: [OTLP 1.x](https://opentelemetry.io/docs/specs/otlp/); W3C Trace Context.

mod collector;
mod export;
mod place;
mod span;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::export::Export;
use self::place::{Place, Share};
use crate::clock;
use crate::config;
use crate::proxy::headers;

pub(crate) use self::collector::{Collector, TracesError};
pub(crate) use self::span::{Active, End};

/// Requests whose spans wait for the collector, at most.
const QUEUE: usize = 2048;

/// Traces requests; there is none where `[traces]` names no collector.
pub(crate) struct Traces {
    share: Share,
    person: bool,
    queue: mpsc::Sender<Vec<Span>>,
    counts: Arc<Counts>,
    stop: CancellationToken,
    export: Mutex<Option<JoinHandle<()>>>,
}

/// What became of spans since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
}

/// The same as figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Spans that the collector took.
    pub(crate) sent: u64,
    /// Spans for which the queue had no room.
    pub(crate) dropped: u64,
    /// Spans that the collector did not take.
    pub(crate) lost: u64,
    /// Requests whose spans wait.
    pub(crate) waiting: usize,
}

impl Traces {
    /// Starts to send what is traced; belongs into a runtime.
    pub(crate) fn start(config: &config::Traces, collector: Collector) -> Self {
        Self::with(config, collector, QUEUE)
    }

    fn with(config: &config::Traces, collector: Collector, room: usize) -> Self {
        let (queue, waiting) = mpsc::channel(room);
        let (counts, stop) = (Arc::<Counts>::default(), CancellationToken::new());
        let export = Export::new(collector, Arc::clone(&counts), stop.clone());
        Self {
            share: Share::new(config.sample),
            person: config.person,
            queue,
            counts,
            stop,
            export: Mutex::new(Some(tokio::spawn(export.run(waiting)))),
        }
    }

    /// Begins the span of a request, if its client's trace is recorded, or it has none and is one of the share.
    pub(crate) fn begin(&self, headers: &HeaderMap, http2: bool) -> Option<Box<Active>> {
        let place = match headers::traceparent(headers) {
            Some(text) => Place::read(&text).filter(Place::is_sampled)?,
            None => self.share.draw()?,
        };
        Some(Box::new(Active::new(place, http2)))
    }

    /// Ends the span of a request; one of which nothing was decided, such as a look at `/healthz`, is not told.
    ///
    /// It never waits: where there is no room, the spans are dropped and counted.
    pub(crate) fn end(&self, active: &Active, end: &End<'_>) {
        if !active.is_decided() {
            return;
        }
        match self.queue.try_reserve() {
            Ok(place) => place.send(active.spans(end, self.person, clock::now(), clock::wall())),
            Err(_) => {
                self.counts
                    .dropped
                    .fetch_add(active.count(), Ordering::Relaxed);
            }
        }
    }

    /// Tells what became of spans.
    pub(crate) fn figures(&self) -> Figures {
        let counts = &self.counts;
        Figures {
            sent: counts.sent.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
            lost: counts.lost.load(Ordering::Relaxed),
            waiting: self.queue.max_capacity() - self.queue.capacity(),
        }
    }

    /// Sends what is held, for as long as that may take, and ends.
    pub(crate) async fn close(&self, within: Duration) {
        self.stop.cancel();
        let Some(mut export) = self.export.lock().take() else {
            return;
        };
        if tokio::time::timeout(within, &mut export).await.is_err() {
            export.abort();
            tracing::warn!(
                "the collector of traces does not answer; what was held for it is dropped"
            );
        }
    }
}
