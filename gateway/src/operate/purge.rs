//! Forgetting kept answers for an operator.

use std::sync::Arc;

use policy::canon::PathOpts;

use super::internal;
use crate::audit::{Event, reason};
use crate::cli::reading;
use crate::control::purge::{Ask, Purged};
use crate::control::{Code, Refusal};
use crate::gateway::Gateway;
use crate::proxy::front::cache::Which;

/// Forgets what is asked, once that is on record.
pub(super) async fn purge(gw: &Arc<Gateway>, ask: &Ask, uid: u32) -> Result<Purged, Refusal> {
    let (app, opts) = app(gw, &ask.app)?;
    let path = ask.path.as_deref().map(|text| path(text, opts));
    let path = path.transpose()?;
    let of_path = path.as_deref().map(|path| format!(" path {path}"));
    let of_tag = ask.tag.as_deref().map(|tag| format!(" tag {tag}"));
    let what = format!(
        "purge {app}{}{}",
        of_path.unwrap_or_default(),
        of_tag.unwrap_or_default()
    );
    let mut record = reading::record(uid, &what);
    (record.event, record.reason) = (Event::CachePurged, reason::BY_OPERATOR);
    let durability = record.durability();
    gw.audit.write(record, durability).await.map_err(internal)?;
    let answers = gw.cache.purge(&Which {
        app: Arc::clone(&app),
        path,
        tag: ask.tag.clone(),
    });
    Ok(Purged {
        app: app.to_string(),
        answers: u64::try_from(answers).unwrap_or(u64::MAX),
    })
}

fn app(gw: &Gateway, name: &str) -> Result<(Arc<str>, PathOpts), Refusal> {
    let snap = gw.snapshot.load();
    let mut apps = snap
        .policy
        .apps()
        .map(|(_, app)| (Arc::clone(&app.id), app.path));
    let found = apps.find(|(id, _)| &**id == name || short(id) == name);
    found.ok_or_else(|| {
        let text = format!("the policy in force has no app {name}");
        Refusal::new(Code::Data, text)
    })
}

/// An app as people name it: `shop` for `app.shop`, `acme/shop` for `acme/app.shop` of a tenant.
fn short(id: &str) -> String {
    let (tenant, app) = id.split_at(id.find('/').map_or(0, |at| at + 1));
    format!("{tenant}{}", app.strip_prefix("app.").unwrap_or(app))
}

/// Reads a path as the policy reads one.
fn path(text: &str, opts: PathOpts) -> Result<String, Refusal> {
    let found = policy::canon::path_with(text.as_bytes(), opts);
    found.map(|path| path.as_str().to_owned()).map_err(|_| {
        let text = format!("{text} is not a path; write it as a browser has it, such as /prices");
        Refusal::new(Code::Data, text)
    })
}
