//! Where a query goes and what the gateway itself answers; no IO.

use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use policy::{DnsName, DnsRefusal};

use super::{Names, Way, wire};
use crate::audit::reason;

/// Seconds a device may keep an answer of ours.
const TTL: u32 = 60;
/// Our own EDNS payload size in bytes.
const PAYLOAD: u16 = 1232;
/// IPv6 and UDP headers in bytes, the larger of both families.
const HEADERS: u16 = 48;

/// Where a query goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// Back at once.
    Answer(Vec<u8>),
    /// Back with a refusal that is put on record.
    Refuse {
        /// The message for the device.
        reply: Vec<u8>,
        /// The name asked for.
        name: String,
        /// Why, as the journal says it.
        reason: &'static str,
    },
    /// To one of these servers.
    Forward {
        /// In order of preference.
        servers: &'a [SocketAddr],
    },
}

/// Decides on one query; `None` for what is no query at all.
///
/// `ours` says which names are the gateway's own, `allowed` what the policy says of a name.
pub(super) fn route<'a>(
    query: &[u8],
    names: &'a Names,
    ours: impl Fn(&str) -> Option<DnsName>,
    allowed: impl Fn(DnsName, &str) -> Result<(), DnsRefusal>,
) -> Option<Route<'a>> {
    let is_spelled_out = wire::is_spelled_out(query);
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    if query.metadata.op_code != OpCode::Query {
        return reply(&query, ResponseCode::NotImp).map(Route::Answer);
    }
    let [question] = query.queries.as_slice() else {
        return reply(&query, ResponseCode::FormErr).map(Route::Answer);
    };
    if !is_spelled_out {
        return reply(&query, ResponseCode::FormErr).map(Route::Answer);
    }
    let kind = question.query_type;
    if question.query_class != DNSClass::IN || kind == RecordType::AXFR || kind == RecordType::IXFR
    {
        return reply(&query, ResponseCode::Refused).map(Route::Answer);
    }
    let host = host_of(&question.name);
    let own = ours(&host);
    let zone = zone_of(&host, &names.zones);
    let sort = own.unwrap_or(match zone {
        Some(_) => DnsName::Office,
        None => DnsName::Other,
    });
    if let Err(refusal) = allowed(sort, &host) {
        let reply = reply(&query, ResponseCode::Refused)?;
        let reason = match refusal {
            DnsRefusal::Quarantine => reason::QUARANTINE,
            DnsRefusal::Policy => reason::POLICY,
        };
        let name = host;
        return Some(Route::Refuse {
            reply,
            name,
            reason,
        });
    }
    if own.is_some() {
        return own_answer(&query, &question.name, kind, names).map(Route::Answer);
    }
    let servers = zone.map_or(&names.resolvers, |(_, servers)| servers);
    Some(Route::Forward { servers })
}

/// Answers that the resolvers cannot be reached.
pub(super) fn failure(query: &[u8]) -> Option<Vec<u8>> {
    reply(&Message::from_vec(query).ok()?, ResponseCode::ServFail)
}

/// Cuts a reply that is larger than the device or the tunnel takes; the device then asks by TCP.
pub(super) fn fit(query: &[u8], answer: Vec<u8>, way: Way, mtu: u16) -> Option<Vec<u8>> {
    if way == Way::Stream {
        return Some(answer);
    }
    let query = Message::from_vec(query).ok()?;
    let room = query.max_payload().min(mtu.saturating_sub(HEADERS));
    if answer.len() <= usize::from(room) {
        return Some(answer);
    }
    let mut cut = respond(&query, ResponseCode::NoError);
    cut.metadata.truncation = true;
    cut.to_vec().ok()
}

/// Answers for a name of this gateway: its address, or nothing of any other type.
fn own_answer(query: &Message, name: &Name, kind: RecordType, names: &Names) -> Option<Vec<u8>> {
    let data = if kind == RecordType::A {
        Some(RData::A(A(names.gateway4)))
    } else {
        let v6 = names.gateway6.filter(|_| kind == RecordType::AAAA);
        v6.map(|ip| RData::AAAA(AAAA(ip)))
    };
    let mut answer = respond(query, ResponseCode::NoError);
    answer.metadata.authoritative = true;
    answer.answers = data
        .into_iter()
        .map(|data| Record::from_rdata(name.clone(), TTL, data))
        .collect();
    answer.to_vec().ok()
}

fn reply(query: &Message, code: ResponseCode) -> Option<Vec<u8>> {
    respond(query, code).to_vec().ok()
}

fn respond(query: &Message, code: ResponseCode) -> Message {
    let asked = &query.metadata;
    let mut answer = Message::response(asked.id, asked.op_code);
    answer.metadata.recursion_desired = asked.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = code;
    answer.queries.clone_from(&query.queries);
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        answer.edns = Some(edns);
    }
    answer
}

/// Writes a name as hosts are written: lower case, no final dot.
fn host_of(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// Finds the longest zone that holds the host.
fn zone_of<'a>(
    host: &str,
    zones: &'a [(String, Vec<SocketAddr>)],
) -> Option<&'a (String, Vec<SocketAddr>)> {
    let holds = |zone: &str| {
        host.strip_suffix(zone)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    zones
        .iter()
        .filter(|(zone, _)| holds(zone))
        .max_by_key(|(zone, _)| zone.len())
}
