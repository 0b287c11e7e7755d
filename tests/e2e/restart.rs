//! A restart in place: a service manager holds the sockets, and nobody who connects meanwhile is refused.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postern_tests::curl::{Client, host};
use postern_tests::gateway::{Gateway, binary};
use postern_tests::raw;
use postern_tests::upstream::Recorder;
use postern_tests::wait;

/// A restart on a busy machine takes a while.
const SOON: Duration = postern_tests::wait::PATIENCE;

/// A gateway that was passed its sockets; it ends with this.
struct Passed(Child);

impl Passed {
    /// Starts one as a service manager does, with these two sockets as descriptors 3 and 4.
    fn start(config: &Path, first: &TcpListener, second: &TcpListener, log: &Path) -> Self {
        let copy = |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
        let text = "exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" run --config \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", text]).arg(binary()).arg(config);
        command.stdin(copy(first)).stdout(copy(second));
        command.stderr(File::create(log).unwrap());
        Self(command.spawn().unwrap())
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

#[test]
fn over_two_restarts_not_one_request_fails() {
    let recorder = Recorder::new();
    let mut gateway = Gateway::demo_before(&recorder.url());
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let name = host(&gateway.facts.app).to_owned();
    let cookie = client.cookie(&name, "__Host-postern").unwrap();
    gateway.stop();
    let (https, http) = (local(gateway.https_port()), local(gateway.http_port()));
    let sockets = [https, http].map(|at| TcpListener::bind(at).unwrap());
    let log = gateway.dir().join("passed.log");
    let start = || Passed::start(&gateway.facts.config, &sockets[0], &sockets[1], &log);
    let mut running = start();
    let request = format!(
        "GET /counted-not HTTP/1.1\r\nHost: {name}:{}\r\nCookie: __Host-postern={cookie}\r\nConnection: close\r\n\r\n",
        https.port()
    );
    let ask = {
        let root = gateway.facts.ca_root.clone();
        move || {
            let mut tls = raw::tls(https, &name, &root, SOON);
            raw::exchange(&mut tls, request.as_bytes())
        }
    };
    // it waits in the queue of the socket until the gateway is up
    assert_eq!(ask().status(), Some(200));
    let (stop, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (ask, stop, served) = (ask.clone(), Arc::clone(&stop), Arc::clone(&served));
            thread::spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match ask() {
                        answer if answer.status() == Some(200) => {
                            served.fetch_add(1, Ordering::SeqCst);
                        }
                        answer => failed.push(String::from_utf8_lossy(&answer.bytes).into_owned()),
                    }
                }
                failed
            })
        })
        .collect();
    let more = |what: &str| {
        let before = served.load(Ordering::SeqCst);
        wait::until_true(SOON, what, || served.load(Ordering::SeqCst) >= before + 40);
    };
    more("requests are served");
    for _ in 0..2 {
        running.stop();
        running = start();
        more("requests are served again");
    }
    stop.store(true, Ordering::SeqCst);
    let failed: Vec<String> = workers
        .into_iter()
        .flat_map(|w| w.join().unwrap())
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:?}",
        failed.len(),
        served.load(Ordering::SeqCst)
    );
    running.stop();
}

#[test]
fn a_socket_that_the_configuration_does_not_name_keeps_the_gateway_from_starting() {
    let mut gateway = Gateway::demo();
    gateway.stop();
    let https = TcpListener::bind(local(gateway.https_port())).unwrap();
    let foreign = TcpListener::bind(local(0)).unwrap();
    let log = gateway.dir().join("passed.log");
    let mut running = Passed::start(&gateway.facts.config, &https, &foreign, &log);
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
