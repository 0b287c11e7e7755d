//! Taking a person out while the policy folder holds what may not go in force.

use std::sync::Arc;

use super::blocking;
use super::change::{Done, Files, Wanted, locked};
use super::history::How;
use super::{Rejected, folder::Folder};
use crate::control::UserAct;
use crate::edits::Draft;
use crate::gateway::Gateway;
use crate::snapshot::folder::PolicyFile;

/// Takes a person out of the policy in force, whatever lies in the folder: what a guard holds
/// there must not keep anybody in. What is held stays held. `None` where there is nothing to do
/// it with; the refusal of the folder is the answer then.
pub(crate) async fn revoke(
    gw: &Arc<Gateway>,
    user: &str,
    act: UserAct,
    wanted: Wanted,
) -> Option<Result<Done, Rejected>> {
    let _one = gw.reloading.lock().await;
    let source = gw.history.in_force()?.source?;
    let back_to = gw.history.pending().map(|pending| pending.back_to);
    let worker = Arc::clone(gw);
    let (before, back) = blocking(move || {
        let files = |source: &str| worker.history.files(source);
        (files(&source), back_to.and_then(|source| files(&source)))
    })
    .await;
    let after = without(&before?, user, act)?;
    let digest = after.digest();
    let (held, error) = (gw.history.held(), gw.reload_error.lock().clone());
    let wanted = Wanted {
        files: Files::Aside(after),
        how: How::User,
        revokes: true,
        // a person who is out must not come back when nobody confirms
        back: back.map(|back| without(&back, user, act).unwrap_or(back)),
        ..wanted
    };
    let done = super::said(locked(gw, wanted).await);
    let is_the_folder = held.as_ref().is_some_and(|held| held.source == digest);
    if done.is_ok() && !is_the_folder {
        *gw.reload_error.lock() = error;
        let worker = Arc::clone(gw);
        if let Err(error) = blocking(move || worker.history.hold(held)).await {
            tracing::error!(%error, "the policy history cannot be written");
        }
    }
    Some(done)
}

/// Edits the files as the command line did those on disk.
fn without(before: &Folder, user: &str, act: UserAct) -> Option<Folder> {
    let mut found = false;
    let after = before.edit(|path, text| {
        if !path.ends_with(".toml") {
            return Some(text.to_owned());
        }
        let file = PolicyFile {
            path: path.to_owned(),
            relative: path.to_owned(),
            text: text.to_owned(),
            list: false,
        };
        let mut draft = Draft::new(&file).ok()?;
        match act {
            UserAct::Disable => found |= draft.set_disabled(user, true),
            UserAct::Remove => {
                found |= !draft.groups_of(user).is_empty();
                draft.leave_all(user);
                found |= draft.remove_user(user);
            }
            UserAct::Add | UserAct::Enable => return None,
        }
        Some(draft.text())
    })?;
    found.then_some(after)
}

#[cfg(test)]
mod tests {
    use super::without;
    use crate::control::UserAct;
    use crate::reload::folder::Folder;

    #[test]
    fn a_person_is_taken_out_of_the_files_in_force_and_nothing_else_is_changed() {
        let before: Folder = serde_json::from_value(serde_json::json!({
            "policy.toml": "postern = 1\n[group]\nit = [\"ann\", \"bob\"] # two\n",
            "users.toml": "postern = 1\n[user.ann]\n[user.bob]\n",
        }))
        .unwrap();
        let text = |folder: Option<Folder>| serde_json::to_string(&folder.unwrap()).unwrap();
        let disabled = text(without(&before, "bob", UserAct::Disable));
        assert!(
            disabled.contains("[user.bob]\\ndisabled = true"),
            "{disabled}"
        );
        assert!(disabled.contains("# two"), "{disabled}");
        let removed = text(without(&before, "bob", UserAct::Remove));
        assert!(
            !removed.contains("bob") && removed.contains("ann"),
            "{removed}"
        );
        assert!(without(&before, "carl", UserAct::Disable).is_none());
        assert!(without(&before, "bob", UserAct::Enable).is_none());
    }
}
