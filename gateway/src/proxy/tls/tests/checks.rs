//! What is read again after it was checked once, by the gateway's own record and by nobody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use certs::{Chain, ChainError, DAY};

use super::{Folder, client, handshake, mode, names, now, own_pair, serve};
use crate::config::tests::Folder as Temp;
use crate::proxy::tls::{CertError, CertFiles, CertSet, Checks, InternalCa, Ordered, Own, Past};
use crate::secrets::Keys;

const HOST: &str = "gate.test";

fn keys(dir: &Temp, name: &str) -> Arc<Keys> {
    Arc::new(Keys::create(&dir.path().join(name)).unwrap())
}

/// What a gateway does with its own files at a start, or beside a set in force.
fn load(
    checks: &Checks,
    files: &[CertFiles],
    previous: Option<&CertSet>,
) -> Result<CertSet, CertError> {
    let past = Past::beside(previous);
    let own = checks.begin(previous, now()).own(files, past)?;
    let set = CertSet::build(&own, &Ordered::default(), None, &[], None, now())?;
    checks.keep(&set);
    Ok(set)
}

/// One pair of files, and the state folder of a gateway that has read it.
struct Site {
    dir: Folder,
    data: Temp,
    ca: InternalCa,
    keys: Arc<Keys>,
    files: [CertFiles; 1],
}

impl Site {
    fn new() -> Self {
        let (dir, data) = (Folder::new(), Temp::new());
        let ca = dir.ca(now()).unwrap();
        let keys = keys(&data, "key");
        let files = [own_pair(&dir, &ca, HOST)];
        let site = Self {
            dir,
            data,
            ca,
            keys,
            files,
        };
        assert!(first(&site.start(&site.keys).unwrap()).has_key_ready());
        site
    }

    /// Starts a gateway with these keys on the state folder.
    fn start(&self, keys: &Arc<Keys>) -> Result<CertSet, CertError> {
        load(&Checks::open(self.data.path(), keys), &self.files, None)
    }

    fn record(&self) -> std::path::PathBuf {
        self.data.path().join("checked-certificates")
    }
}

fn first(set: &CertSet) -> &Arc<Chain> {
    set.chains().first().unwrap()
}

fn is_foreign_key(loaded: &Result<CertSet, CertError>) -> bool {
    matches!(
        loaded,
        Err(CertError::Chain {
            source: ChainError::KeyMismatch,
            ..
        })
    )
}

#[test]
fn a_start_computes_nothing_for_what_an_earlier_one_checked_and_serves_it() {
    let site = Site::new();
    assert_eq!(mode(&site.record()), 0o600);
    let set = site.start(&site.keys).unwrap();
    assert!(!first(&set).has_key_ready());
    let chain = Arc::clone(first(&set));
    let client = client(&site.ca.root_pem(), &[]);
    handshake(&client, &serve(set), HOST).unwrap();
    assert!(chain.has_key_ready());
}

#[test]
fn a_record_under_another_master_key_is_worth_nothing() {
    let site = Site::new();
    let other = keys(&site.data, "other");
    let set = site.start(&other).unwrap();
    assert!(first(&set).has_key_ready(), "it was not checked in full");
    // it is that gateway's own record from then on
    assert!(!first(&site.start(&other).unwrap()).has_key_ready());
    assert!(first(&site.start(&site.keys).unwrap()).has_key_ready());
}

#[test]
fn a_key_that_was_put_in_the_place_of_a_known_one_is_refused() {
    let site = Site::new();
    let foreign = site.ca.ca().issue(&[HOST], now(), 90 * DAY).unwrap();
    let good = fs::read_to_string(&site.files[0].key).unwrap();
    site.dir.file("own.key", &foreign.key_pem, 0o600);
    assert!(is_foreign_key(&site.start(&site.keys)));
    site.dir.file("own.key", &good, 0o600);
    assert!(!first(&site.start(&site.keys).unwrap()).has_key_ready());
}

#[test]
fn a_chain_that_was_changed_is_checked_in_full_again() {
    let site = Site::new();
    let leaf = site.ca.ca().issue(&[HOST], now(), 90 * DAY).unwrap();
    let good = fs::read_to_string(&site.files[0].chain).unwrap();
    site.dir.file("own.pem", &leaf.chain_pem, 0o644);
    assert!(is_foreign_key(&site.start(&site.keys)));
    let longer = format!("{good}{}", site.ca.root_pem());
    site.dir.file("own.pem", &longer, 0o644);
    assert!(first(&site.start(&site.keys).unwrap()).has_key_ready());
    assert!(!first(&site.start(&site.keys).unwrap()).has_key_ready());
}

#[test]
fn a_record_that_is_damaged_gone_or_open_to_others_costs_a_check_and_nothing_else() {
    let site = Site::new();
    let damage: [&dyn Fn(); 3] = [
        &|| fs::write(site.record(), [7; 77]).unwrap(),
        &|| fs::remove_file(site.record()).unwrap(),
        &|| fs::set_permissions(site.record(), fs::Permissions::from_mode(0o644)).unwrap(),
    ];
    for (at, damage) in damage.iter().enumerate() {
        assert!(
            !first(&site.start(&site.keys).unwrap()).has_key_ready(),
            "{at}"
        );
        damage();
        assert!(
            first(&site.start(&site.keys).unwrap()).has_key_ready(),
            "{at}"
        );
        fs::remove_file(site.record()).unwrap();
        assert!(
            first(&site.start(&site.keys).unwrap()).has_key_ready(),
            "{at}"
        );
    }
}

#[test]
fn a_reload_takes_what_is_unchanged_and_checks_what_is_not_before_it_serves() {
    let site = Site::new();
    let checks = Checks::open(site.data.path(), &site.keys);
    let before = load(&checks, &site.files, None).unwrap();
    let same = load(&checks, &site.files, Some(&before)).unwrap();
    assert!(Arc::ptr_eq(first(&before), first(&same)));
    let leaf = site.ca.ca().issue(&[HOST], now(), 90 * DAY).unwrap();
    site.dir.file("own.key", &leaf.key_pem, 0o600);
    assert!(is_foreign_key(&load(&checks, &site.files, Some(&same))));
    site.dir.file("own.pem", &leaf.chain_pem, 0o644);
    let new = load(&checks, &site.files, Some(&same)).unwrap();
    assert!(!Arc::ptr_eq(first(&same), first(&new)));
    assert!(
        first(&new).has_key_ready(),
        "its key was not proved to be its own"
    );
}

#[test]
fn what_is_no_longer_in_force_leaves_the_record() {
    let site = Site::new();
    let checks = Checks::open(site.data.path(), &site.keys);
    load(&checks, &[], None).unwrap();
    assert_eq!(fs::read(site.record()).unwrap().len(), 0);
    assert!(first(&site.start(&site.keys).unwrap()).has_key_ready());
    assert_eq!(fs::read(site.record()).unwrap().len(), 32);
}

#[test]
fn leaves_of_the_authority_are_on_no_record() {
    let site = Site::new();
    let checks = Checks::open(site.data.path(), &site.keys);
    let hosts = names(&["a.test", "b.test"]);
    let ordered = Ordered::default();
    let set = CertSet::build(
        &Own::default(),
        &ordered,
        Some(&site.ca),
        &hosts,
        None,
        now(),
    )
    .unwrap();
    checks.keep(&set);
    assert_eq!(set.chains().len(), 2);
    assert_eq!(fs::read(site.record()).unwrap().len(), 0);
}
