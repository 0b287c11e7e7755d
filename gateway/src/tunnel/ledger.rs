//! Refusals on record, capped for each device.

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
}

impl Ledger {
    /// Makes an empty ledger.
    pub(super) fn new(gate: Arc<dyn Gate>) -> Self {
        Self {
            gate,
            reports: Arc::new(Mutex::new(Reports::new(PER_SECOND))),
        }
    }

    /// Records a refusal, or counts it for the next record.
    pub(super) fn refuse(&self, mut refusal: Refusal) {
        let admitted = self.reports.lock().admit(refusal.device, clock::now());
        if let Some(more) = admitted {
            refusal.more = refusal.more.saturating_add(more);
            self.gate.refused(refusal);
        }
    }
}
