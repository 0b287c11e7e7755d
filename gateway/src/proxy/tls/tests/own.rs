//! Certificates of one's own whose time is over: they are left out, and nothing else waits for them.

use std::sync::Arc;

use certs::{Chain, ChainError, DAY};

use super::{Folder, names, now, own_pair, provider};
use crate::acme::names::Names;
use crate::config::tests::Folder as Temp;
use crate::proxy::tls::{CertError, CertFiles, CertSet, Checks, InternalCa, Ordered, Own, Past};
use crate::secrets::Keys;

const HOST: &str = "gate.test";
const LATE: i64 = 91 * DAY;

/// A file of 90 days in the state folder of a gateway, which an authority of another place signed.
struct Site {
    dir: Folder,
    data: Temp,
    office: InternalCa,
    files: [CertFiles; 1],
}

impl Site {
    fn new() -> Self {
        let (dir, data) = (Folder::new(), Temp::new());
        let office = dir.ca(now()).unwrap();
        let files = [own_pair(&dir, &office, HOST)];
        Keys::create(&data.path().join("key")).unwrap();
        Self {
            dir,
            data,
            office,
            files,
        }
    }

    fn checks(&self) -> Checks {
        let keys = Keys::load(&self.data.path().join("key")).unwrap();
        Checks::open(self.data.path(), &Arc::new(keys))
    }

    /// What a gateway does with the files of now beside a set in force, or at a start.
    fn load(
        &self,
        checks: &Checks,
        internal: Option<&InternalCa>,
        previous: Option<&CertSet>,
        at: i64,
    ) -> Result<CertSet, CertError> {
        let reading = checks.begin(previous, at);
        let own = reading.own(&self.files, Past::beside(previous))?;
        drop(reading);
        let hosts = names(&[HOST]);
        let set = CertSet::build(&own, &Ordered::default(), internal, &hosts, previous, at)?;
        checks.keep(&set);
        Ok(set)
    }

    /// Puts another file in the place of the one there is.
    fn put(&self, at: i64, life: i64) {
        let leaf = self.office.ca().issue(&[HOST], at, life).unwrap();
        self.dir.file("own.pem", &leaf.chain_pem, 0o644);
        self.dir.file("own.key", &leaf.key_pem, 0o600);
    }
}

fn sources(set: &CertSet) -> Vec<&'static str> {
    set.by_source().map(|(source, _)| source).collect()
}

fn has_expired(refused: &CertError) -> bool {
    matches!(
        refused,
        CertError::Chain {
            source: ChainError::Expired { .. },
            ..
        }
    )
}

#[test]
fn a_file_that_ran_out_is_left_out_and_the_authority_stands_in_until_a_good_one_comes() {
    let (site, place) = (Site::new(), Folder::new());
    let ours = place.ca(now()).unwrap();
    let (checks, late) = (site.checks(), now() + LATE);
    let first = site.load(&checks, Some(&ours), None, now()).unwrap();
    assert_eq!(sources(&first), ["file"]);
    assert!(!first.is_over(now()) && first.is_over(late));
    // and again, and after a restart
    let second = site.load(&checks, Some(&ours), Some(&first), late).unwrap();
    let third = site
        .load(&checks, Some(&ours), Some(&second), late)
        .unwrap();
    let anew = site.load(&site.checks(), Some(&ours), None, late).unwrap();
    for set in [&second, &third, &anew] {
        assert_eq!(sources(set), ["internal", "file"]);
        assert_eq!(set.idle().len(), 1);
        assert!(!set.is_over(late) && !set.is_own(HOST, late));
        assert!(set.same_certificate(Some(HOST), HOST));
    }
    // what is put there anew must be good
    site.put(now(), 30 * DAY);
    let refused = site.load(&checks, Some(&ours), Some(&third), late);
    assert!(has_expired(&refused.unwrap_err()));
    site.put(late, 30 * DAY);
    let good = site.load(&checks, Some(&ours), Some(&third), late).unwrap();
    assert_eq!(sources(&good), ["file"]);
    assert!(good.is_own(HOST, late));
}

