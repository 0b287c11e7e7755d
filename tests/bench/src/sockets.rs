//! WebSockets through the web door: a round trip beside nginx, and the end of very many at once.

use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use nix::sched::sched_setaffinity;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::unistd::Pid;
use postern_tests::curl;
use postern_tests::gateway::{Gateway, Setup};
use postern_tests::nginx::Nginx;
use postern_tests::policy;
use postern_tests::upstream::Recorder;
use postern_tests::websocket::Socket;

use crate::nginx::{self, Guard};
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};
use crate::scene::{HOST, TIER};
use crate::tls::{Client, Connection};
use crate::{cpus, usage};

const SECONDS: u64 = 4;
/// Sockets that echo at once, 64 bytes each way.
const TALKING: usize = 16;
const MESSAGE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Sockets that end at once, and those of one address; a source may hold 256.
const ENDING: usize = 5000;
const FEW: usize = 50;
const PER_SOURCE: usize = 125;

/// The echo behind both servers, and what opens sockets.
struct Scene {
    gateway: Gateway,
    peer: Nginx,
    client: Client,
    cookie: String,
    guest: String,
}

/// Round trips, then the end of a session that has very many sockets open.
pub fn run(report: &Report) {
    let scene = scene();
    round_trips(report, &scene);
    ends(report, &scene);
}

/// Round trips alone, without a peer or a figure.
pub fn train() {
    let scene = scene();
    let _figures = talk(&scene, scene.gateway.facts.pid, scene.gateway.https_port());
}

fn scene() -> Scene {
    // the app's threads are made by this one
    let app = std::thread::spawn(|| {
        sched_setaffinity(Pid::from_raw(0), &cpus::load_set()).unwrap();
        Recorder::new()
    });
    let app = app.join().unwrap();
    let upstream = app.url();
    let app_port = upstream.rsplit(':').next().unwrap().parse().unwrap();
    let (leaf, root) = nginx::certificate();
    let peer = Nginx::start(&cpus::server(), |dir, port| {
        nginx::write_pair(dir, &leaf);
        nginx::proxy(dir, port, app_port, Guard::Plain, HOST)
    });
    let mut gateway = Gateway::start(Setup {
        upstream: Some(upstream.clone()),
        wrap: cpus::server(),
        ..Setup::default()
    });
    gateway.set_policy(&policy::two_apps(&upstream, TIER));
    let most = format!("[http]\nmax-streams-per-person = {}\n", ENDING * 2);
    gateway.edit_config(|text| *text = text.replace("[http]\n", &most));
    gateway.stop();
    gateway.start_again();
    let signed_in = |person| {
        let browser = curl::Client::new(&gateway);
        let page = browser.sign_in(&gateway.facts.app, person);
        assert_eq!(page.status, 200, "{page:?}");
        let cookie = browser.cookie(HOST, "__Host-postern").unwrap();
        format!("__Host-postern={cookie}")
    };
    let (cookie, guest) = (
        signed_in(&gateway.facts.demo),
        signed_in(&gateway.facts.guest),
    );
    let ca_root = std::fs::read_to_string(&gateway.facts.ca_root).unwrap();
    Scene {
        gateway,
        peer,
        client: Client::new(&[ca_root, root]),
        cookie,
        guest,
    }
}

impl Scene {
    fn open(&self, cookie: &str, number: usize) -> Socket<Connection> {
        self.open_at(self.gateway.https_port(), cookie, number)
    }

    fn open_at(&self, port: u16, cookie: &str, number: usize) -> Socket<Connection> {
        let source = u8::try_from(number / PER_SOURCE).unwrap() + 2;
        let from = Ipv4Addr::new(127, 0, 0, source);
        let connection = self.client.connect(HOST, port, from).unwrap();
        let authority = format!("{HOST}:{port}");
        let mut socket = Socket::open(connection, &authority, "/ws", Some(cookie))
            .unwrap_or_else(|e| panic!("socket {number} on port {port}: {e}"));
        assert_eq!(socket.echo(MESSAGE).unwrap(), MESSAGE);
        socket
    }
}

/// One round against one server.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Server CPU for each message there and back, user and system.
    cpu_us: f64,
    per_second: f64,
}

