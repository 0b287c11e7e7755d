//! `[tunnel] dns`: which names the tunnel's name server looks up, and for whom.

use serde::Serialize;

/// What becomes of names that are neither the gateway's own nor of an office zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsOthers {
    /// The configured resolvers are asked.
    #[default]
    Forward,
    /// Nobody gets an answer.
    Refuse,
}

/// What a device may look up whose person has not signed in. Office zones are never among it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsQuarantine {
    /// The gateway's own names and others, so that the rest of the machine goes on working.
    #[default]
    Forward,
    /// The gateway's own names.
    Own,
    /// The name of the sign-in page.
    SignIn,
}

/// What the section says. The default is what devices need whose every query goes through the tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TunnelDns {
    /// Names that are neither ours nor of an office zone.
    pub others: DnsOthers,
    /// Before sign-in.
    pub quarantine: DnsQuarantine,
    /// Lower case, sorted; each stands for itself and for all names below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refuse: Vec<String>,
}

/// What kind of name a device asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsName {
    /// The host of the sign-in page.
    SignIn,
    /// The host of an app.
    Own,
    /// A name of an office zone.
    Office,
    /// Any other name.
    Other,
}

/// Why a name is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsRefusal {
    /// The person of the device has not signed in.
    Quarantine,
    /// The policy has it refused for everybody.
    Policy,
}

impl TunnelDns {
    /// Whether the section says nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Decides on one lower-case name without a final dot.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decide(&self, kind: DnsName, host: &str, open: bool) -> Result<(), DnsRefusal> {
        let before = (!open).then_some(self.quarantine);
        match kind {
            DnsName::SignIn => Ok(()),
            DnsName::Own if before == Some(DnsQuarantine::SignIn) => Err(DnsRefusal::Quarantine),
            DnsName::Own => Ok(()),
            DnsName::Office | DnsName::Other if self.is_refused(host) => Err(DnsRefusal::Policy),
            DnsName::Office if open => Ok(()),
            DnsName::Office => Err(DnsRefusal::Quarantine),
            DnsName::Other if self.others == DnsOthers::Refuse => Err(DnsRefusal::Policy),
            DnsName::Other => match before {
                None | Some(DnsQuarantine::Forward) => Ok(()),
                Some(DnsQuarantine::Own | DnsQuarantine::SignIn) => Err(DnsRefusal::Quarantine),
            },
        }
    }

    /// Whether the name or one above it is in the list.
    fn is_refused(&self, host: &str) -> bool {
        let listed = |name: &str| {
            self.refuse
                .binary_search_by(|own| (**own).cmp(name))
                .is_ok()
        };
        let mut name = host;
        loop {
            if listed(name) {
                return true;
            }
            match name.split_once('.') {
                Some((_, above)) => name = above,
                None => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DnsName, DnsOthers, DnsQuarantine, DnsRefusal, TunnelDns};

    const KINDS: [DnsName; 4] = [
        DnsName::SignIn,
        DnsName::Own,
        DnsName::Office,
        DnsName::Other,
    ];

    fn row(dns: &TunnelDns, open: bool) -> String {
        let glyph = |kind| match dns.decide(kind, "a.example", open) {
            Ok(()) => 'y',
            Err(DnsRefusal::Quarantine) => 'q',
            Err(DnsRefusal::Policy) => 'p',
        };
        KINDS.map(glyph).iter().collect()
    }

    #[test]
    fn before_sign_in_and_after_it_each_kind_of_name_is_answered_as_the_policy_says() {
        use DnsOthers::{Forward, Refuse};
        use DnsQuarantine::{Own, SignIn};
        for (others, quarantine, before, after) in [
            (Forward, DnsQuarantine::Forward, "yyqy", "yyyy"),
            (Forward, Own, "yyqq", "yyyy"),
            (Forward, SignIn, "yqqq", "yyyy"),
            (Refuse, DnsQuarantine::Forward, "yyqp", "yyyp"),
            (Refuse, Own, "yyqp", "yyyp"),
            (Refuse, SignIn, "yqqp", "yyyp"),
        ] {
            let dns = TunnelDns {
                others,
                quarantine,
                refuse: Vec::new(),
            };
            assert_eq!(row(&dns, false), before, "{dns:?}");
            assert_eq!(row(&dns, true), after, "{dns:?}");
        }
    }

    #[test]
    fn a_refused_name_takes_all_below_it_and_no_neighbour_and_never_our_own() {
        let dns = TunnelDns {
            refuse: vec!["ads.example".to_owned(), "org".to_owned()],
            ..TunnelDns::default()
        };
        for name in ["ads.example", "a.b.ads.example", "x.org"] {
            for kind in [DnsName::Office, DnsName::Other] {
                assert_eq!(dns.decide(kind, name, true), Err(DnsRefusal::Policy));
            }
            for kind in [DnsName::SignIn, DnsName::Own] {
                assert_eq!(dns.decide(kind, name, true), Ok(()));
            }
        }
        for name in ["example", "loads.example", "ads.example.net", "organ"] {
            assert_eq!(dns.decide(DnsName::Other, name, true), Ok(()), "{name}");
        }
    }
}
