//! What is made of a policy beside its rules: of many rules on a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use super::model::{RuleInfo, User};
use super::{BUILT_IN, HostTable, NetTable, hosts, nets, people, rules};
use crate::ir::Ir;
use crate::source::Places;

/// Policies of more rules are worth a thread.
const MANY: usize = 4096;

/// Tables that need nothing of what rules are compiled to.
pub(super) struct Beside {
    pub(super) digest: [u8; 32],
    pub(super) rules: Vec<RuleInfo>,
    pub(super) users: Vec<User>,
    pub(super) user_ix: HashMap<Arc<str>, u32>,
    pub(super) hosts: HostTable,
    pub(super) shadow_hosts: Option<HostTable>,
    pub(super) net_table: NetTable,
    pub(super) shadow_net_table: Option<NetTable>,
}

impl Beside {
    fn of(ir: &Ir, places: &Places, rules: usize) -> Result<Self, String> {
        let digest = ir.digest().map_err(|error| format!("digest: {error}"))?;
        let users = people::users(ir);
        let names = users.iter().map(|user| Arc::clone(&user.name));
        let shadow_app = ir.apps.iter().any(|app| app.shadow);
        let shadow_net = ir.nets.iter().any(|net| net.shadow);
        let plain = ir.nets.iter().map(|net| net.allows.len());
        let others = plain.sum::<usize>() + ir.admin.len() + ir.guards.len() + BUILT_IN;
        Ok(Self {
            digest,
            rules: rules::all(ir, places, rules + others),
            user_ix: names.zip(0u32..).collect(),
            users,
            hosts: hosts::compile(&ir.apps, false),
            shadow_hosts: shadow_app.then(|| hosts::compile(&ir.apps, true)),
            net_table: nets::compile(&ir.nets, false),
            shadow_net_table: shadow_net.then(|| nets::compile(&ir.nets, true)),
        })
    }

    /// Makes the tables, and of `rules` rules what `own` makes.
    pub(super) fn and<T>(
        ir: &Ir,
        places: &Places,
        rules: usize,
        own: impl FnOnce() -> T,
    ) -> (Result<Self, String>, T) {
        if rules <= MANY {
            return (Self::of(ir, places, rules), own());
        }
        thread::scope(|scope| {
            let hand = scope.spawn(|| Self::of(ir, places, rules));
            let own = own();
            let ended = |_| Err("a thread ended".to_owned());
            (hand.join().unwrap_or_else(ended), own)
        })
    }
}
