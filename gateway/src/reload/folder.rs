//! A policy folder as one value: relative paths with their texts, a digest, and the way back to the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use policy::Sources;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk::{make_folder, put, sync};
use crate::ids;
use crate::snapshot::files::FileError;
use crate::snapshot::folder::{self, FolderError, PolicyFile};

/// The deepest path in a policy folder.
const DEPTH_MAX: usize = 4;
/// How many copies of replaced folders are kept.
const KEPT_MAX: usize = 10;

/// The files of a policy folder; what is not read as policy is no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Folder {
    /// Texts by their paths below the folder.
    pub(crate) files: BTreeMap<String, String>,
}

impl Folder {
    /// Reads a policy folder.
    ///
    /// # Errors
    /// Those of [`folder::read`]; a folder without any file is refused, so that a folder that
    /// was lost or never mounted is not taken for a policy without rules.
    pub(crate) fn read(dir: &Path) -> Result<Self, FolderError> {
        let read = folder::read(dir)?.files;
        if read.is_empty() {
            let what = "no *.toml in the policy folder";
            let path = dir.to_owned();
            return Err(FileError::Refused { path, what }.into());
        }
        let files = read.into_iter().map(|file| (file.relative, file.text));
        Ok(Self {
            files: files.collect(),
        })
    }

    /// Returns the language's sources; findings name the files as if they lay in `dir`.
    pub(crate) fn sources(&self, dir: &Path) -> Sources {
        let mut sources = Sources::new();
        for (path, text) in &self.files {
            let shown = dir.join(path).display().to_string();
            // a list of networks has never the name of a policy file
            match Path::new(path).extension().is_some_and(|e| e == "toml") {
                true => sources.add_at(&shown, path, text.clone()),
                false => sources.add_list(&shown, path, text.clone()),
            };
        }
        sources
    }

