//! What is looked at: decisions, policy and health, and the changes of the policy.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::fake::Office;
use super::{asking_json, line, with_token};
use crate::console::{
    Amend, Answer, Asked, Certificate, Change, Disk, Effect, Entry, FileDiff, FileLine, FileText,
    Findings, Health, Journal, Ledger, Listing, NotKept, NotMade, Overview, Past, Question,
    Rulebook, StreamCount, TestLine, Told, Upstream, Waiting,
};
use crate::control::{
    AppClock, AuditStatus, Code, PolicyStatus, Refusal, Status, TunnelStatus, Verdict,
};
use crate::edits::lines::Mark;
use crate::explain::Which;
use crate::pages::Lang;
use crate::pages::tests::fake::Fake;
use crate::pages::tests::handlers::{get, post};
use crate::reload::Finding;
use crate::reload::guards::{Accept, Stop};

/// What a change of the policy comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    InForce,
    Held,
    Wrong,
    Stale,
}

type Puts = Arc<Mutex<Vec<(Change, Accept, Option<u64>)>>>;

/// A made-up policy and journal.
#[derive(Clone, Default)]
pub(super) struct Book {
    fate: Fate,
    puts: Puts,
    confirmed: Arc<Mutex<usize>>,
}

impl Book {
    fn effect(&self, in_force: bool) -> Result<Effect, NotMade> {
        let files = vec![FileDiff {
            path: "policy.toml".to_owned(),
            lines: vec![line(Mark::New, "new <b>")],
        }];
        let stop = Stop {
            guard: "world-open".to_owned(),
            text: "2 pairs open".to_owned(),
            accept: Some("--accept-wider 2".to_owned()),
        };
        let stops = match self.fate {
            Fate::InForce => Vec::new(),
            Fate::Held => vec![stop],
            Fate::Wrong => return Err(NotMade::Wrong(vec![finding()])),
            Fate::Stale => return Err(NotMade::Stale(files)),
        };
        let in_force = in_force && stops.is_empty();
        Ok(Effect {
            files,
            verdict: verdict(in_force, stops),
        })
    }
}

fn verdict(in_force: bool, stops: Vec<Stop>) -> Verdict {
    Verdict {
        in_force,
        changed: true,
        digest: "d".repeat(64),
        generation: 3,
        widened: 2,
        narrowed: 0,
        changes: serde_json::Value::Array(Vec::new()),
        settings: serde_json::Value::Array(Vec::new()),
        text: "+ deny -> allow   anyone   app.wiki\n".to_owned(),
        notes: Vec::new(),
        warnings: Vec::new(),
        stops,
        confirm_until: None,
        kept: None,
        not_written: None,
    }
}

fn finding() -> Finding {
    Finding {
        file: "policy.toml".to_owned(),
        line: 2,
        column: 7,
        severity: "error",
        title: "unknown group `@itt`".to_owned(),
        help: Some("did you mean `@it`?".to_owned()),
    }
}

fn entry() -> Entry {
    let text = r#"{"seq":7,"time":"2026-10-12T10:00:00.000Z","event":"access-decided.1","outcome":"deny","reason":"no-rule","rule":"builtin.default","user":"<i>zoe","source":"192.0.2.7","host":"pay.example","method":"GET","path":"/x","code":"D-7K3QXN2A"}"#;
    serde_json::from_str(text).unwrap()
}

#[async_trait]
impl Ledger for Book {
    async fn page(&self, asked: &Asked) -> Result<Listing, Refusal> {
        let taken = asked.user.as_deref() != Some("nobody");
        Ok(Listing {
            records: taken.then(entry).into_iter().collect(),
            older: Some("2026-10-12:77".to_owned()),
            cut: !taken,
            seq: 9,
        })
    }

    async fn wait(&self, _: &Asked, after: u64) -> Result<Listing, Refusal> {
        match after {
            0 => Err(Refusal::new(Code::Permission, "no longer allowed")),
            _ => Ok(Listing {
                records: vec![entry()],
                seq: 9,
                ..Listing::default()
            }),
        }
    }

    async fn explain(&self, which: &Which) -> Result<Option<Told>, Refusal> {
        Ok((*which == Which::Seq(7)).then(|| Told {
            record: entry(),
            past: None,
            end: None,
            why_not: Some("not a decision".to_owned()),
            text: "told <b>\n".to_owned(),
        }))
    }
}

