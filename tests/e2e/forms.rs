//! Forms that no page of ours sends: each is refused calmly, on record once, and changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_tests::curl::{Answer, Client, host, origin};
use postern_tests::gateway::Gateway;
use postern_tests::smtp::Sink;
use postern_tests::{html, journal, routes};

const URLENCODED: &str = "Content-Type: application/x-www-form-urlencoded";

/// A form: its path and query, fields it must have besides the token, and fields it may have.
struct Sheet {
    target: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const fn sheet(target: &'static str, required: &'static [&'static str]) -> Sheet {
    Sheet {
        target,
        required,
        optional: &[],
    }
}

const fn loose(
    target: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
) -> Sheet {
    Sheet {
        target,
        required,
        optional,
    }
}

const OF_STRANGERS: &[Sheet] = &[
    sheet("/signin", &["username", "password"]),
    sheet("/signin/code", &["code"]),
    sheet("/signin/recovery", &["recovery"]),
    sheet("/signin/forgot", &["username"]),
    sheet("/signin/reset", &["password", "again"]),
    sheet("/enrol", &["code"]),
    sheet("/enrol/some-token", &["code"]),
];
const OF_PEOPLE: &[Sheet] = &[
    sheet("/signin/step-up", &["code"]),
    sheet("/signin/reason", &["reason"]),
    sheet("/signin/device/key", &["key"]),
    sheet("/account/extend", &["code"]),
    sheet("/signout", &[]),
    sheet("/account/end", &["session"]),
    sheet("/account/end-others", &[]),
    sheet("/account/end-all", &[]),
    sheet("/account/notice", &["notice"]),
    sheet("/account/confirm", &["act", "password", "code"]),
    sheet("/account/password", &["password", "again"]),
    sheet("/account/app", &["code"]),
    sheet("/account/codes", &[]),
    sheet("/account/devices/rename", &["device", "name"]),
    sheet("/account/devices/revoke", &["device"]),
    sheet("/account/devices/add", &["name", "public_key"]),
    sheet("/account/tokens/make", &["app", "name", "days"]),
    sheet("/account/tokens/revoke", &["token"]),
];
/// Taken only from a device in the tunnel that waits for a proof, as `reproof.rs` has one.
const OF_HELD_DEVICES: [&str; 2] = ["/signin/device", "/signin/device/proof"];
const OF_AN_APP: &[Sheet] = &[sheet("/.postern/signout", &[])];
const CHANGE: &[&str] = &["text", "base", "confirm", "wider", "loss", "back", "own"];
const OF_ADMINISTRATORS: &[Sheet] = &[
    loose(
        "/admin/do/end-sessions?user=guest",
        &[],
        &["digest", "wider", "accept"],
    ),
    loose(
        "/admin/policy/file?name=policy.toml",
        &["do", "text", "base"],
        &["confirm", "wider", "loss", "back", "own"],
    ),
    loose("/admin/policy/rollback", &["do"], CHANGE),
    loose("/admin/policy/folder", &["do"], CHANGE),
    sheet("/admin/policy/confirm", &[]),
];
/// What tells of a change.
const CHANGES: [&str; 11] = [
    "signed-in.1",
    "signed-out.1",
    "session-ended.1",
    "factor-changed.1",
    "sign-in-failed.1",
    "user-changed.1",
    "device-changed.1",
    "token-changed.1",
    "policy-applied.1",
    "policy-rejected.1",
    "banned.1",
];

/// Somebody at a host of the gateway, with a token for its forms.
struct Sender<'a> {
    gateway: &'a Gateway,
    client: Client,
    origin: String,
    csrf: String,
    /// Second number of the addresses it sends from.
    place: u8,
    /// Ids of requests, with what was sent.
    sent: BTreeMap<String, String>,
}

impl<'a> Sender<'a> {
    fn new(gateway: &'a Gateway, client: Client, page: &Answer, place: u8) -> Self {
        let csrf = page.form("csrf").value("csrf").unwrap().to_owned();
        Self {
            gateway,
            client,
            origin: origin(&page.url).to_owned(),
            csrf,
            place,
            sent: BTreeMap::new(),
        }
    }

