//! What the plan remembers over a restart, by the directories' addresses: their list may change in
//! between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use certs::plan::{Cause, Failure, Memory, Remembered, Rest, Spending};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::proxy::tls::files::{self, FileError, Readers};

/// The file beside the ordered certificates.
const FILE: &str = "orders.json";

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// The directories whose places follow, in their order.
    urls: Vec<String>,
    directories: Vec<(i64, u32)>,
    /// What was asked of each, in the same order.
    #[serde(default)]
    spent: Vec<Spent>,
    names: BTreeMap<String, Name>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Spent {
    orders: Vec<i64>,
    domains: BTreeMap<String, Vec<i64>>,
}

#[derive(Serialize, Deserialize)]
struct Name {
    failures: u32,
    /// The code of the last cause, and its detail.
    failed: Option<(String, String)>,
    /// The place of the directory that signed what is in use.
    #[serde(default)]
    issuer: Option<usize>,
    places: Vec<Place>,
}

#[derive(Default, Serialize, Deserialize)]
struct Place {
    issued: Vec<i64>,
    failed: Vec<i64>,
    blocked_until: i64,
}

fn path(config: &Config) -> PathBuf {
    config.data.join("acme").join(FILE)
}

fn urls(config: &Config) -> Vec<String> {
    let acme = &config.acme;
    let urls = acme.directory.iter().map(|d| d.url(acme.staging));
    urls.map(|url| url.unwrap_or_default().to_owned()).collect()
}

/// Reads what was written; nothing where that is not there or damaged: the directories count for
/// themselves.
pub(super) fn read(config: &Config) -> Memory {
    let path = path(config);
    match load(&path) {
        Ok(kept) => kept.unwrap_or_default().among(&urls(config)),
        Err(error) => {
            tracing::warn!(path = %path.display(), error, "past orders are not known");
            Memory::default()
        }
    }
}

fn load(path: &Path) -> Result<Option<Kept>, String> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read_secret(path, Readers::Owner).map_err(|e| e.to_string())?;
    let kept = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    Ok(Some(kept))
}

/// Replaces what is written, whole or not at all.
///
/// # Errors
/// [`FileError`] if it cannot be written.
pub(super) fn write(config: &Config, memory: Memory) -> Result<(), FileError> {
    let kept = Kept::of(memory, urls(config));
    let text = serde_json::to_vec(&kept).unwrap_or_default();
    let path = path(config);
    if let Some(dir) = path.parent() {
        files::make_dir(dir)?;
    }
    files::replace(&path, &text, 0o600)
}

impl Kept {
    fn of(memory: Memory, urls: Vec<String>) -> Self {
        let all = memory.directories.into_iter();
        let (directories, spent) = all
            .map(|rest| {
                let Rest {
                    orders, domains, ..
                } = rest;
                let spent = Spent { orders, domains };
                ((rest.blocked_until, rest.failures), spent)
            })
            .unzip();
        let names = memory.names.into_iter();
        Self {
            urls,
            directories,
            spent,
            names: names.map(|(name, past)| (name, Name::of(past))).collect(),
        }
    }

    /// Puts everything in the order of the directories of now.
    fn among(mut self, urls: &[String]) -> Memory {
        let old: Vec<_> = urls
            .iter()
            .map(|url| self.urls.iter().position(|known| known == url))
            .collect();
        let directories = old.iter().map(|at| {
            let known = at.and_then(|at| self.directories.get(at).copied());
            let (blocked_until, failures) = known.unwrap_or_default();
            let spent = at.and_then(|at| self.spent.get(at).cloned());
            let Spent { orders, domains } = spent.unwrap_or_default();
            Rest {
                blocked_until,
                failures,
                orders,
                domains,
            }
        });
        let directories = directories.collect();
        let names = std::mem::take(&mut self.names).into_iter();
        Memory {
            directories,
            names: names.map(|(name, past)| (name, past.among(&old))).collect(),
        }
    }
}

