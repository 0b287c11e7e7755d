//! Many who ask at once for what is not kept: one request for all, or each their own answer and nobody waits in a row.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::curl::{Client, host, origin};
use postern_tests::gateway::Gateway;
use postern_tests::people::enrol;
use postern_tests::temp::Temp;

/// How long the app takes for each answer.
const LATE: Duration = Duration::from_millis(500);
const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];
/// Of those who do not queue two or three ask one behind the other, and some more who came late on a busy machine.
const IN_A_ROW: usize = 10;
/// How many of each person and version ask at once.
const EACH: usize = 10;

/// A request at the app.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    begin: Instant,
    end: Instant,
}

/// An app that takes its time; each answer says its number and the cookie that was shown.
struct Slow {
    url: String,
    asked: Arc<Mutex<(usize, Vec<Asked>)>>,
}

impl Slow {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<(usize, Vec<Asked>)>> = Arc::default();
        let shared = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&shared);
                thread::spawn(move || drop(serve(stream, &asked)));
            }
        });
        Self { url, asked }
    }

    /// What was asked for at a path.
    fn at(&self, path: &str) -> Vec<Asked> {
        let all = self.asked.lock().unwrap().1.clone();
        all.into_iter().filter(|asked| asked.path == path).collect()
    }

    /// The most requests for a path of which each began when the one before had ended.
    fn in_a_row(&self, path: &str) -> usize {
        let mut all = self.at(path);
        all.sort_by_key(|asked| asked.end);
        let (mut row, mut last) = (0, None);
        for asked in all {
            if last.is_none_or(|last| asked.begin >= last) {
                (row, last) = (row + 1, Some(asked.end));
            }
        }
        row
    }
}

fn serve(stream: TcpStream, asked: &Mutex<(usize, Vec<Asked>)>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut path, mut cookie) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("GET ") {
                path = rest.split(' ').next().unwrap().to_owned();
            } else if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("cookie")
            {
                cookie = value.to_owned();
            } else if line.is_empty() {
                break;
            }
        }
        let number = {
            let mut asked = asked.lock().unwrap();
            asked.0 += 1;
            asked.0
        };
        let begin = Instant::now();
        let first = {
            let asked = asked.lock().unwrap();
            !asked.1.iter().any(|asked| asked.path == path)
        };
        thread::sleep(LATE);
        let end = Instant::now();
        asked.lock().unwrap().1.push(Asked {
            path: path.clone(),
            begin,
            end,
        });
        let (status, field) = match path.as_str() {
            "/fails" => (503, ""),
            "/first-fails" if first => (500, ""),
            "/not-stored" => (200, "Cache-Control: no-store\r\n"),
            "/sets-cookie" => (200, "Set-Cookie: theirs=1; Path=/\r\n"),
            _ => (200, ""),
        };
        let body = format!("answer {number} to <{cookie}>\n");
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} Any\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{field}\r\n{body}"
        );
        reader.get_mut().write_all(text.as_bytes())?;
    }
}

struct Scene {
    app: Slow,
    gateway: Gateway,
    /// Each with the session at the app.
    people: Vec<Client>,
}

