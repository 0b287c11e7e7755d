//! Which names are ordered: those of the policy and the sign-in hosts, never one that a stranger
//! asks for.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::reload::host_names;

/// Endings that no directory signs for. Source: RFC 6761, RFC 6762, RFC 8375, ICANN's `.internal`.
const NEVER: [&str; 5] = ["localhost", "local", "internal", "home.arpa", "invalid"];

/// What is ordered for a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// For each certificate its names; the first names it.
    pub(crate) lots: Vec<Vec<String>>,
    /// Names of tenants, which are verified before their first order.
    pub(crate) tenants: Vec<String>,
    /// Names of tenants beyond a cap: they are not ordered.
    pub(crate) over: Vec<String>,
}

impl Names {
    /// Lists what is ordered; `is_own` tells which hosts own files stand for.
    pub(crate) fn of(
        config: &Config,
        policy: &policy::Policy,
        is_own: impl Fn(&str) -> bool,
    ) -> Self {
        let acme = &config.acme;
        let mut names = Self::default();
        if !acme.is_on() {
            return names;
        }
        let tenants = tenant_hosts(policy);
        let mut hosts = host_names(config, policy);
        hosts.retain(|host| is_public(host) && !acme.skip.contains(host) && !is_own(host));
        for wildcard in &acme.wildcards {
            let before = hosts.len();
            hosts.retain(|host| !covers(wildcard, host));
            if hosts.len() < before {
                names.lots.push(vec![wildcard.clone()]);
            }
        }
        // a wildcard is ordered by the DNS or not at all; who has a tenant's name need not have all below it
        let by_dns = acme.dns.is_some();
        hosts.retain(|host| !host.starts_with("*.") || by_dns && !tenants.contains_key(host));
        let mut counts = BTreeMap::<&str, usize>::new();
        for host in hosts {
            if let Some(tenant) = tenants.get(&host)
                && !config.http.sign_in.contains(&host)
            {
                let count = counts.entry(tenant).or_default();
                let caps = &acme.tenant_names;
                if names.tenants.len() >= caps.most || *count >= caps.each {
                    names.over.push(host);
                    continue;
                }
                *count += 1;
                names.tenants.push(host.clone());
            }
            names.lots.push(vec![host]);
        }
        names
    }

    /// Tells whether a certificate is ordered that stands for a host.
    pub(crate) fn cover(&self, host: &str) -> bool {
        let mut all = self.lots.iter().flatten();
        all.any(|name| name == host || covers(name, host))
    }

    /// Lists what certificates are called by.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = &str> {
        self.lots
            .iter()
            .filter_map(|lot| lot.first())
            .map(String::as_str)
    }
}

/// Lists the hosts of tenants, with the tenant's name.
fn tenant_hosts(policy: &policy::Policy) -> BTreeMap<String, &str> {
    let owned = policy
        .apps()
        .filter_map(|(_, app)| Some((app, app.tenant()?)));
    let hosts = owned.flat_map(|(app, tenant)| {
        let hosts = app.hosts.iter();
        hosts.map(move |host| (host.to_string(), tenant))
    });
    hosts.collect()
}

