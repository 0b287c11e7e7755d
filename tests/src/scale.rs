//! Many people, many sessions, many passwords: what they cost the gateway.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::curl::{Client, host, origin};
use crate::gateway::Gateway;
use crate::raw::{self, Tls};

/// What the page of the sign-in form did beside passwords that were refused.
#[derive(Debug)]
pub struct Beside {
    /// Of the page, in milliseconds.
    pub median: f64,
    pub p99: f64,
    /// Passwords a second that were sent, and how many of them had no place to be compared.
    pub sent: f64,
    pub overloaded: f64,
    /// Greatest resident memory over that at rest, in MiB.
    pub grown: f64,
}

/// Asks for the page `pages` times on one connection, one after the other, while `rate` wrong
/// passwords a second come from ever other places for ever other names.
#[must_use]
pub fn page_beside_sign_ins(gateway: &Gateway, pages: usize, rate: u32) -> Beside {
    let form = Form::open(gateway);
    let at_rest = memory(gateway, "VmRSS");
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let overloaded = AtomicUsize::new(0);
    let start = Instant::now();
    let mut times = thread::scope(|scope| {
        let (form, over, sent, overloaded) = (&form, &over, &sent, &overloaded);
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let n = sent.fetch_add(1, Ordering::SeqCst);
                scope.spawn(move || {
                    let status = form.guess(n);
                    assert!([401, 503].contains(&status), "{status}");
                    overloaded.fetch_add(usize::from(status == 503), Ordering::SeqCst);
                });
                let next = start + Duration::from_secs(1) * u32::try_from(n + 1).unwrap() / rate;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        let _end = OnDrop(over);
        let mut tls = form.connect(Ipv4Addr::new(127, 9, 9, 9));
        (0..pages)
            .map(|_| {
                // below what one source may ask for
                thread::sleep(Duration::from_millis(8));
                form.page(&mut tls)
            })
            .collect::<Vec<f64>>()
    });
    let took = start.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Beside {
        median: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        sent: count(&sent) / took,
        overloaded: count(&overloaded) / took,
        grown: memory(gateway, "VmHWM") - at_rest,
    }
}

/// Sets a flag at the end of a scope, a failed one too.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn count(counter: &AtomicUsize) -> f64 {
    f64::from(u32::try_from(counter.load(Ordering::SeqCst)).unwrap())
}

/// A sign-in form that is sent from anywhere.
struct Form<'a> {
    gateway: &'a Gateway,
    cookie: String,
    csrf: String,
}

impl<'a> Form<'a> {
    fn open(gateway: &'a Gateway) -> Self {
        let page = Client::new(gateway).follow(&gateway.facts.portal);
        let cookies = page.headers_named("set-cookie");
        Self {
            gateway,
            cookie: cookies[0].split(';').next().unwrap().to_owned(),
            csrf: page.form("password").value("csrf").unwrap().to_owned(),
        }
    }

    fn connect(&self, source: Ipv4Addr) -> Tls {
        let facts = &self.gateway.facts;
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.gateway.https_port());
        let tcp = raw::tcp_from(source, to);
        raw::tls_over(
            tcp,
            host(&facts.portal),
            &facts.ca_root,
            Duration::from_secs(30),
        )
    }

    fn authority(&self) -> &str {
        origin(&self.gateway.facts.portal)
            .split_once("://")
            .unwrap()
            .1
    }

    /// Sends a wrong password for a name nobody has; returns the status.
    fn guess(&self, n: usize) -> u16 {
        let [.., b, c, d] = n.to_be_bytes();
        self.send(Ipv4Addr::new(127, 64 + b, c, d), &format!("u{n}"))
            .0
    }

    /// Sends a wrong password for a name; returns the status and the milliseconds to the answer.
    fn send(&self, source: Ipv4Addr, name: &str) -> (u16, f64) {
        let mut tls = self.connect(source);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).unwrap();
        }
        let (authority, cookie) = (self.authority(), &self.cookie);
        let body = format!(
            "csrf={}&username={name}&password=not+the+password",
            self.csrf
        );
        let head = format!(
            "POST /signin HTTP/1.1\r\nHost: {authority}\r\nOrigin: https://{authority}\r\n\
             Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let start = Instant::now();
        let answer = raw::exchange(&mut tls, (head + &body).as_bytes());
        let took = start.elapsed().as_secs_f64() * 1e3;
        let status = answer.status();
        (
            status.unwrap_or_else(|| panic!("no answer: {answer:?}")),
            took,
        )
    }

    /// Asks for the page on an open connection; returns the milliseconds to the whole answer.
    fn page(&self, tls: &mut Tls) -> f64 {
        use std::io::{Read, Write as _};
        let request = format!("GET /signin HTTP/1.1\r\nHost: {}\r\n\r\n", self.authority());
        let start = Instant::now();
        tls.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut block) = (Vec::new(), [0; 16 * 1024]);
        while !answer.ends_with(b"</html>\n") && !answer.ends_with(b"</html>") {
            let n = tls.read(&mut block).unwrap();
            assert!(n > 0, "closed: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&block[..n]);
        }
        let took = start.elapsed().as_secs_f64() * 1e3;
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        took
    }
}

