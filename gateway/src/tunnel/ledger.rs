//! Refusals on record, capped for each device.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::bucket::Reports;
use super::gate::{Gate, Refusal};
use crate::clock;

/// Refusals of one device on record each second; the next record carries the count of the rest.
const PER_SECOND: u32 = 10;

/// The way refusals go into the journal.
#[derive(Clone)]
pub(super) struct Ledger {
    gate: Arc<dyn Gate>,
    reports: Arc<Mutex<Reports>>,
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Ledger {
    /// Makes an empty ledger.
    pub(super) fn new(gate: Arc<dyn Gate>) -> Self {
        Self {
            gate,
            reports: Arc::new(Mutex::new(Reports::new(PER_SECOND))),
            counts: Arc::default(),
        }
    }

    /// Returns how many refusals there were of each reason, on record or not.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().clone()
    }

    /// Records a refusal, or counts it for the next record.
    pub(super) fn refuse(&self, mut refusal: Refusal) {
        *self.counts.lock().entry(refusal.reason).or_default() += 1;
        let admitted = self.reports.lock().admit(refusal.device, clock::now());
        if let Some(more) = admitted {
            refusal.more = refusal.more.saturating_add(more);
            self.gate.refused(refusal);
        }
    }
}
