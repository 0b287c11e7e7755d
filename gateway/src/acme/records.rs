//! Records for `dns-01`: set by a hook program or by an update of the zone, and taken away after.

mod hook;
mod update;

use certs::plan::{Cause, Failure};

use crate::config::Dns;

/// A record that is taken away by [`Record::remove`].
#[must_use]
#[derive(Debug)]
pub(super) struct Record {
    name: String,
    value: String,
}

impl Record {
    /// Sets the record that shows control of a domain, without its wildcard.
    ///
    /// Source: RFC 8555 section 8.4.
    pub(super) async fn set(dns: &Dns, domain: &str, value: String) -> Result<Self, Failure> {
        let name = format!("_acme-challenge.{domain}");
        let record = Self { name, value };
        match record.ask(dns, Act::Present).await {
            Ok(()) => Ok(record),
            Err(text) => {
                // it may have been set all the same
                record.remove(dns).await;
                Err(Failure::new(Cause::Hook, text))
            }
        }
    }

    /// Takes the record away; a failure is logged, for the order is over by then.
    pub(super) async fn remove(self, dns: &Dns) {
        if let Err(error) = self.ask(dns, Act::Cleanup).await {
            let name = &self.name;
            tracing::warn!(%error, name, "a record of dns-01 is not taken away");
        }
    }

    async fn ask(&self, dns: &Dns, act: Act) -> Result<(), String> {
        match (&dns.hook, dns.server) {
            (Some(program), _) => {
                hook::run(program, act, &self.name, &self.value, dns.timeout()).await
            }
            (None, Some(server)) => update::send(dns, server, act, &self.name, &self.value).await,
            (None, None) => Err("nobody is named who sets records".to_owned()),
        }
    }
}

/// What is done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Present,
    Cleanup,
}

impl Act {
    fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Cleanup => "cleanup",
        }
    }
}
