//! Takes spans out of the queue and sends them, many at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Counts;
use super::collector::{Collector, Refused, encode};
use super::span::Attributes;
use crate::clock;

/// As many spans are sent at once...
const SPANS: usize = 512;
/// ...or what came within this time.
const DELAY: Duration = Duration::from_secs(2);
/// How often it is looked for more meanwhile; many more requests fit into the queue than come in that time.
const LOOK: Duration = Duration::from_millis(20);
/// How often the same spans are sent at most; each pause is twice the one before.
const TRIES: u32 = 3;
/// The first pause.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends spans until it is told to stop.
pub(super) struct Export {
    collector: Collector,
    counts: Arc<Counts>,
    stop: CancellationToken,
    /// Whether the last spans were not taken: only a change is logged.
    fails: bool,
}

impl Export {
    pub(super) fn new(collector: Collector, counts: Arc<Counts>, stop: CancellationToken) -> Self {
        Self {
            collector,
            counts,
            stop,
            fails: false,
        }
    }

    /// Sends what comes; once told to stop, what is there, and ends.
    pub(super) async fn run(mut self, mut queue: Receiver<Vec<Span>>) {
        loop {
            let spans = self.gather(&mut queue).await;
            if spans.is_empty() {
                return;
            }
            self.send(spans).await;
        }
    }

    /// Waits for spans and for more of them; there are none where it is over.
    ///
    /// It looks into the queue from time to time: to be woken by each request would cost more than its spans.
    async fn gather(&self, queue: &mut Receiver<Vec<Span>>) -> Vec<Span> {
        let mut spans = self.next(queue).await.unwrap_or_default();
        let due = clock::now() + DELAY;
        while !spans.is_empty() {
            while spans.len() < SPANS
                && let Ok(more) = queue.try_recv()
            {
                spans.extend(more);
            }
            if spans.len() >= SPANS || self.stop.is_cancelled() || clock::now() >= due {
                break;
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(LOOK) => {}
            }
        }
        spans
    }

    /// Waits for the spans of a request; once told to stop, only for what is there.
    async fn next(&self, queue: &mut Receiver<Vec<Span>>) -> Option<Vec<Span>> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            next = queue.recv() => return next,
        }
        queue.close();
        queue.recv().await
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let bytes = encode(&message(spans));
        match self.persist(bytes).await {
            Ok(rejected) => {
                let rejected = rejected.min(count);
                add(&self.counts.lost, rejected);
                add(&self.counts.sent, count - rejected);
                if std::mem::take(&mut self.fails) {
                    tracing::info!(collector = %self.collector.name(), "traces are taken again");
                }
            }
            Err(why) => {
                add(&self.counts.lost, count);
                if !std::mem::replace(&mut self.fails, true) {
                    tracing::warn!(collector = %self.collector.name(), %why, "traces are not taken");
                }
            }
        }
    }

    /// Sends the same until it is taken, refused for good, or was sent often enough.
    async fn persist(&self, bytes: Bytes) -> Result<u64, String> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.collector.take(bytes.clone()).await {
                Ok(rejected) => return Ok(rejected),
                Err(Refused::ForGood(why)) => return Err(why),
                Err(Refused::ForNow(why, _)) if self.stop.is_cancelled() => return Err(why),
                Err(Refused::ForNow(_, wish)) => {
                    tokio::select! {
                        () = sleep(wish.unwrap_or(pause)) => {}
                        () = self.stop.cancelled() => {}
                    }
                    pause *= 2;
                }
            }
        }
        let last = self.collector.take(bytes).await;
        last.map_err(|(Refused::ForNow(why, _) | Refused::ForGood(why))| why)
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn message(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let (name, version) = ("postern", env!("CARGO_PKG_VERSION"));
    let mut all = Attributes::default();
    all.text("service.name", Some(name));
    all.text("service.version", Some(version));
    let resource = Resource {
        attributes: all.0,
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: name.to_owned(),
        version: version.to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans,
        schema_url: String::new(),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope_spans],
            schema_url: String::new(),
        }],
    }
}
