//! The policy of the running gateway, as the console shows, asks and changes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use policy::{QueryError, QueryText, Sources};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::office::{Inner, Office};
use super::policy::{refusal, until, verdict};
use crate::cli::exit::chain;
use crate::clock;
use crate::console::{
    Amend, Answer, Asking, Change, Effect, FileDiff, FileLine, FileText, Findings, NotKept,
    NotMade, Overview, Past, Question, Rulebook, TestLine, Waiting,
};
use crate::control::{Code, Refusal};
use crate::edits::lines::compare;
use crate::explain;
use crate::ids::Door;
use crate::reload::change::{Files, Wanted};
use crate::reload::confirm::{self as waiting, NotKept as Waits};
use crate::reload::folder::Folder;
use crate::reload::guards::{Accept, Own};
use crate::reload::history::{Entry, How};
use crate::reload::{self, Finding, Rejected, findings};

/// Entries of the history that are shown.
const HISTORY: usize = 50;

/// Questions at a time: each may take a second of a processor for a very large policy.
static QUESTIONS: Semaphore = Semaphore::const_new(1);

#[async_trait]
impl Rulebook for Office {
    async fn overview(&self) -> Result<Overview, Refusal> {
        let gw = Arc::clone(&self.0.gw);
        let (folder, kept) = blocking(move || {
            let folder = Folder::read(&gw.config.policy_dir);
            (
                folder,
                gw.history
                    .in_force()
                    .and_then(|e| gw.history.files(&e.source?)),
            )
        })
        .await?;
        let gw = &self.0.gw;
        // what is in force is shown all the same, with why the folder gives nothing
        let folder: Folder = folder.unwrap_or_default();
        let file = |(name, text): (&String, &String)| FileLine {
            name: name.clone(),
            bytes: text.len(),
            in_force: kept
                .as_ref()
                .is_none_or(|kept| kept.files.get(name) == Some(text)),
        };
        let pending = gw.history.pending().map(|pending| Waiting {
            generation: pending.generation,
            until: until(pending.until),
        });
        let entries = gw.history.entries();
        let newest = entries.into_iter().rev().take(HISTORY);
        Ok(Overview {
            digest: self.0.snap.digest.to_string(),
            generation: self.0.snap.generation,
            loaded: clock::rfc3339(self.0.snap.loaded),
            cached: gw.cached.load(Ordering::Relaxed),
            files: folder.files.iter().map(file).collect(),
            same: gw.history.is_in_force(&folder.digest()),
            error: gw.reload_error.lock().clone(),
            pending,
            history: newest.map(past).collect(),
        })
    }

    async fn file(&self, name: &str) -> Result<Option<FileText>, Refusal> {
        let folder = self.0.folder().await?;
        let base = folder.digest();
        let text = folder.files.get(name);
        Ok(text.map(|text| FileText {
            name: name.to_owned(),
            text: text.clone(),
            base,
        }))
    }

    async fn findings(&self) -> Result<Findings, Refusal> {
        let dir = self.0.gw.config.policy_dir.clone();
        let sources = self.0.sources_in_force().ok_or_else(not_kept)?;
        self.0
            .asked(move || {
                let checked = policy::check(&sources).map_err(|_| not_kept())?;
                let tests = checked.tests.iter().map(|test| TestLine {
                    name: test.name.clone(),
                    at: place(&sources, &test.span),
                    passed: test.passed,
                    expected: test.expected.clone(),
                    got: test.got.clone(),
                });
                let tests = tests.collect();
                let mut found = checked.policy.lint(Some(clock::unix()));
                found.extend(checked.warnings);
                found.sort_by_key(|finding| (finding.span.file, finding.span.start));
                Ok(Findings {
                    digest: checked.policy.digest().to_owned(),
                    lint: below(&dir, findings(&sources, &found)),
                    tests,
                })
            })
            .await
    }

    async fn answer(&self, question: &Question) -> Result<Answer, Refusal> {
        let policy = Arc::clone(&self.0.snap.policy);
        let (question, sources) = (question.clone(), self.0.sources_in_force());
        self.0
            .asked(move || match &question {
                Question::WhoCan(resource) => {
                    let answer = policy.who_can(resource).map_err(|e| wrong(&e))?;
                    Ok(told(answer.to_text(), &answer))
                }
                Question::WhatCan(user) => {
                    let answer = policy.what_can(user).map_err(|e| wrong(&e))?;
                    Ok(told(answer.to_text(), &answer))
                }
                Question::Explain(asking) => {
                    let query = policy.query_at(&query(asking), clock::unix());
                    let answer = policy.explain(&query.map_err(|e| wrong(&e))?);
                    let mut text = answer.to_text();
                    if let Some(sources) = &sources {
                        text.push_str(&explain::excerpts(sources, &policy, &answer));
                    }
                    Ok(told(text, &answer))
                }
            })
            .await
    }

    async fn preview(&self, change: &Change, accept: &Accept) -> Result<Effect, NotMade> {
        self.0.change(change, accept, None, true).await
    }
}

