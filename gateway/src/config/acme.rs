//! The section `[acme]`: certificates that are ordered from directories and renewed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::KeyKind;
use serde::Deserialize;

use super::value;

/// The section `[acme]`; without a directory nothing is ordered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Acme {
    /// The directories, best first.
    pub(crate) directory: Vec<Directory>,
    /// Where a directory can write to.
    pub(crate) contact: Option<String>,
    /// Whether somebody has read and accepted the terms of every directory.
    pub(crate) agree_to_terms: bool,
    /// How control of a name is shown; of a wildcard always by `dns-01`.
    pub(crate) challenge: Challenge,
    /// The kind of the certificates' keys.
    pub(crate) key_type: KeyType,
    /// Whether orders go to the directories' trial side; what comes from there is never served.
    pub(crate) staging: bool,
    /// Names that are left to the internal authority.
    #[serde(deserialize_with = "value::hosts")]
    pub(crate) skip: Vec<String>,
    /// Wildcards that are ordered in place of the names they cover; they need `[acme.dns]`.
    pub(crate) wildcards: Vec<String>,
    /// Names of tenants that are ordered at most.
    pub(crate) tenant_names: TenantNames,
    /// How records are set for `dns-01`.
    pub(crate) dns: Option<Dns>,
}

/// One entry of `[[acme.directory]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Directory {
    /// Its URL, or `letsencrypt`.
    pub(crate) url: String,
    /// The URL of its trial side.
    pub(crate) staging_url: Option<String>,
    /// The key identifier of an external account.
    pub(crate) eab_kid: Option<String>,
    /// The file of that account's key, in base64url.
    #[serde(default, deserialize_with = "value::some")]
    pub(crate) eab_key_file: Option<PathBuf>,
    /// The roots that sign the directory's own certificate, in PEM; those of the system if absent.
    #[serde(default, deserialize_with = "value::some")]
    pub(crate) roots: Option<PathBuf>,
}

/// The section `[acme.dns]`: a hook program, or a server that takes updates.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Dns {
    /// A program that is run as `HOOK present NAME VALUE` and `HOOK cleanup NAME VALUE`.
    #[serde(deserialize_with = "value::some")]
    pub(crate) hook: Option<PathBuf>,
    /// The server that takes updates of the zone (RFC 2136), over TCP.
    #[serde(deserialize_with = "value::some")]
    pub(crate) server: Option<SocketAddr>,
    /// The zone it holds.
    pub(crate) zone: Option<String>,
    /// The name of the key that signs updates (HMAC-SHA-256).
    pub(crate) key_name: Option<String>,
    /// The file of that key, in base64.
    #[serde(deserialize_with = "value::some")]
    pub(crate) key_file: Option<PathBuf>,
    /// How long a hook or an update may take.
    #[serde(deserialize_with = "value::some")]
    pub(crate) timeout: Option<Duration>,
    /// How long the world may take to see a record.
    #[serde(deserialize_with = "value::some")]
    pub(crate) wait: Option<Duration>,
}

/// The section `[acme.tenant-names]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TenantNames {
    /// Names over all tenants.
    #[serde(deserialize_with = "value::range::<_, _, 0, 100_000>")]
    pub(crate) most: usize,
    /// Names of any one tenant.
    #[serde(deserialize_with = "value::range::<_, _, 0, 100_000>")]
    pub(crate) each: usize,
    /// How control of a tenant's name is shown, where it is not as for the others: the zones of
    /// tenants are their own.
    pub(crate) challenge: Option<Challenge>,
    /// Whether a tenant's name must point here, by CNAME to a sign-in host or by its TXT record.
    pub(crate) verify: bool,
}

impl Default for TenantNames {
    fn default() -> Self {
        Self {
            most: 100,
            each: 25,
            challenge: None,
            verify: true,
        }
    }
}

/// The values of `[acme] challenge`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Challenge {
    /// A file on port 80.
    #[default]
    #[serde(rename = "http-01")]
    Http,
    /// A certificate on port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
    /// A record in the DNS.
    #[serde(rename = "dns-01")]
    Dns,
}

/// The values of `[acme] key-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyType {
    /// ECDSA over P-256.
    #[default]
    P256,
    /// RSA with 2048 bits.
    Rsa2048,
}

impl From<KeyType> for KeyKind {
    fn from(kind: KeyType) -> Self {
        match kind {
            KeyType::P256 => Self::P256,
            KeyType::Rsa2048 => Self::Rsa2048,
        }
    }
}

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

