use std::sync::Arc;

use super::{Wanted, waits};
use crate::config::tests::Folder as Temp;
use crate::reload::history::{By, History, How, Pending};
use crate::reload::outcome;
use crate::secrets::Keys;

fn history(dir: &Temp, pending: Option<Pending>) -> History {
    let keys = Keys::create(&dir.path().join("key")).unwrap();
    let history = History::open(dir.path(), Arc::new(keys)).unwrap();
    let mut entry = outcome::entry(How::Apply, &By::default(), "applied");
    entry.generation = Some(2);
    history.applied(entry, pending).unwrap();
    history
}

fn stop(history: &History, how: How, revokes: bool) -> Option<String> {
    let wanted = Wanted {
        revokes,
        ..Wanted::disk(how, By::default())
    };
    waits(history, &wanted, "other").map(|stop| stop.text)
}

#[test]
fn while_a_confirmation_is_awaited_only_what_is_meant_to_ends_it() {
    let pending = Pending {
        generation: 2,
        back_to: "one".to_owned(),
        until: i64::MAX,
    };
    let (dir, calm) = (Temp::new(), Temp::new());
    let (waiting, calm) = (history(&dir, Some(pending)), history(&calm, None));
    for how in [
        How::Watch,
        How::Signal,
        How::Reload,
        How::User,
        How::Console,
    ] {
        let text = stop(&waiting, how, false).unwrap();
        for command in ["postern policy confirm", "postern policy rollback"] {
            assert!(text.contains(command), "{how:?}: {text}");
        }
        assert_eq!(stop(&calm, how, false), None, "{how:?}");
    }
    for how in [How::Apply, How::Rollback, How::Unconfirmed] {
        assert_eq!(stop(&waiting, how, false), None, "{how:?}");
    }
    assert_eq!(stop(&waiting, How::User, true), None, "a revocation");
}
