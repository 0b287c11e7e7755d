//! The networks that rules of `[net.*]` reach.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::compile::Policy;

impl Policy {
    /// The networks of each `[net.*]` that a person may reach at some time from somewhere, in the order of their
    /// names, duplicates included: what their devices route. None for a name that nobody has.
    pub fn networks_of(&self, user: &str) -> Vec<IpNet> {
        let places = self.what_can(user).map(|all| all.resources);
        let places = places.unwrap_or_default();
        let reached: BTreeSet<&str> = places.iter().map(|p| p.resource.as_str()).collect();
        let nets = self.ir.nets.iter();
        nets.filter(|net| reached.contains(net.id.as_str()))
            .flat_map(|net| net.to.iter().copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_person_routes_the_networks_of_what_their_roles_reach() {
        let mut sources = crate::Sources::new();
        let text = "postern = 1\n[group]\nit = [\"ann\"]\ndba = [\"ann\", \"ben\"]\nrest = [\"zoe\"]\n\
            [admin]\nallow.it = { who = \"@it\" }\n\
            [net.hosts]\nto = [\"192.168.1.0/24\"]\nport = \"22/tcp\"\nallow.it = { who = \"@it\" }\n\
            [net.db]\nto = [\"10.9.0.7\", \"fd09::7\"]\nport = \"5432/tcp\"\n\
            allow.dba = { who = \"@dba\", device = \"managed\" }\n";
        sources.add("p.toml", text.to_owned());
        let policy = crate::load(&sources).unwrap().policy;
        for (user, nets) in [
            ("ann", &["10.9.0.7/32", "fd09::7/128", "192.168.1.0/24"][..]),
            ("ben", &["10.9.0.7/32", "fd09::7/128"]),
            ("zoe", &[]),
            ("nobody", &[]),
        ] {
            let shown = policy.networks_of(user);
            let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
            assert_eq!(shown, nets, "{user}");
        }
    }
}