impl Acme {
    /// Tells whether anything is ordered.
    pub(crate) fn is_on(&self) -> bool {
        !self.directory.is_empty()
    }

    /// Returns how control of a name is shown.
    pub(crate) fn challenge_for(&self, name: &str, is_of_tenant: bool) -> Challenge {
        // nobody signs for a wildcard by anything else (RFC 8555 section 7.1.3)
        match name.starts_with("*.") {
            true => Challenge::Dns,
            false if is_of_tenant => self.tenant_names.challenge.unwrap_or(self.challenge),
            false => self.challenge,
        }
    }

    /// Makes relative paths start at a folder.
    pub(super) fn anchor(&mut self, base: &Path) {
        let paths = (self.directory.iter_mut())
            .flat_map(|d| [&mut d.eab_key_file, &mut d.roots])
            .chain(
                self.dns
                    .iter_mut()
                    .flat_map(|d| [&mut d.hook, &mut d.key_file]),
            );
        for path in paths.flatten() {
            *path = base.join(&*path);
        }
    }

    /// Says what is wrong with the whole: the key, a text, and what to write instead.
    pub(super) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        if !self.is_on() {
            return None;
        }
        if !self.agree_to_terms {
            let text = "a directory signs only for who accepts its terms".to_owned();
            return Some((
                "agree-to-terms",
                text,
                "read them and write `agree-to-terms = true`",
            ));
        }
        for directory in &self.directory {
            if let Some((text, help)) = directory.wrong(self.staging) {
                return Some(("directory", text, help));
            }
        }
        if let Some(bad) = self.wildcards.iter().find(|w| !is_wildcard(w)) {
            let text = format!("`{}` is not a wildcard", bad.escape_debug());
            return Some(("wildcards", text, "write it as `*.example.org`"));
        }
        match &self.dns {
            Some(dns) => dns.wrong().map(|(text, help)| ("dns", text, help)),
            None => self.wants_dns().map(|(key, text)| {
                let help = "add `[acme.dns]` with `hook` or `server`";
                (key, text.to_owned(), help)
            }),
        }
    }

    /// Names a key that needs `[acme.dns]`, and says why.
    fn wants_dns(&self) -> Option<(&'static str, &'static str)> {
        let who = "dns-01 needs somebody who sets records";
        if !self.wildcards.is_empty() {
            return Some((
                "wildcards",
                "directories sign for wildcards by dns-01, which needs somebody who sets records",
            ));
        }
        if self.challenge == Challenge::Dns {
            return Some(("challenge", who));
        }
        let of_tenants = self.tenant_names.challenge == Some(Challenge::Dns);
        of_tenants.then_some(("tenant-names", who))
    }
}

impl Directory {
    /// Returns the URL that is asked, `None` without a trial side.
    pub(crate) fn url(&self, staging: bool) -> Option<&str> {
        match (self.url.as_str(), staging) {
            ("letsencrypt", false) => Some(LETS_ENCRYPT),
            ("letsencrypt", true) => Some(LETS_ENCRYPT_STAGING),
            (url, false) => Some(url),
            (_, true) => self.staging_url.as_deref(),
        }
    }

    fn wrong(&self, staging: bool) -> Option<(String, &'static str)> {
        let Some(url) = self.url(staging) else {
            let text = format!("no trial side of {} is known", self.url);
            return Some((text, "add its `staging-url`, or set `staging = false`"));
        };
        let host = url.strip_prefix("https://").unwrap_or_default();
        if host.is_empty() || url.parse::<http::Uri>().is_err() {
            let text = format!("`{}` is not the URL of a directory", url.escape_debug());
            return Some((text, "write `letsencrypt` or an https:// URL"));
        }
        if self.eab_kid.is_some() != self.eab_key_file.is_some() {
            let text = "an external account needs its identifier and its key".to_owned();
            return Some((text, "set both `eab-kid` and `eab-key-file`"));
        }
        None
    }
}

impl Dns {
    fn wrong(&self) -> Option<(String, &'static str)> {
        let help = "set either `hook`, or `server`, `zone`, `key-name` and `key-file`";
        match (&self.hook, self.server) {
            (None, None) => Some(("nobody is named who sets records".to_owned(), help)),
            (Some(_), Some(_)) => Some(("a hook and a server are two ways".to_owned(), help)),
            (Some(_), None) => None,
            (None, Some(_)) => {
                let zone = self.zone.as_deref().is_some_and(value::is_host_name);
                let whole = zone && self.key_name.is_some() && self.key_file.is_some();
                (!whole).then(|| ("updates need a zone and a key".to_owned(), help))
            }
        }
    }

