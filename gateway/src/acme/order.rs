//! One order from its account to a checked certificate on the shelf.

use std::sync::Arc;
use std::time::Duration;

use certs::plan::{Cause, Failure, Held, Window};
use certs::{CertRequest, Chain, check_issued};
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};

use super::accounts::Opened;
use super::answers::Live;
use super::failure;
use super::records::Record;
use super::transport::Heard;
use super::{Acme, tenants};
use crate::clock;
use crate::config::{Challenge, Config, Directory};
use crate::proxy::tls::{Reading, provider};

/// How long a whole order may take.
const DEADLINE: Duration = Duration::from_secs(600);
/// How long a directory may take to look at answers, and to sign.
const POLLS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));
/// How often a step is begun again because a number was refused that had just been given.
pub(super) const NONCES: usize = 4;

/// Orders a certificate for `names` at one directory, checks it and writes it.
///
/// # Errors
/// The cause; nothing is changed then.
pub(super) async fn order(
    acme: &Acme,
    config: &Config,
    names: &[String],
    at: &Directory,
) -> Result<Held, Failure> {
    let whole = Box::pin(whole(acme, config, names, at));
    let slow = || Failure::new(Cause::Slow, "the order did not end within ten minutes");
    tokio::time::timeout(DEADLINE, whole)
        .await
        .unwrap_or_else(|_| Err(slow()))
}

async fn whole(
    acme: &Acme,
    config: &Config,
    names: &[String],
    at: &Directory,
) -> Result<Held, Failure> {
    tenants::verify(acme, config, names).await?;
    let opened = acme.accounts.open(&config.acme, at).await?;
    let before = predecessor(acme, names);
    let mut tries = NONCES;
    let issued = loop {
        let work = Work::new(acme, config, &opened);
        let done = work.replacing(before.clone()).issue(names).await;
        match done {
            Err(Fault::Api(error)) if failure::is_bad_nonce(&error) && tries > 0 => tries -= 1,
            Err(Fault::Api(error)) => {
                if failure::is_forgotten(&error) {
                    acme.accounts.forget(&config.acme, at);
                }
                return Err(failure::of(&error, &opened.heard));
            }
            Err(Fault::Known(failure)) => return Err(failure),
            Ok(issued) => break issued,
        }
    };
    keep(acme, names, &issued)
}

/// Names the certificate that an order for `names` is to replace.
fn predecessor(acme: &Acme, names: &[String]) -> Option<CertificateIdentifier<'static>> {
    let held = acme
        .shelf
        .one(names.first()?, &Reading::opening(&acme.keys, clock::unix()))?;
    identifier(&held)
}

fn identifier(chain: &Chain) -> Option<CertificateIdentifier<'static>> {
    let der = chain.certified_key().ok()?.cert.first()?;
    let identifier = CertificateIdentifier::try_from(der).ok()?;
    Some(identifier.into_owned())
}

/// What a directory signed, and its key.
struct Issued {
    chain: String,
    request: CertRequest,
}

/// Checks what was issued and writes it; what was on the shelf stays on any fault.
fn keep(acme: &Acme, names: &[String], issued: &Issued) -> Result<Held, Failure> {
    let after = |cause, text: String| {
        let mut failure = Failure::new(cause, text);
        failure.issued = true;
        failure
    };
    let (chain, key) = (issued.chain.as_bytes(), issued.request.key_pem.as_bytes());
    let checked = check_issued(chain, key, names, clock::unix(), &provider());
    let checked = checked.map_err(|e| after(Cause::Unusable, e.to_string()))?;
    let name = names.first().map(String::as_str).unwrap_or_default();
    let written = acme
        .shelf
        .write(&acme.keys, name, &issued.chain, &issued.request.key_pem);
    written.map_err(|text| after(Cause::Storage, text))?;
    Ok(Held {
        not_before: checked.not_before(),
        not_after: checked.not_after(),
    })
}

enum Fault {
    Api(Error),
    Known(Failure),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Api(error)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Known(failure)
    }
}

