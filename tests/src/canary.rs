//! A person who goes on with her work while others attack: every answer she gets is timed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cases::Scene;
use crate::curl::host;
use crate::raw::{self, Tls};
use crate::scale::memory;
use crate::wait::PATIENCE;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// Requests on a connection before she opens another.
const EACH: usize = 10;
/// Not the place the attacks come from.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);

/// She works until she is asked how it went.
#[derive(Debug)]
pub struct Canary {
    over: Arc<AtomicBool>,
    work: JoinHandle<Vec<f64>>,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub struct Went {
    pub answers: usize,
    /// Milliseconds from the request, or from the call where a connection had to be opened, to the whole answer.
    pub p99: f64,
    pub worst: f64,
    /// The gateway's peak of resident memory in MiB.
    pub peak: f64,
}

impl Canary {
    /// Begins to ask for the app of a scene, signed in.
    #[must_use]
    pub fn start(scene: &Scene) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ask = Ask {
            to: SocketAddrV4::new(Ipv4Addr::LOCALHOST, scene.gateway.https_port()),
            name: host(&scene.gateway.facts.app).to_owned(),
            root: scene.gateway.facts.ca_root.clone(),
            head: format!(
                "GET /canary HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
                scene.authority, scene.cookie
            ),
        };
        let stop = Arc::clone(&over);
        let work = thread::spawn(move || {
            let mut all = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                ask.some(&mut all);
            }
            all
        });
        Self { over, work }
    }

    /// Ends her work; panics when an answer was not 200.
    #[must_use]
    pub fn went(self, scene: &Scene) -> Went {
        self.over.store(true, Ordering::Relaxed);
        let mut all = self.work.join().unwrap();
        all.sort_by(f64::total_cmp);
        Went {
            answers: all.len(),
            p99: all[(all.len() - 1) * 99 / 100],
            worst: all[all.len() - 1],
            peak: memory(&scene.gateway, "VmHWM"),
        }
    }
}

struct Ask {
    to: SocketAddrV4,
    name: String,
    root: PathBuf,
    head: String,
}

impl Ask {
    /// Some requests on one connection.
    fn some(&self, all: &mut Vec<f64>) {
        let mut begin = Instant::now();
        let tcp = raw::tcp_from(SOURCE, self.to);
        let mut tls = raw::tls_over(tcp, &self.name, &self.root, PATIENCE);
        for _ in 0..EACH {
            self.one(&mut tls);
            all.push(begin.elapsed().as_secs_f64() * 1e3);
            thread::sleep(PAUSE);
            begin = Instant::now();
        }
    }

    fn one(&self, tls: &mut Tls) {
        tls.write_all(self.head.as_bytes()).unwrap();
        let (mut answer, mut block) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"saw /canary\n") {
            let count = tls.read(&mut block).unwrap();
            let text = String::from_utf8_lossy(&answer);
            assert!(count > 0, "closed behind {text}");
            answer.extend_from_slice(&block[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}
