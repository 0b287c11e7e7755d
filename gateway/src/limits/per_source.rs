//! A budget for each source, and one for each site of IPv6.

use std::sync::Arc;

use super::Rate;
use super::bucket::{Bucket, Passed, RetryAfter};
use super::source::{SITE_FACTOR, Site, Source};

/// Budgets of sources; the sources of one site together have [`SITE_FACTOR`] times that of one.
pub(super) struct PerSource {
    sources: Bucket<Source>,
    sites: Bucket<Site>,
}

impl PerSource {
    pub(super) fn new(rate: &Rate, clock: &Passed, keys_max: usize) -> Self {
        let of_site = Rate {
            count: rate.count.saturating_mul(SITE_FACTOR),
            burst: rate.burst.saturating_mul(SITE_FACTOR),
            ..rate.clone()
        };
        Self {
            sources: Bucket::new(rate, clock.clone(), keys_max, Arc::default()),
            sites: Bucket::new(&of_site, clock.clone(), keys_max, Arc::default()),
        }
    }

    /// Takes one from both budgets.
    ///
    /// # Errors
    /// When either is used up; what is taken from that of the source is not given back.
    pub(super) fn take(&self, source: Source) -> Result<(), RetryAfter> {
        self.sources.take(&source)?;
        source
            .site()
            .map_or(Ok(()), |site| self.sites.take(&site).map(drop))
    }

    pub(super) fn sweep(&self) {
        self.sources.sweep();
        self.sites.sweep();
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len() + self.sites.len()
    }
}