/// One order, with the answers that are alive for it.
struct Work<'a> {
    acme: &'a Acme,
    config: &'a Config,
    account: &'a Account,
    heard: &'a Arc<Heard>,
    replaces: Option<CertificateIdentifier<'static>>,
    live: Vec<Live>,
    records: Vec<Record>,
}

impl<'a> Work<'a> {
    fn new(acme: &'a Acme, config: &'a Config, opened: &'a Opened) -> Self {
        Self {
            acme,
            config,
            account: &opened.account,
            heard: &opened.heard,
            replaces: None,
            live: Vec::new(),
            records: Vec::new(),
        }
    }

    fn replacing(mut self, before: Option<CertificateIdentifier<'static>>) -> Self {
        self.replaces = before;
        self
    }

    async fn issue(&mut self, names: &[String]) -> Result<Issued, Fault> {
        let done = self.try_issue(names).await;
        self.live.clear();
        if let Some(dns) = &self.config.acme.dns {
            for record in self.records.drain(..) {
                record.remove(dns).await;
            }
        }
        done
    }

    async fn try_issue(&mut self, names: &[String]) -> Result<Issued, Fault> {
        let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = self.place(&identifiers).await?;
        let first = names.first().map(String::as_str).unwrap_or_default();
        let challenge = self.acme.challenge_for(self.config, first);
        self.answer(&mut order, challenge).await?;
        if order.state().status != OrderStatus::Ready {
            self.ready(&mut order).await?;
        }
        let (names, kind) = (names.to_vec(), self.config.acme.key_type.into());
        let request = tokio::task::spawn_blocking(move || CertRequest::create(&names, kind));
        let other = |e: &dyn std::fmt::Display| Failure::new(Cause::Other, e.to_string());
        let request = request.await.map_err(|e| other(&e))?;
        let request = request.map_err(|e| other(&e))?;
        order.finalize_csr(&request.der).await?;
        let chain = order.poll_certificate(&POLLS).await?;
        Ok(Issued { chain, request })
    }

    /// Places the order, as the one that follows a certificate where there is one: some directories
    /// count it against no limit then. One that does not take that (it may have signed none such, or
    /// know nothing of it) gets the plain order.
    ///
    /// Source: [RFC 9773 section 5](https://www.rfc-editor.org/rfc/rfc9773#section-5).
    async fn place(&self, identifiers: &[Identifier]) -> Result<Order, Error> {
        let plain = NewOrder::new(identifiers);
        let Some(before) = &self.replaces else {
            return self.account.new_order(&plain).await;
        };
        let follows = NewOrder::new(identifiers).replaces(before.clone());
        match self.account.new_order(&follows).await {
            Err(error) if failure::may_be_of_replaces(&error) => {
                tracing::debug!(%error, "the order names no predecessor");
                self.account.new_order(&plain).await
            }
            done => done,
        }
    }

