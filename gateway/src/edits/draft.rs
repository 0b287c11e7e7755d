//! One policy file under edit: every comment and blank line is kept.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::EditError;
use crate::snapshot::folder::PolicyFile;

/// A policy file that is edited.
pub(crate) struct Draft {
    /// Its path.
    pub(crate) path: String,
    /// The folder below the policy folder; empty for a file directly in it.
    pub(crate) folder: String,
    /// Its text before.
    pub(crate) before: String,
    document: DocumentMut,
}

impl Draft {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`EditError::NotToml`].
    pub(crate) fn new(file: &PolicyFile) -> Result<Self, EditError> {
        let (path, before) = (file.path.clone(), file.text.clone());
        let document = before.parse().map_err(|source| EditError::NotToml {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            folder: file.folder().to_owned(),
            before,
            document,
        })
    }

    /// Returns the text as edited.
    pub(crate) fn text(&self) -> String {
        self.document.to_string()
    }

    /// Says whether an edit changed anything.
    pub(crate) fn is_changed(&self) -> bool {
        self.text() != self.before
    }

    /// The folder of a tenant that the file declares.
    pub(crate) fn tenant_dir(&self, tenant: &str) -> Option<String> {
        let tenants = self.document.get("tenant")?.as_table_like()?;
        let dir = tenants.get(tenant)?.as_table_like()?.get("dir")?;
        dir.as_str()
            .filter(|_| self.folder.is_empty())
            .map(str::to_owned)
    }

    /// The tenant that the file gives this folder.
    pub(crate) fn tenant_in(&self, folder: &str) -> Option<String> {
        let tenants = self.document.get("tenant")?.as_table_like()?;
        let mut names = tenants.iter().map(|(name, _)| name);
        names
            .find(|name| self.tenant_dir(name).as_deref() == Some(folder))
            .map(str::to_owned)
    }

    /// Says whether the file declares people.
    pub(crate) fn has_users(&self) -> bool {
        self.document.contains_key("user") || self.path.ends_with("users.toml")
    }

    /// Says whether the file declares this person.
    pub(crate) fn has_user(&self, name: &str) -> bool {
        self.users().is_some_and(|users| users.contains_key(name))
    }

    /// Lists the groups the file declares.
    pub(crate) fn groups(&self) -> Vec<String> {
        let table = self.document.get("group").and_then(Item::as_table_like);
        let names = |t: &dyn TableLike| t.iter().map(|(name, _)| name.to_owned()).collect();
        table.map(names).unwrap_or_default()
    }

    /// Lists the groups of the file that name this person directly.
    pub(crate) fn groups_of(&self, name: &str) -> Vec<String> {
        let table = self.document.get("group").and_then(Item::as_table_like);
        let holds = |item: &Item| match item {
            Item::Value(Value::Array(list)) => list.iter().any(|v| v.as_str() == Some(name)),
            Item::Value(value) => value.as_str() == Some(name),
            Item::None | Item::Table(_) | Item::ArrayOfTables(_) => false,
        };
        let Some(table) = table else {
            return Vec::new();
        };
        let found = table.iter().filter(|(_, item)| holds(item));
        found.map(|(group, _)| group.to_owned()).collect()
    }

    /// Lists the people whom a group of the file names itself.
    pub(crate) fn named_in(&self, group: &str) -> Vec<String> {
        let found = self
            .document
            .get("group")
            .and_then(|groups| groups.get(group));
        let names: Vec<&str> = match found.and_then(Item::as_value) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(value) => value.as_str().into_iter().collect(),
            None => Vec::new(),
        };
        let people = names
            .into_iter()
            .filter(|name| !name.starts_with(['@', '!']));
        people.map(str::to_owned).collect()
    }

    /// Declares a person.
    pub(crate) fn add_user(&mut self, name: &str, full: Option<&str>, mail: Option<&str>) {
        let mut user = Table::new();
        if let Some(full) = full {
            user.insert("name", toml_edit::value(full));
        }
        if let Some(mail) = mail {
            user.insert("mail", toml_edit::value(mail));
        }
        let users = self.document.entry("user").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        if let Some(users) = users.as_table_mut() {
            user.decor_mut().set_prefix("\n");
            users.insert(name, Item::Table(user));
        } else if let Some(users) = users.as_inline_table_mut() {
            users.insert(
                name,
                Value::InlineTable(InlineTable::from_iter(user_values(&user))),
            );
        }
    }

    /// Sets or clears `disabled` of a person the file declares; says whether it does.
    pub(crate) fn set_disabled(&mut self, name: &str, disabled: bool) -> bool {
        let Some(user) = self.user_mut(name) else {
            return false;
        };
        if disabled {
            user.insert("disabled", toml_edit::value(true));
        } else {
            user.remove("disabled");
        }
        true
    }

    /// Takes a person out of the declarations; says whether they were there.
    pub(crate) fn remove_user(&mut self, name: &str) -> bool {
        let users = self.document.get_mut("user");
        let users = users.and_then(Item::as_table_like_mut);
        users.is_some_and(|users| users.remove(name).is_some())
    }

    /// Adds a person to a group the file declares; says whether it does.
    pub(crate) fn join(&mut self, group: &str, name: &str) -> bool {
        let Some(item) = self.group_mut(group) else {
            return false;
        };
        if let Some(single) = item.as_str() {
            let list = Array::from_iter([single.to_owned()]);
            *item = toml_edit::value(list);
        }
        if let Some(list) = item.as_array_mut()
            && !list.iter().any(|v| v.as_str() == Some(name))
        {
            push_like_others(list, name);
        }
        true
    }

    /// Takes a person out of a group; says whether the file's group named them.
    pub(crate) fn leave(&mut self, group: &str, name: &str) -> bool {
        let named = self.groups_of(name).iter().any(|held| held == group);
        let Some(item) = self.group_mut(group).filter(|_| named) else {
            return false;
        };
        match item.as_array_mut() {
            Some(list) => remove_from(list, name),
            None => *item = toml_edit::value(Array::new()),
        }
        true
    }

    /// Takes a person out of every group of the file.
    pub(crate) fn leave_all(&mut self, name: &str) {
        for group in self.groups_of(name) {
            self.leave(&group, name);
        }
    }

    fn users(&self) -> Option<&dyn TableLike> {
        self.document.get("user")?.as_table_like()
    }

    fn user_mut(&mut self, name: &str) -> Option<&mut dyn TableLike> {
        let users = self.document.get_mut("user")?.as_table_like_mut()?;
        users.get_mut(name)?.as_table_like_mut()
    }

    fn group_mut(&mut self, group: &str) -> Option<&mut Item> {
        let groups = self.document.get_mut("group")?.as_table_like_mut()?;
        groups.get_mut(group)
    }
}

