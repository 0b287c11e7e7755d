//! Guessing at the sign-in page: what the time of an answer tells, and who gets in meanwhile.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::curl::{Client, host, origin};
use postern_tests::gateway::Gateway;
use postern_tests::guess::{best_guess, by_chance};
use postern_tests::raw;

const WRONG: &str = "not the password at all";

fn long() -> bool {
    std::env::var_os("POSTERN_LONG").is_some()
}

/// A demo whose passwords are quick to check, so that many can be.
fn demo() -> Gateway {
    let mut gateway = Gateway::demo();
    gateway.stop();
    let light = "[identity]\nargon2 = { memory-kib = 19456, passes = 2 }\n";
    gateway.edit_config(|text| *text = text.replace("[identity]\n", light));
    gateway.start_again();
    // the first sign-in makes the verifier anew at the present cost
    let (client, demo) = (Client::new(&gateway), &gateway.facts.demo);
    let page = client.password(&gateway.facts.portal, demo, &demo.password);
    assert!(page.body.contains("name=\"code\""), "{page:?}");
    gateway
}

/// A sign-in form, opened once and sent from anywhere.
struct Form<'a> {
    gateway: &'a Gateway,
    cookie: String,
    csrf: String,
}

impl<'a> Form<'a> {
    fn open(gateway: &'a Gateway) -> Self {
        let page = Client::new(gateway).follow(&gateway.facts.portal);
        let cookies = page.headers_named("set-cookie");
        let nonce = cookies.first().unwrap().split(';').next().unwrap();
        Self {
            gateway,
            cookie: nonce.to_owned(),
            csrf: page.form("password").value("csrf").unwrap().to_owned(),
        }
    }

    /// Sends name and password from an address of their own; returns the status, whether the code
    /// is asked for, and how long the answer took.
    fn send(&self, source: Ipv4Addr, user: &str, password: &str) -> (u16, bool, Duration) {
        let facts = &self.gateway.facts;
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.gateway.https_port());
        let tcp = raw::tcp_from(source, to);
        let (sni, limit) = (host(&facts.portal), Duration::from_secs(30));
        let mut tls = raw::tls_over(tcp, sni, &facts.ca_root, limit);
        let csrf = &self.csrf;
        let password = password.replace(' ', "+");
        let body = format!("csrf={csrf}&username={user}&password={password}");
        let from = origin(&facts.portal);
        let authority = from.split_once("://").unwrap().1;
        let head = format!(
            "POST /signin HTTP/1.1\r\nHost: {authority}\r\nOrigin: {from}\r\nCookie: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.cookie,
            body.len()
        );
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).unwrap();
        }
        let start = Instant::now();
        let answer = raw::exchange(&mut tls, (head + &body).as_bytes());
        let time = start.elapsed();
        let status = answer
            .status()
            .unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        (status, text.contains("name=\"code\""), time)
    }
}

fn source(kind: usize, n: usize) -> Ipv4Addr {
    let [.., c, d] = n.to_be_bytes();
    Ipv4Addr::new(127, u8::try_from(16 + kind).unwrap(), c, d)
}

const APR1: &str = "$apr1$abcdefgh$nPQESR5Xy6o6pZFOac3oY/";
const BCRYPT: &str = "$2b$08$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC";
/// demo has both factors, the empty name stands for names nobody has, the last two were imported.
const NAMES: [&str; 5] = ["demo", "", "sam", "zoe", "yan"];

