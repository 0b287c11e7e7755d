//! Laws of canonical paths over random bytes: one form, one decision, and one reading by software that reads paths in
//! other orders.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::{PathOpts, host, path_with};
use crate::compile::Policy;
use crate::decide::{Context, Decision, Subject};
use crate::ir::Device;
use crate::naive::tests::long;
use crate::source::Sources;

const POLICY: &str = r#"postern = 1
[group]
it = ["nadia"]
[app.plain]
host = "plain.example"
upstream = "http://h"
allow.all = { who = "any-user" }
[app.plain."/a"]
[app.plain."/a/*"]
allow.it = { who = "@it", methods = "GET" }
[app.plain."=/b/a"]
public = "p"
allow.any = { who = "anyone" }
[app.kept]
host = "kept.example"
upstream = "http://h"
encoded-slashes = true
empty-segments = true
allow.all = { who = "any-user" }
[app.kept."/a"]
[app.kept."/a/*"]
allow.it = { who = "@it", methods = "GET" }
[app.kept."=/b/a"]
public = "p"
allow.any = { who = "anyone" }
[app.params]
host = "params.example"
upstream = "http://h"
path-params = true
allow.all = { who = "any-user" }
[app.params."/a"]
[app.params."/a/*"]
allow.it = { who = "@it", methods = "GET" }
[app.params."=/b/a"]
public = "p"
allow.any = { who = "anyone" }
"#;

static LOADED: LazyLock<Policy> = LazyLock::new(|| {
    let mut sources = Sources::new();
    sources.add("policy.toml", POLICY.to_owned());
    crate::load(&sources).unwrap().policy
});

/// 10^5 paths; the long run of 10^8 is asked for by `POSTERN_LONG=1`.
fn cases() -> u32 {
    if long() { 100_000_000 } else { 100_000 }
}

