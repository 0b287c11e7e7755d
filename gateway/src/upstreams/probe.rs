//! Active checks: each upstream of a pool with a check is asked for its path again and again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_http::RequestHeader;
use policy::front::Check;
use tokio::sync::Semaphore;

use super::member::Member;
use super::pool::{Limits, Place, Pool};
use super::roots;
use crate::clock;
use crate::gateway::Gateway;

/// How often it is looked at who is due.
const ROUND: Duration = Duration::from_millis(250);
/// The most probes at once.
const AT_ONCE: usize = 64;
/// The most of an answer that is read.
const MOST: usize = 64 * 1024;

/// Probes the upstreams of the policy in force until the gateway ends.
pub(crate) async fn run(gw: Arc<Gateway>) {
    let connector = Arc::new(Connector::new(Some(roots::options(AT_ONCE))));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut due: HashMap<usize, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(ROUND).await;
        let snap = gw.snapshot.load_full();
        let now = clock::now();
        let mut seen: HashMap<usize, Instant> = HashMap::new();
        for (app, pool) in gw.fronts(&snap).pools() {
            let Some(check) = &pool.check else { continue };
            for at in 0..pool.places().len() {
                let Some(place) = pool.places().get(at) else {
                    continue;
                };
                let key = Arc::as_ptr(&place.member).addr();
                let next = due.get(&key).copied().unwrap_or(now);
                if seen.contains_key(&key) || next > now {
                    seen.entry(key).or_insert(next);
                    continue;
                }
                seen.insert(key, now + Duration::from_secs(check.every.into()));
                let Ok(permit) = Arc::clone(&places).try_acquire_owned() else {
                    continue;
                };
                let (pool, connector) = (Arc::clone(pool), Arc::clone(&connector));
                let host = host_of(&snap.policy, &app, place);
                tokio::spawn(async move {
                    probe(&pool, at, &host, &connector).await;
                    drop(permit);
                });
            }
        }
        due = seen;
    }
}

/// The name an app's own checks are sent to: its first whole host name, as requests have it.
fn host_of(policy: &policy::Policy, app: &str, place: &Place) -> String {
    let app = policy.apps().find(|(_, a)| &*a.id == app);
    let name = app.and_then(|(_, app)| app.exact_hosts().next().map(str::to_owned));
    name.unwrap_or_else(|| match &place.member.to.at {
        policy::At::Net(host, _) => host.clone(),
        policy::At::Unix(_) => "localhost".to_owned(),
    })
}

async fn probe(pool: &Pool, at: usize, host: &str, connector: &Connector) {
    let (Some(place), Some(check)) = (pool.places().get(at), &pool.check) else {
        return;
    };
    let limit = Duration::from_secs(check.timeout.into());
    let asked = tokio::time::timeout(limit, ask(place, check, host, connector)).await;
    let found = asked.unwrap_or_else(|_| Err(format!("no answer in {} s", check.timeout)));
    report(&place.member, check, found);
}

/// Notes what a probe found and tells the log of a change.
fn report(member: &Member, check: &Check, found: Result<(), String>) {
    match found {
        Ok(()) if member.probe_passed(check.up, clock::unix()) => {
            tracing::info!(upstream = %member.to, "the check of an upstream passes again");
        }
        Err(why) if member.probe_failed(&why, check.down, clock::unix()) => {
            tracing::warn!(upstream = %member.to, %why, "the check of an upstream fails");
        }
        Ok(()) | Err(_) => {}
    }
}

async fn ask(
    place: &Place,
    check: &Check,
    host: &str,
    connector: &Connector,
) -> Result<(), String> {
    let limit = Duration::from_secs(check.timeout.into());
    let limits = Limits {
        connect: limit,
        read: Some(limit),
    };
    let address = place.member.address(clock::now()).await;
    let address = address.map_err(|nowhere| nowhere.to_string())?;
    let peer = place.peer(address, limits, false)?;
    let session = connector.get_http_session(&peer).await;
    let (mut session, _) = session.map_err(|e| e.etype().as_str().to_owned())?;
    let found = exchange(&mut session, check, host, &place.member.to).await;
    session.shutdown().await;
    found
}

