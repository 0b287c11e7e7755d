use rustls::crypto::aws_lc_rs::default_provider;

use super::{Chain, ChainError};
use crate::{DAY, Leaf, Root, nameless};

const NOW: i64 = 1_790_000_000;

fn leaf(names: &[&str]) -> (Leaf, String) {
    let root = Root::create("Test root", NOW).unwrap();
    let ca = root.intermediate("Test intermediate", NOW).unwrap();
    let leaf = ca.issue(names, NOW, 90 * DAY).unwrap();
    (leaf, root.pem().to_owned())
}

fn parse(chain: &str, key: &str, now: i64) -> Result<Chain, ChainError> {
    Chain::parse(chain.as_bytes(), key.as_bytes(), now, &default_provider())
}

fn blocks(pem: &str) -> Vec<String> {
    pem.split_inclusive("-----END CERTIFICATE-----\n")
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_good_chain_is_read_with_its_names_and_dates() {
    let (leaf, root) = leaf(&["Gate.Test", "*.apps.test"]);
    let chain = parse(&leaf.chain_pem, &leaf.key_pem, NOW).unwrap();
    let names: Vec<_> = chain.names().iter().map(String::as_str).collect();
    assert_eq!(names, ["*.apps.test", "gate.test"]);
    assert_eq!(chain.not_after(), NOW + 90 * DAY);
    assert_eq!(chain.not_before(), NOW - 3600);
    let with_root = format!("{}{root}", leaf.chain_pem);
    assert!(parse(&with_root, &leaf.key_pem, NOW).is_ok());
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let ((ours, _), (theirs, _)) = (leaf(&["a.test"]), leaf(&["a.test"]));
    let wrong = parse(&ours.chain_pem, &theirs.key_pem, NOW);
    assert_eq!(wrong.unwrap_err(), ChainError::KeyMismatch);
}

#[test]
fn a_chain_in_the_wrong_order_is_refused() {
    let (leaf, root) = leaf(&["a.test"]);
    let parts = blocks(&leaf.chain_pem);
    let turned = format!("{}{}", parts[1], parts[0]);
    assert_eq!(
        parse(&turned, &leaf.key_pem, NOW).unwrap_err(),
        ChainError::Order(1)
    );
    let gap = format!("{}{root}", parts[0]);
    assert_eq!(
        parse(&gap, &leaf.key_pem, NOW).unwrap_err(),
        ChainError::Order(1)
    );
    assert_eq!(
        parse(&parts[1], &leaf.key_pem, NOW).unwrap_err(),
        ChainError::Authority
    );
    assert!(parse(&parts[0], &leaf.key_pem, NOW).is_ok());
}

#[test]
fn an_issuer_of_the_same_name_with_another_key_is_refused() {
    let ((ours, _), (theirs, _)) = (leaf(&["a.test"]), leaf(&["a.test"]));
    let mixed = format!(
        "{}{}",
        blocks(&ours.chain_pem)[0],
        blocks(&theirs.chain_pem)[1]
    );
    assert_eq!(
        parse(&mixed, &ours.key_pem, NOW).unwrap_err(),
        ChainError::Order(1)
    );
}

#[test]
fn a_chain_out_of_its_dates_is_refused() {
    let (leaf, _) = leaf(&["a.test"]);
    let late = parse(&leaf.chain_pem, &leaf.key_pem, NOW + 91 * DAY);
    assert!(matches!(late, Err(ChainError::Expired { number: 1, .. })));
    let early = parse(&leaf.chain_pem, &leaf.key_pem, NOW - DAY);
    assert!(matches!(early, Err(ChainError::Early { number: 1, .. })));
}

#[test]
fn a_chain_out_of_its_dates_is_read_for_a_list_and_by_no_other_fault() {
    let (leaf, _) = leaf(&["a.test"]);
    let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    let listed = Chain::parse_undated(chain, key, &default_provider()).unwrap();
    assert!(listed.names().contains("a.test") && listed.is_in_date(NOW));
    assert!(!listed.is_in_date(NOW + 91 * DAY) && !listed.is_in_date(NOW - DAY));
    let (other, _) = self::leaf(&["a.test"]);
    let wrong = Chain::parse_undated(chain, other.key_pem.as_bytes(), &default_provider());
    let wrong = wrong.unwrap_err();
    assert!(!wrong.is_of_dates(), "{wrong}");
    let late = parse(&leaf.chain_pem, &leaf.key_pem, NOW + 91 * DAY);
    assert!(late.unwrap_err().is_of_dates());
}

#[test]
fn a_leaf_without_a_host_name_is_refused_except_as_the_default() {
    let leaf = nameless(NOW, DAY).unwrap();
    let named = parse(&leaf.chain_pem, &leaf.key_pem, NOW);
    assert_eq!(named.unwrap_err(), ChainError::NoNames);
    let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    assert!(Chain::parse_nameless(chain, key, &default_provider()).is_ok());
}

#[test]
fn files_without_their_content_are_named() {
    let (leaf, _) = leaf(&["a.test"]);
    let no_chain = parse("", &leaf.key_pem, NOW);
    assert_eq!(no_chain.unwrap_err(), ChainError::NoCertificate);
    let swapped = parse(&leaf.key_pem, &leaf.chain_pem, NOW);
    assert_eq!(swapped.unwrap_err(), ChainError::NoCertificate);
    let no_key = parse(&leaf.chain_pem, &leaf.chain_pem, NOW);
    assert_eq!(no_key.unwrap_err(), ChainError::NoKey);
    let cut = leaf.chain_pem.replace("MI", "AA");
    let cut = parse(&cut, &leaf.key_pem, NOW);
    assert_eq!(cut.unwrap_err(), ChainError::Certificate(1));
}
