//! Edits of people and groups from the console: shown first, then put in force the way policies are.

use std::sync::Arc;

use super::super::{internal, policy};
use super::Inner;
use crate::audit::reason;
use crate::clock;
use crate::console::{Again, Consent, FileDiff, NotDone, Outcome, Preview, StopLine};
use crate::control::{Code, Operator, Refusal, Verdict};
use crate::edits::{Drafts, Edit, lines};
use crate::ids::Door;
use crate::reload;
use crate::reload::change::{Files, Wanted};
use crate::reload::folder::Folder;
use crate::reload::guards::{Accept, Own, Stop};
use crate::reload::history::How;

/// An edit made in memory.
struct Plan {
    /// The digest of the files it was made of.
    digest: String,
    /// The files with the edit in them.
    after: Folder,
    /// What changes in them.
    files: Vec<FileDiff>,
    /// Whether the folder held more than what is in force already.
    more: bool,
}

impl Inner {
    pub(super) async fn preview(&self, edit: &Edit) -> Result<Preview, Refusal> {
        let plan = self.plan(edit).await?;
        let verdict = self.judge(&plan, None).await?;
        Ok(preview(plan, verdict))
    }

    /// Puts an edit in force, if the files are those that were shown and no guard holds it.
    pub(super) async fn apply(&self, edit: &Edit, consent: &Consent) -> Result<Outcome, NotDone> {
        let plan = self.plan(edit).await?;
        let verdict = self.judge(&plan, consent.wider).await?;
        let again =
            |plan, verdict, why| Err(NotDone::AskAgain(Box::new(preview(plan, verdict)), why));
        if plan.digest != consent.digest {
            let verdict = self.judge(&plan, None).await?;
            return again(plan, verdict, Again::Changed);
        }
        if !verdict.stops.is_empty() {
            let verdict = self.judge(&plan, None).await?;
            return again(plan, verdict, Again::Held);
        }
        if plan.files.is_empty() {
            let text = "the files say so already; nothing was written";
            return Err(Refusal::new(Code::Data, text).into());
        }
        self.before(edit).await?;
        let done = reload::reload(&self.gw, self.wanted(&plan, consent.wider, false)).await;
        match done {
            Ok(done) if done.in_force => Ok(self.after(edit).await?),
            Ok(done) => {
                self.undone(edit).await;
                again(plan, policy::verdict(done), Again::Held)
            }
            Err(rejected) => {
                self.undone(edit).await;
                Err(policy::refusal(&rejected).into())
            }
        }
    }

    /// Reads the folder and makes the edit in memory.
    async fn plan(&self, edit: &Edit) -> Result<Plan, Refusal> {
        let (gw, edit) = (Arc::clone(&self.gw), edit.clone());
        let made = tokio::task::spawn_blocking(move || {
            let config = |text| Refusal::new(Code::Config, text);
            let before = Folder::read(&gw.config.policy_dir);
            let before = before.map_err(|e| config(crate::cli::exit::chain(&e)))?;
            let files = before.policy_files();
            let mut drafts = Drafts::open(&files)?;
            drafts.make(&edit)?;
            let changed = drafts.all.iter().filter(|draft| draft.is_changed());
            let diff = changed.map(|draft| FileDiff {
                path: draft.path.clone(),
                lines: lines::compare(&draft.before, &draft.text()),
            });
            let files = diff.collect();
            let after = before.edit(|path, text| {
                let draft = drafts.all.iter().find(|draft| draft.path == path);
                Some(draft.map_or_else(|| text.to_owned(), |draft| draft.text()))
            });
            let digest = before.digest();
            Ok(Plan {
                more: !gw.history.is_in_force(&digest),
                after: after.unwrap_or(before),
                digest,
                files,
            })
        });
        made.await.map_err(internal)?
    }

    /// Asks the guards.
    async fn judge(&self, plan: &Plan, wider: Option<usize>) -> Result<Verdict, Refusal> {
        let judged = reload::reload(&self.gw, self.wanted(plan, wider, true)).await;
        Ok(policy::verdict(judged.map_err(|e| policy::refusal(&e))?))
    }

    fn wanted(&self, plan: &Plan, wider: Option<usize>, dry_run: bool) -> Wanted {
        let actor = &self.actor;
        let from = match actor.door {
            Door::Tunnel => "tunnel".to_owned(),
            Door::Web => actor.source.to_canonical().to_string(),
        };
        Wanted {
            files: Files::Given(plan.after.clone()),
            accept: Accept {
                wider,
                ..Accept::default()
            },
            own: Some(Own {
                user: actor.session.user.to_string(),
                from: Some(from),
                device: Some(self.permit.device().as_str().to_owned()),
                to: "admin".to_owned(),
            }),
            onto: Some(plan.digest.clone()),
            dry_run,
            ..Wanted::disk(How::Console, self.by())
        }
    }