#[test]
fn a_start_goes_on_without_a_file_that_ran_out_though_it_was_never_seen_before() {
    let (site, late) = (Site::new(), now() + LATE);
    let started = site.load(&site.checks(), None, None, late).unwrap();
    assert_eq!((started.chains().len(), started.idle().len()), (0, 1));
    // nobody is named for it, and a clock that is right again brings it back
    assert!(!started.same_certificate(Some(HOST), HOST));
    assert!(started.is_over(now()));
    let checks = site.checks();
    let back = site.load(&checks, None, Some(&started), now()).unwrap();
    assert_eq!((back.chains().len(), back.idle().len()), (1, 0));
    // any other fault stops it as ever
    site.dir.file("own.key", "nothing", 0o600);
    let broken = site.load(&site.checks(), None, None, late).unwrap_err();
    assert!(!has_expired(&broken), "{broken}");
}

#[test]
fn a_host_whose_file_ran_out_and_for_whom_the_authority_may_not_sign_stops_nothing() {
    let (site, place) = (Site::new(), Folder::new());
    let late = now() + LATE;
    place.ca(now()).unwrap();
    std::fs::remove_file(place.0.join("ca/root.key")).unwrap();
    let ours = place.ca(now()).unwrap();
    assert!(!ours.ca().permits(HOST));
    let set = site.load(&site.checks(), Some(&ours), None, late).unwrap();
    assert_eq!((set.chains().len(), set.idle().len()), (0, 1));
}

fn chain(office: &InternalCa, at: i64, days: i64) -> Arc<Chain> {
    office.cover(&[&HOST.to_owned()], at).unwrap();
    let leaf = office.ca().issue(&[HOST], at, days * DAY).unwrap();
    let (chain, key) = (leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes());
    Arc::new(Chain::parse(chain, key, at, &provider()).unwrap())
}

#[test]
fn a_certificate_that_was_taken_over_gives_way_at_its_end_to_what_else_there_is() {
    let (dir, place) = (Folder::new(), Folder::new());
    let (office, ours) = (dir.ca(now()).unwrap(), place.ca(now()).unwrap());
    let later = now() + 31 * DAY;
    let imported = |at: i64| {
        let good = vec![chain(&office, now(), 30)];
        let all = Own {
            good,
            idle: Vec::new(),
        };
        all.at(at)
    };
    let ordered = |at: i64, signed: bool| Ordered {
        imported: imported(at),
        chains: signed
            .then(|| chain(&office, now(), 60))
            .into_iter()
            .collect(),
        ..Ordered::default()
    };
    let hosts = names(&[HOST]);
    let build = |at: i64, signed: bool, previous: Option<&CertSet>| {
        let ordered = ordered(at, signed);
        CertSet::build(&Own::default(), &ordered, Some(&ours), &hosts, previous, at).unwrap()
    };
    let first = build(now(), false, None);
    assert_eq!(sources(&first), ["file"]);
    assert!(first.is_own(HOST, now()) && !first.is_over(now()));
    // it counts for the end, and from then on keeps no directory from being asked
    assert!(first.good_until().is_some_and(|end| end < later));
    assert!(first.is_over(later) && !first.is_own(HOST, later));
    let second = build(later, false, Some(&first));
    assert_eq!(sources(&second), ["internal", "file"]);
    assert!(second.same_certificate(Some(HOST), HOST));
    let third = build(later, true, None);
    assert_eq!(sources(&third), ["directory", "file"]);
}

#[test]
fn a_leaf_is_made_anew_with_another_key_when_that_is_wanted_and_the_others_stay() {
    let place = Folder::new();
    let ours = place.ca(now()).unwrap();
    let hosts = names(&["a.test", "b.test"]);
    let build = |previous: Option<&CertSet>, anew: &[&str]| {
        let ordered = Ordered {
            anew: names(anew).into_iter().collect(),
            names: Names::default(),
            ..Ordered::default()
        };
        CertSet::build(
            &Own::default(),
            &ordered,
            Some(&ours),
            &hosts,
            previous,
            now(),
        )
        .unwrap()
    };
    let first = build(None, &[]);
    let second = build(Some(&first), &["a.test"]);
    let leaf = |set: &CertSet, host: &str| {
        let mut leaves = set.leaves();
        Arc::clone(leaves.find(|(name, _)| *name == host).unwrap().1)
    };
    let is_same = |host: &str| Arc::ptr_eq(&leaf(&first, host), &leaf(&second, host));
    assert_eq!((is_same("a.test"), is_same("b.test")), (false, true));
}
