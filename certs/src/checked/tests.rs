use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;

use super::{Checked, TAG};
use crate::{Chain, ChainError, DAY, Leaf, Root};

const NOW: i64 = 1_790_000_000;
const OURS: [u8; 32] = [7; 32];
const THEIRS: [u8; 32] = [8; 32];

fn leaf() -> Leaf {
    let root = Root::create("Test root", NOW).unwrap();
    let ca = root.intermediate("Test intermediate", NOW).unwrap();
    ca.issue(&["a.test"], NOW, 90 * DAY).unwrap()
}

fn parse(checked: &Checked, chain: &str, key: &str, now: i64) -> Result<Chain, ChainError> {
    checked.parse(chain.as_bytes(), key.as_bytes(), now, &default_provider())
}

/// A record under `key` after the gateway `key` has read these in full.
fn record(key: &[u8; 32], leaves: &[&Leaf]) -> Checked {
    let mut checked = Checked::new(key);
    let read = |leaf: &&Leaf| {
        let chain = parse(&checked, &leaf.chain_pem, &leaf.key_pem, NOW);
        Arc::new(chain.unwrap())
    };
    let chains: Vec<_> = leaves.iter().map(read).collect();
    assert!(chains.iter().all(|chain| chain.has_key_ready()));
    assert!(checked.keep(&chains));
    checked
}

fn again(key: &[u8; 32], bytes: &[u8]) -> Checked {
    let mut checked = Checked::new(key);
    checked.read(bytes);
    checked
}

#[test]
fn what_was_checked_before_is_not_computed_again_and_still_serves() {
    let leaf = leaf();
    let bytes = record(&OURS, &[&leaf]).bytes();
    assert_eq!(bytes.len(), TAG);
    let known = parse(&again(&OURS, &bytes), &leaf.chain_pem, &leaf.key_pem, NOW).unwrap();
    assert!(!known.has_key_ready());
    let full = parse(&Checked::new(&OURS), &leaf.chain_pem, &leaf.key_pem, NOW).unwrap();
    assert!(full.has_key_ready());
    assert_eq!(known.names(), full.names());
    assert_eq!(known.not_before(), full.not_before());
    assert_eq!(known.not_after(), full.not_after());
    assert_eq!(known.tag(), full.tag());
    let key = known.certified_key().unwrap();
    assert_eq!(key.cert, full.certified_key().unwrap().cert);
    key.keys_match().unwrap();
    assert!(known.has_key_ready());
}

#[test]
fn a_record_of_another_gateway_is_of_no_use() {
    let leaf = leaf();
    let bytes = record(&THEIRS, &[&leaf]).bytes();
    let full = parse(&again(&OURS, &bytes), &leaf.chain_pem, &leaf.key_pem, NOW).unwrap();
    assert!(full.has_key_ready(), "it was not checked in full");
    let known = parse(&again(&THEIRS, &bytes), &leaf.chain_pem, &leaf.key_pem, NOW).unwrap();
    assert!(!known.has_key_ready());
}

#[test]
fn a_key_swapped_between_two_known_chains_is_refused() {
    let (one, two) = (leaf(), leaf());
    let checked = record(&OURS, &[&one, &two]);
    assert_eq!(checked.count(), 2);
    let swapped = parse(&checked, &one.chain_pem, &two.key_pem, NOW);
    assert_eq!(swapped.unwrap_err(), ChainError::KeyMismatch);
    assert!(parse(&checked, &one.chain_pem, &one.key_pem, NOW).is_ok());
}

#[test]
fn a_changed_chain_is_checked_in_full() {
    let (leaf, other) = (leaf(), leaf());
    let checked = record(&OURS, &[&leaf, &other]);
    let blocks = |leaf: &Leaf| -> Vec<String> {
        let parts = leaf
            .chain_pem
            .split_inclusive("-----END CERTIFICATE-----\n");
        parts.map(str::to_owned).collect()
    };
    let (ours, theirs) = (blocks(&leaf), blocks(&other));
    let mixed = format!("{}{}", ours[0], theirs[1]);
    let mixed = parse(&checked, &mixed, &leaf.key_pem, NOW);
    assert_eq!(mixed.unwrap_err(), ChainError::Order(1));
    // what is harmless is not known either
    let spaced = format!("\n{}", leaf.chain_pem);
    assert!(
        parse(&checked, &spaced, &leaf.key_pem, NOW)
            .unwrap()
            .has_key_ready()
    );
    let same = parse(&checked, &leaf.chain_pem, &leaf.key_pem, NOW).unwrap();
    assert!(!same.has_key_ready());
}

