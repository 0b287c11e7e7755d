//! Changing a policy folder: all drafts are judged together before the first file is touched.

use std::path::{Path, PathBuf};

use policy::Loaded;

use super::exit::{Exit, Failure};
use crate::disk;
use crate::edits::{Draft, Drafts, Edit};
use crate::snapshot::folder::{self, PolicyFolder};

/// The files of a policy folder, open for edits.
pub(crate) struct Folder {
    dir: PathBuf,
    before: PolicyFolder,
    drafts: Drafts,
}

/// Which file to write first, so that each state in between is valid too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// People before the groups that name them.
    UsersFirst,
    /// Groups before the people they no longer name.
    UsersLast,
}

impl Folder {
    /// Reads all files.
    ///
    /// # Errors
    /// Those of [`folder::read`] and of files that are no TOML.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let before = folder::read(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            drafts: Drafts::open(&before.files)?,
            before,
        })
    }

    /// Makes a change in the drafts.
    ///
    /// # Errors
    /// [`Exit::Data`] for a person or group that is not there, or is.
    pub(crate) fn edit(&mut self, edit: &Edit) -> Result<(), Failure> {
        Ok(self.drafts.make(edit)?)
    }

    /// Loads the edited files as a gateway would, and writes those that changed.
    ///
    /// # Errors
    /// [`Exit::Config`] with the diagnostics if they do not load: nothing was written then.
    pub(crate) fn commit(&mut self, order: Order) -> Result<Loaded, Failure> {
        let mut after = self.before.clone();
        for file in after.files.iter_mut().filter(|file| !file.list) {
            let draft = self.drafts.all.iter().find(|draft| draft.path == file.path);
            file.text = draft.map(Draft::text).unwrap_or_default();
        }
        let sources = after.sources();
        let loaded = policy::load(&sources).map_err(|found| Failure::policy(&sources, &found))?;
        if folder::read(&self.dir)? != self.before {
            let text = "the policy folder was changed meanwhile; nothing was written, try again";
            return Err(Failure::new(Exit::Unavailable, text));
        }
        self.drafts.all.sort_by_key(|draft| match order {
            Order::UsersFirst => !draft.has_users(),
            Order::UsersLast => draft.has_users(),
        });
        for draft in self.drafts.all.iter().filter(|d| d.is_changed()) {
            let path = Path::new(&draft.path);
            let replaced = path
                .metadata()
                .and_then(|own| disk::put(path, draft.text(), Some(&own)));
            replaced.map_err(|e| Failure::file("write", path, &e))?;
        }
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::{Folder, Order};
    use crate::cli::exit::Exit;
    use crate::config::tests::Folder as Temp;
    use crate::edits::{Edit, NewUser};

    const POLICY: &str = r#"postern = 1
[group]
it = ["ann"] # one
[admin]
allow.it = { who = "@it" }
"#;

    fn add(user: &str, groups: &[&str]) -> Edit {
        Edit::Add(NewUser {
            user: user.to_owned(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            ..NewUser::default()
        })
    }

    fn folder() -> Temp {
        let temp = Temp::new();
        temp.write("policy.toml", POLICY);
        temp.write("users.toml", "postern = 1\n[user.ann]\n");
        temp
    }

    #[test]
    fn a_valid_edit_is_written_and_an_invalid_one_changes_nothing() {
        let temp = folder();
        let mut good = Folder::open(temp.path()).unwrap();
        good.edit(&add("bob", &["it"])).unwrap();
        let loaded = good.commit(Order::UsersFirst).unwrap();
        assert!(loaded.policy.user("bob").is_some());
        let mut bad = Folder::open(temp.path()).unwrap();
        bad.drafts.all[0].join("it", "nobody");
        let failure = bad.commit(Order::UsersFirst).err().unwrap();
        assert_eq!(failure.exit, Exit::Config);
        assert!(
            failure.text.contains("nobody") && failure.text.contains("policy.toml:3:"),
            "{failure}"
        );
        let text = std::fs::read_to_string(temp.path().join("policy.toml")).unwrap();
        assert_eq!(text, POLICY.replace("\"ann\"]", "\"ann\", \"bob\"]"));
    }

    #[test]
    fn a_group_of_a_tenant_stands_in_its_own_files() {
        let temp = Temp::new();
        let root = format!("{POLICY}[tenant.acme]\ndir = \"t/a\"\ndomains = [\"acme.example\"]\n");
        temp.write("policy.toml", root);
        std::fs::create_dir_all(temp.path().join("t/a")).unwrap();
        temp.write("t/a/p.toml", "postern = 1\n[group]\nit = [\"paul\"]\n");
        let mut folder = Folder::open(temp.path()).unwrap();
        assert!(folder.edit(&add("rita", &["other/it"])).is_err());
        folder.edit(&add("rita", &["acme/it"])).unwrap();
        let loaded = folder.commit(Order::UsersFirst).unwrap();
        let groups = &loaded.policy.user("rita").unwrap().groups;
        assert!(groups.iter().any(|g| &**g == "acme/it"));
        assert!(!groups.iter().any(|g| &**g == "it"));
    }

    #[test]
    fn a_change_by_somebody_else_meanwhile_is_not_overwritten() {
        let temp = folder();
        let mut mine = Folder::open(temp.path()).unwrap();
        mine.edit(&add("bob", &[])).unwrap();
        temp.write("users.toml", "postern = 1\n[user.ann]\n[user.cleo]\n");
        assert_eq!(
            mine.commit(Order::UsersFirst).err().unwrap().exit,
            Exit::Unavailable
        );
        let text = std::fs::read_to_string(temp.path().join("users.toml")).unwrap();
        assert!(text.contains("cleo") && !text.contains("bob"));
    }
}
