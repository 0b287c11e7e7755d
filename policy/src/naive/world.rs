//! Random policies, written as text so that the whole way from file to decision is under test.

use std::net::IpAddr;

use super::tenants::{self, Below};
use super::{Request, Target};
use crate::diag::Diagnostic;
use crate::ir::{Device, Proto};
use crate::source::{FileId, Sources};

/// A small generator (`SplitMix64`): one seed, one world.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }

    pub(crate) fn some(&mut self, from: &[&str], most: usize) -> String {
        let words: Vec<String> = (0..=self.roll(most))
            .map(|_| format!("{:?}", self.pick(from)))
            .collect();
        format!("[{}]", words.join(", "))
    }
}

pub(crate) const USERS: [&str; 6] = ["u0", "u1", "u2", "u3", "u4", "u5"];
const WHO: [&str; 14] = [
    "@g0", "@g1", "@g2", "@g3", "u0", "u1", "u2", "any-user", "!u0", "!u1", "!@g0", "!@g1", "@g0",
    "u5",
];
const FROM: [&str; 5] = ["tunnel", "internet", "z0", "z1", "z2"];
const HOSTS: [&str; 5] = [
    "a.example",
    "b.example",
    "x.b.example",
    "c.a.example",
    "q.z.b.example",
];
const WHEN: [&str; 3] = ["s0", "s1", "s2"];
const SEGS: [&str; 4] = ["a", "b", "(c", "*"];
const METHODS: [&str; 8] = [
    "GET", "GET", "HEAD", "POST", "OPTIONS", "PROPFIND", "BREW", "TRACE",
];
const AGES: [&str; 4] = ["5m", "1h", "8h", "session"];

/// The sources of a random policy that loads.
pub(crate) fn sources(dice: &mut Dice) -> Sources {
    let mut parts = sections(dice);
    let mut below = Vec::new();
    if dice.chance(40) {
        parts.extend(tenants::root(dice));
        below.push(tenants::list(dice));
        below.extend(
            ["acme", "durand"]
                .into_iter()
                .flat_map(|name| tenants::files(dice, name)),
        );
    }
    settle(&mut parts, &below, dice)
}

/// Writes the parts of the root in random order, with what lies below, and mends them until they load.
pub(crate) fn settle(parts: &mut [String], below: &[Below], dice: &mut Dice) -> Sources {
    loop {
        for at in (1..parts.len()).rev() {
            let other = dice.roll(at + 1);
            parts.swap(at, other);
        }
        let mut sources = assemble(parts, dice);
        for (path, text) in below {
            match path.ends_with(".toml") {
                true => sources.add_at(path, path, text.clone()),
                false => sources.add_list(path, path, text.clone()),
            };
        }
        match crate::load(&sources) {
            Ok(_) => return sources,
            Err(diags) => repair(parts, &diags, &sources),
        }
    }
}

/// Adds a file with another text.
pub(crate) fn add_like(into: &mut Sources, from: &Sources, file: FileId, text: String) {
    let (path, relative) = (from.path(file), from.relative(file));
    match from.is_list(file) {
        true => into.add_list(path, relative, text),
        false => into.add_at(path, relative, text),
    };
}

/// Files in random order, each beginning with its version.
fn assemble(parts: &[String], dice: &mut Dice) -> Sources {
    let mut sources = Sources::new();
    let cut = dice.roll(parts.len() + 1);
    let (one, two) = parts.split_at(cut);
    sources.add("one.toml", format!("postern = 1\n{}", one.concat()));
    sources.add("two.toml", format!("postern = 1\n{}", two.concat()));
    let users: String = USERS
        .iter()
        .map(|u| format!("[user.{u}]\ndisabled = {}\n", *u == "u5"))
        .collect();
    sources.add("users.toml", format!("postern = 1\n{users}"));
    sources
}

/// What the compiler asks for where areas overlap is exactly what makes it content.
fn repair(parts: &mut [String], diags: &[Diagnostic], sources: &Sources) {
    for diag in diags {
        assert_eq!(diag.code, "overlap", "{}", diag.one_line(sources));
        let help = diag.help.as_deref().unwrap();
        let table = help
            .get(help.find('[').unwrap()..=help.rfind(']').unwrap())
            .unwrap();
        let app = format!("{}]", table.get(..6).unwrap());
        let part = parts
            .iter_mut()
            .find(|part| part.starts_with(&app))
            .unwrap();
        if !part.contains(table) {
            part.push_str(&format!("{table}\nallow.fix = {{ who = \"@g1\" }}\n"));
        }
    }
}