    /// Hex SHA-256 over all paths and texts, each with its length before it.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for part in self.files.iter().flat_map(|(path, text)| [path, text]) {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part.as_bytes());
        }
        data_encoding::HEXLOWER.encode(&hash.finalize())
    }

    /// Lists the files for an edit; lists of networks are among them.
    pub(crate) fn policy_files(&self) -> Vec<PolicyFile> {
        let file = |(path, text): (&String, &String)| PolicyFile {
            path: path.clone(),
            relative: path.clone(),
            text: text.clone(),
            list: !path.ends_with(".toml"),
        };
        self.files.iter().map(file).collect()
    }

    /// Makes a folder of edited texts; `None` where one edit gives none.
    pub(crate) fn edit(&self, mut edit: impl FnMut(&str, &str) -> Option<String>) -> Option<Self> {
        let files = self.files.iter().map(|(path, text)| {
            let edited = edit(path, text)?;
            Some((path.clone(), edited))
        });
        Some(Self {
            files: files.collect::<Option<_>>()?,
        })
    }

    /// Tells whether every path stays in the folder and is not hidden: what somebody sends is not
    /// what a folder was read as.
    pub(crate) fn is_sound(&self) -> bool {
        let sound = |path: &String| {
            let mut depth = 0;
            let plain = Path::new(path).components().all(|part| {
                depth += 1;
                let Component::Normal(name) = part else {
                    return false;
                };
                !name.as_encoded_bytes().starts_with(b".")
            });
            plain && (1..=DEPTH_MAX).contains(&depth) && !path.contains('\0')
        };
        !self.files.is_empty() && self.files.keys().all(sound)
    }

    /// Writes the files below a new folder with mode 0700.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn write_new(&self, dir: &Path) -> io::Result<()> {
        make_folder(dir)?;
        for (path, text) in &self.files {
            put(&dir.join(path), text, None)?;
        }
        Ok(())
    }

    /// Makes `dir` hold these files instead of those of `before`, which are copied to a folder
    /// below `aside` first. Each file is replaced at once; together they are not, so the caller
    /// keeps others from reading in between. Returns where the copy is.
    ///
    /// # Errors
    /// What the system refuses; what was changed until then is changed back.
    pub(crate) fn replace(&self, dir: &Path, before: &Self, aside: &Path) -> io::Result<PathBuf> {
        make_folder(aside)?;
        let kept = aside.join(format!("{}-{}", crate::clock::unix_ms(), ids::token()));
        before.write_new(&kept)?;
        forget_oldest(aside)?;
        if let Err(error) = self.put_over(dir, before) {
            before.put_over(dir, self)?;
            return Err(error);
        }
        Ok(kept)
    }

    /// Writes what differs from `before` and removes what only `before` has.
    fn put_over(&self, dir: &Path, before: &Self) -> io::Result<()> {
        let like = before
            .files
            .keys()
            .find_map(|path| dir.join(path).metadata().ok());
        for (path, text) in &self.files {
            let path = dir.join(path);
            if std::fs::read(&path).is_ok_and(|now| now == text.as_bytes()) {
                continue;
            }
            let own = path.metadata().ok();
            put(&path, text, own.as_ref().or(like.as_ref()))?;
        }
        for path in before
            .files
            .keys()
            .filter(|path| !self.files.contains_key(*path))
        {
            match std::fs::remove_file(dir.join(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut parents = Path::new(path).ancestors().skip(1);
            // a folder that is empty by now would be one that nobody claims
            while let Some(parent) = parents.next().filter(|p| !p.as_os_str().is_empty()) {
                if std::fs::remove_dir(dir.join(parent)).is_err() {
                    break;
                }
            }
        }
        sync(dir)
    }
}

/// Removes the oldest copies beyond [`KEPT_MAX`]; their names begin with their time.
fn forget_oldest(aside: &Path) -> io::Result<()> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(aside)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    names.sort();
    let excess = names.len().saturating_sub(KEPT_MAX);
    for old in names.into_iter().take(excess) {
        std::fs::remove_dir_all(old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Folder, KEPT_MAX};
    use crate::config::tests::Folder as Temp;
    use std::os::unix::fs::PermissionsExt;

    fn folder(files: &[(&str, &str)]) -> Folder {
        let files = files
            .iter()
            .map(|(p, t)| ((*p).to_owned(), (*t).to_owned()));
        Folder {
            files: files.collect(),
        }
    }

    #[test]
    fn what_was_replaced_is_kept_and_nothing_of_it_stays_in_the_folder() {
        let (policy, aside) = (Temp::new(), Temp::new());
        policy.write("a.toml", "one");
        policy.write("b.toml", "two");
        policy.write("notes.txt", "mine");
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(policy.path().join("a.toml"), mode).unwrap();
        let before = Folder::read(policy.path()).unwrap();
        let after = folder(&[("a.toml", "three"), ("c.toml", "four")]);
        let kept = after.replace(policy.path(), &before, aside.path()).unwrap();
        assert_eq!(Folder::read(policy.path()).unwrap(), after);
        assert_eq!(Folder::read(&kept).unwrap(), before);
        assert!(policy.path().join("notes.txt").exists());
        let mode = |name| {
            policy
                .path()
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode("a.toml") & 0o777, 0o640);
        assert_eq!(mode("c.toml") & 0o777, 0o640);
        let back = before.replace(policy.path(), &after, aside.path()).unwrap();
        assert_eq!(Folder::read(policy.path()).unwrap(), before);
        assert_eq!(Folder::read(&back).unwrap(), after);
    }

    #[test]
    fn copies_are_bounded() {
        let (policy, aside) = (Temp::new(), Temp::new());
        let mut before = folder(&[("a.toml", "0")]);
        policy.write("a.toml", "0");
        for round in 1..KEPT_MAX + 5 {
            let after = folder(&[("a.toml", &round.to_string())]);
            after.replace(policy.path(), &before, aside.path()).unwrap();
            before = after;
        }
        assert_eq!(std::fs::read_dir(aside.path()).unwrap().count(), KEPT_MAX);
    }

    #[test]
    fn a_path_that_leaves_the_folder_or_hides_is_not_sound() {
        for (path, good) in [
            ("a.toml", true),
            ("tenants/a.toml", true),
            ("../a.toml", false),
            ("/etc/a.toml", false),
            ("a/../../b.toml", false),
            (".a.toml", false),
            ("a/.b.toml", false),
            ("", false),
            ("1/2/3/4/5.toml", false),
        ] {
            assert_eq!(folder(&[(path, "")]).is_sound(), good, "{path:?}");
        }
        assert!(!folder(&[]).is_sound());
    }

    #[test]
    fn the_digest_tells_paths_and_texts_apart() {
        let all = [
            folder(&[("a", "bc")]),
            folder(&[("ab", "c")]),
            folder(&[("a", "b"), ("c", "")]),
            folder(&[("a", "bd")]),
        ];
        let digests: std::collections::BTreeSet<String> = all.iter().map(Folder::digest).collect();
        assert_eq!(digests.len(), all.len());
        assert_eq!(all[0].digest(), all[0].clone().digest());
    }
}