    fn fields(&self, names: &[&str]) -> Vec<(String, String)> {
        let mut fields = vec![("csrf".to_owned(), self.csrf.clone())];
        fields.extend(names.iter().map(|n| ((*n).to_owned(), "x".to_owned())));
        fields
    }

    /// Sends a body as a page of ours would; `more` are further words for curl.
    fn send(&mut self, path: &str, body: &[u8], more: &[&str], what: &str) -> Answer {
        let file = self.gateway.dir().join("body");
        std::fs::write(&file, body).unwrap();
        let (data, from) = (
            format!("@{}", file.display()),
            format!("Origin: {}", self.origin),
        );
        let mut args = vec![
            "-X",
            "POST",
            "--data-binary",
            &data,
            "-H",
            "Accept: text/html",
        ];
        // many refusals from one place would be summed up in one record
        let n = self.sent.len();
        let source = format!("127.{}.{}.{}", self.place, n / 250, n % 250 + 1);
        args.extend(["-H", "Expect:", "--interface", &source]);
        if !more.iter().any(|m| m.starts_with("Origin")) {
            args.extend(["-H", &from]);
        }
        if !more
            .iter()
            .any(|m| m.to_lowercase().starts_with("content-type"))
        {
            args.extend(["-H", URLENCODED]);
        }
        args.extend(more);
        let answer = self.client.send(&format!("{}{path}", self.origin), &args);
        self.keep(&answer, path, what);
        answer
    }

    /// Asserts a calm page with a request id, and keeps the id.
    fn keep(&mut self, answer: &Answer, path: &str, what: &str) {
        let status = answer.status;
        assert!((400..500).contains(&status), "{path}, {what}: {answer:?}");
        assert!(answer.body.contains("<main"), "{path}, {what}: {answer:?}");
        let id = answer.body.rsplit_once("<dd><code>").map(|(_, rest)| rest);
        let id = id.and_then(|rest| rest.split('<').next());
        let id = id.unwrap_or_else(|| panic!("{path}, {what}: no request id: {answer:?}"));
        let double = self.sent.insert(id.to_owned(), format!("{path}, {what}"));
        assert_eq!(double, None, "an id of two requests");
    }

    /// Sends everything that is wrong with a form.
    fn torment(&mut self, sheet: &Sheet) {
        let path = sheet.target;
        let good = self.fields(&[sheet.required, sheet.optional].concat());
        for at in 0..good.len() {
            let name = &good[at].0;
            if !sheet.optional.contains(&name.as_str()) {
                let mut without = good.clone();
                without.remove(at);
                self.send(path, &encoded(&without), &[], &format!("no {name}"));
            }
            let mut doubled = good.clone();
            doubled.push(good[at].clone());
            self.send(path, &encoded(&doubled), &[], &format!("two {name}"));
            let mut long = good.clone();
            long[at].1 = "x".repeat(1 << 20);
            let answer = self.send(path, &encoded(&long), &[], &format!("1 MiB of {name}"));
            assert_eq!(answer.status, 413, "{path} {name}");
            for (bad, what) in [
                ("%E9", "Latin-1"),
                ("%C3", "half a letter"),
                ("%zz", "no hex"),
                ("%00", "NUL"),
            ] {
                let body = with(&good, at, bad);
                let answer = self.send(path, &body, &[], &format!("{what} in {name}"));
                assert_eq!(answer.status, 400, "{path} {name} {what}");
            }
        }
        let body = encoded(&good);
        let text = String::from_utf8(body.clone()).unwrap();
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (body, what) in [
            (format!("{text}&admin=1").into_bytes(), "a field it has not"),
            (format!("{text}&a%00b=1").into_bytes(), "NUL in a name"),
            (format!("{text}&").into_bytes(), "half a field"),
            (utf16, "UTF-16"),
            (b"\0".repeat(64), "NUL"),
            (b"\xff\xfe".to_vec(), "no text"),
        ] {
            let answer = self.send(path, &body, &[], what);
            assert_eq!(answer.status, 400, "{path}, {what}");
        }
        for kind in [
            "Content-Type: application/json",
            "Content-Type: multipart/form-data; boundary=a",
            "Content-Type: text/plain",
            "Content-Type: application/x-www-form-urlencoded; charset=iso-8859-1",
            "Content-Type:",
        ] {
            let answer = self.send(path, &body, &["-H", kind], kind);
            assert_eq!(answer.status, 415, "{path}, {kind}");
        }
        let packed = ["-H", "Content-Encoding: gzip"];
        let answer = self.send(path, &body, &packed, "packed");
        assert_eq!(answer.status, 415, "{path}");
        for from in ["Origin: https://evil.example", "Origin: null"] {
            let answer = self.send(path, &body, &["-H", from], from);
            assert_eq!(answer.status, 403, "{path}, {from}");
        }
        for method in ["PUT", "DELETE", "PATCH"] {
            let answer = self.send(path, &body, &["-X", method], method);
            assert_eq!(answer.status, 405, "{path}, {method}");
        }
    }

