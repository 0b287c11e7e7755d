//! Names in the tunnel, asked by dig on the laptop: our own, those of the office and all others,
//! before sign-in and after it, as the policy says.

use std::time::Duration;

use postern_tests::journal;
use postern_tests::office::Office;
use postern_tests::policy;
use postern_tests::resolver::{LARGE, LIFETIME, Resolver};
use postern_tests::wait;

const LIMIT: Duration = postern_tests::wait::PATIENCE;
const OFFICE_DNS: &str = "10.78.0.2:53";
const OTHER_DNS: &str = "10.78.0.2:5353";
const ADDRESS: &str = "192.0.2.77";

/// An office with a resolver of its own and one for all other names.
struct Names {
    office: Office,
    inner: Resolver,
    other: Resolver,
}

impl Names {
    fn new(dns: &str) -> Self {
        let mut office = Office::new();
        let inner = office.inside.enter(|| Resolver::start(OFFICE_DNS));
        let other = office.inside.enter(|| Resolver::start(OTHER_DNS));
        office.gateway.stop();
        office.gateway.edit_config(|text| {
            *text = text.replace(
                "[tunnel]\n",
                &format!("[tunnel]\ndns = [\"{OTHER_DNS}\"]\n"),
            );
            text.push_str(&format!(
                "\n[tunnel.zones]\n\"corp.example\" = [\"{OFFICE_DNS}\"]\n"
            ));
        });
        office.gateway.start_again();
        let names = Self {
            office,
            inner,
            other,
        };
        names.say(dns);
        wait::until_true(LIMIT, "an answer", || {
            names.dig("gate.postern.internal", &[]).status == "NOERROR"
        });
        names
    }

    /// Changes what the policy says of names.
    fn say(&self, dns: &str) {
        let section = if dns.is_empty() {
            String::new()
        } else {
            format!("[tunnel]\ndns = {dns}\n")
        };
        let url = self.office.recorder.url();
        self.office
            .gateway
            .open_policy(&policy::two_apps(&url, &section));
    }