#[test]
fn the_time_of_an_answer_does_not_tell_what_the_name_stands_for() {
    let (tries, most) = match long() {
        true => (5000, 0.52),
        false => (100, by_chance(100, NAMES.len() - 1)),
    };
    let gateway = demo();
    for user in ["sam", "zoe", "yan"] {
        gateway.must(&["user", "add", user, "--no-link"]);
    }
    let file = gateway.dir().join("htpasswd");
    std::fs::write(&file, format!("zoe:{APR1}\nyan:{BCRYPT}\n")).unwrap();
    gateway.must(&["user", "import", file.to_str().unwrap()]);
    gateway.must(&["user", "disable", "sam"]);
    let form = Form::open(&gateway);
    let mut times: [Vec<u64>; NAMES.len()] = Default::default();
    for n in 0..tries {
        // each order comes equally often
        for at in 0..NAMES.len() {
            let kind = (at * (1 + n % 4) + n / 4) % NAMES.len();
            let user = match NAMES[kind] {
                "" => format!("u{n:03}"),
                user => user.to_owned(),
            };
            let (status, _, time) = form.send(source(kind, n), &user, WRONG);
            assert_eq!(status, 401, "{user}");
            times[kind].push(u64::try_from(time.as_nanos()).unwrap());
        }
        if n % 90 == 89 {
            for user in ["demo", "sam", "zoe", "yan"] {
                // which forgets their failures
                gateway.must(&["user", "enable", user]);
            }
            gateway.must(&["user", "disable", "sam"]);
        }
    }
    let mut guesses = Vec::new();
    for (name, others) in NAMES.iter().zip(&times).skip(1) {
        let guess = best_guess(&times[0], others);
        println!(
            "demo and {name:?}, {tries} tries each: {:.2} %",
            guess * 100.0
        );
        guesses.push(guess);
    }
    assert!(
        guesses.iter().all(|guess| *guess <= most),
        "{guesses:?} > {most}"
    );
}

#[test]
fn during_an_attack_the_person_gets_in_at_once_and_the_attacker_never() {
    let tries = if long() { 10_000 } else { 1000 };
    let gateway = demo();
    let demo = &gateway.facts.demo;
    let home = Client::at(&gateway, "127.3.0.1");
    let page = home.sign_in(&gateway.facts.portal, demo);
    assert_eq!(page.status, 200, "{page:?}");
    sign_out(&home, &gateway);
    let form = Form::open(&gateway);
    let (next, evaluated, locked) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let others = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    if n >= tries {
                        return;
                    }
                    // found out too late; the person's own sign-in opens the account again
                    let is_locked = locked.load(Ordering::SeqCst) > 20 && n < tries / 5;
                    let password = if is_locked && n % 2 == 0 {
                        &demo.password
                    } else {
                        WRONG
                    };
                    match form.send(source(0, n), "demo", password) {
                        (401, false, _) => evaluated.fetch_add(1, Ordering::SeqCst),
                        (429, false, _) => locked.fetch_add(1, Ordering::SeqCst),
                        // no place to check it: not counted
                        (503, false, _) => 0,
                        (status, code, _) => {
                            others.lock().unwrap().push((n, status, code));
                            0
                        }
                    };
                }
            });
        }
        // in the middle of it, three times
        for part in 1..4 {
            while next.load(Ordering::SeqCst) < tries * part / 4 {
                thread::yield_now();
            }
            let before = next.load(Ordering::SeqCst);
            let page = home.password(&gateway.facts.app, demo, &demo.password);
            assert!(page.body.contains("name=\"code\""), "{part}: {page:?}");
            let code = demo.code();
            let page = home.code(&page, &code);
            assert_eq!(page.status, 200, "{part}: {page:?}");
            println!(
                "signed in between tries {before} and {}",
                next.load(Ordering::SeqCst)
            );
            sign_out(&home, &gateway);
        }
    });
    let others = others.into_inner().unwrap();
    assert!(others.is_empty(), "{others:?}");
    let (evaluated, locked) = (evaluated.into_inner(), locked.into_inner());
    println!("{evaluated} of {tries} were compared, {locked} were told to wait");
    assert!(evaluated <= 400, "{evaluated}");
    assert!(locked > tries / 3, "{locked}");
}

fn sign_out(client: &Client, gateway: &Gateway) {
    let portal = client.follow(&gateway.facts.portal);
    let forms = postern_tests::html::forms(&portal.body);
    let form = forms.iter().find(|f| f.action.ends_with("/signout"));
    drop(client.follow_from(client.submit(&portal, form.unwrap())));
    assert_eq!(client.open(&gateway.facts.app).status, 303);
}
