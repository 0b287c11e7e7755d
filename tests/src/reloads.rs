//! Requests beside reloads of a large policy: how long the longest of them waits.

use std::fmt::Write;
use std::fs;
use std::io::{Read, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::curl::{Client, host};
use crate::gateway::Gateway;
use crate::raw::{self, Tls};

const APPS: usize = 1000;
const AREAS: usize = 10;
const RULES: usize = 10;
const PEOPLE: usize = 10_000;
const GROUPS: usize = 1000;
/// Apps in one file.
const APPS_PER_FILE: usize = 100;
/// How often a reload is asked for that is not answered in time, and how the command then ends.
const TRIES: usize = 5;
const UNAVAILABLE: i32 = 69;
/// Between two requests of one connection.
const PAUSE: Duration = Duration::from_millis(1);

/// How many rules [`LargePolicy`] adds.
pub const ALL_RULES: usize = APPS * AREAS * RULES;

/// A hundred thousand rules beside those of a gateway; the two versions of one file differ in a rule of each app.
#[derive(Debug)]
pub struct LargePolicy<'a> {
    gateway: &'a Gateway,
    version: usize,
}

impl<'a> LargePolicy<'a> {
    /// Puts it in force.
    #[must_use]
    pub fn of(gateway: &'a Gateway) -> Self {
        let folder = &gateway.facts.policy;
        let mut users = fs::read_to_string(folder.join("users.toml")).unwrap();
        let mut groups = String::from("postern = 1\n[group]\n");
        for person in 0..PEOPLE {
            writeln!(users, "[user.p{person:05}]").unwrap();
        }
        for group in 0..GROUPS {
            let members = (0..PEOPLE / GROUPS).map(|n| format!("\"p{:05}\"", group + n * GROUPS));
            let members: Vec<String> = members.collect();
            writeln!(groups, "g{group} = [{}]", members.join(", ")).unwrap();
        }
        fs::write(folder.join("users.toml"), users).unwrap();
        fs::write(folder.join("groups.toml"), groups).unwrap();
        for file in 1..APPS / APPS_PER_FILE {
            fs::write(folder.join(format!("apps{file}.toml")), apps(file, 0)).unwrap();
        }
        let mut large = Self {
            gateway,
            version: 0,
        };
        large.flip();
        large
    }

    /// Puts the other version in force; returns the seconds until it is.
    pub fn flip(&mut self) -> f64 {
        self.version += 1;
        let file = self.gateway.facts.policy.join("apps0.toml");
        fs::write(file, apps(0, self.version % 2)).unwrap();
        let start = Instant::now();
        for _ in 0..TRIES {
            // a build that is not optimised takes longer than the command waits
            let output = self.gateway.run(&["reload"]);
            match output.status.code() {
                Some(0) => return start.elapsed().as_secs_f64(),
                Some(UNAVAILABLE) => {}
                _ => panic!("postern reload: {output:?}"),
            }
        }
        panic!("the policy is not in force after {:?}", start.elapsed());
    }
}

fn apps(file: usize, version: usize) -> String {
    let mut text = String::from("postern = 1\n");
    for app in file * APPS_PER_FILE..(file + 1) * APPS_PER_FILE {
        writeln!(
            text,
            "[app.a{app}]\nhost = \"a{app}.gate.localhost\"\nupstream = \"http://127.0.0.1:9\""
        )
        .unwrap();
        for area in 0..AREAS {
            if area > 0 {
                writeln!(text, "[app.a{app}.\"/area{area}\"]").unwrap();
            }
            for rule in 0..RULES {
                let group = (app * 7 + area * 31 + rule + version) % GROUPS;
                writeln!(text, "allow.r{rule} = {{ who = \"@g{group}\" }}").unwrap();
            }
        }
    }
    text
}

/// Milliseconds that requests took.
#[derive(Debug)]
pub struct Times {
    pub count: usize,
    pub median: f64,
    pub p99: f64,
    pub longest: f64,
}

impl Times {
    fn of(mut took: Vec<f64>) -> Self {
        took.sort_by(f64::total_cmp);
        Self {
            count: took.len(),
            median: took[took.len() / 2],
            p99: took[took.len() * 99 / 100],
            longest: took[took.len() - 1],
        }
    }
}

/// Asks for the app over one kept-alive connection, again and again, while `meanwhile` runs.
pub fn requests_beside(gateway: &Gateway, client: &Client, meanwhile: impl FnOnce()) -> Times {
    let mut visitor = Visitor::new(gateway, client);
    let over = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        let over = &over;
        let asking = scope.spawn(move || {
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
                took.push(visitor.ask());
            }
            took
        });
        meanwhile();
        over.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    Times::of(took)
}

/// One signed-in person with a connection.
struct Visitor<'a> {
    gateway: &'a Gateway,
    tls: Tls,
    request: Vec<u8>,
}

impl<'a> Visitor<'a> {
    fn new(gateway: &'a Gateway, client: &Client) -> Self {
        let name = host(&gateway.facts.app);
        let cookie = client.cookie(name, "__Host-postern").unwrap();
        let request = format!(
            "HEAD / HTTP/1.1\r\nHost: {name}:{}\r\nCookie: __Host-postern={cookie}\r\n\r\n",
            gateway.https_port()
        );
        let mut visitor = Self {
            gateway,
            tls: connect(gateway),
            request: request.into_bytes(),
        };
        // the first answer opens the way to the upstream
        visitor.ask();
        visitor
    }

    /// Asks once; returns the milliseconds to the answer. A connection that has had its number of requests is opened
    /// again, which is not counted.
    fn ask(&mut self) -> f64 {
        loop {
            let start = Instant::now();
            if let Some(answer) = self.answer() {
                assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
                return start.elapsed().as_secs_f64() * 1e3;
            }
            self.tls = connect(self.gateway);
        }
    }

    fn answer(&mut self) -> Option<Vec<u8>> {
        self.tls.write_all(&self.request).ok()?;
        let (mut answer, mut block) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"\r\n\r\n") {
            let count = self.tls.read(&mut block).ok().filter(|n| *n > 0)?;
            answer.extend_from_slice(&block[..count]);
        }
        Some(answer)
    }
}

/// Opens a connection up to its first byte.
fn connect(gateway: &Gateway) -> Tls {
    let addr = ([127, 0, 0, 1], gateway.https_port()).into();
    let (name, root) = (host(&gateway.facts.app), &gateway.facts.ca_root);
    let mut tls = raw::tls(addr, name, root, Duration::from_secs(30));
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock).unwrap();
    }
    tls
}
