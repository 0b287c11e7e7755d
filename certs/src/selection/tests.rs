use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;

use super::Selection;
use crate::{Ca, Chain, DAY, Root, nameless};

const NOW: i64 = 1_790_000_000;

fn chain(ca: &Ca, names: &[&str]) -> Arc<Chain> {
    let leaf = ca.issue(names, NOW, DAY).unwrap();
    let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    Arc::new(Chain::parse(chain, key, NOW, &default_provider()).unwrap())
}

fn selection(names: &[&[&str]]) -> Selection {
    let ca = (Root::create("Root", NOW).unwrap())
        .intermediate("Intermediate", NOW)
        .unwrap();
    let leaf = nameless(NOW, DAY).unwrap();
    let (pem, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    let mut selection =
        Selection::new(Chain::parse_nameless(pem, key, &default_provider()).unwrap());
    for names in names {
        selection.add(&chain(&ca, names));
    }
    selection
}

#[test]
fn the_exact_name_goes_before_the_wildcard() {
    let s = selection(&[&["*.test"], &["gate.test"]]);
    assert!(s.find("gate.test").unwrap().names().contains("gate.test"));
    assert!(s.find("app.test").unwrap().names().contains("*.test"));
}

#[test]
fn a_wildcard_covers_one_label_only() {
    let s = selection(&[&["*.test"]]);
    assert!(s.find("a.test").is_some());
    for other in ["a.b.test", "test", ".test", "", "a.other"] {
        assert!(s.find(other).is_none(), "{other}");
    }
}

#[test]
fn case_and_final_dot_do_not_matter() {
    let s = selection(&[&["gate.test"]]);
    assert!(s.find("GATE.test.").is_some());
    assert!(s.find("gate.test..").is_none());
}

#[test]
fn unknown_names_get_the_certificate_that_names_nothing() {
    let s = selection(&[&["gate.test"]]);
    let known = s.serve(Some("gate.test")).unwrap();
    assert_eq!(known.cert.len(), 2);
    for sni in [None, Some("other.test")] {
        assert_eq!(s.serve(sni).unwrap().cert.len(), 1);
    }
}

#[test]
fn a_host_is_same_only_under_its_own_certificate() {
    let s = selection(&[&["gate.test"], &["app.test"], &["*.wild.test"]]);
    assert!(s.is_same(Some("gate.test"), "Gate.test"));
    assert!(s.is_same(Some("a.wild.test"), "b.wild.test"));
    assert!(!s.is_same(Some("gate.test"), "app.test"));
    assert!(!s.is_same(None, "gate.test"));
    assert!(!s.is_same(Some("x.test"), "x.test"));
}