#[async_trait]
impl Rulebook for Book {
    async fn overview(&self) -> Result<Overview, Refusal> {
        let past = |generation| Past {
            generation: Some(generation),
            digest: Some("d".repeat(12)),
            time: "2026-10-12T10:00:00.000Z".to_owned(),
            how: "apply",
            by: "zoe".to_owned(),
            result: "applied".to_owned(),
            widened: 1,
            narrowed: 0,
            why: None,
            kept: true,
        };
        Ok(Overview {
            digest: "d".repeat(64),
            generation: 3,
            loaded: "2026-10-12T10:00:00.000Z".to_owned(),
            cached: false,
            files: vec![FileLine {
                name: "policy.toml".to_owned(),
                bytes: 12,
                in_force: false,
            }],
            same: false,
            error: Some("policy.toml:1:1: <b>".to_owned()),
            pending: Some(Waiting {
                generation: 3,
                until: "2026-10-12T10:05:00.000Z".to_owned(),
            }),
            history: vec![past(3), past(2)],
        })
    }

    async fn file(&self, name: &str) -> Result<Option<FileText>, Refusal> {
        Ok((name == "policy.toml").then(|| FileText {
            name: name.to_owned(),
            text: "postern = 1 # </textarea>".to_owned(),
            base: "base".to_owned(),
        }))
    }

    async fn findings(&self) -> Result<Findings, Refusal> {
        Ok(Findings {
            digest: "d".repeat(64),
            lint: vec![finding()],
            tests: vec![TestLine {
                name: "<b>".to_owned(),
                at: "policy.toml:9".to_owned(),
                passed: true,
                expected: "allow".to_owned(),
                got: "allow".to_owned(),
            }],
        })
    }

    async fn answer(&self, question: &Question) -> Result<Answer, Refusal> {
        match question {
            Question::WhatCan(_) => Err(Refusal::new(Code::Data, "unknown user `<b>`")),
            Question::WhoCan(_) | Question::Explain(_) => Ok(Answer {
                text: "app.wiki\n  <b>zoe\n".to_owned(),
                json: serde_json::json!({"resource": "app.wiki"}),
            }),
        }
    }

    async fn preview(&self, _: &Change, _: &Accept) -> Result<Effect, NotMade> {
        self.effect(false)
    }
}

#[async_trait]
impl Amend for Book {
    async fn put(
        &self,
        change: &Change,
        accept: &Accept,
        confirm_s: Option<u64>,
    ) -> Result<Effect, NotMade> {
        let put = (change.clone(), accept.clone(), confirm_s);
        self.puts.lock().push(put);
        self.effect(true)
    }

    async fn confirm(&self) -> Result<(), NotKept> {
        *self.confirmed.lock() += 1;
        Ok(())
    }
}

pub(super) fn health() -> Health {
    Health {
        status: Status {
            version: "0.0.0".to_owned(),
            uptime_s: 90_061,
            policy: PolicyStatus {
                digest: "d".repeat(64),
                generation: 3,
                loaded: "2026-10-12T10:00:00.000Z".to_owned(),
                error: None,
                cached: false,
                confirm_until: None,
            },
            listeners: vec!["https 0.0.0.0:443".to_owned()],
            tunnel: TunnelStatus {
                state: "off".to_owned(),
                why: None,
                dropped: std::collections::BTreeMap::new(),
                refused: std::collections::BTreeMap::new(),
            },
            devices: Vec::new(),
            sessions: 2,
            audit: AuditStatus { seq: 9, ok: true },
            room: None,
            certificates: Vec::new(),
            upstreams: Vec::new(),
            loads: Vec::new(),
            app_clocks: Vec::new(),
        },
        certificates: vec![Certificate {
            names: vec!["gate.example".to_owned()],
            not_after: "2026-10-20T10:00:00.000Z".to_owned(),
            days_left: 8,
        }],
        journal: Journal {
            files: 1,
            bytes: 2048,
        },
        disk: Disk {
            free: Some(1 << 30),
            total: Some(1 << 31),
        },
        store_bytes: Some(4096),
        upstreams: vec![Upstream {
            url: "http://10.0.0.1:80".to_owned(),
            apps: vec!["app.wiki".to_owned()],
            open: Some(false),
        }],
        bans: 1,
        rates: 2,
        streams: vec![StreamCount {
            kind: "request",
            count: 1,
        }],
    }
}

