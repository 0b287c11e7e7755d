//! Host to app: a keyed hash finds the place, the whole name is compared.

use crate::hash::Keyed;
use crate::ir;

/// Exact names, and suffixes behind `*.`.
#[derive(Debug)]
pub(crate) struct HostTable {
    exact: Names,
    any_label: Names,
}

impl HostTable {
    /// Exact name first, else the suffix behind the first label.
    #[inline]
    pub(crate) fn find(&self, host: &str) -> Option<u32> {
        self.exact.find(host).or_else(|| {
            if self.any_label.count == 0 {
                return None;
            }
            let (_, suffix) = host.split_once('.')?;
            self.any_label.find(suffix)
        })
    }
}

/// The hosts of the apps; those of apps in shadow only when asked for.
pub(super) fn compile(apps: &[ir::App], shadow: bool) -> HostTable {
    let table = |wildcard: bool| {
        let numbered = apps.iter().zip(0u32..);
        let numbered = numbered.filter(|(app, _)| shadow || !app.shadow);
        let hosts = numbered.flat_map(|(app, ix)| app.hosts.iter().map(move |host| (host, ix)));
        let wanted = hosts.filter(|(host, _)| host.wildcard == wildcard);
        let wanted: Vec<(&str, u32)> = wanted.map(|(host, ix)| (host.name.as_str(), ix)).collect();
        Names::new(&wanted)
    };
    HostTable {
        exact: table(false),
        any_label: table(true),
    }
}

/// Names to numbers by open addressing, at most half full. The key is random, because callers choose what is asked.
#[derive(Debug)]
struct Names {
    key: Keyed,
    count: usize,
    /// A power of two of them.
    slots: Vec<Slot>,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    at: u32,
    /// 0 for an empty slot: no name is empty.
    len: u32,
    app: u32,
}

const EMPTY: Slot = Slot {
    tag: 0,
    at: 0,
    len: 0,
    app: 0,
};

impl Names {
    /// Of a name given twice, the last number counts.
    fn new(names: &[(&str, u32)]) -> Self {
        let mut table = Self {
            key: Keyed::default(),
            count: 0,
            slots: vec![EMPTY; (names.len() * 2).next_power_of_two().max(2)],
            text: Vec::new(),
        };
        for &(name, app) in names {
            table.insert(name.as_bytes(), app);
        }
        table.text.shrink_to_fit();
        table
    }

    fn insert(&mut self, name: &[u8], app: u32) {
        let hash = self.hash(name);
        let (Ok(at), Ok(len)) = (u32::try_from(self.text.len()), u32::try_from(name.len())) else {
            return;
        };
        let mut slot = self.home(hash);
        while let Some(held) = self.slots.get_mut(slot) {
            if held.len == 0 {
                let tag = tag(hash);
                *held = Slot { tag, at, len, app };
                self.text.extend_from_slice(name);
                self.count += 1;
                return;
            }
            let (start, end) = (held.at as usize, (held.at + held.len) as usize);
            if self.text.get(start..end) == Some(name) {
                held.app = app;
                return;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    #[inline]
    fn find(&self, name: &str) -> Option<u32> {
        let name = name.as_bytes();
        let hash = self.hash(name);
        let tag = tag(hash);
        let mut slot = self.home(hash);
        loop {
            let held = self.slots.get(slot)?;
            if held.len == 0 {
                return None;
            }
            if held.tag == tag && held.len as usize == name.len() {
                let start = held.at as usize;
                let own = self.text.get(start..start + name.len());
                if own.is_some_and(|own| same(own, name)) {
                    return Some(held.app);
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "cut to the size of the table"
    )]
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn hash(&self, name: &[u8]) -> u64 {
        self.key.bytes(0, name)
    }
}

/// Whether two texts of one length are the same, by words: names are too short for a call to be worth it.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    let (Some(last_a), Some(last_b)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) else {
        return a == b;
    };
    let (heads_a, heads_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let heads = heads_a.iter().zip(heads_b);
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let differ = heads.fold(0, |sum, (a, b)| sum | (word(a) ^ word(b)));
    a.len() == b.len() && differ | (word(last_a) ^ word(last_b)) == 0
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> = (0..5000)
            .map(|at| format!("h{at}.office.example"))
            .collect();
        let pairs: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(0..).collect();
        let table = Names::new(&pairs);
        for (name, app) in pairs {
            assert_eq!(table.find(name), Some(app));
            assert_eq!(table.find(&format!("x{name}")), None);
            assert_eq!(table.find(name.trim_end_matches('e')), None);
        }
        assert_eq!(table.find(""), None);
        assert_eq!(Names::new(&[]).find("a.example"), None);
    }

    #[test]
    fn of_a_name_given_twice_the_last_counts() {
        let table = Names::new(&[("a", 1), ("b", 2), ("a", 3)]);
        assert_eq!((table.find("a"), table.find("b")), (Some(3), Some(2)));
    }

    #[test]
    fn two_tables_hash_alike_names_in_two_ways() {
        let tables = [Names::new(&[]), Names::new(&[])];
        let hashes = tables.map(|table| table.hash(b"a.office.example"));
        assert_ne!(hashes[0], hashes[1]);
    }
}