fn is_public(host: &str) -> bool {
    let special = |end: &str| {
        host.strip_suffix(end)
            .is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    host.contains('.') && !NEVER.iter().any(|end| special(end))
}

fn covers(wildcard: &str, host: &str) -> bool {
    let parent = wildcard.strip_prefix("*.");
    parent.is_some_and(|parent| host.split_once('.').is_some_and(|(_, rest)| rest == parent))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Names, covers, is_public};
    use crate::config::Config;

    fn policy(text: &str) -> policy::Policy {
        let mut sources = policy::Sources::new();
        sources.add("policy.toml", format!("postern = 1\n{text}"));
        sources.add("users.toml", "postern = 1\n[user.ann]\n".to_owned());
        policy::load(&sources).unwrap().policy
    }

    fn config(more: &str) -> Config {
        let text = format!(
            "[http]\nsign-in = [\"gate.example.org\", \"gate.localhost\"]\n[acme]\nagree-to-terms = true\n{more}\n\
             [[acme.directory]]\nurl = \"letsencrypt\"\n"
        );
        Config::parse(Path::new("postern.toml"), &text).unwrap()
    }

    const APPS: &str = "[group]\nit = [\"ann\"]\n\
        [app.wiki]\nhost = \"wiki.example.org\"\nupstream = \"http://127.0.0.1:1\"\nallow.it = { who = \"@it\" }\n\
        [app.crm]\nhost = \"crm.other.example\"\nupstream = \"http://127.0.0.1:1\"\nallow.it = { who = \"@it\" }\n";

    #[test]
    fn sign_in_hosts_and_hosts_of_the_policy_are_ordered_one_by_one() {
        let names = Names::of(&config(""), &policy(APPS), |_| false);
        let firsts: Vec<_> = names.firsts().collect();
        assert_eq!(
            firsts,
            ["crm.other.example", "gate.example.org", "wiki.example.org"]
        );
        assert!(names.cover("wiki.example.org"));
        assert!(!names.cover("stranger.example.org"));
    }

    #[test]
    fn a_wildcard_stands_for_the_names_it_covers() {
        let more = "wildcards = [\"*.example.org\", \"*.unused.example\"]\ndns.hook = \"h\"";
        let names = Names::of(&config(more), &policy(APPS), |_| false);
        let firsts: Vec<_> = names.firsts().collect();
        assert_eq!(firsts, ["*.example.org", "crm.other.example"]);
    }

    #[test]
    fn a_wildcard_of_the_policy_is_ordered_by_the_dns_alone() {
        let text = APPS.replace("wiki.example.org", "*.wiki.example.org");
        let by = |more: &str| {
            let names = Names::of(&config(more), &policy(&text), |_| false);
            let lots: Vec<_> = names.firsts().map(str::to_owned).collect();
            (lots, names.cover("one.wiki.example.org"))
        };
        let dns = by("dns.hook = \"h\"");
        let all = [
            "*.wiki.example.org",
            "crm.other.example",
            "gate.example.org",
        ];
        assert_eq!(dns, (all.map(str::to_owned).to_vec(), true));
        assert_eq!(
            by(""),
            (all[1..].iter().map(ToString::to_string).collect(), false)
        );
    }

    #[test]
    fn what_has_files_or_is_left_to_the_internal_authority_is_not_ordered() {
        let more = "skip = [\"crm.other.example\"]";
        let names = Names::of(&config(more), &policy(APPS), |h| h == "wiki.example.org");
        assert_eq!(names.firsts().collect::<Vec<_>>(), ["gate.example.org"]);
    }

    #[test]
    fn names_that_nobody_signs_for_are_not_ordered() {
        for bad in [
            "localhost",
            "a.localhost",
            "x.internal",
            "printer",
            "n.local",
            "a.home.arpa",
        ] {
            assert!(!is_public(bad), "{bad}");
        }
        for good in ["example.org", "mylocalhost.example", "internal.example.org"] {
            assert!(is_public(good), "{good}");
        }
        assert!(covers("*.a.test", "b.a.test"));
        assert!(!covers("*.a.test", "c.b.a.test") && !covers("a.test", "a.test"));
    }

    const TENANTS: &str = "[group]\nit = [\"ann\"]\n[tenant.acme]\ndir = \"tenants/acme\"\ndomains = [\"*.acme.example\"]\n";

    #[test]
    fn names_of_tenants_are_capped_and_listed_apart() {
        let mut sources = policy::Sources::new();
        sources.add("policy.toml", format!("postern = 1\n{TENANTS}"));
        sources.add("users.toml", "postern = 1\n[user.ann]\n".to_owned());
        let app = |name: &str| {
            format!(
                "[app.{name}]\nhost = \"{name}.acme.example\"\nupstream = \"http://192.0.2.1\"\nallow.all = {{ who = \"any-user\" }}\n"
            )
        };
        let text = format!("postern = 1\n{}{}", app("one"), app("two"));
        sources.add_at("tenants/acme/policy.toml", "tenants/acme/policy.toml", text);
        let loaded = policy::load(&sources);
        let policy = match loaded {
            Ok(loaded) => loaded.policy,
            Err(found) => panic!("{:?}", found.iter().map(|d| &d.title).collect::<Vec<_>>()),
        };
        let names = Names::of(&config(""), &policy, |_| false);
        assert_eq!(names.tenants.len(), 2);
        for few in ["most = 1", "each = 1"] {
            let few = config(&format!("tenant-names = {{ {few} }}"));
            let names = Names::of(&few, &policy, |_| false);
            assert_eq!((names.tenants.len(), names.over.len()), (1, 1));
            assert!(!names.cover(&names.over[0]));
        }
    }
}
