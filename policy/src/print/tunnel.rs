//! `[tunnel]` as a file would say it.

use super::words::{list, pair, push, quote};
use crate::dns::{DnsOthers, DnsQuarantine, TunnelDns};
use crate::ir::{Ir, Reprove, SignInDoor};
use crate::resolve::values::show_duration;

/// Writes the section with what stands below it.
pub(super) fn write(ir: &Ir, out: &mut String) {
    let door = match ir.sign_in {
        SignInDoor::Tunnel => "tunnel",
        SignInDoor::Web => "web",
    };
    push(out, &format!("\n[tunnel]\nsign-in = \"{door}\""));
    if !ir.reprove.is_nothing() {
        pair(out, "reprove", &reprove(&ir.reprove));
    }
    if !ir.dns.is_nothing() {
        pair(out, "dns", &dns(&ir.dns));
    }
    for (at, entry) in ir.headless.iter().enumerate() {
        if at == 0 {
            out.push_str("\n[tunnel.headless]\n");
        }
        let nets = entry.nets.iter();
        let nets = nets.filter_map(|&ix| ir.nets.get(ix as usize));
        let ids: Vec<&str> = nets.map(|net| net.id.as_str()).collect();
        pair(out, &quote(&entry.name(&ir.users)), &list(&ids));
    }
}

/// Writes which names are looked up as an inline table.
fn dns(dns: &TunnelDns) -> String {
    let others = match dns.others {
        DnsOthers::Forward => "forward",
        DnsOthers::Refuse => "refuse",
    };
    let quarantine = match dns.quarantine {
        DnsQuarantine::Forward => "forward",
        DnsQuarantine::Own => "own",
        DnsQuarantine::SignIn => "sign-in",
    };
    let mut parts = vec![
        format!("others = {}", quote(others)),
        format!("quarantine = {}", quote(quarantine)),
    ];
    if !dns.refuse.is_empty() {
        let names: Vec<&str> = dns.refuse.iter().map(String::as_str).collect();
        parts.push(format!("refuse = {}", list(&names)));
    }
    format!("{{ {} }}", parts.join(", "))
}

/// Writes what closes a device as an inline table.
fn reprove(reprove: &Reprove) -> String {
    let moved = reprove.moved.then(|| "moved = true".to_owned());
    let age = |key: &str, secs: Option<u32>| {
        secs.map(|secs| format!("{key} = {}", quote(&show_duration(secs))))
    };
    let parts = [
        moved,
        age("after", reprove.after),
        age("idle", reprove.idle),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{{ {} }}", parts.join(", "))
}