pub(crate) fn sections(dice: &mut Dice) -> Vec<String> {
    let mut parts = vec![
        "[zone]\nz0 = [\"10.0.0.0/8\", \"2001:db8::/32\"]\nz1 = \"10.1.0.0/16\"\nz2 = [\"10.1.2.0/24\", \"10.1.2.3\"]\n".to_owned(),
        format!(
            "[group-optional]\ng0 = {}\ng1 = {}\ng2 = [\"@g0\", {:?}]\ng3 = []\n",
            dice.some(&USERS, 2),
            dice.some(&USERS, 2),
            dice.pick(&USERS)
        ),
        "[schedule.s0]\ndays = \"mon-fri\"\ntime = \"07:00-21:00\"\ntz = \"Europe/Paris\"\n[schedule.s1]\ntime = \"22:00-03:30\"\ntz = \"America/New_York\"\n[schedule.s2]\ndays = [\"sat-mon\"]\nbetween = \"2026-03-20..2026-10-25\"\ntz = \"Europe/Paris\"\n".to_owned(),
        format!("[default]\nmfa = {:?}\nlogin = \"10h\"\n{}", dice.pick(&AGES), headers(dice)),
        "[headers]\nh0 = { X-User = \"{user} {{}}\", X-Groups = \"{groups}\" }\nh1 = { x-rule = \"{rule}\" }\nh2 = {}\n".to_owned(),
        format!("[admin]\nshadow = {}\n{}", dice.chance(10), allows(dice, "any-user", On::Console)),
    ];
    parts.extend((0..dice.roll(3)).map(|at| guard(dice, at)));
    parts.extend(["a", "b", "s"].map(|id| app(dice, id)));
    parts.push(nets(dice));
    parts
}

fn guard(dice: &mut Dice, at: usize) -> String {
    let mut out = format!("[deny.d{at}]\nreason = \"r\"\n");
    let on = ["app.a", "app.b", "net.n0", "admin"];
    out.push_str(&format!("on = {}\n", dice.some(&on, 2)));
    if dice.chance(60) {
        out.push_str(&format!(
            "who = [{:?}, {:?}]\n",
            dice.pick(&WHO[..8]),
            dice.pick(&WHO)
        ));
    }
    if dice.chance(50) {
        out.push_str(&format!("from = {}\n", dice.some(&FROM, 1)));
    }
    if dice.chance(30) {
        out.push_str(&format!("when = {}\n", dice.some(&WHEN, 1)));
    }
    if dice.chance(30) {
        out.push_str(&format!("unless-when = {}\n", dice.some(&WHEN, 1)));
    }
    if dice.chance(20) {
        out.push_str("shadow = true\n");
    }
    if dice.chance(40) {
        out.push_str(&format!(
            "device-not = {:?}\n",
            dice.pick(&["known", "managed"])
        ));
    }
    out
}

fn app(dice: &mut Dice, id: &str) -> String {
    let hosts = match id {
        "a" => "[\"a.example\"]",
        "b" => "[\"b.example\", \"*.b.example\"]",
        _ => "[\"x.b.example\", \"c.a.example\"]\nshadow = true",
    };
    let mut out = format!(
        "[app.{id}]\nhost = {hosts}\nupstream = \"http://h\"\n{}",
        allows(dice, "@g0", On::Area)
    );
    out.push_str(&headers(dice));
    out.push_str(lanes(dice));
    if dice.chance(40) {
        out.push_str("path-params = true\n");
    } else if dice.chance(60) {
        out.push_str(dice.pick(&[
            "encoded-slashes = true\n",
            "empty-segments = true\n",
            "encoded-slashes = true\nempty-segments = true\n",
        ]));
    }
    if dice.chance(20) {
        out.push_str("preflight = true\n");
    }
    if id == "b" && dice.chance(50) {
        out.push_str(dice.pick(&["windows = true\n", "case-insensitive = true\n"]));
    }
    if dice.chance(30) {
        out.push_str(&format!(
            "[app.{id}.\"/sh\"]\nshadow = true\n{}",
            allows(dice, "u1", On::Area)
        ));
    }
    let mut seen: Vec<String> = vec!["/".to_owned()];
    for _ in 0..dice.roll(6) {
        let mut path: String = (0..=dice.roll(3))
            .map(|_| format!("/{}", dice.pick(&SEGS)))
            .collect();
        if dice.chance(30) {
            path.insert(0, '=');
        }
        if seen.contains(&path) {
            continue;
        }
        out.push_str(&format!("[app.{id}.{path:?}]\n{}", headers(dice)));
        out.push_str(lanes(dice));
        if dice.chance(20) {
            out.push_str("public = \"p\"\nallow.open = { who = \"anyone\", methods = \"GET\" }\n");
        }
        out.push_str(&allows(dice, "u1", On::Area));
        seen.push(path);
    }
    out
}

/// Where a rule stands, which says what it may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Area,
    Console,
    Net,
}

