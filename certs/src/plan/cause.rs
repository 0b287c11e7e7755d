//! Why an order failed, whose fault that is, and what to do about it.

/// The closed list of causes; journal, log, status and alerts share their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The directory cannot be reached, or speaks no ACME.
    Unreachable,
    /// The directory answers with a fault of its own.
    Server,
    /// The directory refuses the account or asks for one of its customers.
    Account,
    /// The directory could not look the name up.
    Dns,
    /// The directory could not reach this gateway under the name.
    Connection,
    /// The directory reached something that gave a wrong answer.
    Answer,
    /// The directory does not sign for this name.
    Refused,
    /// A CAA record of the name forbids this directory.
    Caa,
    /// Too much was asked of the directory.
    RateLimited,
    /// The record for the challenge could not be set in the DNS.
    Hook,
    /// What was issued failed the check before it would have been used.
    Unusable,
    /// The certificate could not be written.
    Storage,
    /// The order did not end in time.
    Slow,
    /// None of the others; the detail says more.
    Other,
}

/// Whose fault a cause is, and so what waits for it to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The directory's: every name leaves it alone for a while.
    Directory,
    /// This name's at this directory.
    Limit,
    /// The name's, or our own.
    Name,
}

impl Cause {
    /// Every cause there is.
    pub const ALL: [Self; 14] = [
        Self::Unreachable,
        Self::Server,
        Self::Account,
        Self::Dns,
        Self::Connection,
        Self::Answer,
        Self::Refused,
        Self::Caa,
        Self::RateLimited,
        Self::Hook,
        Self::Unusable,
        Self::Storage,
        Self::Slow,
        Self::Other,
    ];

    /// Reads the type of a directory's problem document.
    ///
    /// Source: [RFC 8555 section 6.7](https://www.rfc-editor.org/rfc/rfc8555#section-6.7).
    #[must_use]
    pub fn of_problem(kind: &str) -> Self {
        match kind
            .strip_prefix("urn:ietf:params:acme:error:")
            .unwrap_or("")
        {
            "accountDoesNotExist"
            | "externalAccountRequired"
            | "userActionRequired"
            | "invalidContact"
            | "unsupportedContact" => Self::Account,
            "badNonce" | "serverInternal" => Self::Server,
            "caa" => Self::Caa,
            "connection" | "tls" => Self::Connection,
            "dns" => Self::Dns,
            "incorrectResponse" | "unauthorized" => Self::Answer,
            "rejectedIdentifier" | "unsupportedIdentifier" => Self::Refused,
            "rateLimited" => Self::RateLimited,
            _ => Self::Other,
        }
    }

    /// Returns the code that journal, log, status and alerts carry.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "directory-unreachable",
            Self::Server => "directory-failed",
            Self::Account => "account-refused",
            Self::Dns => "dns-failed",
            Self::Connection => "not-reached",
            Self::Answer => "wrong-answer",
            Self::Refused => "name-refused",
            Self::Caa => "caa-forbids",
            Self::RateLimited => "rate-limited",
            Self::Hook => "dns-not-set",
            Self::Unusable => "certificate-unusable",
            Self::Storage => "not-written",
            Self::Slow => "too-slow",
            Self::Other => "order-failed",
        }
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "check that this machine reaches the directory and trusts its certificate, or add a second directory"
            }
            Self::Server => "wait for the directory to recover, or add a second directory",
            Self::Account => "check the contact and the external account key in [acme]",
            Self::Dns => "give the name an A or AAAA record that points to this gateway",
            Self::Connection => {
                "open port 80 for http-01 or port 443 for tls-alpn-01 from the internet to this gateway"
            }
            Self::Answer => {
                "point the name to this gateway; something else answers for it, or the old record is still cached"
            }
            Self::Refused => "use a directory that signs for this name, or the internal authority",
            Self::Caa => "allow the directory in the CAA record of the name",
            Self::RateLimited => "wait; the directory says how long, and nothing is asked before",
            Self::Hook => "run the hook by hand, or check the zone's server and key",
            Self::Unusable => {
                "tell the directory's operator; the old certificate stays in use meanwhile"
            }
            Self::Storage => "make room on the disk of the data folder",
            Self::Slow => "wait; the order is made again by itself",
            Self::Other => "read the detail beside this cause",
        }
    }

    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Unreachable | Self::Server | Self::Account => Scope::Directory,
            Self::RateLimited => Scope::Limit,
            Self::Dns
            | Self::Connection
            | Self::Answer
            | Self::Refused
            | Self::Caa
            | Self::Hook
            | Self::Unusable
            | Self::Storage
            | Self::Slow
            | Self::Other => Scope::Name,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Cause;

    #[test]
    fn every_cause_has_a_code_of_its_own_and_an_advice() {
        let codes: BTreeSet<_> = Cause::ALL.iter().map(|c| c.code()).collect();
        assert_eq!(codes.len(), Cause::ALL.len());
        assert!(Cause::ALL.iter().all(|c| !c.advice().is_empty()));
    }

    #[test]
    fn problems_of_a_directory_are_told_apart() {
        let of = |kind: &str| Cause::of_problem(&format!("urn:ietf:params:acme:error:{kind}"));
        assert_eq!(of("dns"), Cause::Dns);
        assert_eq!(of("unauthorized"), Cause::Answer);
        assert_eq!(of("connection"), Cause::Connection);
        assert_eq!(of("rateLimited"), Cause::RateLimited);
        assert_eq!(of("caa"), Cause::Caa);
        assert_eq!(of("externalAccountRequired"), Cause::Account);
        assert_eq!(of("somethingNew"), Cause::Other);
        assert_eq!(Cause::of_problem("about:blank"), Cause::Other);
    }
}