    /// Sends the console's acts as no page of it does.
    fn torment_deeds(&mut self) {
        let query = "user=guest&group=admins&session=x&device=x&class=known&network=192.0.2.7\
            &time=1h&note=x&reason=x&name=x";
        for deed in routes::deeds() {
            // who is there cannot be added, and the other way round
            let query = match deed.as_str() {
                "add" => "user=zoe",
                _ => query,
            };
            let path = format!("/admin/do/{deed}?{query}");
            let body = encoded(&self.fields(&[]));
            self.send(&path, b"", &[], "no token");
            self.send(&path, b"csrf=x", &[], "a wrong token");
            let text = String::from_utf8(body.clone()).unwrap();
            for (more, what) in [
                (text.as_str(), "two tokens"),
                ("user=demo", "another field"),
            ] {
                let body = format!("{text}&{more}");
                let answer = self.send(&path, body.as_bytes(), &[], what);
                assert_eq!(answer.status, 400, "{path}, {what}");
            }
            let json = ["-H", "Content-Type: application/json"];
            assert_eq!(self.send(&path, &body, &json, "JSON").status, 415, "{path}");
            let from = ["-H", "Origin: https://evil.example"];
            assert_eq!(self.send(&path, &body, &from, "evil").status, 403, "{path}");
        }
    }

