//! Strangers at the tunnel's door: silence for them, and nothing felt by those inside.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::relay::Way;
use postern_tests::site::{ECHO, Outer, Place, Site, exchange};

const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// 10^5 datagrams, 10^7 in the long run.
fn many() -> usize {
    let long = std::env::var_os("POSTERN_LONG").is_some();
    if long { 10_000_000 } else { 100_000 }
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap().split_whitespace().nth(1).unwrap();
    words.parse().unwrap()
}

fn strangers(site: &Site, count: usize) -> Vec<UdpSocket> {
    let to = ("10.77.0.1", site.gateway.tunnel_port());
    site.between.enter(|| {
        let bind = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::new(10, 77, 0, 3), 0)).unwrap();
            socket.connect(to).unwrap();
            socket
        };
        (0..count).map(bind).collect()
    })
}

fn transfer(place: &Place, seed: u64) -> Duration {
    let stream = place.connect(ECHO, LIMIT).unwrap();
    let start = Instant::now();
    exchange(&stream, 4 << 20, seed);
    start.elapsed()
}

#[test]
fn junk_gets_no_answer_and_the_process_does_not_grow() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    transfer(&place, 1);
    let sockets = strangers(&site, 8);
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut junk = vec![0_u8; 60_000];
    let mut send = |count: usize| {
        for round in 0..count {
            let lens = [0, 4, 31, 32, 64, 92, 148, 149, 1400, 60_000];
            let len = lens[usize::try_from(random() % 10).unwrap()];
            let len = if round % 100 == 0 { len } else { len.min(1400) };
            for eight in junk[..len.min(64)].chunks_mut(8) {
                eight.copy_from_slice(&random().to_le_bytes()[..eight.len()]);
            }
            if len >= 4 {
                junk[..4].copy_from_slice(&[random().to_le_bytes()[0] % 6, 0, 0, 0]);
            }
            drop(sockets[round % 8].send(&junk[..len]));
        }
    };
    // the memory of the sign-in is given back meanwhile, so the second half is what counts
    send(many() / 2);
    transfer(&place, 2);
    let before = resident_kib(site.gateway.facts.pid);
    send(many() / 2);
    transfer(&place, 3);
    let after = resident_kib(site.gateway.facts.pid);
    eprintln!(
        "{before} KiB half-way, {after} KiB after {} datagrams",
        many()
    );
    assert!(
        after < before + 8 * 1024,
        "{before} KiB grew to {after} KiB"
    );
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
        let heard = socket.recv(&mut [0; 256]);
        assert!(heard.is_err(), "junk was answered");
    }
}

#[test]
fn a_storm_of_recorded_handshakes_does_not_stop_those_who_are_inside() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let recorded = site.relay.handshakes(Way::ToGateway).remove(0);
    assert_eq!((recorded[0], recorded.len()), (1, 148));
    let calm = transfer(&place, 3);
    let (sockets, stop) = (strangers(&site, 16), AtomicBool::new(false));
    let stormy = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                for socket in &sockets {
                    drop(socket.send(&recorded));
                }
                // about 10,000 a second
                thread::sleep(Duration::from_millis(1));
            }
        });
        let stormy = transfer(&place, 4);
        stop.store(true, Ordering::SeqCst);
        stormy
    });
    eprintln!("4 MiB each way: {calm:?} in the calm, {stormy:?} in the storm");
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
        let mut heard = [0; 256];
        while let Ok(count) = socket.recv(&mut heard) {
            // under load a cookie is the only answer there is
            assert_eq!((heard[0], count), (3, 64));
        }
    }
    assert_eq!(site.device()["state"], "open");
}

/// Addresses of strangers, so many that the budget of each one bounds nothing.
const CROWD: u8 = 96;
/// Handshakes a millisecond.
const STORM: usize = 12;

/// Calm and storm in turn, so that a slow machine is slow for both; returns the sums.
fn in_turn(place: &Place, sockets: &[UdpSocket], initiation: &[u8]) -> (Duration, Duration) {
    let rounds = if std::env::var_os("POSTERN_LONG").is_some() {
        12
    } else {
        3
    };
    let (mut calm, mut stormy) = (Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        calm += transfer(place, 10 + round);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = sockets.iter().cycle();
                while !stop.load(Ordering::SeqCst) {
                    for socket in next.by_ref().take(STORM) {
                        drop(socket.send(initiation));
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            });
            stormy += transfer(place, 50 + round);
            stop.store(true, Ordering::SeqCst);
        });
    }
    (calm, stormy)
}

#[test]
fn a_storm_from_everywhere_meets_cookies_and_takes_little_of_a_tunnels_speed() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let recorded = site.relay.handshakes(Way::ToGateway).remove(0);
    let to = ("10.77.0.1", site.gateway.tunnel_port());
    let sockets: Vec<UdpSocket> = (0..CROWD)
        .map(|number| {
            let own = Ipv4Addr::new(10, 77, 0, 100 + number);
            let beside = format!("{own}/24");
            site.between.add_beside("10.77.0.3", &beside);
            site.between.enter(|| {
                let socket = UdpSocket::bind((own, 0)).unwrap();
                socket.connect(to).unwrap();
                socket
            })
        })
        .collect();
    transfer(&place, 1);
    let (calm, stormy) = in_turn(&place, &sockets, &recorded);
    let kept = calm.as_secs_f64() / stormy.as_secs_f64();
    let mut cookies = 0;
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
        let mut heard = [0; 256];
        while let Ok(count) = socket.recv(&mut heard) {
            assert_eq!((heard[0], count), (3, 64), "only a cookie is an answer");
            cookies += 1;
        }
    }
    eprintln!(
        "{cookies} cookies; the tunnel kept {:.0} % of its speed",
        kept * 100.0
    );
    assert!(cookies > 0, "no cookie mode");
    // a busy machine takes its share as well; RESULTS.md has the figure of a calm one
    assert!(kept > 0.5, "{calm:?} in the calm, {stormy:?} in the storm");
    assert_eq!(site.device()["state"], "open");
}
