use std::sync::Arc;

use super::{Fallback, Started, start};
use crate::clock;
use crate::config::Config;
use crate::config::tests::Folder as Temp;
use crate::proxy::tls::Checks;
use crate::reload::Rejected;
use crate::reload::folder::Folder;
use crate::reload::history::{By, Held, History, How, Pending, Writing};
use crate::reload::outcome;
use crate::secrets::Keys;

struct Site {
    dir: Temp,
    config: Config,
}

fn text(person: &str) -> String {
    format!("postern = 1\n[group]\nit = [\"{person}\"]\n[admin]\nallow.it = {{ who = \"@it\" }}\n")
}

impl Site {
    fn new() -> Self {
        let dir = Temp::new();
        std::fs::create_dir(dir.path().join("policy")).unwrap();
        Keys::create(&dir.path().join("key")).unwrap();
        let config = "master-key = \"key\"\n[http]\nsign-in = [\"gate.example\"]\n";
        let config = Config::parse(&dir.path().join("postern.toml"), config).unwrap();
        let site = Self { dir, config };
        site.write(&text("ann"));
        site
    }

    fn write(&self, text: &str) {
        self.dir.write("policy/policy.toml", text);
    }

    fn on_disk(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("policy/policy.toml")).unwrap()
    }

    fn history(&self) -> History {
        History::open(&self.config.data, self.keys()).unwrap()
    }

    fn checks(&self) -> Checks {
        Checks::open(&self.config.data, &self.keys())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::new(Keys::load(&self.dir.path().join("key")).unwrap())
    }

    fn start(&self, fallback: Fallback) -> Result<Started, Rejected> {
        let history = self.history();
        let authority =
            crate::run::open_authority(&self.config, &self.keys()).map_err(Rejected::from)?;
        let checks = self.checks();
        start(
            &self.config,
            &checks,
            authority.as_ref(),
            &history,
            fallback,
        )
    }

    fn starts_with(&self, person: &str) -> Started {
        let started = self
            .start(Fallback::LastGood)
            .unwrap_or_else(|e| panic!("{e}"));
        assert!(
            started.snapshot.policy.user(person).is_some(),
            "not with {person}"
        );
        started
    }
}

#[test]
fn a_folder_that_is_wrong_gives_way_to_the_last_good_policy_unless_that_is_refused() {
    let site = Site::new();
    assert!(site.starts_with("ann").cached.is_none());
    for bad in [
        "postern = 1\nbad",
        "",
        "postern = 1\n[admin]\nallow.x = { who = \"@no\" }\n",
    ] {
        site.write(bad);
        let started = site.starts_with("ann");
        assert!(started.cached.is_some(), "{bad}");
        assert_eq!(started.records.len(), 1);
        assert!(site.start(Fallback::Strict).is_err(), "{bad}");
    }
    std::fs::remove_dir_all(site.dir.path().join("policy")).unwrap();
    assert!(site.starts_with("ann").cached.is_some());
}

#[test]
fn without_a_last_good_policy_a_wrong_folder_stops_the_start() {
    let site = Site::new();
    site.write("bad");
    assert!(site.start(Fallback::LastGood).is_err());
    site.write(&text("ann"));
    assert!(site.starts_with("ann").cached.is_none());
}

#[test]
fn a_last_good_policy_that_others_wrote_is_none() {
    let site = Site::new();
    site.starts_with("ann");
    site.write("bad");
    let source = site.history().in_force().unwrap().source.unwrap();
    let path = site.config.data.join(format!("policy/{source}.sealed"));
    let genuine = std::fs::read(&path).unwrap();
    std::fs::write(
        &path,
        serde_json::to_vec(&serde_json::json!({"policy.toml": text("eve")})).unwrap(),
    )
    .unwrap();
    assert!(site.start(Fallback::LastGood).is_err());
    std::fs::write(&path, genuine).unwrap();
    site.starts_with("ann");
}

#[test]
fn the_generation_counts_on_over_restarts_and_only_for_other_files() {
    let site = Site::new();
    assert_eq!(site.starts_with("ann").snapshot.generation, 1);
    assert_eq!(site.starts_with("ann").snapshot.generation, 1);
    site.write(&text("bob"));
    assert_eq!(site.starts_with("bob").snapshot.generation, 2);
    assert_eq!(site.history().entries().len(), 2);
}

