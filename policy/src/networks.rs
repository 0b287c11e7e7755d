//! The networks that rules of `[net.*]` reach.

use ipnet::IpNet;

use crate::compile::Policy;

impl Policy {
    /// All networks of all `[net.*]`, in the order of their tables, duplicates included: what devices route.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.ir.nets.iter().flat_map(|net| net.to.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn networks_of_all_nets_are_listed() {
        let mut sources = crate::Sources::new();
        let text = "postern = 1\n[group]\nit = [\"ann\"]\n[admin]\nallow.it = { who = \"@it\" }\n\
            [net.a]\nto = [\"192.168.1.0/24\"]\nport = \"22/tcp\"\nallow.it = { who = \"@it\" }\n";
        sources.add("p.toml", text.to_owned());
        let policy = crate::load(&sources).unwrap().policy;
        let shown: Vec<String> = policy.networks().map(|n| n.to_string()).collect();
        assert_eq!(shown, ["192.168.1.0/24"]);
    }
}