    /// Returns how long a hook or an update may take; a minute unless set.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(60))
    }

    /// Returns how long the world may take to see a record; ten seconds unless set.
    pub(crate) fn wait(&self) -> Duration {
        self.wait.unwrap_or(Duration::from_secs(10))
    }
}

fn is_wildcard(text: &str) -> bool {
    let parent = text.strip_prefix("*.");
    parent.is_some_and(|p| value::is_host_name(p) && p.contains('.'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;

    fn says(text: &str) -> String {
        match Config::parse(Path::new("postern.toml"), text) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_whole_section_is_read_and_its_paths_start_at_the_file() {
        let text = "[acme]\nagree-to-terms = true\nchallenge = \"dns-01\"\nkey-type = \"rsa2048\"\n\
            wildcards = [\"*.example.org\"]\n[acme.dns]\nhook = \"hooks/dns\"\n\
            [[acme.directory]]\nurl = \"letsencrypt\"\n\
            [[acme.directory]]\nurl = \"https://ca.test/dir\"\nroots = \"ca.pem\"\neab-kid = \"k\"\neab-key-file = \"eab\"\n";
        let config = Config::parse(Path::new("/etc/postern/postern.toml"), text).unwrap();
        let acme = config.acme;
        assert_eq!(
            acme.directory[0].url(true).unwrap(),
            super::LETS_ENCRYPT_STAGING
        );
        let roots = acme.directory[1].roots.as_deref();
        assert_eq!(roots, Some(Path::new("/etc/postern/ca.pem")));
        assert_eq!(
            acme.dns.unwrap().hook.unwrap(),
            Path::new("/etc/postern/hooks/dns")
        );
    }

    #[test]
    fn wildcards_go_by_the_dns_and_names_of_tenants_as_they_may() {
        let by = |text: &str| {
            let text = format!("[acme]\ndns.hook = \"h\"\n{text}\n");
            let acme = Config::parse(Path::new("postern.toml"), &text)
                .unwrap()
                .acme;
            [("*.a.test", false), ("a.test", false), ("b.test", true)]
                .map(|(name, tenant)| acme.challenge_for(name, tenant))
        };
        use super::Challenge::{Dns, Http, TlsAlpn};
        assert_eq!(by(""), [Dns, Http, Http]);
        assert_eq!(by("challenge = \"tls-alpn-01\""), [Dns, TlsAlpn, TlsAlpn]);
        let mixed = "challenge = \"dns-01\"\ntenant-names.challenge = \"http-01\"";
        assert_eq!(by(mixed), [Dns, Dns, Http]);
    }

    #[test]
    fn what_could_never_be_ordered_is_refused_with_what_to_write() {
        let with = |more: &str, directory: &str| {
            format!("[acme]\n{more}\n[[acme.directory]]\n{directory}\n")
        };
        let good = "agree-to-terms = true";
        let url = "url = \"letsencrypt\"";
        assert_eq!(says(&with(good, url)), "");
        assert!(says(&with("", url)).contains("agree-to-terms = true"));
        assert!(says(&with(good, "url = \"http://ca.test\"")).contains("https://"));
        let wild = format!("{good}\nwildcards = [\"*.example.org\"]");
        assert!(says(&with(&wild, url)).contains("dns-01"));
        let wild = format!("{good}\nwildcards = [\"example.org\"]");
        assert!(says(&with(&wild, url)).contains("*.example.org"));
        for dns in ["challenge", "tenant-names.challenge"] {
            let dns = format!("{good}\n{dns} = \"dns-01\"");
            assert!(says(&with(&dns, url)).contains("[acme.dns]"));
            assert_eq!(says(&with(&format!("{dns}\ndns.hook = \"h\""), url)), "");
        }
        let wild = format!("{good}\nwildcards = [\"*.example.org\"]\ndns.hook = \"h\"");
        assert_eq!(says(&with(&wild, url)), "");
        let trial = format!("{good}\nstaging = true");
        assert!(says(&with(&trial, "url = \"https://ca.test\"")).contains("staging-url"));
        assert!(says(&with(good, &format!("{url}\neab-kid = \"k\""))).contains("eab-key-file"));
    }
}