const PAGES: [&str; 12] = [
    "/admin/decisions",
    "/admin/decisions?user=nobody&live=1",
    "/admin/decisions/7",
    "/admin/policy",
    "/admin/policy/file?name=policy.toml",
    "/admin/policy/rollback?to=2",
    "/admin/policy/folder",
    "/admin/policy/findings",
    "/admin/policy/ask",
    "/admin/policy/ask?ask=who-can&resource=app.wiki",
    "/admin/certs",
    "/admin/health",
];
const FILE: &str = "/admin/policy/file?name=policy.toml";

#[tokio::test]
async fn every_page_is_shown_in_every_language_and_as_json_and_marks_up_nothing_foreign() {
    let nadia = Fake::nadia();
    for office in [Office::default(), Office::of_auditor()] {
        for path in PAGES {
            for lang in ["en", "fr", "de"] {
                let joint = if path.contains('?') { '&' } else { '?' };
                let path = format!("{path}{joint}lang={lang}");
                let page = nadia.console(Some(office.looking()), get(&path)).await;
                assert!(page.is_page(), "{path}: {}", page.body());
                for foreign in ["<b>zoe", "<i>zoe", "told <b>", "# </textarea>", "new <b>"] {
                    assert!(!page.body().contains(foreign), "{path}: {foreign}");
                }
            }
            let json = nadia
                .console(Some(office.looking()), asking_json(path))
                .await;
            assert_eq!(json.status(), 200, "{path}");
            let model: serde_json::Value = serde_json::from_str(json.body()).unwrap();
            assert!(model.is_object(), "{path}");
        }
    }
}

#[test]
fn the_clock_of_the_machine_is_told_once_three_apps_agree() {
    let words = |lang| crate::console::texts::Health::of(lang);
    let mut health = health();
    let app = AppClock {
        user: "zoe".to_owned(),
        off_s: 120,
        at: String::new(),
    };
    health.status.app_clocks = vec![app.clone(); 2];
    assert_eq!(health.clock(words(Lang::En)), None);
    health.status.app_clocks.push(app);
    for (lang, said) in [
        (Lang::En, "about 120 s behind"),
        (Lang::Fr, "retarde d’environ 120 s"),
        (Lang::De, "etwa 120 s nach"),
    ] {
        let told = health.clock(words(lang)).unwrap();
        assert!(told.contains(said), "{told}");
    }
}

#[tokio::test]
async fn who_may_only_look_is_offered_no_act() {
    let nadia = Fake::nadia();
    for (path, acts) in [
        ("/admin/policy", true),
        (FILE, true),
        ("/admin/policy/rollback?to=2", true),
        ("/admin/sessions", true),
        ("/admin/tokens", true),
        ("/admin/people", true),
        ("/admin/person?user=zoe", true),
        ("/admin/group?group=it", true),
        ("/admin/devices", true),
        ("/admin/bans", true),
        ("/admin/certs", true),
        ("/admin/decisions", false),
        ("/admin/health", false),
    ] {
        for (office, may_act) in [(Office::default(), true), (Office::of_auditor(), false)] {
            let page = nadia.console(Some(office.looking()), get(path)).await;
            assert!(page.is_page(), "{path}: {}", page.body());
            let marks = [
                "name=\"do\"",
                "/admin/do/",
                "/policy/confirm\"",
                "/rollback?to=2\"",
            ];
            let offered = marks.iter().any(|mark| page.body().contains(mark));
            assert_eq!(offered, acts && may_act, "{path} {may_act}");
        }
    }
}

fn form(more: &str) -> String {
    with_token(&format!("&text=a%0D%0Ab&base=base{more}"))
}

