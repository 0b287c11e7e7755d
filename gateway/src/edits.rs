//! Edits of the people and groups of a policy folder: pure, all files together, comments kept.

mod draft;
pub(crate) mod lines;

use std::collections::BTreeSet;

use serde::Serialize;

pub(crate) use draft::Draft;

use crate::identity::UserName;
use crate::snapshot::folder::PolicyFile;

/// One change of people or groups. A group of a tenant is written `acme/team`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub(crate) enum Edit {
    /// A person is declared and put into groups.
    Add(NewUser),
    /// A person is shut out.
    Disable {
        /// The person.
        user: String,
    },
    /// A person is let in again.
    Enable {
        /// The person.
        user: String,
    },
    /// A person is taken out of all files.
    Remove {
        /// The person.
        user: String,
    },
    /// A person is put into a group.
    Join {
        /// The person.
        user: String,
        /// The group.
        group: String,
    },
    /// A person is taken out of a group that names them.
    Leave {
        /// The person.
        user: String,
        /// The group.
        group: String,
    },
}

impl Edit {
    /// Whom it is about.
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::Add(new) => &new.user,
            Self::Disable { user }
            | Self::Enable { user }
            | Self::Remove { user }
            | Self::Join { user, .. }
            | Self::Leave { user, .. } => user,
        }
    }
}

/// A person to declare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct NewUser {
    /// The name to sign in with.
    pub(crate) user: String,
    /// The name people read.
    pub(crate) name: Option<String>,
    /// The mail address.
    pub(crate) mail: Option<String>,
    /// The groups to be in.
    pub(crate) groups: Vec<String>,
}

/// Why an edit cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    /// A file is no TOML; `policy check` tells where.
    #[error("{path}: {source}")]
    NotToml {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: toml_edit::TomlError,
    },
    /// Nobody has that name.
    #[error("no user {} in the policy folder", .0.escape_debug())]
    NoUser(String),
    /// Somebody has that name.
    #[error("{0} is there already")]
    Exists(String),
    /// It cannot be a name.
    #[error("{} is not a user name: lower-case letters, digits, dot, underscore, dash; at most 64", .0.escape_debug())]
    BadName(String),
    /// There is no such group that lists its people.
    #[error("no group {} in the policy folder; there are: {known}", group.escape_debug())]
    NoGroup {
        /// The group.
        group: String,
        /// Those there are.
        known: String,
    },
    /// The group does not name the person itself.
    #[error(
        "{group} does not name {user} itself: they are in it by another group or by an attribute"
    )]
    NotNamed {
        /// The person.
        user: String,
        /// The group.
        group: String,
    },
    /// People are who is in a group.
    #[error(
        "the folder has no users.toml, so a person is who is in a group: name one with --group"
    )]
    NoUsersFile,
    /// People without a declaration cannot be shut out by one.
    #[error(
        "no users.toml declares {0}, so there is no place to say that they are shut out: take them out instead"
    )]
    NotDeclared(String),
}

/// The policy files of a folder, open for edits.
pub(crate) struct Drafts {
    /// Those directly in the folder sorted by name, then those of tenants.
    pub(crate) all: Vec<Draft>,
}

impl Drafts {
    /// Opens files; lists of networks are left out.
    ///
    /// # Errors
    /// [`EditError::NotToml`].
    pub(crate) fn open(files: &[PolicyFile]) -> Result<Self, EditError> {
        let files = files.iter().filter(|file| !file.list);
        let all = files.map(Draft::new).collect::<Result<_, _>>()?;
        Ok(Self { all })
    }