    fn sign_in(&self) {
        let facts = &self.office.gateway.facts;
        let page = self
            .office
            .browser()
            .sign_in(&facts.tunnel_portal, &facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
    }

    fn dig(&self, name: &str, options: &[&str]) -> Answer {
        let server = format!("@{}", self.office.tunnel_address());
        let mut command = self.office.outside.command("dig");
        command.args(["+tries=2", "+time=5", "+nocookie", &server, name]);
        let output = command.args(options).output().unwrap();
        Answer::read(&String::from_utf8(output.stdout).unwrap())
    }

    /// Returns the state of an answer and, where it has one, the address.
    fn brief(&self, name: &str) -> String {
        let answer = self.dig(name, &[]);
        let address = answer.lines.first().and_then(|line| line.last());
        format!("{} {}", answer.status, address.map_or("", |a| a.as_str()))
    }
}

/// What dig shows.
#[derive(Debug)]
struct Answer {
    /// `NOERROR` and the like; `none` where nobody answered.
    status: String,
    flags: String,
    /// The records of the answer, in words.
    lines: Vec<Vec<String>>,
}

impl Answer {
    fn read(text: &str) -> Self {
        let after = |mark: &str, end: char| {
            let (_, rest) = text.split_once(mark)?;
            rest.split_once(end).map(|(found, _)| found.to_owned())
        };
        let lines = text
            .lines()
            .filter(|l| !l.starts_with(';') && !l.is_empty());
        Self {
            status: after("status: ", ',').unwrap_or_else(|| "none".to_owned()),
            flags: after("flags: ", ';').unwrap_or_default(),
            lines: lines
                .map(|l| l.split_whitespace().map(str::to_owned).collect())
                .collect(),
        }
    }
}

#[test]
fn each_kind_of_name_goes_its_own_way_and_office_names_wait_for_the_sign_in() {
    let names = Names::new("");
    let own = format!("NOERROR {}", names.office.tunnel_address());
    let found = format!("NOERROR {ADDRESS}");
    for name in ["gate.postern.internal", "app.gate.postern.internal"] {
        assert_eq!(names.brief(name), own, "{name}");
    }
    assert_eq!(names.brief("www.example.net"), found);
    assert_eq!(names.brief("host.corp.example"), "REFUSED ");
    assert_eq!(names.inner.asked("udp", "host.corp.example"), 0);
    let record = journal::wait_for(&names.office.gateway, "dns-refused.1", |r| {
        journal::is(r, "path", "host.corp.example")
    });
    assert_eq!(record["reason"], "quarantine", "{record}");
    assert!(record["device"].is_string(), "{record}");

    names.sign_in();
    assert_eq!(names.brief("host.corp.example"), found);
    assert_eq!(names.inner.asked("udp", "host.corp.example"), 1);
    assert_eq!(names.other.asked("udp", "host.corp.example"), 0);
    assert_eq!(names.inner.asked("udp", "www.example.net"), 0);
    assert_eq!(names.brief("app.gate.postern.internal"), own);
}

#[test]
fn an_answer_is_kept_for_its_time_and_given_in_the_letters_of_the_question() {
    let names = Names::new("");
    let first = names.dig("www.example.net", &[]);
    let again = names.dig("WWW.Example.net", &[]);
    assert_eq!(names.other.asked("udp", "www.example.net"), 1);
    assert_eq!(again.lines[0][0], "WWW.Example.net.", "{again:?}");
    let left = |answer: &Answer| answer.lines[0][1].parse::<u32>().unwrap();
    assert_eq!(left(&first), LIFETIME);
    assert!(left(&again) <= LIFETIME, "{again:?}");
    names.dig("www.example.net", &["+tcp"]);
    assert_eq!(names.other.asked("udp", "www.example.net"), 1);
    for _ in 0..2 {
        // no word on how long its absence lasts
        assert_eq!(names.brief("absent.example.net"), "NXDOMAIN ");
    }
    assert_eq!(names.other.asked("udp", "absent.example.net"), 2);
}

#[test]
fn signatures_pass_to_who_wants_them_and_a_cut_answer_comes_whole_by_tcp() {
    let names = Names::new("");
    let signed = names.dig("signed.example.net", &["+dnssec"]);
    let kinds: Vec<&str> = signed.lines.iter().map(|line| line[3].as_str()).collect();
    assert_eq!(kinds, ["A", "RRSIG"], "{signed:?}");
    let plain = names.dig("signed.example.net", &[]);
    assert_eq!(plain.lines.len(), 1, "{plain:?}");
    let cut = names.dig("large.example.net", &["TXT", "+ignore"]);
    assert!(cut.flags.split(' ').any(|flag| flag == "tc"), "{cut:?}");
    let whole = names.dig("large.example.net", &["TXT"]);
    let text: String = whole.lines[0][4..].concat();
    assert_eq!(text.matches('x').count(), LARGE);
    assert_eq!(names.other.asked("tcp", "large.example.net"), 1);
    // larger than a datagram of the tunnel holds, from what was kept
    let cut = names.dig("large.example.net", &["TXT", "+ignore"]);
    assert!(cut.flags.split(' ').any(|flag| flag == "tc"), "{cut:?}");
}

#[test]
fn the_policy_says_what_is_answered_before_sign_in_and_what_never() {
    let names = Names::new(
        "{ others = \"forward\", quarantine = \"sign-in\", refuse = [\"ads.example\"] }",
    );
    let own = format!("NOERROR {}", names.office.tunnel_address());
    let found = format!("NOERROR {ADDRESS}");
    assert_eq!(names.brief("gate.postern.internal"), own);
    for name in [
        "app.gate.postern.internal",
        "www.example.net",
        "a.corp.example",
    ] {
        assert_eq!(names.brief(name), "REFUSED ", "{name}");
    }
    names.say("{ quarantine = \"own\" }");
    assert_eq!(names.brief("app.gate.postern.internal"), own);
    assert_eq!(names.brief("www.example.net"), "REFUSED ");

    names.say("{ quarantine = \"sign-in\", refuse = [\"ads.example\"] }");
    names.sign_in();
    for name in ["www.example.net", "a.corp.example", "loads.example"] {
        assert_eq!(names.brief(name), found, "{name}");
    }
    assert_eq!(names.brief("x.Ads.example"), "REFUSED ");
    assert_eq!(names.other.asked("udp", "x.ads.example"), 0);
    journal::wait_for(&names.office.gateway, "dns-refused.1", |r| {
        journal::is(r, "path", "x.ads.example") && journal::is(r, "reason", "policy")
    });
    names.say("{ others = \"refuse\" }");
    assert_eq!(
        names.brief("www.example.net"),
        "REFUSED ",
        "though it is kept"
    );
    assert_eq!(names.brief("a.corp.example"), found);
}
