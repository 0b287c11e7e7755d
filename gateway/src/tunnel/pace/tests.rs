use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{LEFT_ALONE, LOOK_BYTES, LOOK_TIME, LOWEST, PAUSE, Pace, Paced, Pacer, Sent, sys};
use crate::clock;
use crate::tunnel::testing::pair;

const MEGABYTE: u64 = 1_000_000;

/// A connection that sends as fast as it may, and what a path does with its bytes.
struct Path {
    pace: Pace,
    now: Instant,
    sent: Sent,
}

impl Path {
    fn new() -> Self {
        let now = clock::now();
        Self {
            pace: Pace::new(now),
            now,
            sent: Sent::default(),
        }
    }

    /// Sends for one look: as fast as it may, `free` at most. `lost` tells how many bytes of a thousand are lost at a
    /// rate. Returns the rate at which bytes arrived.
    fn look(&mut self, free: u64, time: Duration, lost: impl Fn(u64) -> u64) -> u64 {
        let rate = self.pace.rate().map_or(free, |rate| rate.min(free));
        let micros = u64::try_from(time.as_micros()).unwrap();
        let bytes = rate * micros / 1_000_000;
        let again = bytes * lost(rate) / 1_000;
        self.now += time;
        self.sent.bytes += bytes;
        self.sent.again += again;
        self.sent.arrived += bytes - again;
        self.sent.busy_micros += micros;
        self.pace.look(self.sent, self.now);
        (bytes - again) * 1_000_000 / micros
    }
}

/// A laptop that takes `most`: the rest is lost.
fn takes(most: u64) -> impl Fn(u64) -> u64 {
    move |rate| 1_000_u64.saturating_sub(1_000 * most / rate)
}

#[test]
fn a_laptop_gets_what_it_takes_and_little_that_it_does_not() {
    for most in [5 * MEGABYTE, 20 * MEGABYTE, 120 * MEGABYTE] {
        let mut path = Path::new();
        path.look(most * 5 / 4, LOOK_TIME, takes(most));
        let (mut arrived, before) = (0, path.sent);
        for _ in 0..200 {
            arrived += path.look(most * 5 / 4, LOOK_TIME, takes(most)) / 10;
        }
        let of_it = (path.sent.again - before.again) * 1_000 / arrived;
        assert!(of_it < 50, "{most}: {of_it} of a thousand for nothing");
        assert!(arrived > most * 20 * 9 / 10, "{most}: {arrived}");
    }
}

#[test]
fn a_laptop_that_takes_more_gets_more_within_seconds() {
    let (little, much) = (10 * MEGABYTE, 100 * MEGABYTE);
    let mut path = Path::new();
    for _ in 0..50 {
        path.look(little * 5 / 4, LOOK_TIME, takes(little));
    }
    assert!(path.pace.rate().is_some());
    let looks = (0..100).take_while(|_| path.look(much, LOOK_TIME, takes(much)) < much * 9 / 10);
    let looks = looks.count();
    assert!(looks < 30, "{looks}");
}

#[test]
fn losses_that_do_not_come_of_the_rate_do_not_slow_a_connection_down() {
    let free = 10 * MEGABYTE;
    for share in [10, 20, 50, 100, 200] {
        let mut path = Path::new();
        let arrived: u64 = (0..600)
            .map(|_| path.look(free, LOOK_TIME, |_| share) / 10)
            .sum();
        let could = free * 60 * (1_000 - share) / 1_000;
        assert!(arrived > could * 9 / 10, "{share}: {arrived} of {could}");
        if share < 30 {
            assert!(path.pace.held.is_none(), "{share}");
        }
    }
}

#[test]
fn a_connection_whose_losses_go_on_gets_back_what_it_had_and_is_slowed_down_again_later() {
    let free = 10 * MEGABYTE;
    let mut path = Path::new();
    let mut had = 0;
    let mut looks = 0;
    while path.pace.left_alone_until.is_none() {
        path.look(free, LOOK_TIME, |_| 200);
        had = had.max(path.pace.rate().unwrap_or(0));
        looks += 1;
        assert!(looks < 20);
    }
    assert_eq!(path.pace.rate(), Some(had));
    let until = path.now + LEFT_ALONE;
    while path.now + LOOK_TIME < until {
        let before = path.pace.rate();
        path.look(free, LOOK_TIME, |_| 200);
        let rate = path.pace.rate();
        assert!(rate.is_none_or(|rate| Some(rate) > before), "{rate:?}");
    }
    for _ in 0..3 {
        path.look(free, LOOK_TIME, takes(free / 2));
    }
    assert!(path.pace.rate().unwrap() < free * 6 / 10);
}

#[test]
fn connections_of_one_laptop_share_what_it_takes_however_unevenly_it_takes() {
    let most = 100 * MEGABYTE;
    let mut paths = [(); 4].map(|()| Path::new());
    let (mut arrived, mut again, mut chance) = (0, 0, 1_u64);
    for look in 0..300 {
        // a fifth more or less each time
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let now = most * (800 + (chance >> 33) % 400) / 1_000;
        // as much as it likes: more than its share
        let free = most / 3;
        let rates = paths
            .iter()
            .map(|p| p.pace.rate().unwrap_or(free).min(free));
        let lost = takes(now)(rates.sum());
        for path in &mut paths {
            let before = path.sent.again;
            let rate = path.look(free, LOOK_TIME, |_| lost);
            if look > 10 {
                arrived += rate / 10;
                again += path.sent.again - before;
            }
        }
    }
    let for_nothing = again * 1_000 / arrived;
    assert!(for_nothing < 60, "{for_nothing} of a thousand for nothing");
    assert!(arrived > most * 29 * 80 / 100, "{arrived}");
}

