use std::sync::Arc;

use serde_json::Value;

use super::{Record, Stamped, Sum, render};
use crate::audit::{Answer, Durability, Event, Inputs, reason};
use crate::ids::{DeviceId, SessionId};

fn line(record: Record, sum: Option<Sum>, prev: Option<&str>) -> String {
    let mut out = Vec::new();
    let stamped = Stamped {
        at: 1_700_000_000_123,
        record,
        sum,
    };
    render(&mut out, 7, &stamped, prev);
    out.push(b'}');
    String::from_utf8(out).unwrap()
}

fn parsed(record: Record) -> Value {
    serde_json::from_str(&line(record, None, None)).unwrap()
}

#[test]
fn a_bare_record_has_every_field_in_the_order_of_the_contract() {
    assert_eq!(
        line(
            Record::new(Event::AccessDecided, "deny", reason::NO_RULE),
            None,
            None
        ),
        concat!(
            r#"{"seq":7,"time":"2023-11-14T22:13:20.123Z","event":"access-decided.1","#,
            r#""outcome":"deny","reason":"no-rule","rule":null,"user":null,"device":null,"#,
            r#""source":null,"host":null,"method":null,"path":null,"status":null,"#,
            r#""request_id":null,"policy":null,"session":null,"bytes":null,"ms":null,"#,
            r#""detail":null,"code":null,"inputs":null}"#
        )
    );
}

#[test]
fn a_full_record_has_the_same_fields() {
    let record = Record {
        rule: Some("app.paie#staff".into()),
        user: Some("demo".into()),
        device: Some(DeviceId(7)),
        session: Some(SessionId(1)),
        source: Some("2001:db8::1".parse().unwrap()),
        host: Some("paie.example.org".into()),
        method: Some("GET".into()),
        path: Some("/a".into()),
        status: Some(200),
        request_id: Some("r1".into()),
        policy: Some("p1".into()),
        bytes: Some(12),
        ms: Some(3),
        detail: Some("x".into()),
        code: Some("D-7K3QXN2A".into()),
        inputs: Some(Box::new(Inputs {
            at: 1_700_000_000,
            tunnel: true,
            zones: "office,lan".into(),
            class: policy::Device::Known,
            by: policy::Proof::SignIn,
            mfa_age: Some(5),
            login_age: Some(60),
            shadow: Some(Answer {
                outcome: policy::Outcome::StepUp,
                rule: "app.paie#new".into(),
            }),
            own: None,
            rate: Some("normal".into()),
            headers: None,
            nearest: Some("app.paie#it: from, mfa".to_owned()),
            console: false,
        })),
        ..Record::new(Event::AccessDecided, "allow", reason::RULE)
    };
    let sum = Sum {
        count: 9,
        first: 1_700_000_000_000,
        last: 1_700_000_000_123,
    };
    assert_eq!(
        line(record, Some(sum), Some("00")),
        concat!(
            r#"{"seq":7,"time":"2023-11-14T22:13:20.123Z","event":"access-decided.1","#,
            r#""outcome":"allow","reason":"rule","rule":"app.paie#staff","user":"demo","#,
            r#""device":"d7","source":"2001:db8::1","host":"paie.example.org","method":"GET","#,
            r#""path":"/a","status":200,"request_id":"r1","policy":"p1","#,
            r#""session":"saaaaaaaaaaaac","bytes":12,"ms":3,"detail":"x","#,
            r#""code":"D-7K3QXN2A","inputs":{"at":1700000000,"tunnel":true,"zones":"office,lan","#,
            r#""class":"known","mfa_age":5,"login_age":60,"#,
            r#""shadow":{"outcome":"step-up","rule":"app.paie#new"},"own":null,"rate":"normal","#,
            r#""nearest":"app.paie#it: from, mfa"},"count":9,"#,
            r#""first":"2023-11-14T22:13:20.000Z","last":"2023-11-14T22:13:20.123Z","prev":"00"}"#
        )
    );
}