#[async_trait]
impl Amend for Office {
    async fn put(
        &self,
        change: &Change,
        accept: &Accept,
        confirm_s: Option<u64>,
    ) -> Result<Effect, NotMade> {
        self.0.change(change, accept, confirm_s, false).await
    }

    async fn confirm(&self) -> Result<(), NotKept> {
        let (gw, by) = (Arc::clone(&self.0.gw), self.0.by());
        let opened = Some(self.0.actor.opened);
        let act = tokio::spawn(async move { waiting::confirm(&gw, &by, opened).await });
        let kept = act
            .await
            .map_err(|e| NotKept::Refused(super::internal(e)))?;
        kept.map(drop).map_err(|why| match why {
            Waits::OldConnection => NotKept::OldConnection,
            why @ (Waits::Nothing | Waits::Disk(_)) => {
                NotKept::Refused(super::policy::not_kept(why))
            }
        })
    }
}

impl Inner {
    /// The files that are in force, where they are kept.
    pub(in crate::operate) fn sources_in_force(&self) -> Option<Sources> {
        let source = self.gw.history.in_force()?.source?;
        let folder = self.gw.history.files(&source)?;
        Some(folder.sources(&self.gw.config.policy_dir))
    }

    async fn folder(&self) -> Result<Folder, Refusal> {
        let dir = self.gw.config.policy_dir.clone();
        let read = blocking(move || Folder::read(&dir)).await?;
        read.map_err(|error| Refusal::new(Code::Config, chain(&error)))
    }

    /// Answers in its turn, away from the threads that serve.
    async fn asked<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _turn = QUESTIONS.acquire().await.map_err(super::internal)?;
        blocking(work).await?
    }

    async fn change(
        &self,
        change: &Change,
        accept: &Accept,
        confirm_s: Option<u64>,
        dry_run: bool,
    ) -> Result<Effect, NotMade> {
        let disk = self.folder().await;
        let (files, which) = match change {
            Change::Edit { name, text, base } => {
                let disk = disk.as_ref().map_err(|e| NotMade::Refused(e.clone()))?;
                (Files::Given(edited(disk, name, text, base)?), None)
            }
            Change::Folder => (Files::Disk, None),
            Change::Rollback { to } => (Files::Disk, Some(to.clone())),
        };
        let how = match which {
            Some(_) => How::Rollback,
            None => How::Apply,
        };
        let old = disk.unwrap_or_default();
        let wanted = Wanted {
            files,
            accept: accept.clone(),
            own: Some(self.own()),
            confirm: confirm_s.map(std::time::Duration::from_secs),
            onto: onto(change),
            dry_run,
            ..Wanted::disk(how, self.by())
        };
        let diffs = self.diffs(&old, change).await?;
        let gw = Arc::clone(&self.gw);
        // by itself, so that it is finished even if the browser goes away
        let act = tokio::spawn(async move {
            match which {
                Some(to) => waiting::rollback(&gw, to.as_deref(), wanted).await,
                None => reload::reload(&gw, wanted).await,
            }
        });
        let done = act
            .await
            .map_err(|e| NotMade::Refused(super::internal(e)))?;
        let done = done.map_err(|rejected| not_made(&self.gw.config.policy_dir, &rejected))?;
        Ok(Effect {
            files: diffs,
            verdict: verdict(done),
        })
    }

    /// The lines that a change changes: of an edit in its file, else in all that are in force.
    async fn diffs(&self, disk: &Folder, change: &Change) -> Result<Vec<FileDiff>, NotMade> {
        let history = |source: Option<String>| {
            let gw = Arc::clone(&self.gw);
            let found = blocking(move || gw.history.files(&source?));
            async move { found.await.map_err(NotMade::Refused) }
        };
        let in_force = || history(self.gw.history.in_force().and_then(|e| e.source));
        Ok(match change {
            Change::Edit { name, text, .. } => {
                let old = disk.files.get(name).map(String::as_str);
                vec![FileDiff {
                    path: name.clone(),
                    lines: compare(old.unwrap_or_default(), text),
                }]
            }
            Change::Folder => between(&in_force().await?.unwrap_or_default(), disk),
            Change::Rollback { to } => {
                let back = self.gw.history.find(to.as_deref()).and_then(|e| e.source);
                let pending = self.gw.history.pending().filter(|_| to.is_none());
                let back = pending.map(|p| p.back_to).or(back);
                let back = history(back).await?.unwrap_or_default();
                between(&in_force().await?.unwrap_or_default(), &back)
            }
        })
    }

    /// Who applies a change must still be able to act here afterwards.
    fn own(&self) -> Own {
        let actor = &self.actor;
        Own {
            user: actor.session.user.to_string(),
            from: Some(match actor.door {
                Door::Tunnel => "tunnel".to_owned(),
                Door::Web => actor.source.to_canonical().to_string(),
            }),
            device: Some(self.permit.device().as_str().to_owned()),
            to: "admin".to_owned(),
        }
    }
}

/// The digest of the files that an edit replaces.
fn onto(change: &Change) -> Option<String> {
    match change {
        Change::Edit { base, .. } => Some(base.clone()),
        Change::Rollback { .. } | Change::Folder => None,
    }
}