    /// The files a group may stand in, and its name there: `acme/team` is group `team` of tenant `acme`. `None` where
    /// there is no such tenant.
    pub(crate) fn space<'g>(&self, group: &'g str) -> Option<(String, &'g str)> {
        let Some((tenant, name)) = group.split_once('/') else {
            return Some((String::new(), group));
        };
        let dir = self.all.iter().find_map(|draft| draft.tenant_dir(tenant))?;
        Some((dir, name))
    }

    /// Makes a change.
    ///
    /// # Errors
    /// [`EditError`]; the drafts are of no use then.
    pub(crate) fn make(&mut self, edit: &Edit) -> Result<(), EditError> {
        match edit {
            Edit::Add(new) => self.add(new),
            Edit::Disable { user } => self.set_disabled(user, true),
            Edit::Enable { user } => self.set_disabled(user, false),
            Edit::Remove { user } => self.remove(user),
            Edit::Join { user, group } if self.is_known(user) => self.join(group, user),
            Edit::Join { user, .. } => Err(EditError::NoUser(user.clone())),
            Edit::Leave { user, group } => self.leave(group, user),
        }
    }

    /// Lists the groups that name a person themselves, those of tenants as `acme/team`.
    pub(crate) fn naming(&self, user: &str) -> Vec<String> {
        let mut groups = Vec::new();
        for draft in &self.all {
            let named = draft.groups_of(user).into_iter();
            groups.extend(named.map(|group| self.full(draft, group)));
        }
        groups
    }

    /// Lists every group that lists its people, those of tenants as `acme/team`.
    pub(crate) fn groups(&self) -> Vec<String> {
        let of = |draft: &Draft| {
            let groups = draft.groups().into_iter();
            groups
                .map(|group| self.full(draft, group))
                .collect::<Vec<_>>()
        };
        self.all.iter().flat_map(of).collect()
    }

    /// Lists the people whom a group names itself.
    pub(crate) fn named_in(&self, group: &str) -> BTreeSet<String> {
        let Some((space, name)) = self.space(group) else {
            return BTreeSet::new();
        };
        let own = self.all.iter().filter(|draft| draft.folder == space);
        own.flat_map(|draft| draft.named_in(name)).collect()
    }

    fn full(&self, draft: &Draft, group: String) -> String {
        match self.tenant_of(&draft.folder) {
            Some(tenant) => format!("{tenant}/{group}"),
            None => group,
        }
    }

    fn tenant_of(&self, folder: &str) -> Option<String> {
        let mut all = self.all.iter().filter(|_| !folder.is_empty());
        all.find_map(|draft| draft.tenant_in(folder))
    }

    fn add(&mut self, new: &NewUser) -> Result<(), EditError> {
        let user = &new.user;
        if UserName::parse(user).is_none_or(|name| name.as_str() != user) {
            return Err(EditError::BadName(user.clone()));
        }
        let declared = self.all.iter().any(|d| d.has_user(user));
        let named = self.all.iter().any(|d| !d.groups_of(user).is_empty());
        // who joins a group of a tenant is declared in its users.toml where it has one, else in the root's
        let spaces = new.groups.iter().filter_map(|group| self.space(group));
        let spaces: Vec<String> = spaces
            .map(|(space, _)| space)
            .chain([String::new()])
            .collect();
        let people = spaces.iter().find_map(|space| {
            let mut drafts = self.all.iter();
            drafts.position(|draft| draft.has_users() && draft.folder == *space)
        });
        if declared || (people.is_none() && named) {
            return Err(EditError::Exists(user.clone()));
        }
        match people.and_then(|at| self.all.get_mut(at)) {
            Some(draft) => draft.add_user(user, new.name.as_deref(), new.mail.as_deref()),
            None if new.groups.is_empty() => return Err(EditError::NoUsersFile),
            None => {}
        }
        new.groups
            .iter()
            .try_for_each(|group| self.join(group, user))
    }

    fn join(&mut self, group: &str, user: &str) -> Result<(), EditError> {
        if let Some((space, name)) = self.space(group) {
            let own = self.all.iter_mut().filter(|d| d.folder == space);
            if own.into_iter().any(|d| d.join(name, user)) {
                return Ok(());
            }
        }
        Err(self.no_group(group))
    }

    fn leave(&mut self, group: &str, user: &str) -> Result<(), EditError> {
        let Some((space, name)) = self.space(group) else {
            return Err(self.no_group(group));
        };
        let own = self.all.iter_mut().filter(|d| d.folder == space);
        if own.into_iter().any(|d| d.leave(name, user)) {
            return Ok(());
        }
        Err(EditError::NotNamed {
            user: user.to_owned(),
            group: group.to_owned(),
        })
    }

    fn set_disabled(&mut self, user: &str, disabled: bool) -> Result<(), EditError> {
        let found = self.all.iter_mut().any(|d| d.set_disabled(user, disabled));
        match found {
            true => Ok(()),
            false if self.is_known(user) => Err(EditError::NotDeclared(user.to_owned())),
            false => Err(EditError::NoUser(user.to_owned())),
        }
    }

    fn remove(&mut self, user: &str) -> Result<(), EditError> {
        if !self.is_known(user) {
            return Err(EditError::NoUser(user.to_owned()));
        }
        for draft in &mut self.all {
            draft.leave_all(user);
            draft.remove_user(user);
        }
        Ok(())
    }

    fn is_known(&self, user: &str) -> bool {
        let mut drafts = self.all.iter();
        drafts.any(|d| d.has_user(user) || !d.groups_of(user).is_empty())
    }

    fn no_group(&self, group: &str) -> EditError {
        let root = self.all.iter().filter(|d| d.folder.is_empty());
        let groups: Vec<String> = root.flat_map(|d| d.groups()).collect();
        EditError::NoGroup {
            group: group.to_owned(),
            known: groups.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Drafts, Edit, EditError, NewUser};
    use crate::snapshot::folder::PolicyFile;

    const ROOT: &str = "postern = 1\n[group]\nit = [\"ann\"] # two\nall = [\"@it\", \"bob\"]\n[tenant.acme]\ndir = \"t/a\"\n";
    const USERS: &str = "postern = 1\n[user.ann]\n[user.bob]\n";

    fn drafts(files: &[(&str, &str)]) -> Drafts {
        let file = |(path, text): &(&str, &str)| PolicyFile {
            path: (*path).to_owned(),
            relative: (*path).to_owned(),
            text: (*text).to_owned(),
            list: false,
        };
        let files: Vec<PolicyFile> = files.iter().map(file).collect();
        Drafts::open(&files).unwrap()
    }

    fn site() -> Drafts {
        let tenant = "postern = 1\n[group]\nteam = [\"rita\"]\n";
        drafts(&[
            ("policy.toml", ROOT),
            ("users.toml", USERS),
            ("t/a/p.toml", tenant),
        ])
    }

    fn on(user: &str, group: &str, join: bool) -> Edit {
        let (user, group) = (user.to_owned(), group.to_owned());
        match join {
            true => Edit::Join { user, group },
            false => Edit::Leave { user, group },
        }
    }

    #[test]
    fn only_a_group_that_names_a_person_is_left_and_comments_stay() {
        let mut site = site();
        site.make(&on("bob", "it", true)).unwrap();
        assert_eq!(site.naming("bob"), ["it", "all"]);
        assert!(site.all[0].text().contains("it = [\"ann\", \"bob\"] # two"));
        site.make(&on("bob", "it", false)).unwrap();
        assert_eq!(site.all[0].text(), ROOT);
        let error = site.make(&on("ann", "all", false)).unwrap_err();
        assert!(matches!(error, EditError::NotNamed { .. }), "{error}");
    }

    #[test]
    fn a_group_of_a_tenant_is_edited_in_its_file() {
        let mut site = site();
        assert_eq!(site.naming("rita"), ["acme/team"]);
        site.make(&on("rita", "acme/team", false)).unwrap();
        site.make(&on("ann", "acme/team", true)).unwrap();
        assert!(site.all[2].text().contains("team = [\"ann\"]"));
        assert!(site.make(&on("ann", "other/team", true)).is_err());
    }

    #[test]
    fn nobody_joins_who_is_not_there_and_nobody_is_declared_twice() {
        let mut site = site();
        assert!(matches!(
            site.make(&on("eve", "it", true)),
            Err(EditError::NoUser(_))
        ));
        let new = |user: &str, group: &str| {
            Edit::Add(NewUser {
                user: user.to_owned(),
                groups: vec![group.to_owned()],
                ..NewUser::default()
            })
        };
        assert!(matches!(
            site.make(&new("ann", "it")),
            Err(EditError::Exists(_))
        ));
        assert!(matches!(
            site.make(&new("A nn", "it")),
            Err(EditError::BadName(_))
        ));
        assert!(matches!(
            site.make(&new("eve", "no")),
            Err(EditError::NoGroup { .. })
        ));
        let mut site = self::site();
        site.make(&new("eve", "it")).unwrap();
        assert!(site.all[1].has_user("eve") && site.naming("eve") == ["it"]);
    }

    #[test]
    fn who_is_only_named_can_be_taken_out_but_not_shut_out() {
        let mut bare = drafts(&[("policy.toml", "postern = 1\n[group]\nit = [\"ann\"]\n")]);
        let user = || "ann".to_owned();
        let refused = bare.make(&Edit::Disable { user: user() });
        assert!(matches!(refused, Err(EditError::NotDeclared(_))));
        bare.make(&Edit::Remove { user: user() }).unwrap();
        assert!(matches!(
            bare.make(&Edit::Remove { user: user() }),
            Err(EditError::NoUser(_))
        ));
    }
}
