//! A restart in place: a service manager holds the sockets, and nobody who connects meanwhile is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postern_tests::cases::Asks;
use postern_tests::curl::{Client, host};
use postern_tests::frames::*;
use postern_tests::gateway::{Gateway, binary};
use postern_tests::raw::{self, Tls};
use postern_tests::temp::Temp;
use postern_tests::upstream::Recorder;
use postern_tests::wait;
use postern_tests::websocket::Socket;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// A restart on a busy machine takes a while.
const SOON: Duration = postern_tests::wait::PATIENCE;

/// A gateway that was passed its sockets; it ends with this.
struct Passed(Child);

impl Passed {
    /// Starts one as a service manager does, with these sockets and their names.
    fn start<'a>(
        config: &Path,
        log: &Path,
        notify: Option<&Path>,
        sockets: impl IntoIterator<Item = (&'a str, BorrowedFd<'a>)>,
    ) -> Self {
        let (mut script, mut names, mut copies) = (String::new(), Vec::new(), Vec::new());
        for (at, (name, fd)) in sockets.into_iter().enumerate() {
            // above what the shell gives away
            let copy = fcntl_dupfd_cloexec(fd, 100).unwrap();
            fcntl_setfd(&copy, FdFlags::empty()).unwrap();
            let number = copy.as_raw_fd();
            script += &format!("exec {}<&{number} {number}<&-; ", at + 3);
            names.push(name);
            copies.push(copy);
        }
        script += "LISTEN_PID=$$ exec \"$0\" run --config \"$1\"";
        let mut command = Command::new("bash");
        command.args(["-c", &script]).arg(binary()).arg(config);
        command.env("LISTEN_FDS", names.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        if let Some(notify) = notify {
            command.env("NOTIFY_SOCKET", notify);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(log).unwrap());
        Self(command.spawn().unwrap())
    }

    /// Starts one with two sockets of a socket unit.
    fn of_unit(config: &Path, log: &Path, sockets: [&TcpListener; 2]) -> Self {
        let sockets = sockets.map(|socket| ("postern.socket", socket.as_fd()));
        Self::start(config, log, None, sockets)
    }

    /// Ends it as a service manager does.
    fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let mut code = None;
        wait::until_true(SOON, "it ends", || {
            code = self.0.try_wait().unwrap();
            code.is_some()
        });
        assert!(code.unwrap().success(), "{code:?}");
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A service manager that keeps what it is given, and passes it to the next start.
struct Manager {
    _dir: Temp,
    path: PathBuf,
    kept: Arc<Mutex<BTreeMap<String, OwnedFd>>>,
    ended: Arc<AtomicBool>,
}

impl Manager {
    fn new() -> Self {
        let dir = Temp::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let manager = Self {
            _dir: dir,
            path,
            kept: Arc::default(),
            ended: Arc::default(),
        };
        let (kept, ended) = (Arc::clone(&manager.kept), Arc::clone(&manager.ended));
        thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                if let Some((text, fd)) = heard(&socket) {
                    obey(&mut kept.lock().unwrap(), &text, fd);
                }
            }
        });
        manager
    }

    fn names(&self) -> Vec<String> {
        self.kept.lock().unwrap().keys().cloned().collect()
    }

    /// Starts a gateway with all that is kept.
    fn start(&self, config: &Path, log: &Path) -> Passed {
        let kept = self.kept.lock().unwrap();
        let sockets = kept.iter().map(|(name, fd)| (name.as_str(), fd.as_fd()));
        Passed::start(config, log, Some(&self.path), sockets)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

/// One message and the descriptor that came with it.
fn heard(socket: &UnixDatagram) -> Option<(String, Option<OwnedFd>)> {
    let (mut text, mut space) = ([0; 256], [MaybeUninit::uninit(); 64]);
    let mut came = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let got = recvmsg(socket, &mut parts, &mut came, RecvFlags::CMSG_CLOEXEC).ok()?;
    let fd = came.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let text = String::from_utf8(text[..got.bytes].to_vec()).unwrap();
    Some((text, fd))
}

/// Source: `sd_pid_notify_with_fds(3)`.
fn obey(kept: &mut BTreeMap<String, OwnedFd>, text: &str, fd: Option<OwnedFd>) {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let name = field("FDNAME=").unwrap_or_default().to_owned();
    if field("FDSTORE=") == Some("1") {
        assert!(!name.is_empty() && !name.contains(':'), "{text}");
        kept.insert(name, fd.expect("a descriptor to keep"));
    } else if field("FDSTOREREMOVE=") == Some("1") {
        drop(kept.remove(&name));
    }
}

/// A gateway that ended, whose sockets the test passes on, and a request of somebody signed in.
struct Scene {
    gateway: Gateway,
    log: PathBuf,
    asks: Asks,
    name: String,
    app: Recorder,
}

impl Scene {
    fn new() -> Self {
        let app = Recorder::new();
        let mut gateway = Gateway::demo_before(&app.url());
        let client = Client::new(&gateway);
        let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
        let name = host(&gateway.facts.app).to_owned();
        let cookie = client.cookie(&name, "__Host-postern").unwrap();
        gateway.stop();
        let port = gateway.https_port();
        Self {
            log: gateway.dir().join("passed.log"),
            asks: Asks {
                cookie: format!("__Host-postern={cookie}"),
                authority: format!("{name}:{port}"),
            },
            name,
            gateway,
            app,
        }
    }

    /// Starts a gateway as a socket unit does, on the sockets of the doors.
    fn on(&self, sockets: &[TcpListener; 2]) -> Passed {
        let [https, http] = sockets;
        Passed::of_unit(&self.gateway.facts.config, &self.log, [https, http])
    }

    fn doors(&self) -> [TcpListener; 2] {
        let doors = [self.gateway.https_port(), self.gateway.http_port()];
        doors.map(|port| TcpListener::bind(local(port)).unwrap())
    }

    fn tls(&self) -> Tls {
        let at = local(self.gateway.https_port());
        raw::tls(at, &self.name, &self.gateway.facts.ca_root, SOON)
    }

    fn head(&self, path: &str, more: &str) -> String {
        let Asks { cookie, authority } = &self.asks;
        format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nCookie: {cookie}\r\n{more}\r\n")
    }

    fn ask(&self) -> raw::RawAnswer {
        self.ask_for("/counted-not")
    }

    fn ask_for(&self, path: &str) -> raw::RawAnswer {
        let request = self.head(path, "Connection: close\r\n");
        raw::exchange(&mut self.tls(), request.as_bytes())
    }

    fn wire(&self) -> Wire {
        let at = local(self.gateway.https_port());
        Wire::open(at, &self.name, &self.gateway.facts.ca_root, SOON)
    }

    /// Asks on one kept connection of HTTP/1.1 until that is ended; whatever came of the last request, one that had
    /// no byte of an answer on a connection that had carried others may be made again (RFC 9112 section 9.3.1).
    fn keep_asking(&self, stop: &AtomicBool, note: &mut impl FnMut(Result<(), String>)) {
        let (mut tls, mut carried) = (self.tls(), 0);
        while !stop.load(Ordering::SeqCst) {
            drop(tls.write_all(self.head("/kept", "").as_bytes()));
            let (head, whole) = raw::one_answer(&mut tls);
            if head.is_empty() && carried > 0 {
                return;
            }
            let fine = whole && head.starts_with("HTTP/1.1 200");
            note(fine.then_some(()).ok_or(head.clone()));
            if !fine || head.to_ascii_lowercase().contains("connection: close") {
                return;
            }
            carried += 1;
        }
    }

    /// Asks on one connection of HTTP/2 until that is ended; what the gateway says it did not take (RFC 9113 section
    /// 6.8), and what had no answer where it was idle, may be made again.
    fn keep_asking_h2(&self, stop: &AtomicBool, note: &mut impl FnMut(Result<(), String>)) {
        let (mut wire, mut stream, mut last) = (self.wire(), 1, None);
        while !stop.load(Ordering::SeqCst) && last.is_none() {
            let head = fields(&self.asks.fields("GET", "/h2"));
            wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
            match wire.answer(stream, &mut last) {
                Some(200) => note(Ok(())),
                Some(status) => note(Err(format!("{status} over HTTP/2"))),
                None if last.is_some_and(|last| stream <= last) => {
                    note(Err("taken and not answered".to_owned()));
                }
                None if stream == 1 => return note(Err("nothing came over HTTP/2".to_owned())),
                None => return,
            }
            stream += 2;
        }
    }

    /// Asks all the while over two restarts, and says of what came that was no page of the app.
    fn restarted_twice(&self, mut running: Passed, start: impl Fn() -> Passed) -> Passed {
        // it waits in the queue of the socket until the gateway is up
        assert_eq!(self.ask().status(), Some(200));
        let stop = AtomicBool::new(false);
        let served: [AtomicUsize; 3] = Default::default();
        let ask = |way: usize| {
            let mut failed = Vec::new();
            let mut note = |came: Result<(), String>| match came {
                Ok(()) => {
                    served[way].fetch_add(1, Ordering::SeqCst);
                }
                Err(what) => failed.push(what),
            };
            while !stop.load(Ordering::SeqCst) {
                match way {
                    0 => {
                        let answer = self.ask();
                        let shown = || String::from_utf8_lossy(&answer.bytes).into_owned();
                        note(
                            (answer.status() == Some(200))
                                .then_some(())
                                .ok_or_else(shown),
                        );
                    }
                    1 => self.keep_asking(&stop, &mut note),
                    _ => self.keep_asking_h2(&stop, &mut note),
                }
            }
            failed
        };
        let counts = || served.each_ref().map(|count| count.load(Ordering::SeqCst));
        let more = |what: &str| {
            let before = counts();
            wait::until_true(SOON, what, || {
                counts()
                    .iter()
                    .zip(before)
                    .all(|(now, before)| *now >= before + 20)
            });
        };
        let failed: Vec<String> = thread::scope(|scope| {
            let ways = [0, 0, 1, 1, 2, 2];
            let workers: Vec<_> = ways.map(|way| scope.spawn(move || ask(way))).into();
            more("requests are served");
            for _ in 0..2 {
                running.stop();
                running = start();
                more("requests are served again");
            }
            stop.store(true, Ordering::SeqCst);
            workers
                .into_iter()
                .flat_map(|w| w.join().unwrap())
                .collect()
        });
        let (served, count) = (counts(), failed.len());
        assert!(failed.is_empty(), "{count} of {served:?}: {failed:?}");
        running
    }
}

#[test]
fn over_two_restarts_not_one_request_fails() {
    let scene = Scene::new();
    let sockets = scene.doors();
    let start = || scene.on(&sockets);
    scene.restarted_twice(start(), start).stop();
}

/// Waits until so many requests for a path have reached the app.
fn until_asked(scene: &Scene, path: &str, count: usize) {
    let asked = || {
        let seen = scene.app.seen();
        seen.iter().filter(|seen| seen.target() == path).count()
    };
    wait::until_true(SOON, "the app is asked", || asked() >= count);
}

#[test]
fn an_answer_of_nine_seconds_outlasts_a_restart_and_what_has_no_end_does_not_hold_it_up() {
    let scene = Scene::new();
    let sockets = scene.doors();
    let mut running = scene.on(&sockets);
    assert_eq!(scene.ask().status(), Some(200));
    let (cookie, authority) = (scene.asks.cookie.as_str(), scene.asks.authority.as_str());
    let socket = Socket::open(scene.tls(), authority, "/ws", Some(cookie));
    let mut socket = socket.unwrap();
    assert_eq!(socket.echo("x").unwrap(), "x");
    thread::scope(|scope| {
        let plain = scope.spawn(|| scene.ask_for("/slow"));
        let multiplexed = scope.spawn(|| {
            let (mut wire, mut last) = (scene.wire(), None);
            let head = fields(&scene.asks.fields("GET", "/slow"));
            wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
            (wire.answer(1, &mut last), last)
        });
        let events = scope.spawn(|| {
            let mut tls = scene.tls();
            drop(tls.write_all(scene.head("/events", "").as_bytes()));
            raw::read_all(&mut tls)
        });
        until_asked(&scene, "/slow", 2);
        until_asked(&scene, "/events", 1);
        let stops = Instant::now();
        running.stop();
        let took = stops.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}");
        let answer = plain.join().unwrap();
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        let (status, last) = multiplexed.join().unwrap();
        assert_eq!(status, Some(200));
        assert!(last.is_some(), "and it was told to ask elsewhere next");
        let events = events.join().unwrap();
        assert!(events.status() == Some(200) && events.closed, "{events:?}");
    });
    socket.wait_closed();
    let mut running = scene.on(&sockets);
    assert_eq!(scene.ask().status(), Some(200));
    running.stop();
}

