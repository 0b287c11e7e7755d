//! Putting policies in force on request.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::control::{Apply, Code, Confirmed, Refusal, Rollback, Verdict};
use crate::gateway::Gateway;
use crate::reload::change::{Done, Files, Wanted};
use crate::reload::confirm::{self as waiting, NotKept};
use crate::reload::history::{By, How};
use crate::reload::{self, Rejected};

/// The longest time a policy may wait to be confirmed, in seconds.
const CONFIRM_MAX_S: u64 = 86_400;

/// See [`crate::control::Operator::policy_apply`].
pub(super) async fn apply(gw: &Arc<Gateway>, by: &By, asked: &Apply) -> Result<Verdict, Refusal> {
    let confirm = asked.confirm_s.map(Duration::from_secs);
    if asked
        .confirm_s
        .is_some_and(|s| !(1..=CONFIRM_MAX_S).contains(&s))
    {
        let text = "a policy may wait for a second to a day to be confirmed";
        return Err(Refusal::new(Code::Usage, text));
    }
    let files = match &asked.files {
        Some(folder) if folder.is_sound() => Files::Given(folder.clone()),
        Some(_) => return Err(Refusal::new(Code::Data, "a path leaves the policy folder")),
        None => Files::Disk,
    };
    let wanted = Wanted {
        files,
        accept: asked.accept.clone(),
        own: asked.own.clone(),
        confirm,
        dry_run: asked.dry_run,
        ..Wanted::disk(How::Apply, by.clone())
    };
    let done = reload::reload(gw, wanted).await.map_err(|e| refusal(&e))?;
    Ok(verdict(done))
}

/// See [`crate::control::Operator::policy_rollback`].
pub(super) async fn rollback(
    gw: &Arc<Gateway>,
    by: &By,
    asked: &Rollback,
) -> Result<Verdict, Refusal> {
    let wanted = Wanted {
        accept: asked.accept.clone(),
        own: asked.own.clone(),
        dry_run: asked.dry_run,
        ..Wanted::disk(How::Rollback, by.clone())
    };
    let done = waiting::rollback(gw, asked.to.as_deref(), wanted).await;
    Ok(verdict(done.map_err(|e| refusal(&e))?))
}

/// See [`crate::control::Operator::policy_confirm`].
pub(super) async fn confirm(gw: &Arc<Gateway>, by: &By) -> Result<Confirmed, Refusal> {
    let kept = waiting::confirm(gw, by, None).await;
    let pending = kept.map_err(not_kept)?;
    Ok(Confirmed {
        generation: pending.generation,
    })
}

/// Says why a change that waits is not kept.
pub(super) fn not_kept(why: NotKept) -> Refusal {
    match why {
        NotKept::Nothing => Refusal::new(Code::Data, "no policy waits to be confirmed"),
        NotKept::OldConnection => Refusal::new(
            Code::Held,
            "this connection is older than the change; confirm it over a new one",
        ),
        NotKept::Disk(e) => Refusal::new(Code::Internal, format!("cannot be kept: {e}")),
    }
}

/// Says why a set was not put in force.
pub(super) fn refusal(rejected: &Rejected) -> Refusal {
    let code = match rejected {
        // a lock-out is not for anybody to accept
        Rejected::Guard(stops) if stops.iter().all(|s| s.accept.is_some()) => Code::Held,
        Rejected::Failed(_) => Code::Data,
        Rejected::Files(_)
        | Rejected::Policy(_)
        | Rejected::Certificates(_)
        | Rejected::Guard(_) => Code::Config,
    };
    Refusal::new(code, crate::cli::exit::chain(rejected))
}

/// Lists what is worth a look, one line each.
pub(super) fn warnings(done: &Done) -> Vec<String> {
    let own = done.warnings.iter().map(ToString::to_string);
    let guards = done.judged.iter().flat_map(|j| &j.warnings);
    own.chain(guards.map(|w| format!("warning: {w}"))).collect()
}

/// Formats seconds since the UNIX epoch.
pub(super) fn until(unix: i64) -> String {
    let seconds = u64::try_from(unix).unwrap_or_default();
    clock::rfc3339(seconds.saturating_mul(1000))
}

/// Describes what became of a change, or would.
pub(super) fn verdict(done: Done) -> Verdict {
    let warnings = warnings(&done);
    let mut verdict = Verdict {
        in_force: done.in_force,
        changed: done.changed,
        digest: done.digest.to_string(),
        generation: done.generation,
        widened: 0,
        narrowed: 0,
        changes: serde_json::Value::Array(Vec::new()),
        settings: serde_json::Value::Array(Vec::new()),
        text: "no change\n".to_owned(),
        notes: Vec::new(),
        warnings,
        stops: Vec::new(),
        confirm_until: done.until.map(until),
        kept: done.kept.map(|path| path.display().to_string()),
        not_written: done.not_written,
    };
    if let Some(judged) = done.judged {
        (verdict.widened, verdict.narrowed) = (judged.widened, judged.narrowed);
        verdict.changes = serde_json::to_value(&judged.diff.changes).unwrap_or_default();
        verdict.settings = serde_json::to_value(&judged.diff.settings).unwrap_or_default();
        verdict.text = judged.diff.to_text();
        (verdict.notes, verdict.stops) = (judged.notes, judged.stops);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use policy::{Policy, Sources};

    use super::verdict;
    use crate::reload::change::Done;
    use crate::reload::guards::Judged;

    fn policy(after: &str) -> Policy {
        let mut sources = Sources::new();
        let text = format!("postern = 1\n[tunnel]\nreprove = {{ after = \"{after}\" }}\n");
        sources.add("policy.toml", text);
        policy::load(&sources).unwrap().policy
    }

    /// What comes of a change, and what `policy diff --json` says of it.
    fn told(before: &str, after: &str) -> [serde_json::Value; 2] {
        let diff = policy::diff(&policy(before), &policy(after));
        let whole = serde_json::to_value(&diff).unwrap();
        let done = Done {
            in_force: false,
            digest: "d".into(),
            generation: 1,
            changed: true,
            judged: Some(Judged {
                diff,
                widened: 0,
                narrowed: 0,
                notes: Vec::new(),
                warnings: Vec::new(),
                stops: Vec::new(),
            }),
            warnings: Vec::new(),
            until: None,
            kept: None,
            not_written: None,
        };
        [serde_json::to_value(verdict(done)).unwrap(), whole]
    }

    #[test]
    fn settings_stand_beside_the_changes_as_policy_diff_writes_them() {
        let [verdict, diff] = told("8h", "9h");
        assert_eq!(verdict["settings"], diff["settings"]);
        assert_eq!(verdict["changes"], diff["changes"]);
        assert_eq!(verdict["settings"][0]["key"], "reprove.after");
        assert_eq!(verdict["settings"][0]["widens"], true);
        let [verdict, _] = told("8h", "8h");
        assert_eq!(verdict["settings"], serde_json::json!([]));
    }
}
