//! A tunnel on several threads: every device has one of them, and nobody notices.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::journal;
use postern_tests::office::echoes;
use postern_tests::site::{ECHO, Outer, Place, Site};
use postern_tests::wait::{self, PATIENCE};
use postern_tests::wireguard::Config;
use serde_json::Value;

const THREADS: usize = 3;
/// More devices than threads.
const NAMES: [&str; 5] = ["laptop", "desk", "phone", "tablet", "printer"];
/// What stock clients may need after a restart.
const BACK: Duration = Duration::from_secs(3);
/// What the end of a device may take.
const GONE: Duration = Duration::from_secs(1);

/// A site whose gateway carries packets on `threads`, and places with a device of demo each, which
/// nobody needs to sign in through.
fn site(threads: usize) -> (Site, Vec<Place>) {
    let mut site = Site::new(Outer::V4);
    let mut configs = vec![site.config()];
    let mut headless = String::from("\n[tunnel.headless]\n\"demo/laptop\" = \"net.echo\"\n");
    for name in &NAMES[1..] {
        let made = site
            .gateway
            .must(&["device", "add", "demo", name, "--generate"]);
        configs.push(Config::parse(&made));
        headless += &format!("\"demo/{name}\" = \"net.echo\"\n");
    }
    for device in devices(&site) {
        let id = device["id"].as_str().unwrap();
        site.gateway.must(&["device", "mark", id, "managed"]);
    }
    let policy = site.gateway.policy_text();
    site.gateway.open_policy(&format!("{policy}{headless}"));
    site.gateway.edit_config(|text| {
        *text = text.replace("[tunnel]\n", &format!("[tunnel]\nworkers = {threads}\n"));
    });
    site.gateway.stop();
    site.gateway.start_again();
    let places = configs.into_iter().map(|config| site.place_with(config));
    let places = places.collect();
    (site, places)
}

fn devices(site: &Site) -> Vec<Value> {
    journal::records(&site.gateway.must(&["device", "list", "--json"]))
}

/// Returns the names of the gateway's threads that have to do with packets.
fn threads(site: &Site) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", site.gateway.pid())).unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    let mut names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    names.retain(|name| name.starts_with("tunnel"));
    names.sort();
    names
}

fn udp(place: &Place) -> UdpSocket {
    let socket = place.udp(ECHO);
    let pause = Some(Duration::from_millis(100));
    socket.set_read_timeout(pause).unwrap();
    socket
}

fn answers(socket: &UdpSocket) -> bool {
    let mut answer = [0; 64];
    socket.send(b"whose thread").is_ok() && socket.recv(&mut answer).is_ok()
}

fn streams(places: &[Place]) -> Vec<TcpStream> {
    let connect = |place: &Place| place.connect(ECHO, PATIENCE).unwrap();
    places.iter().map(connect).collect()
}

/// Sends 8 MiB through an echo and back, byte for byte.
fn transfer(stream: TcpStream, seed: u8) {
    use std::io::{Read, Write};
    let sent: Vec<u8> = (0..8_u32 << 20)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed)
        .collect();
    let (mut reader, mut writer) = (stream.try_clone().unwrap(), stream);
    let mut back = vec![0; sent.len()];
    thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&sent).unwrap());
        reader.read_exact(&mut back).unwrap();
    });
    assert!(back == sent, "other bytes came back");
}

#[test]
fn devices_on_several_threads_transfer_roam_restart_and_are_revoked_each_alone() {
    let (mut site, places) = site(THREADS);
    let expected = ["tunnel", "tunnel", "tunnel", "tunnel-in"];
    assert_eq!(threads(&site), expected);
    thread::scope(|scope| {
        for (seed, stream) in (1..).zip(streams(&places)) {
            scope.spawn(move || transfer(stream, seed));
        }
    });
    let status: Value = serde_json::from_str(&site.gateway.must(&["status", "--json"])).unwrap();
    let told = status["devices"].as_array().unwrap();
    assert_eq!(told.len(), NAMES.len());
    for device in told {
        assert!(device["rx"].as_u64().unwrap() > 8 << 20, "{device}");
        assert!(device["tx"].as_u64().unwrap() > 8 << 20, "{device}");
        assert!(device["handshake_age_s"].is_u64(), "{device}");
    }
    let endpoints: BTreeSet<String> = told.iter().map(|d| d["endpoint"].to_string()).collect();
    assert_eq!(endpoints.len(), NAMES.len());

    // each says from where it comes, and is heard there
    let sockets: Vec<UdpSocket> = places.iter().map(udp).collect();
    for _ in 0..3 {
        site.relay.move_on();
        for socket in &sockets {
            wait::until_true(PATIENCE, "an echo from the new place", || answers(socket));
        }
    }

    // one is revoked: it is gone at once, and nothing happens to the others
    let mut open = streams(&places);
    for stream in &mut open {
        assert!(echoes(stream, "open").unwrap());
    }
    let second = &devices(&site)[1];
    let start = Instant::now();
    site.gateway
        .must(&["device", "revoke", second["id"].as_str().unwrap()]);
    assert!(!answers(&sockets[1]), "a revoked device is heard");
    assert!(start.elapsed() < GONE, "{:?}", start.elapsed());
    for (at, stream) in open.iter_mut().enumerate().filter(|(at, _)| *at != 1) {
        assert!(echoes(stream, "still").unwrap(), "{at}");
        assert!(answers(&sockets[at]), "{at}");
    }

    site.gateway.stop();
    site.gateway.start_again();
    let start = Instant::now();
    for (at, socket) in sockets.iter().enumerate().filter(|(at, _)| *at != 1) {
        wait::until_true(PATIENCE, "an echo after the restart", || answers(socket));
        assert!(start.elapsed() < BACK, "{at}: {:?}", start.elapsed());
    }
    assert!(!answers(&sockets[1]), "a revoked device is back");
}

#[test]
fn one_thread_is_enough_for_all_and_reads_the_socket_itself() {
    let (site, places) = site(1);
    assert_eq!(threads(&site), ["tunnel"]);
    for place in &places {
        let mut stream = place.connect(ECHO, PATIENCE).unwrap();
        assert!(echoes(&mut stream, "alone").unwrap());
    }
}
