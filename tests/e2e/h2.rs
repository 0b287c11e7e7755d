//! HTTP/2 as RFC 9113 and RFC 7541 want it: the 147 cases of h2spec as a table of our own, and what it does not ask.
//!
//! Each row has a connection of its own, says what h2spec takes for a pass and what the gateway does exactly. Nothing of
//! what is wrong may reach the app. The numbers are those of h2spec 2.6, whose sections are RFC 7540's.

use postern_tests::cases::{Asks, Scene};

use table::{Accepts, Case, Does, all_pass};

#[path = "h2/beyond.rs"]
mod beyond;
#[path = "h2/connection.rs"]
mod connection;
#[path = "h2/definitions.rs"]
mod definitions;
#[path = "h2/generic.rs"]
mod generic;
#[path = "h2/hpack.rs"]
mod hpack;
#[path = "h2/messages.rs"]
mod messages;
#[path = "h2/table.rs"]
mod table;

/// The sections of h2spec and how many cases each has.
const SECTIONS: &[(&str, usize)] = &[
    ("generic/1", 1),
    ("generic/2", 5),
    ("generic/3.1", 3),
    ("generic/3.2", 3),
    ("generic/3.3", 5),
    ("generic/3.4", 1),
    ("generic/3.5", 1),
    ("generic/3.7", 1),
    ("generic/3.8", 1),
    ("generic/3.9", 2),
    ("generic/3.10", 2),
    ("generic/4", 4),
    ("generic/5", 15),
    ("http2/3.5", 2),
    ("http2/4.1", 3),
    ("http2/4.2", 3),
    ("http2/4.3", 3),
    ("http2/5.1", 13),
    ("http2/5.1.1", 2),
    ("http2/5.1.2", 1),
    ("http2/5.3.1", 2),
    ("http2/5.4.1", 2),
    ("http2/5.5", 2),
    ("http2/6.1", 3),
    ("http2/6.2", 4),
    ("http2/6.3", 2),
    ("http2/6.4", 3),
    ("http2/6.5", 3),
    ("http2/6.5.2", 5),
    ("http2/6.5.3", 2),
    ("http2/6.7", 4),
    ("http2/6.8", 1),
    ("http2/6.9", 3),
    ("http2/6.9.1", 3),
    ("http2/6.9.2", 3),
    ("http2/6.10", 6),
    ("http2/7", 2),
    ("http2/8.1", 1),
    ("http2/8.1.2", 1),
    ("http2/8.1.2.1", 4),
    ("http2/8.1.2.2", 2),
    ("http2/8.1.2.3", 7),
    ("http2/8.1.2.6", 2),
    ("http2/8.2", 1),
    ("hpack/2.3.3", 2),
    ("hpack/4.2", 1),
    ("hpack/5.2", 3),
    ("hpack/6.1", 1),
    ("hpack/6.3", 1),
];

fn every_row() -> Vec<Case> {
    let asks = Asks {
        cookie: "a=b".to_owned(),
        authority: "app.gate.localhost".to_owned(),
    };
    [
        generic::cases(&asks),
        connection::cases(&asks),
        definitions::cases(&asks),
        messages::cases(&asks),
        hpack::cases(&asks),
    ]
    .concat()
}

#[test]
fn every_case_of_h2spec_has_its_row() {
    let numbers = |(section, count): &(&str, usize)| {
        let section = (*section).to_owned();
        (1..=*count).map(move |number| format!("{section}/{number}"))
    };
    let wanted: Vec<String> = SECTIONS.iter().flat_map(numbers).collect();
    let rows: Vec<&str> = every_row().iter().map(|case| case.id).collect();
    assert_eq!(rows, wanted);
    assert_eq!(rows.len(), 147, "44 generic, 95 of RFC 7540, 8 of RFC 7541");
}

#[test]
fn what_the_gateway_does_is_a_pass_and_each_other_code_has_its_reason() {
    for case in every_row() {
        let all = [Some(case.does), case.or];
        let passes = |does: &Does| case.accepts.passes(*does);
        assert!(all.iter().flatten().all(passes), "{case:?}");
        assert_eq!(
            case.accepts.names(case.does),
            case.because.is_none(),
            "{case:?}"
        );
    }
    // and what is none is not taken for one
    assert!(!Accepts::StreamError(&[5]).passes(Does::Reset(1)));
    assert!(!Accepts::ConnectionError(&[1]).passes(Does::Reset(1)));
    assert!(!Accepts::Answer.passes(Does::End(1)) && !Accepts::Pong.passes(Does::End(1)));
    assert!(!Accepts::ConnectionError(&[1]).passes(Does::Serve));
    assert!(!Accepts::GoAway.passes(Does::Close) && !Accepts::Answer.passes(Does::Close));
    assert!(!Accepts::ConnectionError(&[9]).names(Does::End(1)));
}

#[test]
fn generic_cases() {
    let scene = Scene::new();
    all_pass(&scene, &generic::cases(&scene));
}

#[test]
fn beginning_frames_and_streams() {
    let scene = Scene::new();
    all_pass(&scene, &connection::cases(&scene));
}

#[test]
fn each_kind_of_frame() {
    let scene = Scene::new();
    all_pass(&scene, &definitions::cases(&scene));
}

#[test]
fn codes_of_errors_and_what_is_a_request() {
    let scene = Scene::new();
    all_pass(&scene, &messages::cases(&scene));
}

#[test]
fn the_code_of_heads() {
    let scene = Scene::new();
    all_pass(&scene, &hpack::cases(&scene));
}
