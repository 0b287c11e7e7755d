//! How the running gateway is, as the console shows it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use super::Desk;
use crate::clock;
use crate::console::{Certificate, Disk, Health, Journal, StreamCount, Upstream};
use crate::control::{Operator as _, Refusal};
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;
use crate::streams::Kind;
use crate::upstreams::{self, Address, Member};

/// The most upstreams that are tried, and how long each may take.
const TRIED_MAX: usize = 64;
const TRY: Duration = Duration::from_secs(1);

/// Gathers it; upstreams are tried by a connection each.
///
/// # Errors
/// As [`crate::control::Operator::status`].
pub(super) async fn health(gw: &Arc<Gateway>, snap: &Arc<Snapshot>) -> Result<Health, Refusal> {
    let status = Desk::new(Arc::clone(gw)).status().await?;
    let data = gw.config.data.clone();
    let on_disk = tokio::task::spawn_blocking(move || {
        (journal(&data.join("audit")), disk(&data), store(&data))
    });
    let upstreams = upstreams(gw, snap).await;
    let (journal, disk, store_bytes) = on_disk.await.map_err(super::internal)?;
    Ok(Health {
        certificates: certificates(snap, clock::unix()),
        journal,
        disk,
        store_bytes,
        upstreams,
        bans: gw.bans.counts().bans,
        rates: gw.limits.keys(),
        streams: streams(gw),
        status,
    })
}

fn streams(gw: &Gateway) -> Vec<StreamCount> {
    let kinds = [
        ("connection", Kind::Connection),
        ("request", Kind::Request),
        ("flow", Kind::Flow),
    ];
    let count = |(kind, of)| StreamCount {
        kind,
        count: gw.streams.count(of),
    };
    kinds.into_iter().map(count).collect()
}

fn certificates(snap: &Snapshot, now: i64) -> Vec<Certificate> {
    let chains = snap.certs.chains().iter().chain(snap.certs.idle());
    let mut all: Vec<(i64, Certificate)> = chains
        .map(|chain| {
            let end = chain.not_after();
            let ms = u64::try_from(end).unwrap_or(0).saturating_mul(1000);
            let certificate = Certificate {
                names: chain.names().iter().cloned().collect(),
                not_after: clock::rfc3339(ms),
                days_left: end.saturating_sub(now).div_euclid(86_400),
            };
            (end, certificate)
        })
        .collect();
    all.sort_by_key(|(end, _)| *end);
    all.into_iter()
        .map(|(_, certificate)| certificate)
        .collect()
}

fn journal(dir: &Path) -> Journal {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = found.filter_map(|entry| {
        let named = entry.file_name().to_string_lossy().ends_with(".jsonl");
        let meta = entry
            .metadata()
            .ok()
            .filter(|meta| named && meta.is_file())?;
        Some(meta.len())
    });
    let sizes: Vec<u64> = sizes.collect();
    Journal {
        files: sizes.len(),
        bytes: sizes.iter().sum(),
    }
}

fn disk(dir: &Path) -> Disk {
    let found = rustix::fs::statvfs(dir).ok();
    let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
    Disk {
        free: found.as_ref().map(|f| bytes(f.f_bavail, f.f_frsize)),
        total: found.as_ref().map(|f| bytes(f.f_blocks, f.f_frsize)),
    }
}

fn store(data: &Path) -> Option<u64> {
    let main = data.join("state.db").metadata().ok()?.len();
    let log = data
        .join("state.db-wal")
        .metadata()
        .map_or(0, |meta| meta.len());
    Some(main.saturating_add(log))
}

/// Tries each upstream once, whatever the number of its apps, and only where it may be.
async fn upstreams(gw: &Gateway, snap: &Snapshot) -> Vec<Upstream> {
    let rows = upstreams::rows(gw.fronts(snap), &snap.policy);
    let mut by_address: BTreeMap<policy::Upstream, Vec<String>> = BTreeMap::new();
    for (_, app) in snap.policy.apps() {
        for to in app.upstreams() {
            let apps = by_address.entry(to.clone()).or_default();
            if apps.last().is_none_or(|last| **last != *app.id) {
                apps.push(app.id.to_string());
            }
        }
    }
    let mut tries: JoinSet<(usize, bool)> = JoinSet::new();
    for (at, to) in by_address.keys().enumerate().take(TRIED_MAX) {
        let Some(row) = rows.iter().find(|row| row.member.to == *to) else {
            continue;
        };
        let member = Arc::clone(&row.member);
        tries.spawn(async move {
            let tried = tokio::time::timeout(TRY, answers(&member));
            (at, matches!(tried.await, Ok(true)))
        });
    }
    let mut open: BTreeMap<usize, bool> = BTreeMap::new();
    while let Some(tried) = tries.join_next().await {
        open.extend(tried.ok());
    }
    let line = |(at, (to, apps)): (usize, (policy::Upstream, Vec<String>))| Upstream {
        url: to.to_string(),
        open: open.get(&at).copied(),
        apps,
    };
    by_address.into_iter().enumerate().map(line).collect()
}

async fn answers(member: &Member) -> bool {
    match member.address(clock::now()).await {
        Ok(Address::Net(address)) => TcpStream::connect(address).await.is_ok(),
        Ok(Address::Unix(path)) => UnixStream::connect(path).await.is_ok(),
        Err(_) => false,
    }
}