async fn exchange(
    session: &mut HttpSession,
    check: &Check,
    host: &str,
    to: &policy::Upstream,
) -> Result<(), String> {
    let (tls, http2) = (to.tls, to.http2);
    let text = |e: Box<pingora_error::Error>| e.etype().as_str().to_owned();
    let mut request = RequestHeader::build("GET", check.path.as_bytes(), Some(4)).map_err(text)?;
    request
        .insert_header(header::USER_AGENT, "postern-check")
        .map_err(text)?;
    if matches!(session, HttpSession::H2(_)) {
        let scheme = if tls { "https" } else { "http" };
        let uri = format!("{scheme}://{host}{}", check.path).parse();
        request.set_uri(uri.map_err(|_| "the path of the check is no part of a URL")?);
        request.set_version(http::Version::HTTP_2);
    } else if http2 {
        return Err("it does not speak HTTP/2".to_owned());
    } else {
        request.insert_header(header::HOST, host).map_err(text)?;
        request
            .insert_header(header::CONNECTION, "close")
            .map_err(text)?;
    }
    session
        .write_request_header(Box::new(request))
        .await
        .map_err(text)?;
    session.finish_request_body().await.map_err(text)?;
    session.read_response_header().await.map_err(text)?;
    let status = session.response_header().map(|head| head.status.as_u16());
    let status = status.ok_or("no answer")?;
    let good = match check.status {
        Some(wanted) => status == wanted,
        None => (200..400).contains(&status),
    };
    if !good {
        return Err(format!("status {status}"));
    }
    if check.body.is_none() && check.json.is_empty() {
        return Ok(());
    }
    let mut body = Vec::new();
    while let Some(part) = session.read_response_body().await.map_err(text)? {
        body.extend_from_slice(&part);
        if body.len() > MOST {
            return Err("the answer is longer than 64 KiB".to_owned());
        }
    }
    holds(check, &body)
}

/// Tells whether a body has what the check wants of it.
fn holds(check: &Check, body: &[u8]) -> Result<(), String> {
    if let Some(text) = &check.body
        && !String::from_utf8_lossy(body).contains(text.as_str())
    {
        return Err("the text is not in the answer".to_owned());
    }
    if check.json.is_empty() {
        return Ok(());
    }
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| "the answer is not JSON")?;
    for (path, wanted) in &check.json {
        let found = path
            .split('.')
            .try_fold(&value, |at, key| match at.as_array() {
                Some(list) => list.get(key.parse::<usize>().ok()?),
                None => at.get(key),
            });
        let same = found.is_some_and(|found| match found.as_str() {
            Some(text) => text == wanted,
            None => {
                serde_json::from_str(wanted).is_ok_and(|wanted: serde_json::Value| wanted == *found)
            }
        });
        if !same {
            return Err(format!("{path} is not {wanted}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::holds;
    use policy::front::Check;

    fn check(body: Option<&str>, json: &[(&str, &str)]) -> Check {
        let json = json.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Check {
            path: "/".to_owned(),
            status: None,
            every: 1,
            timeout: 1,
            up: 1,
            down: 1,
            body: body.map(str::to_owned),
            json: json.collect(),
        }
    }

    #[test]
    fn a_body_passes_if_it_has_the_text_and_every_field() {
        let body = br#"{"status":"ok","dependencies":{"db":"up","disk":true},"list":[{"n":7}]}"#;
        assert!(holds(&check(Some("\"ok\""), &[]), body).is_ok());
        assert!(holds(&check(Some("down"), &[]), body).is_err());
        let deep = [
            ("status", "ok"),
            ("dependencies.db", "up"),
            ("list.0.n", "7"),
        ];
        assert!(holds(&check(None, &deep), body).is_ok());
        assert!(holds(&check(None, &[("dependencies.disk", "true")]), body).is_ok());
        assert!(holds(&check(None, &[("dependencies.db", "down")]), body).is_err());
        assert!(holds(&check(None, &[("dependencies.queue", "up")]), body).is_err());
        assert!(holds(&check(None, &[("status", "ok")]), b"<html>").is_err());
    }
}
