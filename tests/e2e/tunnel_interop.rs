//! Debian's wireguard-go through the real gateway: bytes stay what they are over bad and moving
//! networks, small MTUs and IPv6 outside, and the host is left as it was.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::netns::Namespace;
use postern_tests::office::echoes;
use postern_tests::relay::{Fates, Way, Weather};
use postern_tests::site::{CLOSED, ECHO, LONG, Outer, Place, Site, exchange};
use postern_tests::wait;

const LIMIT: Duration = postern_tests::wait::PATIENCE;
const MIB: usize = 1 << 20;

/// 100 MiB in the long run.
fn large() -> usize {
    let long = std::env::var_os("POSTERN_LONG").is_some();
    if long { 100 * MIB } else { 12 * MIB }
}

fn connect(place: &Place, to: &str) -> TcpStream {
    let stream = place.connect(to, LIMIT);
    stream.unwrap_or_else(|e| panic!("{to}: {e}"))
}

/// Sends a datagram until its echo is back.
fn until_echo(place: &Place) {
    let socket = place.udp(ECHO);
    let pause = Some(Duration::from_millis(200));
    socket.set_read_timeout(pause).unwrap();
    wait::until(LIMIT, "an echo by UDP", || {
        socket.send(b"hello").ok()?;
        let mut answer = [0; 64];
        socket.recv(&mut answer).ok()
    });
}

#[test]
fn a_large_transfer_beside_fifty_flows_is_exact_in_both_directions() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let main = connect(&place, ECHO);
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..50 {
            let place = &place;
            scope.spawn(move || {
                let stream = connect(place, ECHO);
                for part in 0..20 {
                    exchange(&stream, 3000, 1 + number * 100 + part);
                }
            });
        }
        exchange(&main, large(), 7);
    });
    eprintln!("{} MiB each way in {:?}", large() / MIB, start.elapsed());
}

#[test]
fn bytes_stay_exact_through_delay_loss_reordering_repetition_and_corruption() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let past = place
        .space
        .command("ip")
        .args(["route", "get", "10.77.0.1"])
        .output();
    assert!(
        !past.unwrap().status.success(),
        "there is a way past the relay"
    );
    let stream = connect(&place, ECHO);
    site.relay.set(Weather {
        delay: Duration::from_millis(5),
        lost: 10,
        repeated: 10,
        corrupted: 10,
        late: 20,
        cut: false,
        narrow: None,
    });
    exchange(&stream, 2 * MIB, 3);
    exchange(&connect(&place, ECHO), 10_000, 4);
    let Fates {
        passed,
        lost,
        repeated,
        corrupted,
        late,
    } = site.relay.fates();
    eprintln!(
        "{passed} passed, {lost} lost, {repeated} repeated, {corrupted} corrupted, {late} late"
    );
    assert!(lost > 5 && repeated > 5 && corrupted > 5 && late > 5);
}

#[test]
fn a_transfer_survives_roaming_and_a_pause_of_the_network() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let stream = connect(&place, ECHO);
    exchange(&stream, 20_000, 1);
    let before = site.device()["endpoint"].clone();
    thread::scope(|scope| {
        let transfer = scope.spawn(|| exchange(&stream, 6 * MIB, 5));
        for _ in 0..3 {
            let passed = site.relay.fates().passed;
            wait::until_true(LIMIT, "some of the transfer", || {
                transfer.is_finished() || site.relay.fates().passed > passed + 500
            });
            site.relay.move_on();
        }
        transfer.join().unwrap();
    });
    assert_ne!(site.device()["endpoint"], before);
    let cut = Weather {
        cut: true,
        ..Weather::default()
    };
    site.relay.set(cut);
    let transfer = thread::scope(|scope| {
        let transfer = scope.spawn(|| exchange(&stream, 50_000, 6));
        wait::until_true(LIMIT, "something lost", || site.relay.fates().lost > 3);
        site.relay.set(Weather::default());
        transfer.join()
    });
    assert!(transfer.is_ok());
}

#[test]
fn an_outer_ipv6_and_an_mtu_of_1280_carry_the_same() {
    let mut site = Site::new(Outer::V6);
    let mut config = site.config();
    let endpoint = &config.peer["Endpoint"];
    assert!(endpoint.starts_with("[fd77::1]:"), "{endpoint}");
    config.interface.insert("MTU".to_owned(), "1280".to_owned());
    let place = site.place_with(config);
    site.sign_in(&place);
    exchange(&connect(&place, ECHO), 3 * MIB, 9);
    until_echo(&place);
    let endpoint = site.device()["endpoint"].clone();
    assert!(
        endpoint.as_str().unwrap().starts_with("[fd77::"),
        "{endpoint}"
    );
}

#[test]
fn a_way_that_swallows_full_packets_of_the_gateway_is_found_out() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let stream = connect(&place, ECHO);
    exchange(&stream, 20_000, 11);
    site.relay.set(Weather {
        narrow: Some(1300),
        ..Weather::default()
    });
    let lost = site.relay.fates().lost;
    let start = Instant::now();
    exchange(&stream, 200_000, 12);
    eprintln!("found out in {:?}", start.elapsed());
    assert!(site.relay.fates().lost > lost, "nothing was too long");
}