#[test]
fn an_answer_without_an_end_is_cut_before_the_service_manager_kills() {
    let scene = Scene::new();
    let sockets = scene.doors();
    let mut running = scene.on(&sockets);
    thread::scope(|scope| {
        let endless = scope.spawn(|| {
            let mut tls = scene.tls();
            drop(tls.write_all(scene.head("/download", "").as_bytes()));
            raw::read_all(&mut tls)
        });
        until_asked(&scene, "/download", 1);
        let stops = Instant::now();
        running.stop();
        let took = stops.elapsed();
        // TimeoutStopSec of the unit is 30
        assert!(
            took > Duration::from_secs(20) && took < Duration::from_secs(30),
            "{took:?}"
        );
        assert!(endless.join().unwrap().closed);
    });
}

#[test]
fn sockets_in_the_keeping_of_the_manager_refuse_nobody_over_two_restarts_of_web_and_tunnel() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let manager = Manager::new();
    let start = || manager.start(&gateway.facts.config, &scene.log);
    let running = start();
    wait::until_true(SOON, "the sockets are in keeping", || {
        manager.names().len() == 4
    });
    let tunnel = local(gateway.tunnel_port());
    let names = manager.names();
    assert!(
        names.contains(&format!("kept-udp-{tunnel}").replace(':', "_")),
        "{names:?}"
    );
    let probe = UdpSocket::bind(local(0)).unwrap();
    probe.connect(tunnel).unwrap();
    probe
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let ended = AtomicBool::new(false);
    let refused = || {
        drop(probe.send(b"?"));
        let got = probe.recv(&mut [0; 16]);
        got.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    let mut running = thread::scope(|scope| {
        let datagrams = scope.spawn(|| {
            let mut seen = 0;
            while !ended.load(Ordering::SeqCst) {
                seen += usize::from(refused());
            }
            seen
        });
        let running = scene.restarted_twice(running, start);
        ended.store(true, Ordering::SeqCst);
        assert_eq!(datagrams.join().unwrap(), 0, "datagrams were refused");
        running
    });
    assert_eq!(manager.names(), names, "nothing came twice");
    // the twin: what nobody keeps is refused as soon as the gateway has ended
    manager.kept.lock().unwrap().clear();
    running.stop();
    wait::until_true(SOON, "datagrams are refused", refused);
}