fn round_trips(report: &Report, scene: &Scene) {
    let targets = [
        (scene.gateway.facts.pid, scene.gateway.https_port()),
        (scene.peer.pid(), scene.peer.port),
    ];
    let figures = interleaved(&targets, ROUNDS, |(pid, port)| talk(scene, *pid, *port));
    let case = format!("WebSocket, {TALKING} sockets that echo");
    let cpu = |at: usize| median(&figures[at], |s| s.cpu_us);
    let row = Row::new("sockets", &case, "server CPU us/round trip", cpu(0));
    report.row(
        &row.beside("nginx plain", cpu(1))
            .goal(Goal::RatioAtMost(1.10)),
    );
    let rate = |at: usize| median(&figures[at], |s| s.per_second);
    let row = Row::new("sockets", &case, "round trips/s", rate(0));
    report.row(&row.beside("nginx plain", rate(1)));
}

fn talk(scene: &Scene, pid: u32, port: u16) -> Sample {
    let sockets: Vec<_> = (0..TALKING)
        .map(|number| scene.open_at(port, &scene.cookie, number))
        .collect();
    let (end, count) = (AtomicBool::new(false), AtomicU32::new(0));
    let before = usage::cpu_seconds(pid);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let (end, count) = (&end, &count);
        for mut socket in sockets {
            scope.spawn(move || {
                sched_setaffinity(Pid::from_raw(0), &cpus::load_set()).unwrap();
                while !end.load(Ordering::Relaxed) {
                    assert_eq!(socket.echo(MESSAGE).unwrap(), MESSAGE);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(SECONDS));
        end.store(true, Ordering::Relaxed);
    });
    let (used, span) = (usage::cpu_seconds(pid) - before, begin.elapsed());
    let count = f64::from(count.into_inner());
    Sample {
        cpu_us: used * 1e6 / count,
        per_second: count / span.as_secs_f64(),
    }
}

/// Ends a session of a few sockets beside very many of another, and then that of the many. The
/// time of a socket is from the moment at which the order was given, so the command's own start
/// is in it.
fn ends(report: &Report, scene: &Scene) {
    let many: Vec<_> = (0..ENDING).map(|n| scene.open(&scene.cookie, n)).collect();
    let few: Vec<_> = (ENDING..ENDING + FEW)
        .map(|n| scene.open(&scene.guest, n))
        .collect();
    let cases = [
        (
            "guest",
            few,
            format!("a session ends, {FEW} WebSockets of it, {ENDING} of another"),
        ),
        (
            "demo",
            many,
            format!("a session ends, {ENDING} WebSockets of it"),
        ),
    ];
    for (user, sockets, case) in cases {
        let before = usage::cpu_seconds(scene.gateway.facts.pid);
        let took = end(scene, user, &sockets);
        let used = usage::cpu_seconds(scene.gateway.facts.pid) - before;
        let row = Row::new("sockets", &case, "ms, p99", took[took.len() * 99 / 100]);
        report.row(&row.goal(Goal::AtMost(50.0)));
        report.row(&Row::new("sockets", &case, "ms, first", took[0]));
        report.row(&Row::new(
            "sockets",
            &case,
            "ms, last",
            took[took.len() - 1],
        ));
        report.row(&Row::new("sockets", &case, "server CPU ms", used * 1e3));
    }
}

/// Revokes the sessions of a person; returns when each of their sockets ended, in ms, the first first.
fn end(scene: &Scene, user: &str, sockets: &[Socket<Connection>]) -> Vec<f64> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    for (number, socket) in (0..).zip(sockets) {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLONESHOT;
        let stream: &TcpStream = socket.stream().get_ref();
        epoll
            .add(stream.as_fd(), EpollEvent::new(flags, number))
            .unwrap();
    }
    let (begin, ends) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| ended(&epoll, sockets.len()));
        let begin = Instant::now();
        scene.gateway.must(&["session", "revoke", "--user", user]);
        (begin, watch.join().unwrap())
    });
    let after = |at: Instant| at.saturating_duration_since(begin).as_secs_f64() * 1e3;
    let mut took: Vec<f64> = ends.into_iter().map(after).collect();
    took.sort_by(f64::total_cmp);
    took
}

/// When each of the sockets ended.
fn ended(epoll: &Epoll, all: usize) -> Vec<Instant> {
    sched_setaffinity(Pid::from_raw(0), &cpus::load_set()).unwrap();
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut took = Vec::with_capacity(all);
    while took.len() < all {
        let limit = PollTimeout::from(20_000_u16);
        let count = epoll.wait(&mut events, limit).unwrap();
        assert!(count > 0, "{} of {all} sockets ended", took.len());
        let now = Instant::now();
        took.extend(std::iter::repeat_n(now, count));
    }
    took
}