/// The folder with another text of one file.
fn edited(disk: &Folder, name: &str, text: &str, base: &str) -> Result<Folder, NotMade> {
    let Some(now) = disk.files.get(name) else {
        let text = format!("the policy folder has no file {}", name.escape_debug());
        return Err(NotMade::Refused(Refusal::new(Code::Data, text)));
    };
    if disk.digest() != base {
        return Err(NotMade::Stale(vec![FileDiff {
            path: name.to_owned(),
            lines: compare(now, text),
        }]));
    }
    let mut folder = disk.clone();
    folder.files.insert(name.to_owned(), text.to_owned());
    Ok(folder)
}

fn not_made(dir: &Path, rejected: &Rejected) -> NotMade {
    match rejected {
        Rejected::Policy(found) => NotMade::Wrong(below(dir, found.clone())),
        Rejected::Files(_)
        | Rejected::Certificates(_)
        | Rejected::Guard(_)
        | Rejected::Failed(_) => NotMade::Refused(refusal(rejected)),
    }
}

/// Findings that name their files below the policy folder.
fn below(dir: &Path, mut found: Vec<Finding>) -> Vec<Finding> {
    for finding in &mut found {
        if let Ok(name) = Path::new(&finding.file).strip_prefix(dir) {
            finding.file = name.display().to_string();
        }
    }
    found
}

/// The lines that differ between two folders, by file.
fn between(old: &Folder, new: &Folder) -> Vec<FileDiff> {
    let names: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
    let text = |folder: &Folder, name: &str| folder.files.get(name).cloned().unwrap_or_default();
    let diff = |name: &String| FileDiff {
        path: name.clone(),
        lines: compare(&text(old, name), &text(new, name)),
    };
    let all = names.into_iter().map(diff);
    all.filter(|diff| !diff.lines.is_empty()).collect()
}

fn past(entry: Entry) -> Past {
    let digest = entry.digest.as_deref().and_then(|d| d.get(..12));
    Past {
        digest: digest.map(str::to_owned),
        kept: entry.generation.is_some() && entry.source.is_some(),
        generation: entry.generation,
        how: entry.how.name(),
        by: entry.by.to_string(),
        time: entry.time,
        result: entry.result,
        widened: entry.widened,
        narrowed: entry.narrowed,
        why: entry.why,
    }
}

fn query(asking: &Asking) -> QueryText {
    QueryText {
        user: asking.user.clone(),
        groups: Vec::new(),
        by: None,
        from: asking.from.clone(),
        at: asking.at.clone(),
        device: asking.device.clone(),
        mfa: asking.mfa.clone(),
        login: asking.login.clone(),
        to: asking.to.clone(),
    }
}

fn told(text: String, answer: &impl Serialize) -> Answer {
    Answer {
        text,
        json: serde_json::to_value(answer).unwrap_or_default(),
    }
}

fn wrong(error: &QueryError) -> Refusal {
    let help = error.help.as_ref().map(|help| format!("\nhelp: {help}"));
    Refusal::new(
        Code::Data,
        format!("{}{}", error.title, help.unwrap_or_default()),
    )
}

fn not_kept() -> Refusal {
    Refusal::new(Code::Unavailable, "the files in force are not kept")
}

fn place(sources: &Sources, span: &policy::Span) -> String {
    let at = sources.locate(span);
    format!("{}:{}", at.path, at.line)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(super::internal)
}

#[cfg(test)]
mod tests {
    use super::{between, edited};
    use crate::console::NotMade;
    use crate::reload::folder::Folder;

    fn folder(files: &[(&str, &str)]) -> Folder {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Folder {
            files: files.collect(),
        }
    }

    #[test]
    fn an_edit_changes_its_file_and_no_other() {
        let disk = folder(&[("a.toml", "one\n"), ("b.toml", "two\n")]);
        let base = disk.digest();
        let done = edited(&disk, "a.toml", "three\n", &base).unwrap();
        assert_eq!(done, folder(&[("a.toml", "three\n"), ("b.toml", "two\n")]));
    }

    #[test]
    fn an_edit_of_files_that_changed_meanwhile_is_not_made() {
        let disk = folder(&[("a.toml", "one\n"), ("b.toml", "two\n")]);
        let base = disk.digest();
        let later = folder(&[("a.toml", "one\n"), ("b.toml", "other\n")]);
        let stale = edited(&later, "a.toml", "three\n", &base);
        assert!(matches!(stale, Err(NotMade::Stale(diffs)) if diffs.len() == 1));
        for name in ["c.toml", "../a.toml", ""] {
            let none = edited(&disk, name, "three\n", &base);
            assert!(matches!(none, Err(NotMade::Refused(_))), "{name}");
        }
    }

    #[test]
    fn folders_differ_by_the_files_that_differ() {
        let old = folder(&[("a.toml", "one\n"), ("b.toml", "two\n")]);
        let new = folder(&[("a.toml", "one\n"), ("c.toml", "two\n")]);
        let names: Vec<String> = between(&old, &new).into_iter().map(|d| d.path).collect();
        assert_eq!(names, ["b.toml", "c.toml"]);
        assert!(between(&old, &old).is_empty());
    }
}