#[test]
fn a_kept_socket_that_the_configuration_names_no_more_is_given_up() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let manager = Manager::new();
    let mut running = manager.start(&gateway.facts.config, &scene.log);
    wait::until_true(SOON, "the sockets are in keeping", || {
        manager.names().len() == 4
    });
    assert_eq!(scene.ask().status(), Some(200));
    running.stop();
    let (old, free) = (
        local(gateway.http_port()),
        TcpListener::bind(local(0)).unwrap(),
    );
    let new = free.local_addr().unwrap();
    drop(free);
    gateway.edit_config(|text| *text = text.replace(&old.to_string(), &new.to_string()));
    let mut running = manager.start(&gateway.facts.config, &scene.log);
    assert_eq!(scene.ask().status(), Some(200));
    let name = |at: SocketAddr| format!("kept-tcp-{at}").replace(':', "_");
    wait::until_true(
        SOON,
        "the new one is in keeping, the old one is not",
        || {
            let names = manager.names();
            names.contains(&name(new)) && !names.contains(&name(old))
        },
    );
    wait::until_true(SOON, "nobody listens at the old address", || {
        TcpStream::connect(old).is_err()
    });
    running.stop();
}

#[test]
fn a_socket_that_the_configuration_does_not_name_keeps_the_gateway_from_starting() {
    let mut gateway = Gateway::demo();
    gateway.stop();
    let https = TcpListener::bind(local(gateway.https_port())).unwrap();
    let foreign = TcpListener::bind(local(0)).unwrap();
    let log = gateway.dir().join("passed.log");
    let mut running = Passed::of_unit(&gateway.facts.config, &log, [&https, &foreign]);
    let mut code = None;
    wait::until_true(SOON, "it gives up", || {
        code = running.0.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(69));
    let text = std::fs::read_to_string(&log).unwrap();
    let address = foreign.local_addr().unwrap().to_string();
    assert!(
        text.contains(&address) && text.contains("does not name"),
        "{text}"
    );
}
