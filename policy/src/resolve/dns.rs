//! `[tunnel] dns`: which names the tunnel's name server looks up.

use super::empty_list;
use super::settings::bad;
use crate::canon;
use crate::diag::{Diagnostic, Meant};
use crate::dns::{DnsOthers, DnsQuarantine, TunnelDns};
use crate::syntax::{Def, DnsAst, TunnelAst, Word};

/// Most names of the list `refuse`.
const MAX_REFUSED: usize = 65_536;

/// Reads `dns`; a second `[tunnel]` is refused where `sign-in` is read.
pub(super) fn resolve(defs: &[Def<TunnelAst>], diags: &mut Vec<Diagnostic>) -> TunnelDns {
    let ast = defs.first().and_then(|def| def.body.dns.as_ref());
    let Some(ast) = ast else {
        return TunnelDns::default();
    };
    let others = [
        ("forward", DnsOthers::Forward),
        ("refuse", DnsOthers::Refuse),
    ];
    let quarantine = [
        ("forward", DnsQuarantine::Forward),
        ("own", DnsQuarantine::Own),
        ("sign-in", DnsQuarantine::SignIn),
    ];
    TunnelDns {
        others: choice(ast.others.as_ref(), &others, diags),
        quarantine: choice(ast.quarantine.as_ref(), &quarantine, diags),
        refuse: refused(ast, diags),
    }
}

/// Reads one word of a closed list; the default where there is none.
fn choice<T: Copy + Default>(
    word: Option<&Word>,
    known: &[(&str, T)],
    diags: &mut Vec<Diagnostic>,
) -> T {
    let Some(word) = word else {
        return T::default();
    };
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == word.v.as_str()) {
        return *value;
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let finding = bad(word, "a choice").help(format!("one of: {}", names.join(", ")));
    diags.push(finding.meant(Meant::near(&word.v, &names)));
    T::default()
}

/// Reads the names; each takes all below it, so a star says nothing more.
fn refused(ast: &DnsAst, diags: &mut Vec<Diagnostic>) -> Vec<String> {
    let Some(list) = &ast.refuse else {
        return Vec::new();
    };
    if list.v.is_empty() {
        diags.push(empty_list(list.span, "refuse"));
    }
    if let Some(last) = list.v.last() {
        diags.extend(super::limit("names", list.v.len(), MAX_REFUSED, last));
    }
    let mut names: Vec<String> = list.v.iter().filter_map(|word| name(word, diags)).collect();
    names.sort();
    names.dedup();
    names
}

fn name(word: &Word, diags: &mut Vec<Diagnostic>) -> Option<String> {
    let host = canon::host(&word.v).ok().filter(|host| !host.is_address());
    if host.is_none() {
        let help = "write a name such as ads.example; it stands for all names below it too";
        diags.push(bad(word, "a name").help(help));
    }
    host.map(|host| host.as_str().to_owned())
}
