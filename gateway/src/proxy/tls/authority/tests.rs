use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::DAY;

use super::InternalCa;
use crate::secrets::Keys;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = data_encoding::HEXLOWER.encode(&crate::ids::random::<8>());
        Self(std::env::temp_dir().join(format!("postern-authority-{name}")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// The files in the order in which they are written for the first time.
const ORDER: [&str; 4] = [
    "intermediate.key",
    "intermediate.pem",
    "root.key",
    "root.pem",
];

/// A master key: 32 bytes in base64.
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn copy(from: &Path, to: &Path, names: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Opens what a cut left behind, and again what that opening made of it.
fn opens(dir: &Path, keys: &Arc<Keys>, now: i64) -> String {
    let opened = InternalCa::open(dir, "gate.test", keys, now).unwrap();
    let leaf = opened.ca().issue(&["gate.test"], now, DAY).unwrap();
    assert!(leaf.chain_pem.ends_with(opened.ca().pem()));
    let again = InternalCa::open(dir, "gate.test", keys, now).unwrap();
    assert_eq!(opened.ca().pem(), again.ca().pem(), "it is whole now");
    opened.root_pem()
}

#[test]
fn a_power_cut_between_any_two_writes_leaves_an_authority_that_opens() {
    let (made, now) = (Folder::new(), crate::clock::unix());
    let keys = Arc::new(Keys::parse(KEY).unwrap());
    let root = opens(&made.0, &keys, now);
    for count in 0..=ORDER.len() {
        let cut = Folder::new();
        copy(&made.0, &cut.0, &ORDER[..count]);
        // half of the file that was being written
        fs::write(
            cut.0.join("root.pem.new"),
            &root.as_bytes()[..root.len() / 2],
        )
        .unwrap();
        let opened = opens(&cut.0, &keys, now);
        assert_eq!(opened == root, count == ORDER.len(), "after {count} files");
    }
}

#[test]
fn a_power_cut_in_a_renewal_keeps_the_root_and_no_key_stays_without_its_certificate() {
    let (made, now) = (Folder::new(), crate::clock::unix());
    let keys = Arc::new(Keys::parse(KEY).unwrap());
    let root = opens(&made.0, &keys, now);
    let renewed = Folder::new();
    copy(&made.0, &renewed.0, &["root.key", "root.pem"]);
    assert_eq!(opens(&renewed.0, &keys, now), root);
    for half in [
        None,
        Some("intermediate.key.new"),
        Some("intermediate.pem.new"),
    ] {
        let cut = Folder::new();
        copy(&made.0, &cut.0, &ORDER);
        if half != Some("intermediate.key.new") {
            // the key is the new one, the certificate still the old one
            copy(&renewed.0, &cut.0, &["intermediate.key"]);
        }
        if let Some(half) = half {
            fs::write(cut.0.join(half), "-----BEGIN ").unwrap();
        }
        assert_eq!(opens(&cut.0, &keys, now), root, "{half:?}");
        for name in ["intermediate.key", "root.key"] {
            let mode = fs::metadata(cut.0.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