#[test]
fn one_burst_of_losses_is_no_reason_and_two_are() {
    let free = 10 * MEGABYTE;
    let mut path = Path::new();
    path.look(free, LOOK_TIME, |_| 0);
    for _ in 0..10 {
        path.look(free, LOOK_TIME, |_| 300);
        assert_eq!(path.pace.rate(), None);
        path.look(free, LOOK_TIME, |_| 0);
    }
    for _ in 0..2 {
        path.look(free, LOOK_TIME, |_| 300);
    }
    assert_eq!(path.pace.rate(), Some(free / 10 * 7));
}

#[test]
fn losses_of_every_other_look_do_not_slow_a_connection_down_for_good() {
    let free = 50 * MEGABYTE;
    let mut path = Path::new();
    let mut arrived = 0;
    for look in 0..1_200 {
        let lost = if look % 2 == 0 || look < 4 { 100 } else { 0 };
        arrived += path.look(free, LOOK_TIME, |_| lost) / 10;
    }
    let could = free * 120 * 95 / 100;
    assert!(arrived > could * 6 / 10, "{arrived} of {could}");
}

#[test]
fn the_time_without_anything_to_send_does_not_count() {
    let free = 50 * MEGABYTE;
    let mut path = Path::new();
    for _ in 0..3 {
        path.now += LOOK_TIME * 5;
        path.look(free, LOOK_TIME, |_| 50);
    }
    let rate = path.pace.rate().unwrap();
    assert!(rate > free / 2, "{rate}");
}

#[test]
fn what_is_slow_or_was_idle_is_not_held_back() {
    let mut slow = Path::new();
    for _ in 0..20 {
        slow.look(LOWEST / 2, Duration::from_millis(900), |_| 200);
        assert_eq!(slow.pace.rate(), None);
    }
    let most = 10 * MEGABYTE;
    let mut path = Path::new();
    for _ in 0..20 {
        path.look(most * 2, LOOK_TIME, takes(most));
    }
    assert!(path.pace.rate().is_some());
    path.look(most, PAUSE + Duration::from_millis(1), |_| 0);
    assert_eq!(path.pace.rate(), None);
}

#[tokio::test]
async fn the_kernel_tells_what_arrived_and_holds_to_a_rate() {
    let (mut near, mut far) = pair().await;
    near.write_all(&[7; 100_000]).await.unwrap();
    let mut read = vec![0; 100_000];
    far.read_exact(&mut read).await.unwrap();
    let told = (0..1_000).find_map(|_| {
        let sent = sys::sent(&near).unwrap();
        std::thread::yield_now();
        (sent.arrived >= 100_000).then_some(sent)
    });
    let told = told.unwrap();
    assert!(
        told.bytes >= 100_000 && told.again <= told.bytes,
        "{told:?}"
    );
    assert_eq!(sys::held_to(&near).unwrap(), None);
    for rate in [Some(1_000_000), Some(u64::MAX), None] {
        sys::hold_to(&near, rate).unwrap();
        let granted = rate.filter(|rate| *rate < u64::MAX);
        assert_eq!(sys::held_to(&near).unwrap(), granted, "{rate:?}");
    }
    let (pipe, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(sys::sent(&pipe).is_err());
}

#[tokio::test]
async fn a_connection_that_loses_much_is_held_by_the_kernel_and_let_go_after_a_pause() {
    let (near, _far) = pair().await;
    let mut pacer = Pacer::new();
    let mut now = clock::now();
    let mut sent = Sent::default();
    for (time, again, held) in [
        (LOOK_TIME, 200_000, None),
        (LOOK_TIME / 2, 200_000, None),
        (LOOK_TIME, 200_000, Some(8_000_000)),
        (PAUSE * 2, 0, None),
    ] {
        now += time;
        let looks = time >= LOOK_TIME;
        if looks {
            sent.bytes += 1_000_000;
            sent.again += again;
            sent.arrived += 1_000_000 - again;
            sent.busy_micros += 100_000;
        }
        let mut looked = false;
        pacer.look_at(&near, now, || {
            looked = true;
            Ok(sent)
        });
        assert_eq!(looked, looks);
        assert_eq!(sys::held_to(&near).unwrap(), held, "{time:?}");
    }
    now += LOOK_TIME;
    pacer.look_at(&near, now, || Err(ErrorKind::Unsupported.into()));
    assert_eq!(sys::held_to(&near).unwrap(), None);
}

#[tokio::test]
async fn only_what_goes_to_a_device_is_looked_after_and_nothing_of_it_changes() {
    for to_device in [true, false] {
        let (near, mut far) = pair().await;
        let mut near = Paced::new(near, to_device);
        let bytes = vec![3; 4 * LOOK_BYTES];
        let (written, read) = tokio::join!(
            async {
                near.write_all(&bytes).await.unwrap();
                near.shutdown().await
            },
            async {
                let mut read = Vec::new();
                far.read_to_end(&mut read).await.map(|_| read)
            }
        );
        written.unwrap();
        assert_eq!(read.unwrap(), bytes);
        assert_eq!(near.pacer.is_some(), to_device);
    }
}
