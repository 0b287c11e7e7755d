//! Tiers by role: exactly so many answers pass, the next is told to wait, and nobody else is touched.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use postern_tests::curl::{Client, host};
use postern_tests::gateway::{Gateway, Person};
use postern_tests::raw::{self, Tls};
use postern_tests::upstream::Recorder;
use postern_tests::wait::PATIENCE;

/// Requests on one connection.
const EACH: usize = 250;

/// A tier: what the policy says, how many pass at once, and after how long one more does.
struct Tier {
    text: &'static str,
    limit: u64,
    each: Duration,
}

const fn tier(text: &'static str, limit: u64, millis: u64) -> Tier {
    Tier {
        text,
        limit,
        each: Duration::from_millis(millis),
    }
}

const ANONYMOUS: Tier = tier("100/m burst 99", 100, 600);
const STAFF: Tier = tier("300/m burst 299", 300, 200);
const ADMIN: Tier = tier("1000/m burst 999", 1000, 60);
const EXPORT: Tier = tier("5/h burst 4", 5, 720_000);
/// As many as its count.
const PLAIN: Tier = tier("5/h", 5, 720_000);
const SIGN_IN: Tier = tier("5/m burst 5", 6, 12_000);

fn policy(upstream: &str) -> String {
    let people = "who = [\"demo\", \"guest\"]";
    let area = |path: &str, rate: &str| {
        format!("[app.app.\"/{path}\"]\nallow.people = {{ {people}, rate = \"{rate}\" }}\n")
    };
    let areas = ["export", "plain", "sign-in"].map(|name| area(name, name));
    let rates = [
        ("anonymous", ANONYMOUS),
        ("staff", STAFF),
        ("admin", ADMIN),
        ("export", EXPORT),
        ("plain", PLAIN),
        ("sign-in", SIGN_IN),
    ];
    let rates = rates.map(|(name, tier)| format!("{name} = \"{}\"\n", tier.text));
    format!(
        "postern = 1\n[group]\nadmins = [\"demo\"]\nstaff = [\"guest\"]\n[rate]\n{}\
         [admin]\nallow.admins = {{ who = \"@admins\" }}\n\
         [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\n\
         upstream = \"{upstream}\"\npublic = \"it says what it saw\"\n\
         allow.admin = {{ who = \"@admins\", rate = \"admin\" }}\n\
         allow.staff = {{ who = \"@staff\", rate = \"staff\" }}\n\
         allow.all = {{ who = \"anyone\", methods = \"read\", rate = \"anonymous\" }}\n{}",
        rates.concat(),
        areas.concat()
    )
}

/// What an answer says of a budget.
#[derive(Debug)]
struct Told {
    status: u16,
    limit: u64,
    remaining: u64,
    reset: u64,
    retry: Option<u64>,
}

/// Somebody who asks for a path from an address.
struct Asker<'a> {
    gateway: &'a Gateway,
    source: Ipv4Addr,
    cookie: Option<String>,
    open: Option<(Tls, usize)>,
}

impl<'a> Asker<'a> {
    /// Somebody without a session.
    fn nobody(gateway: &'a Gateway, last: u8) -> Self {
        Self {
            gateway,
            source: Ipv4Addr::new(127, 0, 3, last),
            cookie: None,
            open: None,
        }
    }

    fn signed_in(gateway: &'a Gateway, person: &Person) -> Self {
        let client = Client::new(gateway);
        let page = client.sign_in(&gateway.facts.app, person);
        assert_eq!(page.status, 200, "{page:?}");
        let cookie = client.cookie(host(&gateway.facts.app), "__Host-postern");
        Self {
            cookie,
            ..Self::nobody(gateway, 1)
        }
    }

    fn connect(&self) -> Tls {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.gateway.https_port());
        let facts = &self.gateway.facts;
        let tcp = raw::tcp_from(self.source, to);
        raw::tls_over(tcp, host(&facts.app), &facts.ca_root, PATIENCE)
    }

    fn ask(&mut self, path: &str) -> Told {
        let (mut tls, asked) = match self.open.take().filter(|(_, asked)| *asked < EACH) {
            Some(open) => open,
            None => (self.connect(), 0),
        };
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map_or(String::new(), |c| format!("Cookie: __Host-postern={c}\r\n"));
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: {}:{}\r\n{cookie}\r\n",
            host(&self.gateway.facts.app),
            self.gateway.https_port()
        );
        tls.write_all(text.as_bytes()).unwrap();
        let (head, whole) = raw::one_answer(&mut tls);
        assert!(whole, "{head}");
        self.open = Some((tls, asked + 1));
        read(&head)
    }
}