#[tokio::test]
async fn an_edit_is_checked_without_being_made_and_made_when_it_is_applied() {
    let (office, nadia) = (Office::default(), Fake::nadia());
    let send = |more: &'static str| nadia.console(Some(office.acting()), post(FILE, &form(more)));
    let checked = send("&do=check").await;
    assert!(checked.is_page(), "{}", checked.body());
    assert!(checked.body().contains("value=\"apply\"") && checked.body().contains("<ins>"));
    assert!(office.book.puts.lock().is_empty());
    let applied = send("&do=apply&confirm=5&wider=2").await;
    assert_eq!(applied.status(), 303);
    assert_eq!(applied.header("location"), "/admin/policy?done=1");
    let change = Change::Edit {
        name: "policy.toml".to_owned(),
        text: "a\nb".to_owned(),
        base: "base".to_owned(),
    };
    let accept = Accept {
        wider: Some(2),
        ..Accept::default()
    };
    assert_eq!(*office.book.puts.lock(), [(change, accept, Some(300))]);
}

#[tokio::test]
async fn what_is_wrong_held_or_overtaken_is_said_and_the_text_stays() {
    for (fate, status, said) in [
        (Fate::Wrong, 422, "policy.toml:2:7"),
        (Fate::Held, 409, "name=\"wider\" value=\"2\""),
        (Fate::Stale, 409, "/admin/policy/file?name=policy.toml\">"),
    ] {
        let mut office = Office::default();
        office.book.fate = fate;
        let sent = post(FILE, &form("&do=apply"));
        let answer = Fake::nadia().console(Some(office.acting()), sent).await;
        assert_eq!(answer.status(), status, "{fate:?}");
        assert!(answer.body().contains(said), "{fate:?}: {}", answer.body());
        assert!(answer.body().contains("a\nb</textarea>"), "{fate:?}");
    }
}

#[tokio::test]
async fn nothing_is_changed_without_token_or_a_permit_to_act() {
    let (office, nadia) = (Office::default(), Fake::nadia());
    for path in [
        FILE,
        "/admin/policy/rollback",
        "/admin/policy/folder",
        "/admin/policy/confirm",
    ] {
        let good = match path {
            "/admin/policy/confirm" => with_token(""),
            FILE => with_token("&do=apply&text=a&base=b"),
            _ => with_token("&do=apply"),
        };
        for (console, body) in [
            (Some(office.acting()), "csrf=wrong&do=apply".to_owned()),
            (Some(office.looking()), good.clone()),
            (None, good.clone()),
        ] {
            let answer = nadia.console(console, post(path, &body)).await;
            assert!([400, 403].contains(&answer.status()), "{path}");
        }
        assert!(office.book.puts.lock().is_empty(), "{path}");
        assert_eq!(*office.book.confirmed.lock(), 0, "{path}");
        // the twin
        let done = nadia
            .console(Some(office.acting()), post(path, &good))
            .await;
        assert_eq!(done.status(), 303, "{path}: {}", done.body());
        let made = office.book.puts.lock().drain(..).count();
        let kept = std::mem::take(&mut *office.book.confirmed.lock());
        assert_eq!(made + kept, 1, "{path}");
    }
}

#[tokio::test]
async fn an_edit_without_its_text_or_a_word_of_what_to_do_is_no_edit() {
    let (office, nadia) = (Office::default(), Fake::nadia());
    for more in [
        "&do=apply",
        "&do=apply&text=a",
        "&do=apply&base=b",
        "&do=nonsense&text=a&base=b",
    ] {
        let sent = post(FILE, &with_token(more));
        let answer = nadia.console(Some(office.acting()), sent).await;
        assert_eq!(answer.status(), 400, "{more}");
        assert!(office.book.puts.lock().is_empty(), "{more}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_means_nothing_is_told_calmly() {
    let (office, nadia) = (Office::default(), Fake::nadia());
    for (path, status) in [
        ("/admin/decisions/8", 422),
        ("/admin/decisions/x", 404),
        ("/admin/decisions?since=yesterday", 422),
        ("/admin/decisions/events", 400),
        ("/admin/decisions/events?after=x", 400),
        ("/admin/decisions/events?after=0", 403),
        ("/admin/decisions/events?after=1", 200),
        ("/admin/policy/file", 404),
        ("/admin/policy/file?name=../x", 404),
        ("/admin/policy/ask?ask=what-can&user=x", 422),
    ] {
        let answer = nadia.console(Some(office.looking()), get(path)).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    let minutes = post(FILE, &form("&do=apply&confirm=9999"));
    let answer = nadia.console(Some(office.acting()), minutes).await;
    assert_eq!(answer.status(), 422);
    assert!(office.book.puts.lock().is_empty());
}