#[test]
fn either_side_starts_handshakes_and_keepalives_come() {
    let mut site = Site::new(Outer::V4);
    let mut config = site.config();
    (config.peer).insert("PersistentKeepalive".to_owned(), "1".to_owned());
    let place = site.place_with(config);
    wait::until_true(LIMIT, "a handshake of the device", || {
        place.client.has_handshake()
    });
    let quiet = site.relay.fates().passed;
    wait::until_true(LIMIT, "keepalives of the device", || {
        site.relay.fates().passed > quiet + 2
    });
    // the gateway knows where the device is once it has sent data
    site.sign_in(&place);
    site.gateway.stop();
    let before = site.relay.handshakes(Way::ToDevice).len();
    site.gateway.start_again();
    wait::until_true(LIMIT, "a handshake of the gateway", || {
        let sent = site.relay.handshakes(Way::ToDevice);
        sent.iter().skip(before).any(|message| message[0] == 1)
    });
    until_echo(&place);

    // the device's program restarts, from another port
    drop(place);
    let place = site.place();
    until_echo(&place);
}

#[test]
fn a_refused_connection_and_a_half_closed_one_look_like_those_of_the_office_host() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let refused = place.connect(CLOSED, LIMIT).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let udp = place.udp(CLOSED);
    udp.set_read_timeout(Some(LIMIT)).unwrap();
    udp.send(b"anybody").unwrap();
    let refused = udp.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    let mut stream = connect(&place, ECHO);
    assert!(echoes(&mut stream, "both ways").unwrap());
    stream.write_all(&[5; 100_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest == [5; 100_000], "{} bytes", rest.len());
}

#[test]
fn a_long_answer_by_udp_arrives_whole() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let socket = place.udp(ECHO);
    let pause = Some(Duration::from_millis(500));
    socket.set_read_timeout(pause).unwrap();
    let answer = wait::until(LIMIT, "the long answer", || {
        socket.send(b"long").ok()?;
        let mut answer = vec![0; 2 * LONG];
        let count = socket.recv(&mut answer).ok()?;
        answer.truncate(count);
        Some(answer)
    });
    assert!(answer == [7; LONG], "{} bytes", answer.len());
}

#[test]
fn a_reader_that_pauses_stops_the_sender_and_loses_nothing() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let stream = connect(&place, ECHO);
    let mut writer = stream.try_clone().unwrap();
    // the echo is not read, so every window on the way fills and closes
    writer.set_nonblocking(true).unwrap();
    let (block, mut sent) = ([9; 65_536], 0);
    let mut full = Instant::now();
    wait::until_true(LIMIT, "a zero window", || {
        match writer.write(&block) {
            Ok(count) => {
                sent += count;
                full = Instant::now();
            }
            Err(why) => assert_eq!(why.kind(), std::io::ErrorKind::WouldBlock),
        }
        full.elapsed() > Duration::from_secs(1)
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut back = vec![0; sent];
    (&stream).read_exact(&mut back).unwrap();
    assert!(back.iter().all(|byte| *byte == 9));
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&stream).read(&mut [0; 16]).unwrap(), 0);
    eprintln!("{sent} bytes were on their way");
}

#[test]
fn keys_change_after_two_minutes_and_not_before() {
    let long = std::env::var_os("POSTERN_LONG").is_some();
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    let answers = |site: &Site| {
        let sent = site.relay.handshakes(Way::ToDevice);
        sent.iter().filter(|message| message[0] == 2).count()
    };
    site.sign_in(&place);
    let stream = connect(&place, ECHO);
    let (start, first) = (Instant::now(), answers(&site));
    wait::stays(Duration::from_secs(8), "the first keys", || {
        exchange(&stream, 1000, 8);
        answers(&site) == first
    });
    if long {
        wait::until_true(Duration::from_secs(150), "new keys", || {
            exchange(&stream, 1000, 9);
            answers(&site) > first
        });
        // some of the 120 seconds had passed when the sign-in was done
        let age = start.elapsed();
        assert!(age > Duration::from_secs(60), "{age:?}");
        exchange(&stream, 100_000, 10);
    }
}

/// What belongs to the host: links, addresses, routes, rules and the firewall.
fn host(namespace: &Namespace) -> String {
    let asked: [&[&str]; 6] = [
        &["ip", "-o", "link"],
        &["ip", "-o", "addr"],
        &["ip", "route", "show", "table", "all"],
        &["ip", "-6", "route", "show", "table", "all"],
        &["ip", "rule"],
        &["nft", "list", "ruleset"],
    ];
    let mut text = String::new();
    for words in asked {
        let output = namespace.command(words[0]).args(&words[1..]).output();
        text += &String::from_utf8_lossy(&output.unwrap().stdout);
    }
    text
}

/// As [`host`], once its two links are up with all that comes of it, and nothing changes any more.
fn settled(namespace: &Namespace) -> Option<String> {
    let text = host(namespace);
    let waits = ["tentative", "NO-CARRIER", "state DOWN"];
    let up = text.matches("inet6 fe80::").count() == 2 && !waits.iter().any(|w| text.contains(w));
    if !up {
        return None;
    }
    std::thread::sleep(Duration::from_millis(500));
    (host(namespace) == text).then_some(text)
}

#[test]
fn interfaces_routes_and_firewall_of_the_host_are_as_before() {
    let rules = "table inet own { chain input { type filter hook input priority 0; accept; }; }";
    let mut site = Site::new(Outer::V4);
    let nft = site.edge.command("nft").arg(rules).status();
    assert!(nft.unwrap().success());
    site.gateway.stop();
    let before = wait::until(LIMIT, "settled addresses", || settled(&site.edge));
    assert!(before.contains("10.78.0.1/24") && before.contains("table inet own"));
    site.gateway.start_again();
    let place = site.place();
    site.sign_in(&place);
    exchange(&connect(&place, ECHO), 100_000, 2);
    assert_eq!(host(&site.edge), before, "while it runs");
    site.gateway.kill();
    assert_eq!(host(&site.edge), before, "after it was killed");
}
