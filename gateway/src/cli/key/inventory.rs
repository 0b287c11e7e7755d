//! Every key that a gateway holds: what it is for, where it lies, since when, and when another
//! takes its place. Source: OWASP ASVS 5.0, 11.1.1 and 13.1.4.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::clock;
use crate::config::Config;
use crate::proxy::statement;
use crate::secrets::Keys;
use crate::tunnel;

/// One key, or all of one kind; none gives anything of a key away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    /// What it is for.
    pub(super) key: &'static str,
    /// Which of the master keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    /// Whether it is the newest of the master keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) newest: Option<bool>,
    /// The file or folder; none for what only memory holds.
    pub(super) place: Option<PathBuf>,
    /// How many.
    pub(super) count: usize,
    /// Whether it lies under the master key.
    pub(super) sealed: bool,
    /// When the file was written last, RFC 3339; of a folder the oldest.
    pub(super) since: Option<String>,
    /// When another takes its place.
    pub(super) turns: &'static str,
}

impl Held {
    fn new(key: &'static str, turns: &'static str) -> Self {
        Self {
            key,
            fingerprint: None,
            newest: None,
            place: None,
            count: 1,
            sealed: false,
            since: None,
            turns,
        }
    }

    fn file(key: &'static str, path: PathBuf, sealed: bool, turns: &'static str) -> Option<Self> {
        let since = written(&path)?;
        Some(Self {
            place: Some(path),
            sealed,
            since: Some(since),
            ..Self::new(key, turns)
        })
    }

    /// Those of a folder whose names end so.
    fn folder(key: &'static str, path: PathBuf, end: &str, turns: &'static str) -> Option<Self> {
        let entries = fs::read_dir(&path).ok()?.flatten().map(|e| e.path());
        let found: Vec<_> = entries
            .filter(|file| file.extension().is_some_and(|e| e == end))
            .collect();
        let since = found.iter().filter_map(|file| written(file)).min()?;
        Some(Self {
            place: Some(path),
            count: found.len(),
            sealed: true,
            since: Some(since),
            ..Self::new(key, turns)
        })
    }
}

fn written(path: &Path) -> Option<String> {
    let at = fs::metadata(path).ok()?.modified().ok()?;
    let at = at.duration_since(UNIX_EPOCH).ok()?;
    Some(clock::rfc3339(u64::try_from(at.as_millis()).ok()?))
}

/// Lists the keys, the master keys first.
pub(super) fn all(config: &Config, keys: &Keys) -> Vec<Held> {
    let mut all = masters(config, keys);
    let data = &config.data;
    let one = |key, name: &str, sealed, turns| Held::file(key, data.join(name), sealed, turns);
    let many = |key, name: &str, end, turns| Held::folder(key, data.join(name), end, turns);
    let kept = [
        one(
            "tunnel",
            tunnel::key::FILE,
            true,
            "never: every device knows it",
        ),
        one(
            "statements",
            statement::FILE,
            true,
            "after 90 days, by itself",
        ),
        one(
            "authority root",
            "ca/root.key",
            true,
            "postern cert import --ca",
        ),
        one(
            "authority intermediate",
            "ca/intermediate.key",
            true,
            "in the last third of its life, by itself",
        ),
        many(
            "certificates of directories",
            "acme/certificates",
            "pem",
            "with each renewal",
        ),
        many(
            "certificates of a trial",
            "acme/trial",
            "pem",
            "with each renewal",
        ),
        many(
            "imported certificates",
            "imported",
            "pem",
            "postern cert import",
        ),
        many(
            "accounts at directories",
            "acme",
            "sealed",
            "when the directory forgets it",
        ),
    ];
    all.extend(kept.into_iter().flatten());
    for own in &config.tls.certificates {
        let turns = "when another is put in its place";
        all.extend(Held::file("own certificate", own.key.clone(), false, turns));
    }
    if config.tls.internal_ca {
        all.push(Held::new(
            "internal certificates",
            "with each of them, after nine days",
        ));
    }
    all.push(Held::new("session tickets of TLS", "every six hours"));
    let of_zone = config.acme.dns.as_ref();
    if let Some(file) = of_zone.and_then(|dns| dns.key_file.as_ref()) {
        let turns = "with the name server's";
        all.extend(Held::file(
            "updates of the zone",
            file.clone(),
            false,
            turns,
        ));
    }
    all.push(Held {
        sealed: true,
        ..Held::new(
            "authenticators, preshared keys of devices",
            "postern user reset, postern device rotate-psk",
        )
    });
    all.push(Held {
        sealed: true,
        ..Held::new(
            "journal, passwords, cookies",
            "with the master key they come from",
        )
    });
    all
}

fn masters(config: &Config, keys: &Keys) -> Vec<Held> {
    let found = keys.fingerprints().into_iter().enumerate();
    found
        .map(|(at, fingerprint)| Held {
            fingerprint: Some(fingerprint),
            newest: Some(at == 0),
            place: Some(config.master_key.clone()),
            since: written(&config.master_key).filter(|_| at == 0),
            ..Held::new(
                "master",
                match at {
                    0 => "postern key rotate",
                    _ => "it opens what it sealed before",
                },
            )
        })
        .collect()
}