/// Reads a figure of the gateway's memory, such as `VmRSS`, in MiB.
#[must_use]
pub fn memory(gateway: &Gateway, name: &str) -> f64 {
    memory_of(gateway.facts.pid, name)
}

/// As [`memory`], by the id of the process.
#[must_use]
pub fn memory_of(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line
        .unwrap()
        .trim_start_matches(':')
        .trim()
        .split(' ')
        .next();
    kib.unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Returns the MiB that so many sessions weigh after a start that finds them in the store.
#[must_use]
pub fn weight_of_sessions(sessions: u32) -> f64 {
    let mut gateway = Gateway::demo();
    let mut started = |seed: &str| {
        gateway.stop();
        seeded(&gateway, seed);
        gateway.start_again();
        drop(Client::new(&gateway).follow(&gateway.facts.portal));
        memory(&gateway, "VmRSS")
    };
    let without = started("pass");
    let with = started(&format!(
        "now = int(time.time())\n\
         for n in range({sessions}):\n\
        \x20   db.execute('INSERT INTO sessions (id, user, door, source, created, login_at, mfa_at, \
         last_used, expires, agent) VALUES (?,?,?,?,?,?,?,?,?,?)', (n + 1, f'u{{n // 10}}', 'web', \
         '192.0.2.1', now, now, now, now, now + 43200, 'Mozilla/5.0 (X11; Linux x86_64; rv:130.0) \
         Gecko/20100101 Firefox/130.0'))\n\
        \x20   for host in ('gate.localhost', 'app.gate.localhost'):\n\
        \x20       db.execute('INSERT INTO session_cookies (hash, session, host, made) VALUES \
         (?,?,?,?)', (os.urandom(32), n + 1, host, now))\n"
    ));
    let status: serde_json::Value =
        serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    assert_eq!(
        status["sessions"].as_u64(),
        Some(sessions.into()),
        "{status}"
    );
    with - without
}

/// Runs Python over the store of a gateway that has ended; `db` is the connection.
pub fn seeded(gateway: &Gateway, script: &str) {
    let file = gateway.facts.data.join("state.db");
    let code = format!(
        "import sqlite3, time, os\ndb = sqlite3.connect({:?})\n{script}\ndb.commit()\ndb.close()\n",
        file.display().to_string()
    );
    let output = Command::new("python3")
        .args(["-c", &code])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// People of a crowd who try to sign in.
const TRIES: u32 = 60;

/// What so many people in the policy folder cost.
#[derive(Debug)]
pub struct Crowd {
    /// From the call to the first answer, in seconds.
    pub start: f64,
    /// Seconds of CPU that the start took.
    pub start_cpu: f64,
    /// Milliseconds of CPU of a sign-in that is refused, over people of the whole folder.
    pub refused_cpu: f64,
}

/// Starts a gateway with so many people, each with a password, and tries some of them.
#[must_use]
pub fn crowd(people: u32) -> Crowd {
    let mut gateway = Gateway::demo();
    gateway.stop();
    let config = std::fs::read_to_string(&gateway.facts.config).unwrap();
    // the look-up is to be seen beside the password
    let light = "[identity]\nargon2 = { memory-kib = 19456, passes = 2 }\n";
    std::fs::write(&gateway.facts.config, config.replace("[identity]\n", light)).unwrap();
    let file = gateway.facts.policy.join("users.toml");
    let mut users = std::fs::read_to_string(&file).unwrap();
    for n in 0..people {
        writeln!(users, "[user.p{n:06}]").unwrap();
    }
    std::fs::write(file, users).unwrap();
    seeded(
        &gateway,
        &format!(
            "phc = '$argon2id$v=19$m=19456,t=2,p=1$' + 'A' * 22 + '$' + 'A' * 43\n\
             for n in range({people}):\n\
            \x20   db.execute('INSERT INTO credentials (user, phc, totp, last_step, enrolled, imported) \
             VALUES (?,?,?,0,0,0)', (f'p{{n:06}}', phc, b'x' * 60))\n"
        ),
    );
    let begin = Instant::now();
    gateway.start_again();
    let start = begin.elapsed().as_secs_f64();
    let start_cpu = cpu(&gateway);
    let form = Form::open(&gateway);
    let before = cpu(&gateway);
    for n in 0..TRIES {
        let name = format!(
            "p{:06}",
            u64::from(n) * u64::from(people) / u64::from(TRIES)
        );
        let [.., c, d] = n.to_be_bytes();
        let (status, _) = form.send(Ipv4Addr::new(127, 8, c, d), &name);
        assert_eq!(status, 401, "{name}");
    }
    Crowd {
        start,
        start_cpu,
        refused_cpu: (cpu(&gateway) - before) * 1e3 / f64::from(TRIES),
    }
}

/// Returns the seconds of CPU that the gateway has used.
fn cpu(gateway: &Gateway) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.facts.pid)).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    // utime and stime, in the hundredths of a second that Linux shows
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .map(|f| f.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}