impl Scene {
    /// A gateway whose app keeps answers by these words, and so many people who are signed in.
    fn new(cache: &str, count: usize) -> Self {
        let app = Slow::new();
        let gateway = Gateway::demo();
        gateway.open_policy(&format!(
            "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
             [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\nupstream = \"{}\"\n\
             cache = {{ {cache} }}\nallow.people = {{ who = \"any-user\" }}\n\
             [app.app.\"/plain\"]\ncache = false\nallow.people = {{ who = \"any-user\" }}\n\
             [app.app.\"/open\"]\npublic = \"it says good day\"\ncache = {{ ttl = \"5m\" }}\n\
             allow.all = {{ who = \"anyone\", methods = \"read\" }}\n",
            app.url
        ));
        let people = (0..count).map(|at| {
            let person = enrol(&gateway, &format!("person{at}"));
            let client = Client::new(&gateway);
            let page = client.sign_in(&gateway.facts.app, &person);
            assert_eq!(page.status, 200, "{page:?}");
            client
        });
        let people = people.collect();
        Self {
            app,
            gateway,
            people,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", origin(&self.gateway.facts.app))
    }

    /// Everybody asks for a path at once, over each version of HTTP, so many times; statuses and bodies.
    fn all_ask(&self, path: &str, times: usize) -> Vec<(u16, String)> {
        let ways = self
            .people
            .iter()
            .flat_map(|client| VERSIONS.map(|version| (client, version)));
        thread::scope(|scope| {
            let ways = ways.map(|(client, version)| {
                scope.spawn(move || self.asks(client, version, path, times))
            });
            let ways: Vec<_> = ways.collect();
            let all = ways.into_iter().map(|way| way.join().unwrap());
            all.flatten().collect()
        })
    }

    /// One person asks at once so many times, over HTTP/2 on one connection.
    fn asks(&self, client: &Client, version: &str, path: &str, times: usize) -> Vec<(u16, String)> {
        let (dir, url) = (Temp::new(), self.at(path));
        let file = |at: usize| dir.path().join(at.to_string());
        let mut list = String::new();
        for at in 0..times {
            writeln!(list, "url = \"{url}\"\noutput = \"{}\"", file(at).display()).unwrap();
        }
        let list = dir.write("urls", list).display().to_string();
        let cookie = client.cookie(host(&url), "__Host-postern").unwrap();
        let mut curl = Command::new("curl");
        curl.args(["-q", "-sS", "-Z", "--parallel-max", "100", version]);
        if version == "--http1.1" {
            curl.arg("--parallel-immediate");
        }
        curl.args(["--max-time", "60", "-K", &list]);
        curl.args(["-w", "%{http_code} %{filename_effective}\\n"]);
        curl.arg("--cacert").arg(&self.gateway.facts.ca_root);
        let port = self.gateway.https_port();
        curl.args(["--resolve", &format!("*:{port}:127.0.0.1")]);
        curl.args(["-H", &format!("Cookie: __Host-postern={cookie}")]);
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let answers = text.lines().map(|line| {
            let (status, file) = line.split_once(' ').unwrap();
            let body = std::fs::read_to_string(file).unwrap();
            (status.parse().unwrap(), body)
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), times, "{text}");
        answers
    }
}

fn bodies(all: &[(u16, String)]) -> HashSet<&str> {
    all.iter().map(|(_, body)| body.as_str()).collect()
}

#[test]
fn a_hundred_of_five_people_who_miss_the_same_make_one_request_where_it_is_shared() {
    let scene = Scene::new(
        "ttl = \"5m\", shared = \"prices are public in the house\"",
        5,
    );
    let all = scene.all_ask("/prices", EACH);
    assert_eq!(all.len(), 100);
    assert!(all.iter().all(|(status, _)| *status == 200), "{all:?}");
    assert_eq!(bodies(&all).len(), 1, "{all:?}");
    assert_eq!(scene.app.at("/prices").len(), 1);
}

#[test]
fn a_hundred_of_five_people_make_a_request_for_each_where_it_is_not_shared() {
    let scene = Scene::new("ttl = \"5m\"", 5);
    let all = scene.all_ask("/mine", EACH);
    assert!(all.iter().all(|(status, _)| *status == 200), "{all:?}");
    assert_eq!(bodies(&all).len(), 5, "{all:?}");
    assert_eq!(scene.app.at("/mine").len(), 5);
    let all = scene.all_ask("/plain", 1);
    assert_eq!(
        bodies(&all).len(),
        10,
        "where nothing is kept everybody asks"
    );
}

/// Where the first answer fails or may not be kept, those who waited for it ask at once, not one behind the other.
#[test]
fn a_hundred_who_waited_for_what_cannot_be_kept_get_their_own_answers_and_do_not_queue() {
    let scene = Scene::new(
        "ttl = \"5m\", shared = \"prices are public in the house\"",
        5,
    );
    for (path, status) in [("/not-stored", 200), ("/sets-cookie", 200), ("/fails", 503)] {
        let begin = Instant::now();
        let all = scene.all_ask(path, EACH);
        let took = begin.elapsed();
        let row = scene.app.in_a_row(path);
        let mut out = std::io::stderr();
        writeln!(out, "{path}: {row} in a row at the app, {took:?} in all").unwrap();
        assert!(all.iter().all(|(own, _)| *own == status), "{path}: {all:?}");
        assert_eq!(bodies(&all).len(), 100, "{path}");
        assert_eq!(scene.app.at(path).len(), 100, "{path}");
        assert!(row < IN_A_ROW, "{path}: {row}");
        assert!(took < 50 * LATE, "{path}: {took:?}");
    }
    // its twin: only the first fails, and what comes next is for all who waited
    let all = scene.all_ask("/first-fails", EACH);
    let failed = all.iter().filter(|(status, _)| *status == 500).count();
    let fine = all.iter().filter(|(status, _)| *status == 200).count();
    assert!(failed >= 1 && failed + fine == 100, "{all:?}");
    let row = scene.app.in_a_row("/first-fails");
    assert!(row < IN_A_ROW, "{row}");
}

/// Whom the gateway does not know the app may know by its own cookie.
#[test]
fn visitors_of_one_address_with_other_cookies_never_get_each_others_answer() {
    let scene = Scene::new("ttl = \"5m\"", 0);
    let ask = |version: &str, cookie: Option<&str>, path: &str| {
        let field = cookie.map(|cookie| format!("Cookie: {cookie}"));
        let mut args = vec![version];
        args.extend(field.iter().flat_map(|field| ["-H", field.as_str()]));
        let answer = Client::new(&scene.gateway).send(&scene.at(path), &args);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    for version in VERSIONS {
        let path = format!("/open/{version}");
        for _ in 0..2 {
            for cookie in [Some("basket=one"), Some("basket=two"), None] {
                let body = ask(version, cookie, &path);
                let own = format!(" to <{}>\n", cookie.unwrap_or_default());
                assert!(body.ends_with(&own), "{cookie:?} {version}: {body}");
            }
        }
        // its twin: who shows none is told what the last such was told
        let plain = format!("{path}/plain");
        let first = ask(version, None, &plain);
        assert_eq!(ask(version, None, &plain), first);
        assert_eq!(scene.app.at(&plain).len(), 1);
    }
}
