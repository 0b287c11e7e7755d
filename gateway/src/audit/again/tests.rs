use policy::{AuditInput, AuditTarget, Device, Outcome, Proto};

use super::{Decided, Line, Lost, Said, read};
use crate::audit::record::{Record, Stamped, Sum, render};
use crate::audit::{Answer, Event, Inputs, reason};

fn line(record: Record, sum: Option<Sum>) -> Vec<u8> {
    let mut out = Vec::new();
    let stamped = Stamped {
        at: 1_700_000_000_999,
        record,
        sum,
    };
    render(&mut out, 7, &stamped, None);
    out.extend_from_slice(b",\"chain\":\"00\"}");
    out
}

fn inputs() -> Inputs {
    Inputs {
        at: 1_700_000_000,
        tunnel: false,
        zones: "office".into(),
        class: Device::Known,
        by: policy::Proof::SignIn,
        mfa_age: Some(5),
        login_age: Some(60),
        shadow: None,
        own: None,
        rate: None,
        headers: None,
        nearest: None,
        console: false,
    }
}

fn request() -> Record {
    Record {
        rule: Some("app.pay#staff".into()),
        user: Some("ann".into()),
        source: Some("192.0.2.1".parse().unwrap()),
        host: Some("pay.example.org".into()),
        method: Some("POST".into()),
        path: Some("/a/b".into()),
        policy: Some("p1".into()),
        code: Some("D-7K3QXN2A".into()),
        inputs: Some(Box::new(inputs())),
        ..Record::new(Event::AccessDecided, "allow", reason::RULE)
    }
}

fn decided(record: Record) -> Decided {
    let read = read(&line(record, None));
    let Line::Decided(decided) = read else {
        panic!("{read:?}");
    };
    *decided
}

fn lost(line: &[u8]) -> (Lost, u64) {
    let read = read(line);
    let Line::Lost(lost, count) = read else {
        panic!("{read:?}");
    };
    (lost, count)
}

#[test]
fn a_decision_is_read_as_it_was_taken() {
    assert_eq!(
        decided(request()),
        Decided {
            input: AuditInput {
                seq: 7,
                user: Some("ann".into()),
                by: policy::Proof::SignIn,
                source: "192.0.2.1".parse().unwrap(),
                tunnel: false,
                unix: 1_700_000_000,
                device: Device::Known,
                mfa_age: Some(5),
                login_age: 60,
                target: AuditTarget::Http {
                    host: "pay.example.org".into(),
                    path: "/a/b".into(),
                    method: "POST".into(),
                },
                outcome: Outcome::Allow,
                rule: "app.pay#staff".into(),
            },
            count: 1,
            time: "2023-11-14T22:13:20.999Z".into(),
            user: Some("ann".into()),
            zones: "office".into(),
            code: Some("D-7K3QXN2A".into()),
            policy: Some("p1".into()),
            shadow: None,
            refused: None,
        }
    );
}

#[test]
fn a_flow_is_read_with_its_destination() {
    let to = |path: &str| {
        let record = Record {
            event: Event::FlowDecided,
            path: Some(path.into()),
            ..request()
        };
        decided(record).input.target
    };
    let flow = |dst: &str, port, proto| AuditTarget::Flow {
        dst: dst.parse().unwrap(),
        port,
        proto,
    };
    assert_eq!(to("tcp://10.1.2.3:22"), flow("10.1.2.3", 22, Proto::Tcp));
    assert_eq!(to("udp://[fd00::1]:53"), flow("fd00::1", 53, Proto::Udp));
    assert_eq!(to("icmp://10.1.2.3:0"), flow("10.1.2.3", 0, Proto::Icmp));
}

#[test]
fn a_question_about_the_console_is_read_as_one() {
    let record = Record {
        inputs: Some(Box::new(Inputs {
            console: true,
            ..inputs()
        })),
        ..request()
    };
    let method = "POST".to_owned();
    assert_eq!(decided(record).input.target, AuditTarget::Admin { method });
}

#[test]
fn a_refusal_of_the_gateways_own_keeps_what_the_policy_said() {
    let own = Answer {
        outcome: Outcome::Allow,
        rule: "app.pay#staff".into(),
    };
    let record = Record {
        rule: None,
        inputs: Some(Box::new(Inputs {
            own: Some(own),
            ..inputs()
        })),
        outcome: "deny",
        reason: reason::QUARANTINE,
        ..request()
    };
    let decided = decided(record);
    assert_eq!(decided.refused.as_deref(), Some("quarantine"));
    assert_eq!(decided.input.outcome, Outcome::Allow);
    assert_eq!(decided.input.rule, "app.pay#staff");
}

#[test]
fn what_was_decided_as_for_nobody_is_decided_so_again() {
    let record = Record {
        inputs: Some(Box::new(Inputs {
            mfa_age: None,
            login_age: None,
            shadow: Some(Answer {
                outcome: Outcome::Deny,
                rule: "deny.x".into(),
            }),
            ..inputs()
        })),
        ..request()
    };
    let decided = decided(record);
    assert_eq!(decided.user.as_deref(), Some("ann"));
    assert_eq!(decided.input.user, None);
    let shadow = Said {
        outcome: Outcome::Deny,
        rule: "deny.x".into(),
    };
    assert_eq!(decided.shadow, Some(shadow));
}

#[test]
fn a_path_that_fits_is_whole_and_a_longer_one_is_lost() {
    let with = |len: usize| Record {
        path: Some(format!("/{}", "p".repeat(len - 1))),
        ..request()
    };
    decided(with(1024));
    assert_eq!(lost(&line(with(1025), None)), (Lost::PathCut, 1));
}

#[test]
fn a_rule_that_was_cut_is_not_known() {
    let record = Record {
        rule: Some(format!("app.pay/{}#x", "p".repeat(300)).into()),
        ..request()
    };
    assert_eq!(decided(record).input.rule, "");
}

#[test]
fn a_sum_counts_for_all_it_stands_for() {
    let sum = Some(Sum {
        count: 9,
        first: 1_700_000_000_000,
        last: 1_700_000_000_500,
    });
    let read_back = read(&line(request(), sum));
    let Line::Decided(decided) = read_back else {
        panic!("{read_back:?}");
    };
    assert_eq!(decided.count, 9);
    let differing = Record {
        path: None,
        inputs: None,
        ..request()
    };
    assert_eq!(lost(&line(differing, sum)), (Lost::Summed, 9));
}

#[test]
fn what_cannot_be_decided_again_says_why() {
    let own_page = Record {
        rule: Some("builtin.own-pages".into()),
        inputs: None,
        reason: reason::OWN_PAGE,
        ..request()
    };
    assert_eq!(lost(&line(own_page, None)), (Lost::Gateway, 1));
    let earlier = String::from_utf8(line(request(), None)).unwrap();
    let (before, _) = earlier.split_once(",\"code\"").unwrap();
    assert_eq!(lost(format!("{before}}}").as_bytes()), (Lost::Earlier, 1));
    assert_eq!(lost(b"{\"seq\":"), (Lost::Unreadable, 1));
    let no_source = Record {
        source: None,
        ..request()
    };
    assert_eq!(lost(&line(no_source, None)), (Lost::Unreadable, 1));
}

#[test]
fn records_of_other_things_are_passed_over() {
    let ended = request().sequel(Event::RequestEnded);
    assert!(matches!(read(&line(ended, None)), Line::Other));
}