    /// Puts the edit on record, and makes a name that is used again start anew.
    async fn before(&self, edit: &Edit) -> Result<(), Refusal> {
        let user = edit.user();
        let (why, what) = described(edit);
        let record = self.record(user, why, &what);
        match edit {
            Edit::Disable { .. } | Edit::Remove { .. } | Edit::Leave { .. } => {
                self.gw.record_or_owe(record).await;
            }
            Edit::Add(_) | Edit::Enable { .. } | Edit::Join { .. } => self.granted(record).await?,
        }
        let is_new =
            matches!(edit, Edit::Add(_)) && self.gw.snapshot.load().policy.user(user).is_none();
        if is_new {
            self.gw
                .identity
                .forget_namesake(user, clock::unix())
                .await?;
            self.gw.streams.kill_user(user);
        }
        Ok(())
    }

    /// Takes back on record what was announced and did not come.
    async fn undone(&self, edit: &Edit) {
        let (why, what) = described(edit);
        let mut record = self.record(edit.user(), why, &what);
        record.outcome = "failed";
        self.gw.record_or_owe(record).await;
    }

    /// Does what follows from an edit that is in force.
    async fn after(&self, edit: &Edit) -> Result<Outcome, Refusal> {
        match edit {
            Edit::Add(new) => self.invite(&new.user).await,
            Edit::Enable { user } => {
                let unlocked = self.gw.identity.unlock(user, clock::unix()).await;
                unlocked.map_err(internal)?;
                Ok(Outcome::Done)
            }
            Edit::Remove { user } => {
                self.operator().user_forget(user).await?;
                Ok(Outcome::Done)
            }
            Edit::Disable { .. } | Edit::Join { .. } | Edit::Leave { .. } => Ok(Outcome::Done),
        }
    }
}

fn described(edit: &Edit) -> (&'static str, String) {
    match edit {
        Edit::Add(new) => (
            reason::CREATED,
            format!("declared, groups {}", new.groups.join(" ")),
        ),
        Edit::Disable { .. } => (reason::DISABLED, "shut out".to_owned()),
        Edit::Enable { .. } => (reason::ENABLED, "let in again".to_owned()),
        Edit::Remove { .. } => (reason::REMOVED, "taken out".to_owned()),
        Edit::Join { group, .. } => (reason::CHANGED, format!("put into {group}")),
        Edit::Leave { group, .. } => (reason::CHANGED, format!("taken out of {group}")),
    }
}

fn preview(plan: Plan, verdict: Verdict) -> Preview {
    let wider = to_accept(&verdict.stops);
    let stops = verdict.stops.into_iter().map(|stop| StopLine {
        guard: stop.guard,
        text: stop.text,
    });
    Preview {
        digest: plan.digest,
        files: plan.files,
        access: verdict.text,
        widened: verdict.widened,
        narrowed: verdict.narrowed,
        warnings: verdict.notes.into_iter().chain(verdict.warnings).collect(),
        wider: wider.filter(|_| stops.len() > 0),
        stops: stops.collect(),
        more: plan.more,
    }
}

/// How many openings there are to accept, if that is all that holds an edit. What locks people out is not for the
/// console to accept.
fn to_accept(stops: &[Stop]) -> Option<usize> {
    let counts = stops.iter().map(|stop| match stop.guard.as_str() {
        "world-open" | "tunnel-open" | "deny-lost" => {
            let option = stop.accept.as_deref()?;
            option
                .strip_prefix("--accept-wider ")?
                .parse::<usize>()
                .ok()
        }
        _ => None,
    });
    counts.collect::<Option<Vec<_>>>()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::to_accept;
    use crate::reload::guards::Stop;

    fn stop(guard: &str, accept: Option<&str>) -> Stop {
        Stop {
            guard: guard.to_owned(),
            text: String::new(),
            accept: accept.map(str::to_owned),
        }
    }

    #[test]
    fn only_an_opening_can_be_accepted_at_the_console() {
        let open = || stop("world-open", Some("--accept-wider 3"));
        assert_eq!(to_accept(&[open()]), Some(3));
        for other in [
            stop("lock-out", None),
            stop("own-access", Some("--i-lose-access")),
            stop("unconfirmed", Some("")),
        ] {
            assert_eq!(to_accept(std::slice::from_ref(&other)), None);
            assert_eq!(to_accept(&[open(), other]), None);
        }
    }
}
