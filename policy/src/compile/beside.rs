//! What is made of a policy beside its rules: of many rules on a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use super::model::User;
use super::{HostTable, NetTable, hosts, nets, people};
use crate::ir::Ir;

/// Policies of more rules are worth a thread.
const MANY: usize = 4096;

/// Tables that need nothing of the rules.
pub(super) struct Beside {
    pub(super) digest: [u8; 32],
    pub(super) users: Vec<User>,
    pub(super) user_ix: HashMap<Arc<str>, u32>,
    pub(super) hosts: HostTable,
    pub(super) shadow_hosts: Option<HostTable>,
    pub(super) net_table: NetTable,
    pub(super) shadow_net_table: Option<NetTable>,
}

impl Beside {
    fn of(ir: &Ir) -> Result<Self, String> {
        let digest = ir.digest().map_err(|error| format!("digest: {error}"))?;
        let users = people::users(ir);
        let names = users.iter().map(|user| Arc::clone(&user.name));
        let shadow_app = ir.apps.iter().any(|app| app.shadow);
        let shadow_net = ir.nets.iter().any(|net| net.shadow);
        Ok(Self {
            digest,
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
        rules: usize,
        own: impl FnOnce() -> T,
    ) -> (Result<Self, String>, T) {
        if rules <= MANY {
            return (Self::of(ir), own());
        }
        thread::scope(|scope| {
            let hand = scope.spawn(|| Self::of(ir));
            let own = own();
            let ended = |_| Err("a thread ended".to_owned());
            (hand.join().unwrap_or_else(ended), own)
        })
    }
}