fn user_values(user: &Table) -> Vec<(String, Value)> {
    let pairs = user.iter();
    pairs
        .filter_map(|(key, item)| Some((key.to_owned(), item.as_value()?.clone())))
        .collect()
}

/// Adds an element the way the list is laid out: after the last one, on a line of its own if the last one is.
fn push_like_others(list: &mut Array, name: &str) {
    let layout = |v: &Value| {
        v.decor()
            .prefix()
            .and_then(|p| p.as_str())
            .map(str::to_owned)
    };
    let prefix = list.iter().last().and_then(layout);
    let own_line = prefix.filter(|p| p.contains('\n'));
    list.push(name);
    let Some(own_line) = own_line else {
        return;
    };
    let indent = own_line.rsplit('\n').next().unwrap_or_default();
    if let Some(last) = list.iter_mut().last() {
        last.decor_mut().set_prefix(format!("\n{indent}"));
    }
}

fn remove_from(list: &mut Array, name: &str) {
    let mut i = 0;
    while let Some(value) = list.get(i) {
        if value.as_str() == Some(name) {
            list.remove(i);
            if i == 0
                && let Some(first) = list.iter_mut().next()
                && first.decor().prefix().and_then(|p| p.as_str()) == Some(" ")
            {
                first.decor_mut().set_prefix("");
            }
        } else {
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Draft;
    use crate::snapshot::folder::PolicyFile;

    const POLICY: &str = r#"# who is who
postern = 1

[group] # reviewed each month
it    = ["nadia", "olivier"]   # both are admins
guest = "gus"
staff = [
    "@it",
    # front desk
    "paul",
]

[app.a] # the app
host = "a.example"
"#;

    fn draft(text: &str) -> Draft {
        Draft::new(&file(text)).unwrap()
    }

    fn file(text: &str) -> PolicyFile {
        PolicyFile {
            path: "policy.toml".to_owned(),
            relative: "policy.toml".to_owned(),
            text: text.to_owned(),
            list: false,
        }
    }

    #[test]
    fn joining_a_group_changes_one_array_and_keeps_all_comments() {
        let mut d = draft(POLICY);
        for group in ["it", "guest", "staff"] {
            assert!(d.join(group, "zoe"));
        }
        assert!(!d.join("none", "zoe"));
        let wanted = POLICY
            .replace(r#""olivier"]   #"#, r#""olivier", "zoe"]   #"#)
            .replace(r#""gus""#, r#"["gus", "zoe"]"#)
            .replace("    \"paul\",\n", "    \"paul\",\n    \"zoe\",\n");
        assert_eq!(d.text(), wanted);
        assert!(d.join("it", "zoe"));
        assert_eq!(d.text(), wanted);
    }

    #[test]
    fn leaving_all_groups_restores_the_file() {
        let mut d = draft(POLICY);
        d.leave_all("nobody");
        assert!(!d.is_changed());
        d.leave_all("nadia");
        d.leave_all("paul");
        d.leave_all("gus");
        let text = d.text();
        assert!(
            text.contains("it    = [\"olivier\"]   # both are admins"),
            "{text}"
        );
        assert!(text.contains("guest = []"), "{text}");
        assert!(!text.contains("paul"), "{text}");
        assert_eq!(d.groups_of("olivier"), ["it"]);
    }

    const USERS: &str = r#"postern = 1

# the boss
[user.ann]
name = "Ann"      # as on the door

[user.bob]
"#;

    #[test]
    fn a_person_is_added_disabled_enabled_and_removed() {
        let mut d = draft(USERS);
        assert!(d.has_users() && d.has_user("ann") && !d.has_user("zoe"));
        d.add_user("zoe", Some("Zoe"), Some("zoe@example.org"));
        let added = format!("{USERS}\n[user.zoe]\nname = \"Zoe\"\nmail = \"zoe@example.org\"\n");
        assert_eq!(d.text(), added);
        assert!(d.set_disabled("ann", true));
        let disabled = "name = \"Ann\"      # as on the door\ndisabled = true\n";
        assert!(d.text().contains(disabled), "{}", d.text());
        assert!(d.set_disabled("ann", false));
        assert_eq!(d.text(), added);
        assert!(!d.set_disabled("eve", true));
        assert!(d.remove_user("zoe") && !d.remove_user("eve"));
        assert_eq!(d.text(), USERS);
    }

    #[test]
    fn the_first_person_of_a_file_gets_a_table() {
        let mut d = draft("postern = 1\n");
        d.add_user("ann", None, None);
        assert_eq!(d.text(), "postern = 1\n\n[user.ann]\n");
    }

    #[test]
    fn a_broken_file_is_refused() {
        assert!(Draft::new(&file("[a")).is_err());
    }
}