#[test]
fn a_justification_stands_in_the_record_of_what_it_was_given_for() {
    let why = "été ".repeat(50);
    let decided = Record {
        justification: Some(why.as_str().into()),
        ..Record::new(Event::AccessDecided, "allow", reason::RULE)
    };
    let ended = parsed(decided.sequel(Event::RequestEnded));
    assert_eq!(parsed(decided)["justification"], *why);
    assert_eq!(ended.get("justification"), None);
}

#[test]
fn what_became_of_a_decision_is_not_one() {
    let decided = Record {
        user: Some("demo".into()),
        code: Some("D-7K3QXN2A".into()),
        ..Record::default()
    };
    let value = parsed(decided.sequel(Event::RequestEnded));
    assert_eq!(
        (&value["user"], &value["code"]),
        (&"demo".into(), &Value::Null)
    );
    assert_eq!(value["event"], "request-ended.1");
}

#[test]
fn event_names_are_those_of_the_contract() {
    let names: Vec<_> = Event::ALL.iter().map(|event| event.name()).collect();
    assert_eq!(
        names.join(" "),
        "signed-in.1 sign-in-failed.1 signed-out.1 session-ended.1 access-decided.1 \
         request-ended.1 flow-decided.1 flow-ended.1 dns-refused.1 limited.1 banned.1 \
         unbanned.1 user-changed.1 device-changed.1 factor-changed.1 policy-applied.1 \
         policy-rejected.1 certificate-changed.1 key-rotated.1 started.1 stopped.1 \
         clock-jumped.1 audit-read.1 mail-failed.1 cache-purged.1 token-changed.1"
    );
    assert_eq!(Event::named("signed-in"), Some(Event::SignedIn));
    assert_eq!(Event::named("signed-in.1"), Some(Event::SignedIn));
    assert_eq!(Event::named("signed-in.2"), None);
}

#[test]
fn text_cannot_end_a_line_or_reorder_it() {
    let evil = "a\"b\\c\r\n\u{1b}[2J\u{202e}\u{2066}\u{85}\u{e0041}é";
    let record = Record {
        user: Some(evil.into()),
        ..Record::default()
    };
    let line = line(record.clone(), None, None);
    assert!(!line.chars().any(super::is_deceptive));
    assert!(line.contains('é'));
    assert_eq!(parsed(record)["user"], evil);
}

#[test]
fn long_text_is_cut_at_a_character() {
    let record = Record {
        user: Some("é".repeat(300).into()),
        path: Some("p".repeat(2000)),
        detail: Some("d".repeat(256)),
        ..Record::default()
    };
    let value = parsed(record);
    assert_eq!(value["user"], "é".repeat(128) + "…");
    assert_eq!(value["path"], "p".repeat(1024) + "…");
    assert_eq!(value["detail"], "d".repeat(256));
}

#[test]
fn query_and_fragment_never_reach_the_journal() {
    let with = |path: &str| {
        parsed(Record {
            path: Some(path.into()),
            ..Record::default()
        })["path"]
            .clone()
    };
    assert_eq!(with("/a/b?token=s3cret"), "/a/b");
    assert_eq!(with("/a#t"), "/a");
    assert_eq!(with("/a/b"), "/a/b");
}

#[test]
fn reads_are_batched_and_acts_are_durable() {
    let decision = |outcome, method: &str, user: Option<&str>| {
        Record {
            method: Some(method.into()),
            user: user.map(Arc::from),
            ..Record::new(Event::AccessDecided, outcome, reason::RULE)
        }
        .durability()
    };
    assert_eq!(decision("allow", "GET", Some("u")), Durability::Batched);
    assert_eq!(decision("allow", "POST", Some("u")), Durability::Durable);
    assert_eq!(decision("deny", "GET", Some("u")), Durability::Durable);
    assert_eq!(decision("deny", "GET", None), Durability::Batched);
    let failed = Record::new(Event::SignInFailed, "failed", reason::BAD_PASSWORD);
    assert_eq!(failed.durability(), Durability::Durable);
}