/// Pieces of which tricks are made, between any bytes at all.
fn raw() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        8 => prop::sample::select(vec![
            "/", "/", "/", "a", "b", "a", ".", "..", "...", ";", "..;", ";x", ";=/", "%2e", "%2E%2e", "%2f", "%5c",
            "%61", "%41", "%3b", "%25", "%2561", "%c3%a9", "%ef%bc%8e", "%c0%ae", "%00", "%", "\\", "?", "#", "~", "%7e",
            "(", "%28", "*", "/a%2fb", "/b%2Fa", "/a//",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    let middle = prop::collection::vec(pieces, 0..12).prop_map(|parts| parts.concat());
    (prop::bool::weighted(0.97), middle).prop_map(|(slash, rest)| {
        let mut out = if slash { b"/".to_vec() } else { Vec::new() };
        out.extend(rest);
        out
    })
}

fn decided(name: &str, raw: &[u8]) -> Option<Vec<Decision>> {
    let host = host(name).unwrap();
    let path = path_with(raw, LOADED.path_opts(&host)).ok()?;
    let bits = LOADED.subject("nadia");
    let context = Context::new(LOADED.zone([192, 0, 2, 1].into(), false), LOADED.tick(0));
    let ask = |bits, method| {
        let subject = Subject {
            bits,
            mfa_age: Some(0),
            login_age: 0,
            device: Device::Any,
        };
        LOADED.decide_http(&subject, &host, &path, method, &context)
    };
    Some(vec![
        ask(None, "GET"),
        ask(bits.as_ref(), "GET"),
        ask(bits.as_ref(), "POST"),
    ])
}

/// One step of a careless reader.
type Step = fn(&[u8]) -> Vec<u8>;

fn decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match byte.filter(|_| first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

fn dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut last = false;
    for part in path.split(|byte| *byte == b'/').skip(1) {
        last = matches!(part, b"" | b"." | b"..");
        match part {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(part),
        }
    }
    let mut out: Vec<u8> = kept
        .iter()
        .flat_map(|part| [b"/", *part].concat())
        .collect();
    if last || out.is_empty() {
        out.push(b'/');
    }
    out
}

fn params(path: &[u8]) -> Vec<u8> {
    let names = path
        .split(|byte| *byte == b'/')
        .map(|part| part.split(|byte| *byte == b';').next().unwrap());
    names.collect::<Vec<_>>().join(&b'/')
}

/// How other software reads paths.
const READERS: [&[Step]; 5] = [
    &[params, decode, dots],
    &[params, dots, decode],
    &[dots, params, decode],
    &[decode, params, dots],
    &[decode, dots, params],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_paths_have_one_form_one_decision_and_one_reading(raw in raw()) {
        for (name, takes) in [("plain.example", false), ("params.example", true)] {
            let opts = PathOpts { params: takes, ..PathOpts::default() };
            let Ok(once) = path_with(&raw, opts) else { continue };
            let twice = path_with(once.forward().as_bytes(), opts).unwrap();
            prop_assert_eq!(&twice, &once, "its form is its own form");
            let bare = path_with(once.as_str().as_bytes(), PathOpts::default()).unwrap();
            prop_assert_eq!((bare.as_str(), bare.forward()), (once.as_str(), once.as_str()));
            prop_assert_eq!(params(once.forward().as_bytes()), once.as_str().as_bytes(), "only parameters are dropped");
            prop_assert!(takes || once.forward() == once.as_str());
            prop_assert!(!once.as_str().contains(';'));
            let decisions = decided(name, &raw);
            prop_assert_eq!(&decisions, &decided(name, once.forward().as_bytes()));
            prop_assert_eq!(&decisions, &decided(name, once.as_str().as_bytes()));
            let cut = raw.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(raw.len());
            let meant = decode(once.as_str().as_bytes());
            for reader in READERS {
                for given in [&raw[..cut], once.forward().as_bytes()] {
                    let read = reader.iter().fold(given.to_vec(), |path, step| step(&path));
                    prop_assert_eq!(&read, &meant, "{:?}", String::from_utf8_lossy(given));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// A path with `%2F` or `//` is decided as one reads it who decodes and collapses, or refused; what the app gets
    /// is decided alike.
    #[test]
    fn random_paths_with_two_readings_are_decided_by_both_or_refused(raw in raw()) {
        let opts = PathOpts { params: false, slashes: true, empties: true };
        if let Ok(once) = path_with(&raw, opts) {
            let twice = path_with(once.forward().as_bytes(), opts).unwrap();
            prop_assert_eq!(&twice, &once, "its form is its own form");
            let bare = path_with(once.as_str().as_bytes(), PathOpts::default()).unwrap();
            prop_assert_eq!((bare.as_str(), bare.forward()), (once.as_str(), once.as_str()));
            let decisions = decided("kept.example", &raw).unwrap();
            let again = decided("kept.example", once.forward().as_bytes()).unwrap();
            prop_assert_eq!(&decisions, &again);
            let plain = decided("kept.example", once.as_str().as_bytes()).unwrap();
            let refused = Decision::deny(crate::compile::BAD_REQUEST);
            let apart = decisions.iter().all(|decision| *decision == refused);
            prop_assert!(apart && once.other_reading().is_some() || decisions == plain, "{:?}", once);
            let cut = raw.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(raw.len());
            let meant = decode(once.as_str().as_bytes());
            for reader in READERS {
                for given in [&raw[..cut], once.forward().as_bytes()] {
                    let read = reader.iter().fold(given.to_vec(), |path, step| step(&path));
                    // who looks at segments before decoding makes no others of it: no piece is empty or dots
                    prop_assert_eq!(&read, &meant, "{:?}", String::from_utf8_lossy(given));
                }
            }
        }
    }
}

/// Laws about paths that are all refused would hold for nothing.
#[test]
fn the_random_paths_are_taken_and_refused_with_and_without_parameters_and_in_two_readings() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = [0u32; 6];
    for _ in 0..10_000 {
        let raw = raw().new_tree(&mut runner).unwrap().current();
        let plain = path_with(&raw, PathOpts::default()).is_ok();
        let params = path_with(
            &raw,
            PathOpts {
                params: true,
                ..PathOpts::default()
            },
        );
        let with = params
            .as_ref()
            .is_ok_and(|path| path.forward() != path.as_str());
        let kept = path_with(
            &raw,
            PathOpts {
                params: false,
                slashes: true,
                empties: true,
            },
        );
        let kept = kept.is_ok_and(|path| path.other_reading().is_some());
        let decisions = decided("kept.example", &raw).unwrap_or_default();
        let apart = kept
            && decisions
                .iter()
                .all(|own| own.rule == crate::compile::BAD_REQUEST);
        let held = [plain, !plain, params.is_ok(), with, kept && !apart, apart];
        for (count, held) in seen.iter_mut().zip(held) {
            *count += u32::from(held);
        }
    }
    assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
}