fn read(head: &str) -> Told {
    let field = |name: &str| {
        let mut all = head.lines().filter_map(|line| line.split_once(": "));
        let found = all.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.parse().unwrap())
    };
    let must = |name: &str| field(name).unwrap_or_else(|| panic!("no {name}: {head}"));
    let status = head.strip_prefix("HTTP/1.1 ").unwrap();
    Told {
        status: status[..3].parse().unwrap(),
        limit: must("ratelimit-limit"),
        remaining: must("ratelimit-remaining"),
        reset: must("ratelimit-reset"),
        retry: field("retry-after"),
    }
}

impl Tier {
    /// How long so many take to come back, in seconds, rounded up.
    fn seconds(&self, count: u64) -> u64 {
        let millis = u64::try_from(self.each.as_millis()).unwrap();
        (millis * count).div_ceil(1000)
    }

    /// Uses a full budget up: what comes back meanwhile passes besides, and not one more.
    fn used_up(&self, asker: &mut Asker<'_>, path: &str) {
        let begin = Instant::now();
        let mut passed = 0;
        let refused = loop {
            let told = asker.ask(path);
            let back = u64::try_from(begin.elapsed().as_millis() / self.each.as_millis()).unwrap();
            let shown = format!("{}: {told:?} behind {passed}, {back} back", self.text);
            assert_eq!(told.limit, self.limit, "{shown}");
            if told.status == 429 {
                assert!(passed >= self.limit, "{shown}");
                break told;
            }
            assert_eq!((told.status, told.retry), (200, None), "{shown}");
            passed += 1;
            let least = self.limit.saturating_sub(passed);
            assert!((least..=least + back).contains(&told.remaining), "{shown}");
            let gone = self.limit - told.remaining;
            assert_eq!(told.reset, self.seconds(gone), "{shown}");
            assert!(passed <= self.limit + back, "{shown}");
            assert!(begin.elapsed() < PATIENCE, "{shown}");
        };
        let over = begin.elapsed();
        let shown = format!("{}: {refused:?} behind {passed} in {over:?}", self.text);
        assert_eq!(refused.remaining, 0, "{shown}");
        assert_eq!(refused.reset, self.seconds(self.limit), "{shown}");
        // at most what one more takes, and no less than is left of that since the first was asked for
        let wait = refused.retry.unwrap();
        let least = self.each.saturating_sub(over).as_secs().max(1);
        assert!((least..=self.seconds(1)).contains(&wait), "{shown}");
        // past the capture of the test runner: the figure is a result
        let mut out = std::io::stderr();
        writeln!(out, "{shown}").unwrap();
    }

    /// Checks that a budget is whole.
    fn untouched(&self, asker: &mut Asker<'_>, path: &str) {
        let told = asker.ask(path);
        let all = (told.status, told.limit, told.remaining);
        assert_eq!(all, (200, self.limit, self.limit - 1), "{}", self.text);
    }
}

/// Source: seed checklist GO10, GO11 and PY; `limit_req` with burst.
#[test]
fn so_many_of_each_tier_pass_and_nobody_elses_budget_is_touched() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    gateway.set_policy(&postern_tests::policy::two_apps(&recorder.url(), ""));
    let mut demo = Asker::signed_in(&gateway, &gateway.facts.demo);
    let mut guest = Asker::signed_in(&gateway, &gateway.facts.guest);
    let [mut one, mut other, mut third] = [11, 12, 13].map(|last| Asker::nobody(&gateway, last));
    gateway.open_policy(&policy(&recorder.url()));
    // the role of an address, of which another knows nothing
    ANONYMOUS.used_up(&mut one, "/");
    ANONYMOUS.untouched(&mut other, "/");
    // what a person may is counted by person, in whatever role
    STAFF.used_up(&mut guest, "/");
    ADMIN.used_up(&mut demo, "/");
    ANONYMOUS.untouched(&mut third, "/");
    for (tier, path) in [
        (EXPORT, "/export"),
        (PLAIN, "/plain"),
        (SIGN_IN, "/sign-in"),
    ] {
        tier.used_up(&mut demo, path);
        tier.untouched(&mut guest, path);
    }
    // who has used one tier up has another
    assert_eq!(demo.ask("/export").status, 429);
    // a person has one budget wherever they come from
    let mut elsewhere = Asker {
        source: Ipv4Addr::new(127, 0, 3, 99),
        open: None,
        cookie: demo.cookie.clone(),
        gateway: &gateway,
    };
    assert_eq!(elsewhere.ask("/export").status, 429);
}
