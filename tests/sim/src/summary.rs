//! What happened, to show that the worlds are not empty.

/// Counts over one world or many.
#[derive(Debug, Default, Clone, Copy)]
pub struct Summary {
    pub handshakes: usize,
    pub permitted: usize,
    pub refused: usize,
    pub tun_bytes: usize,
    pub restarts: usize,
    pub revocations: usize,
    pub replays: usize,
    pub spoofed: usize,
    pub clock_jumps: usize,
    pub rekeys: usize,
    pub twins: usize,
    pub expired: usize,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.handshakes += other.handshakes;
        self.permitted += other.permitted;
        self.refused += other.refused;
        self.tun_bytes += other.tun_bytes;
        self.restarts += other.restarts;
        self.revocations += other.revocations;
        self.replays += other.replays;
        self.spoofed += other.spoofed;
        self.clock_jumps += other.clock_jumps;
        self.rekeys += other.rekeys;
        self.twins += other.twins;
        self.expired += other.expired;
    }
}

impl Summary {
    /// Panics when a sweep never did one of the things it is for.
    pub fn must_not_be_empty(&self) {
        let done = [
            self.handshakes,
            self.permitted,
            self.refused,
            self.tun_bytes,
            self.restarts,
            self.revocations,
            self.replays,
            self.spoofed,
            self.clock_jumps,
            self.rekeys,
            self.twins,
            self.expired,
        ];
        assert!(done.iter().all(|count| *count > 0), "{self:?}");
    }
}