    /// Sets an answer for every name that the directory does not know to be ours, then says so.
    async fn answer(&mut self, order: &mut Order, challenge: Challenge) -> Result<(), Fault> {
        let wanted = match challenge {
            Challenge::Http => ChallengeType::Http01,
            Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
            Challenge::Dns => ChallengeType::Dns01,
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if !is_pending(authorization.status)? {
                continue;
            }
            let Some(offered) = authorization.challenge(wanted.clone()) else {
                let text = "the directory does not offer the configured challenge";
                return Err(Failure::new(Cause::Refused, text).into());
            };
            let Identifier::Dns(domain) = offered.identifier().identifier else {
                return Err(Failure::new(Cause::Refused, "not a domain").into());
            };
            let domain = domain.clone();
            let proof = offered.key_authorization();
            match challenge {
                Challenge::Http => {
                    let token = &offered.token;
                    self.hold(self.acme.answers.put_file(&domain, token, proof.as_str()))?;
                }
                Challenge::TlsAlpn => {
                    let digest = proof.digest();
                    self.hold(self.acme.answers.put_certificate(&domain, digest.as_ref()))?;
                }
                Challenge::Dns => self.set(&domain, proof.dns_value()).await?,
            }
        }
        if let Some(dns) = &self.config.acme.dns
            && !self.records.is_empty()
        {
            tokio::time::sleep(dns.wait()).await;
        }
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if is_pending(authorization.status)?
                && let Some(mut challenge) = authorization.challenge(wanted.clone())
            {
                challenge.set_ready().await?;
            }
        }
        Ok(())
    }

    fn hold(&mut self, live: Option<Live>) -> Result<(), Failure> {
        let none = || Failure::new(Cause::Other, "the answer cannot be given");
        self.live.push(live.ok_or_else(none)?);
        Ok(())
    }

    async fn set(&mut self, domain: &str, value: String) -> Result<(), Failure> {
        let none = || Failure::new(Cause::Hook, "[acme.dns] is not there");
        let dns = self.config.acme.dns.as_ref().ok_or_else(none)?;
        let record = Record::set(dns, domain, value).await?;
        self.records.push(record);
        Ok(())
    }

    /// Waits until the directory has looked; where it is not content, says at what.
    async fn ready(&self, order: &mut Order) -> Result<(), Fault> {
        let polled = order.poll_ready(&POLLS).await;
        match polled {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => Ok(()),
            Err(error) if failure::is_bad_nonce(&error) => Err(error.into()),
            Ok(_) => Err(self.reason(order, None).await),
            Err(error) => Err(self.reason(order, Some(error)).await),
        }
    }

    async fn reason(&self, order: &mut Order, error: Option<Error>) -> Fault {
        for _ in 0..=NONCES {
            match self.problem(order).await {
                Ok(Some(failure)) => return failure.into(),
                Err(asked) if failure::is_bad_nonce(&asked) => {}
                Ok(None) | Err(_) => break,
            }
        }
        match error {
            Some(error) => error.into(),
            None => Failure::new(Cause::Other, "the order became invalid").into(),
        }
    }

    /// What the directory says of the first challenge that it is not content with, among those that it tells of.
    ///
    /// # Errors
    /// That of a refused nonce: another look may tell more; and that of a list which breaks off.
    async fn problem(&self, order: &mut Order) -> Result<Option<Failure>, Error> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let state = match authorization.refresh().await {
                Ok(state) => state,
                Err(error) if failure::is_bad_nonce(&error) => return Err(error),
                Err(_) => continue,
            };
            let named = state.identifier().to_string();
            let mut problems = state.challenges.iter().filter_map(|c| c.error.as_ref());
            if let Some(problem) = problems.next() {
                let mut failure = failure::of_problem(problem);
                failure.detail = format!("{named}: {}", failure.detail);
                failure.retry_after = self.heard.retry_after();
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }
}

fn is_pending(status: AuthorizationStatus) -> Result<bool, Failure> {
    match status {
        AuthorizationStatus::Pending => Ok(true),
        AuthorizationStatus::Valid => Ok(false),
        AuthorizationStatus::Invalid
        | AuthorizationStatus::Revoked
        | AuthorizationStatus::Expired
        | AuthorizationStatus::Deactivated => Err(Failure::new(
            Cause::Answer,
            "an earlier authorization is not valid",
        )),
    }
}

/// Asks when a directory would like a certificate to be renewed; `None` where it does not say.
pub(super) async fn window(
    acme: &Acme,
    config: &Config,
    name: &str,
    at: &Directory,
) -> Option<(Window, i64)> {
    let held = acme
        .shelf
        .one(name, &Reading::opening(&acme.keys, clock::unix()))?;
    let id = identifier(&held)?;
    let opened = acme.accounts.open(&config.acme, at).await.ok()?;
    let (info, again) = opened.account.renewal_info(&id).await.ok()?;
    let window = Window {
        start: info.suggested_window.start.unix_timestamp(),
        end: info.suggested_window.end.unix_timestamp(),
    };
    Some((window, i64::try_from(again.as_secs()).unwrap_or(i64::MAX)))
}