impl Name {
    fn of(past: Remembered) -> Self {
        let failed = past.failed.map(|f| (f.cause.code().to_owned(), f.detail));
        let places = past.places.into_iter().map(|place| Place {
            issued: place.issued,
            failed: place.failed,
            blocked_until: place.blocked_until,
        });
        Self {
            failures: past.failures,
            failed,
            issuer: past.issuer,
            places: places.collect(),
        }
    }

    fn among(mut self, old: &[Option<usize>]) -> Remembered {
        let failed = self.failed.take().map(|(code, detail)| {
            let cause = Cause::ALL.into_iter().find(|cause| cause.code() == code);
            Failure::new(cause.unwrap_or(Cause::Other), detail)
        });
        let issuer = self
            .issuer
            .and_then(|issuer| old.iter().position(|at| *at == Some(issuer)));
        let places = old.iter().map(|at| {
            let place = at.and_then(|at| self.places.get_mut(at));
            let place = place.map(std::mem::take).unwrap_or_default();
            Spending {
                issued: place.issued,
                failed: place.failed,
                blocked_until: place.blocked_until,
            }
        });
        Remembered {
            places: places.collect(),
            issuer,
            failures: self.failures,
            failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use certs::plan::{Cause, Failure, Memory, Remembered, Rest, Spending};

    use super::{path, read, write};
    use crate::config::Config;
    use crate::config::tests::Folder;

    fn config(folder: &Path, urls: &[&str]) -> Config {
        let directories = urls
            .iter()
            .map(|url| format!("[[acme.directory]]\nurl = \"{url}\"\n"));
        let text = format!(
            "data = \"data\"\n[acme]\nagree-to-terms = true\n{}",
            directories.collect::<String>()
        );
        Config::parse(&folder.join("postern.toml"), &text).unwrap()
    }

    fn spending(at: i64) -> Spending {
        Spending {
            issued: vec![at],
            failed: vec![at + 1, at + 2],
            blocked_until: at + 3,
        }
    }

    fn memory() -> Memory {
        let past = Remembered {
            failures: 3,
            failed: Some(Failure::new(Cause::Caa, "example.org forbids it")),
            issuer: Some(1),
            places: vec![spending(10), spending(20)],
        };
        let rest = |blocked_until, failures| Rest {
            blocked_until,
            failures,
            orders: vec![blocked_until + 10],
            domains: [("example.org".to_owned(), vec![blocked_until + 20])].into(),
        };
        Memory {
            directories: vec![rest(1, 2), rest(3, 4)],
            names: [("a.test".to_owned(), past)].into(),
        }
    }

    const A: &str = "https://a.example/dir";
    const B: &str = "https://b.example/dir";

    #[test]
    fn what_is_written_comes_back_also_when_the_directories_change_places() {
        let folder = Folder::new();
        assert_eq!(read(&config(folder.path(), &[A, B])).names.len(), 0);
        write(&config(folder.path(), &[A, B]), memory()).unwrap();
        assert_eq!(read(&config(folder.path(), &[A, B])), memory());
        let turned = read(&config(folder.path(), &["https://new.example", B, A]));
        let places = &turned.names["a.test"].places;
        assert_eq!(
            places[..],
            [Spending::default(), spending(20), spending(10)]
        );
        assert_eq!(turned.names["a.test"].issuer, Some(1));
        let other = read(&config(folder.path(), &[A]));
        assert_eq!(other.names["a.test"].issuer, None);
        let failures: Vec<_> = turned.directories.iter().map(|d| d.failures).collect();
        assert_eq!(failures, [0, 4, 2]);
    }

    #[test]
    fn a_damaged_file_is_told_and_counts_as_none() {
        let folder = Folder::new();
        let config = config(folder.path(), &[A, B]);
        write(&config, memory()).unwrap();
        std::fs::write(path(&config), "{\"urls\":[").unwrap();
        assert!(read(&config).names.is_empty());
    }
}