pub(crate) fn allows(dice: &mut Dice, first: &str, on: On) -> String {
    let mut out = String::new();
    for at in 0..dice.roll(4) {
        let mut rule = format!("who = [{first:?}, {:?}]", dice.pick(&WHO));
        if dice.chance(50) {
            rule = format!("who = [{:?}, {:?}]", dice.pick(&WHO[..8]), dice.pick(&WHO));
        }
        if dice.chance(40) {
            rule.push_str(&format!(", from = {}", dice.some(&FROM, 1)));
        }
        if dice.chance(25) {
            rule.push_str(&format!(", when = {}", dice.some(&WHEN, 1)));
        }
        if dice.chance(10) {
            rule.push_str(", shadow = true");
        }
        if dice.chance(25) {
            rule.push_str(&format!(
                ", device = {:?}",
                dice.pick(&["any", "known", "managed"])
            ));
        }
        if dice.chance(40) {
            rule.push_str(&format!(
                ", mfa = {:?}",
                dice.pick(&["none", "session", "5m", "1h"])
            ));
        }
        if dice.chance(25) {
            rule.push_str(&format!(", login = {:?}", dice.pick(&["1h", "20h"])));
        }
        if dice.chance(15) {
            rule.push_str(dice.pick(&[", idle = \"10m\"", ", sessions = 2"]));
        }
        if on != On::Net && dice.chance(40) {
            rule.push_str(&format!(
                ", methods = {}",
                dice.some(&["read", "GET", "POST", "PROPFIND"], 1)
            ));
        }
        if on == On::Area && dice.chance(15) {
            rule.push_str(&format!(", headers = {:?}", dice.pick(&["h0", "h2"])));
        }
        out.push_str(&format!("allow.r{at} = {{ {rule} }}\n"));
    }
    out
}

/// What an area takes beside a sign-in, in a third of them.
fn lanes(dice: &mut Dice) -> &'static str {
    match dice.roll(9) {
        0 => "device-only = true\n",
        1 => "tokens = \"1h\"\n",
        2 => "device-only = true\ntokens = \"20d\"\n",
        _ => "",
    }
}

fn headers(dice: &mut Dice) -> String {
    let set = dice.pick(&["h0", "h1", "h2"]);
    match dice.chance(25) {
        true => format!("headers = {set:?}\n"),
        false => String::new(),
    }
}

fn nets(dice: &mut Dice) -> String {
    let shapes = [
        ("10.0.0.0/8", "1-100/tcp"),
        ("10.1.0.0/16", "20-30/tcp"),
        ("10.1.2.3", "22/tcp"),
        ("10.1.0.0/16", "22/tcp"),
        ("2001:db8::/32", "[\"22/udp\", \"icmp\"]"),
    ];
    let mut out = String::new();
    for (at, (to, port)) in shapes.iter().enumerate() {
        if at > 0 && dice.chance(40) {
            continue;
        }
        let port = if port.starts_with('[') {
            (*port).to_owned()
        } else {
            format!("{port:?}")
        };
        out.push_str(&format!(
            "[net.n{at}]\nto = {to:?}\nport = {port}\nshadow = {}\n{}",
            dice.chance(20),
            allows(dice, "@g2", On::Net)
        ));
    }
    out
}

pub(crate) fn request(dice: &mut Dice) -> Request {
    let request = request_of(dice);
    match dice.chance(30) {
        true => tenants::aimed(dice, request),
        false => request,
    }
}

pub(crate) fn request_of(dice: &mut Dice) -> Request {
    let ips = [
        "10.0.0.1",
        "10.1.0.9",
        "10.1.2.3",
        "10.1.2.9",
        "192.0.2.1",
        "2001:db8::1",
        "2001:db9::1",
    ];
    let ip = |dice: &mut Dice| dice.pick(&ips).parse::<IpAddr>().unwrap();
    let target = match dice.roll(8) {
        0 => Target::Admin(dice.pick(&METHODS).to_owned()),
        1 | 2 => Target::Flow(
            ip(dice),
            dice.pick(&[1, 21, 22, 23, 100, 443]),
            dice.pick(&[Proto::Tcp, Proto::Tcp, Proto::Udp, Proto::Icmp]),
        ),
        _ => {
            let segs = [
                "a",
                "b",
                "a;x=1",
                "b;",
                "%28c",
                "(c",
                "z",
                "%2A",
                "%C3%A9",
                "A",
                "sh",
                "SH",
                "b.",
                "a~1",
                "%28C",
                "a%2Fb",
                "b%2fa%2Fz",
                "",
            ];
            let mut path: String = (0..dice.roll(5))
                .map(|_| format!("/{}", dice.pick(&segs)))
                .collect();
            if path.is_empty() || dice.chance(20) {
                path.push('/');
            }
            Target::Http(
                dice.pick(&HOSTS).to_owned(),
                path,
                dice.pick(&METHODS).to_owned(),
            )
        }
    };
    Request {
        user: dice.chance(80).then(|| dice.pick(&USERS).to_owned()),
        mfa_age: dice.pick(&[
            None,
            Some(0),
            Some(300),
            Some(301),
            Some(3600),
            Some(30_000),
        ]),
        login_age: dice.pick(&[0, 3600, 3601, 36_000, 36_001, 90_000]),
        device: dice.pick(&[Device::Any, Device::Known, Device::Managed]),
        ip: ip(dice),
        tunnel: dice.chance(25),
        unix: unix(dice),
        target,
    }
}

/// Anywhere in a year, around a change of offset, or not known.
fn unix(dice: &mut Dice) -> Option<i64> {
    let offset = |dice: &mut Dice, days: usize| i64::try_from(dice.roll(days * 86_400)).unwrap();
    match dice.roll(10) {
        0 => None,
        1..=4 => Some(1_774_656_000 + offset(dice, 4)),
        _ => Some(1_767_225_600 + offset(dice, 400)),
    }
}