#[test]
fn bytes_cannot_move_between_the_two_files() {
    let checked = Checked::new(&OURS);
    assert_ne!(checked.tag(b"ab", b"c"), checked.tag(b"a", b"bc"));
    assert_ne!(checked.tag(b"ab", b""), checked.tag(b"", b"ab"));
    assert_eq!(checked.tag(b"ab", b"c"), checked.tag(b"ab", b"c"));
}

#[test]
fn dates_are_looked_at_however_well_a_chain_is_known() {
    let leaf = leaf();
    let checked = record(&OURS, &[&leaf]);
    let at = |now| parse(&checked, &leaf.chain_pem, &leaf.key_pem, now);
    assert!(matches!(
        at(NOW + 91 * DAY),
        Err(ChainError::Expired { number: 1, .. })
    ));
    assert!(matches!(
        at(NOW - DAY),
        Err(ChainError::Early { number: 1, .. })
    ));
    let chain = at(NOW + 89 * DAY).unwrap();
    assert!(chain.is_in_date(NOW) && chain.is_in_date(NOW + 90 * DAY));
    assert!(!chain.is_in_date(NOW + 90 * DAY + 1) && !chain.is_in_date(NOW - DAY));
}

#[test]
fn a_damaged_record_knows_nothing_that_was_not_checked() {
    let leaf = leaf();
    let good = record(&OURS, &[&leaf]).bytes();
    let reads = |bytes: &[u8]| {
        let chain = parse(&again(&OURS, bytes), &leaf.chain_pem, &leaf.key_pem, NOW);
        chain.unwrap().has_key_ready()
    };
    assert!(!reads(&good));
    let mut flipped = good.clone();
    flipped[9] ^= 1;
    for bad in [&flipped[..], &good[..TAG - 1], &good[1..], &[]] {
        assert!(reads(bad), "{} bytes", bad.len());
    }
    assert!(!reads(&[&good[..], &[0; 5]].concat()));
}

#[test]
fn the_record_holds_what_is_kept_and_nothing_else() {
    let (one, two) = (leaf(), leaf());
    let mut checked = record(&OURS, &[&one, &two]);
    let chain = parse(&checked, &one.chain_pem, &one.key_pem, NOW);
    let held = [Arc::new(chain.unwrap())];
    assert!(checked.keep(&held));
    assert!(!checked.keep(&held));
    assert_eq!(checked.count(), 1);
    let second = parse(&checked, &two.chain_pem, &two.key_pem, NOW).unwrap();
    assert!(second.has_key_ready());
    // one that was read without the record leaves none behind
    let (pem, key) = (one.chain_pem.as_bytes(), one.key_pem.as_bytes());
    let bare = Chain::parse(pem, key, NOW, &default_provider()).unwrap();
    assert!(checked.keep(&[Arc::new(bare)]));
    assert_eq!(checked.count(), 0);
}

#[test]
fn a_known_key_that_cannot_be_made_after_all_serves_nobody() {
    let (one, two) = (leaf(), leaf());
    let mut checked = record(&OURS, &[&one]);
    // as if the record had been wrong
    let wrong = checked.tag(one.chain_pem.as_bytes(), two.key_pem.as_bytes());
    checked.tags.insert(wrong);
    let chain = parse(&checked, &one.chain_pem, &two.key_pem, NOW).unwrap();
    for _ in 0..2 {
        let error = chain.certified_key().unwrap_err();
        assert_eq!(*error, ChainError::KeyMismatch);
    }
    let right = parse(&checked, &one.chain_pem, &one.key_pem, NOW).unwrap();
    assert!(right.certified_key().is_ok());
}