    /// Each request is on record once, by the page that refused it.
    fn are_on_record_once(&self) {
        let all = || {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for record in journal::search(self.gateway, &["--limit", "100000"]) {
                if let Some(id) = record["request_id"].as_str()
                    && record["event"] != "request-ended.1"
                {
                    *counts.entry(id.to_owned()).or_default() += 1;
                }
            }
            counts
        };
        // what the journal lags behind by
        let last = Instant::now() + Duration::from_secs(5);
        let mut counts = all();
        while !self.sent.keys().all(|id| counts.contains_key(id)) && Instant::now() < last {
            counts = all();
        }
        let odd = self
            .sent
            .iter()
            .map(|(id, what)| (counts.get(id).copied().unwrap_or(0), what));
        let odd: Vec<_> = odd.filter(|(times, _)| *times != 1).collect();
        assert!(
            odd.is_empty(),
            "{} of {}: {odd:#?}",
            odd.len(),
            self.sent.len()
        );
    }
}

fn encoded(fields: &[(String, String)]) -> Vec<u8> {
    let pairs: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join("&").into_bytes()
}

/// The fields with an escape as the value of one.
fn with(fields: &[(String, String)], at: usize, value: &str) -> Vec<u8> {
    let mut fields = fields.to_vec();
    value.clone_into(&mut fields[at].1);
    encoded(&fields)
}

fn changes(gateway: &Gateway) -> Vec<usize> {
    let count = |event: &&str| journal::search(gateway, &["--event", event, "--limit", "100000"]);
    CHANGES.iter().map(|event| count(event).len()).collect()
}

#[test]
fn every_form_of_the_gateway_is_in_the_lists() {
    let sheets = [OF_STRANGERS, OF_PEOPLE, OF_AN_APP, OF_ADMINISTRATORS];
    let sheets = || sheets.iter().copied().flatten();
    let path = |sheet: &Sheet| sheet.target.split('?').next().unwrap().to_owned();
    let forms = routes::all().into_iter().filter(|route| route.post);
    let forms: Vec<_> = forms.collect();
    let missing: Vec<_> = forms
        .iter()
        .filter(|route| !OF_HELD_DEVICES.contains(&route.path.as_str()))
        .filter(|route| !sheets().any(|sheet| route.is(&path(sheet))))
        .collect();
    assert!(missing.is_empty(), "forms without a test: {missing:?}");
    for sheet in sheets() {
        let known = forms.iter().any(|route| route.is(&path(sheet)));
        assert!(known, "{} is no form any more", sheet.target);
    }
}

#[test]
fn a_form_that_no_page_of_ours_sends_is_refused_on_record_and_changes_nothing() {
    let sink = Sink::new();
    let gateway = with_mail(&sink);
    let link = gateway.must(&["user", "invite", "guest"]);
    let person = Client::new(&gateway);
    let portal = person.sign_in(&gateway.facts.portal, &gateway.facts.demo);
    assert_eq!(person.follow(&gateway.facts.app).status, 200);
    let app = person.follow(&format!("{}.postern/signout", gateway.facts.app));
    let stranger = Client::new(&gateway);
    let page = stranger.follow(link.trim());
    assert_eq!(page.status, 200, "{page:?}");
    let before = changes(&gateway);

    let mut outside = Sender::new(&gateway, stranger, &page, 21);
    OF_STRANGERS.iter().for_each(|form| outside.torment(form));
    outside.are_on_record_once();
    let mut inside = Sender::new(&gateway, person, &portal, 22);
    OF_PEOPLE.iter().for_each(|form| inside.torment(form));
    inside.are_on_record_once();
    let good = String::from_utf8(encoded(&inside.fields(&["code"]))).unwrap();
    for path in OF_HELD_DEVICES {
        let url = format!("{}{path}", inside.origin);
        let from = format!("Origin: {}", inside.origin);
        let answer = inside.client.send(&url, &["-H", &from, "-d", &good]);
        assert!([303, 401].contains(&answer.status), "{path}: {answer:?}");
    }
    let mut leaving = Sender::new(&gateway, inside.client, &app, 23);
    OF_AN_APP.iter().for_each(|form| leaving.torment(form));
    leaving.are_on_record_once();
    println!(
        "{} forms",
        outside.sent.len() + inside.sent.len() + leaving.sent.len()
    );

    assert_eq!(changes(&gateway), before);
    assert_eq!(leaving.client.open(&gateway.facts.portal).status, 200);
    assert_eq!(leaving.client.open(&gateway.facts.app).status, 200);
    assert_eq!(outside.client.follow(link.trim()).status, 200, "the link");
    assert!(
        sink.mails()
            .iter()
            .all(|mail| !mail.text.contains("/reset/"))
    );
}

#[test]
fn what_no_page_of_the_console_sends_is_refused_on_record_and_changes_nothing() {
    let gateway = Gateway::demo();
    let admin = Client::new(&gateway);
    let url = format!("{}admin/people", gateway.facts.portal);
    let page = admin.sign_in(&url, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let guest = Client::new(&gateway);
    drop(guest.sign_in(&gateway.facts.portal, &gateway.facts.guest));
    let users = || std::fs::read_to_string(gateway.facts.policy.join("users.toml")).unwrap();
    let before = (changes(&gateway), gateway.policy_text(), users());

    let mut sender = Sender::new(&gateway, admin, &page, 24);
    OF_ADMINISTRATORS
        .iter()
        .for_each(|form| sender.torment(form));
    sender.torment_deeds();
    sender.are_on_record_once();
    println!("{} forms", sender.sent.len());

    let after = (changes(&gateway), gateway.policy_text(), users());
    assert_eq!(after, before);
    assert_eq!(guest.open(&gateway.facts.portal).status, 200);
    assert_eq!(gateway.must(&["ban", "list", "--json"]), "");
    // the same forms from the pages themselves are taken
    let good = encoded(&sender.fields(&[]));
    let from = format!("Origin: {}", sender.origin);
    let end = format!("{}/admin/do/end-sessions?user=guest", sender.origin);
    let body = String::from_utf8(good).unwrap();
    let done = sender.client.send(&end, &["-H", &from, "-d", &body]);
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(guest.open(&gateway.facts.portal).status, 303);
}

/// A demo whose mails go to a server of the tests.
fn with_mail(sink: &Sink) -> Gateway {
    let mut gateway = Gateway::demo();
    gateway.stop();
    gateway.edit_config(|text| text.push_str(&sink.section()));
    gateway.start_again();
    gateway
}

#[test]
fn two_cookies_of_one_name_are_none() {
    let gateway = Gateway::demo();
    let client = Client::new(&gateway);
    let portal = client.sign_in(&gateway.facts.portal, &gateway.facts.demo);
    assert_eq!(portal.status, 200, "{portal:?}");
    let at = host(&gateway.facts.portal);
    let cookie = client.cookie(at, "__Host-postern").unwrap();
    let one = format!("__Host-postern={cookie}");
    let other = format!("__Host-postern={}", "A".repeat(43));
    let ask = |cookies: &[&str]| {
        let lines: Vec<_> = cookies.iter().map(|c| format!("Cookie: {c}")).collect();
        let args: Vec<_> = lines.iter().flat_map(|l| ["-H", l.as_str()]).collect();
        let answer = Client::new(&gateway).send(&gateway.facts.portal, &args);
        let to = answer.location().unwrap_or_default();
        assert!(
            answer.status == 200 || to.ends_with("/signin"),
            "{answer:?}"
        );
        answer.status
    };
    assert_eq!(ask(&[&one]), 200);
    for doubled in [
        format!("{one}; {one}"),
        format!("{one}; {other}"),
        format!("{other}; {one}"),
    ] {
        assert_eq!(ask(&[&doubled]), 303, "{doubled}");
    }
    assert_eq!(ask(&[&one, &other]), 303, "on two lines");
    // the nonce of a form, twice
    let form = html::form_with(
        &Client::new(&gateway).follow(&gateway.facts.portal).body,
        "password",
    );
    let csrf = form.unwrap().value("csrf").unwrap().to_owned();
    let from = format!("Origin: {}", origin(&gateway.facts.portal));
    let nonces = "Cookie: __Host-postern-csrf=a; __Host-postern-csrf=b";
    let body = format!("csrf={csrf}&username=demo&password=x");
    let url = format!("{}signin", gateway.facts.portal);
    let args = ["-H", nonces, "-H", &from, "-d", &body];
    assert_eq!(Client::new(&gateway).send(&url, &args).status, 403);
    assert_eq!(client.open(&gateway.facts.portal).status, 200);
}

#[test]
fn old_and_broken_links_end_at_a_calm_page() {
    let gateway = Gateway::demo();
    let old = gateway.must(&["user", "invite", "guest"]);
    let new = gateway.must(&["user", "invite", "guest"]);
    let client = Client::new(&gateway);
    let cut = &new.trim()[..new.trim().len() - 1];
    let long = format!("{}{}", new.trim(), "A".repeat(4000));
    for dead in [old.trim(), cut, &long, &format!("{}%00", new.trim())] {
        let answer = client.follow(dead);
        assert!((400..500).contains(&answer.status), "{dead}: {answer:?}");
        assert!(answer.body.contains("<main"), "{dead}: {answer:?}");
        assert!(!answer.body.contains("name=\"code\""), "{dead}");
    }
    assert_eq!(client.follow(new.trim()).status, 200);
    for path in [
        "signin?rt=%00",
        "signin?rt=a&rt=b",
        "signin?lang=xx&lang=%ff",
        "signin?anew",
        "signin/code?rt=../..",
        "?lang=",
    ] {
        let answer = client.follow(&format!("{}{path}", gateway.facts.portal));
        assert!(answer.status < 500, "{path}: {answer:?}");
        assert!(answer.body.contains("<main"), "{path}: {answer:?}");
    }
}
