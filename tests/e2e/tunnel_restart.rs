//! The gateway restarts under stock clients: they are back at once, and nothing recorded before
//! is answered after.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use postern_tests::office::echoes;
use postern_tests::relay::Way;
use postern_tests::site::{ECHO, Outer, Place, Site};
use postern_tests::wait;

/// What stock clients may need; one alone needs about 15 s, with a greeting from the gateway 60 to 90 ms were seen.
const BACK: Duration = Duration::from_secs(3);

/// Waits for an echo by UDP and returns how long that took.
fn until_echo(place: &Place) -> Duration {
    let socket = place.udp(ECHO);
    let pause = Some(Duration::from_millis(50));
    socket.set_read_timeout(pause).unwrap();
    let start = Instant::now();
    wait::until(Duration::from_secs(30), "an echo by UDP", || {
        socket.send(b"are you back").ok()?;
        let mut answer = [0; 64];
        socket.recv(&mut answer).ok()
    });
    start.elapsed()
}

#[test]
fn stock_clients_are_back_within_seconds_after_a_restart_and_after_a_power_cut() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    until_echo(&place);
    let mut stream = place.connect(ECHO, BACK).unwrap();
    assert!(echoes(&mut stream, "before").unwrap());
    site.gateway.stop();
    site.gateway.start_again();
    let back = until_echo(&place);
    eprintln!("back {back:?} after a restart");
    assert!(back < BACK, "{back:?}");
    let gone = stream
        .write_all(b"old")
        .and_then(|()| echoes(&mut stream, "old").map(drop));
    assert!(gone.is_err(), "a flow of before the restart goes on");
    let mut stream = place.connect(ECHO, BACK).unwrap();
    assert!(echoes(&mut stream, "after").unwrap());

    site.gateway.kill();
    site.gateway.start_again();
    let back = until_echo(&place);
    eprintln!("back {back:?} after a power cut");
    assert!(back < BACK, "{back:?}");
}

#[test]
fn a_handshake_recorded_before_a_restart_gets_no_answer_after() {
    let mut site = Site::new(Outer::V4);
    let place = site.place();
    site.sign_in(&place);
    let recorded: Vec<_> = (site.relay.handshakes(Way::ToGateway).into_iter())
        .filter(|message| message[0] == 1)
        .collect();
    assert!(!recorded.is_empty());
    site.gateway.kill();
    drop(place);
    site.gateway.start_again();
    let gateway = ("10.77.0.1", site.gateway.tunnel_port());
    let stranger = site
        .between
        .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    stranger
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut answer = [0; 256];
    for message in &recorded {
        stranger.send_to(message, gateway).unwrap();
        let heard = stranger.recv(&mut answer);
        assert!(heard.is_err(), "a recorded handshake was answered");
    }
    let place = site.place();
    until_echo(&place);
}