#[test]
fn what_was_held_stays_held_over_a_restart_and_a_further_edit_ends_that() {
    let site = Site::new();
    site.starts_with("ann");
    site.write(&text("eve"));
    let source = Folder::read(&site.config.policy_dir).unwrap().digest();
    let held = Held {
        source,
        taken_back: false,
        why: "opens a door".to_owned(),
    };
    site.history().hold(Some(held)).unwrap();
    let cached = site.starts_with("ann").cached.unwrap();
    assert!(cached.contains("opens a door"), "{cached}");
    site.write(&text("bob"));
    assert!(site.starts_with("bob").cached.is_none());
}

/// Puts bob in force in place of ann, to be confirmed until then.
fn unconfirmed(site: &Site, until: i64) {
    site.starts_with("ann");
    let history = site.history();
    let back_to = history.in_force().unwrap().source.unwrap();
    site.write(&text("bob"));
    let folder = Folder::read(&site.config.policy_dir).unwrap();
    let mut entry = outcome::entry(How::Apply, &By::default(), "applied");
    entry.generation = Some(2);
    entry.source = Some(history.keep(&folder).unwrap());
    let pending = Pending {
        generation: 2,
        back_to,
        until,
    };
    history.applied(entry, Some(pending)).unwrap();
}

#[test]
fn a_change_that_nobody_confirmed_in_time_is_taken_back_by_a_start() {
    let site = Site::new();
    unconfirmed(&site, clock::unix() - 1);
    let started = site.starts_with("ann");
    assert!(started.cached.is_none());
    assert_eq!(started.snapshot.generation, 3);
    assert_eq!(started.records.len(), 1);
    assert_eq!(site.on_disk(), text("ann"));
    assert!(site.history().pending().is_none());
    let kept = std::fs::read_dir(site.config.data.join("policy/replaced")).unwrap();
    assert_eq!(kept.count(), 1);
    assert_eq!(site.starts_with("ann").snapshot.generation, 3);
}

#[test]
fn a_change_whose_time_is_not_over_stands_and_waits_on() {
    let site = Site::new();
    unconfirmed(&site, clock::unix() + 3600);
    assert_eq!(site.starts_with("bob").snapshot.generation, 2);
    assert!(site.history().pending().is_some());
    assert_eq!(site.on_disk(), text("bob"));
}

#[test]
fn a_replacement_that_a_power_cut_left_half_done_is_undone() {
    let site = Site::new();
    site.starts_with("ann");
    let history = site.history();
    let before = Folder::read(&site.config.policy_dir).unwrap();
    let writing = Writing {
        before: history.keep(&before).unwrap(),
        after: "0".repeat(64),
    };
    history.write(Some(writing)).unwrap();
    site.write(&text("eve"));
    site.dir.write("policy/more.toml", "postern = 1\n");
    site.starts_with("ann");
    assert_eq!(site.on_disk(), text("ann"));
    assert!(!site.dir.path().join("policy/more.toml").exists());
    assert!(site.history().writing().is_none());
}

#[test]
fn other_files_do_not_end_the_waiting_for_a_confirmation_by_a_restart() {
    let site = Site::new();
    site.starts_with("ann");
    let history = site.history();
    let first = history.in_force().unwrap().source.unwrap();
    site.write(&text("bob"));
    let folder = Folder::read(&site.config.policy_dir).unwrap();
    let mut entry = outcome::entry(How::Apply, &By::default(), "applied");
    (entry.generation, entry.source) = (Some(2), Some(folder.digest()));
    history.keep(&folder).unwrap();
    let pending = Pending {
        generation: 2,
        back_to: first,
        until: clock::unix() + 3600,
    };
    history.applied(entry, Some(pending.clone())).unwrap();
    drop(history);
    assert!(site.starts_with("bob").cached.is_none());
    site.write(&text("carl"));
    let why = site.starts_with("bob").cached.unwrap();
    assert!(why.contains("postern policy confirm"), "{why}");
    assert_eq!(site.history().pending(), Some(pending));
    site.history().confirmed().unwrap();
    assert!(site.starts_with("carl").cached.is_none());
}
