//! A token bucket for each device.

use std::collections::HashMap;
use std::time::Instant;

use crate::ids::DeviceId;

/// Token buckets of all devices; the keys are enrolled devices, so the map is bounded.
#[derive(Debug)]
pub(super) struct Buckets {
    per_second: f64,
    burst: f64,
    devices: HashMap<DeviceId, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    /// Allows `per_second` on average and `burst` at once.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            burst: f64::from(burst),
            devices: HashMap::new(),
        }
    }

    /// Takes one token of the device; false when there is none.
    pub(super) fn take(&mut self, device: DeviceId, now: Instant) -> bool {
        let burst = self.burst;
        let bucket = self.devices.entry(device).or_insert(Bucket {
            tokens: burst,
            at: now,
        });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = passed.mul_add(self.per_second, bucket.tokens).min(burst);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }
}

/// Caps the reports about each device and counts those it swallows.
#[derive(Debug)]
pub(super) struct Reports {
    buckets: Buckets,
    swallowed: HashMap<DeviceId, u32>,
}

impl Reports {
    /// Allows `per_second` reports of each device.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            buckets: Buckets::new(per_second, per_second),
            swallowed: HashMap::new(),
        }
    }

    /// Admits a report with the count of those swallowed before it, or swallows it.
    pub(super) fn admit(&mut self, device: DeviceId, now: Instant) -> Option<u32> {
        if self.buckets.take(device, now) {
            return Some(self.swallowed.remove(&device).unwrap_or(0));
        }
        let swallowed = self.swallowed.entry(device).or_default();
        *swallowed = swallowed.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Reports};
    use crate::clock;
    use crate::ids::DeviceId;
    use std::time::Duration;

    #[test]
    fn a_device_is_stopped_after_its_burst_and_goes_on_at_its_rate() {
        let now = clock::now();
        let mut buckets = Buckets::new(10, 3);
        let device = DeviceId(1);
        assert!((0..3).all(|_| buckets.take(device, now)));
        assert!(!buckets.take(device, now));
        assert!(buckets.take(DeviceId(2), now));
        assert!(buckets.take(device, now + Duration::from_millis(100)));
        assert!(!buckets.take(device, now + Duration::from_millis(100)));
    }

    #[test]
    fn no_report_is_lost_from_the_count() {
        let now = clock::now();
        let mut reports = Reports::new(2);
        let device = DeviceId(1);
        let admitted: Vec<_> = (0..5).map(|_| reports.admit(device, now)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None, None]);
        assert_eq!(reports.admit(device, now + Duration::from_secs(1)), Some(3));
    }
}
