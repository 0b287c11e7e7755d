//! Host to app: keyed hashes, whole names compared.

use std::collections::HashMap;

use crate::ir;

#[derive(Debug, Default)]
pub(crate) struct HostTable {
    exact: HashMap<Box<str>, u32>,
    /// Suffixes behind `*.`.
    any_label: HashMap<Box<str>, u32>,
}

impl HostTable {
    /// Exact name first, else the suffix behind the first label.
    pub(crate) fn find(&self, host: &str) -> Option<u32> {
        if let Some(&app) = self.exact.get(host) {
            return Some(app);
        }
        let (_, suffix) = host.split_once('.')?;
        self.any_label.get(suffix).copied()
    }
}

/// The hosts of the apps; those of apps in shadow only when asked for.
pub(super) fn compile(apps: &[ir::App], shadow: bool) -> HostTable {
    let mut table = HostTable::default();
    let numbered = apps.iter().zip(0u32..);
    for (app, ix) in numbered.filter(|(app, _)| shadow || !app.shadow) {
        for host in &app.hosts {
            let map = if host.wildcard {
                &mut table.any_label
            } else {
                &mut table.exact
            };
            map.insert(host.name.as_str().into(), ix);
        }
    }
    table
}
