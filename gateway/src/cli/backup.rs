//! `postern backup`, `postern verify-backup`, `postern restore`.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, block_on, out};
use crate::backup::{self, Checked, Passphrase, Restored, Target, With};
use crate::clock;
use crate::secrets::Keys;

/// What is backed up, and how it is protected.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The new file
    file: PathBuf,
    /// Seal under the first line of this file instead of the master key
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// What is checked.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    opens: Opens,
}

/// What is restored, and where.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    opens: Opens,
    /// Put everything below this folder; to where it was if absent
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What opens a backup.
#[derive(Debug, Args)]
pub(crate) struct Opens {
    /// The file whose first line is the passphrase
    #[arg(long, value_name = "FILE", conflicts_with = "master_key")]
    passphrase_file: Option<PathBuf>,
    /// The file of the master key; that of the configuration if absent
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

/// Runs `postern backup`.
///
/// # Errors
/// [`Exit::CannotCreate`] if the file is there, what cannot be read or written.
pub(crate) fn create(options: &Create, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let now = clock::rfc3339(clock::unix_ms());
    let made = match &options.passphrase_file {
        Some(path) => {
            let passphrase = Passphrase::read(path)?;
            backup::create(&config, &options.file, With::Passphrase(&passphrase), &now)?
        }
        None => {
            let keys = Keys::load(&config.master_key)?;
            let with = With::Master(&keys, &config.master_key);
            backup::create(&config, &options.file, with, &now)?
        }
    };
    if global.json {
        out::json(&made);
        return Ok(());
    }
    let file = made.file.display();
    out::line(&format!(
        "{file}: {} files, {} bytes, the journal up to record {}",
        made.files, made.bytes, made.journal
    ));
    for path in &made.missing {
        out::note(&format!(
            "warning: {} is not in it: it cannot be read",
            path.display()
        ));
    }
    if !made.with_master_key {
        let key = config.master_key.display();
        out::note(&format!(
            "only {key} opens it; keep a copy of that file in another place"
        ));
    }
    Ok(())
}

/// Runs `postern verify-backup`.
///
/// # Errors
/// [`Exit::Data`] for a backup that is damaged, another's, or none.
pub(crate) fn verify(options: &Verify, global: &Global) -> Result<(), Failure> {
    let checked = options
        .opens
        .with(global, |with| Ok(backup::verify(&options.file, with)?))?;
    if global.json {
        out::json(&checked);
        return Ok(());
    }
    out::line(&format!("{} is sound", options.file.display()));
    tell(&checked);
    Ok(())
}

/// Runs `postern restore`.
///
/// # Errors
/// [`Exit::Data`] as for `verify-backup`, [`Exit::CannotCreate`] where something is already,
/// [`Exit::Unavailable`] beside a gateway that runs.
pub(crate) fn restore(options: &Restore, global: &Global) -> Result<(), Failure> {
    let target = options.dir.as_deref().map_or(Target::There, Target::Folder);
    let now = clock::unix();
    let restored = options.opens.with(global, |with| {
        block_on(async { Ok(backup::restore(&options.file, with, target, now).await?) })
    })?;
    if global.json {
        out::json(&restored);
    } else {
        tell_restored(&restored);
    }
    Ok(())
}

impl Opens {
    fn with<T>(
        &self,
        global: &Global,
        work: impl FnOnce(With<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(path) = &self.passphrase_file {
            let passphrase = Passphrase::read(path)?;
            return work(With::Passphrase(&passphrase));
        }
        let path = match &self.master_key {
            Some(path) => path.clone(),
            None => own_key(global)?,
        };
        let keys = Keys::load(&path)?;
        work(With::Master(&keys, &path))
    }
}

/// The master key of the configuration there is.
fn own_key(global: &Global) -> Result<PathBuf, Failure> {
    global
        .config()
        .map(|config| config.master_key)
        .map_err(|_| {
            let text = "what opens the backup? name --master-key FILE or --passphrase-file FILE";
            Failure::new(Exit::Usage, text)
        })
}

fn tell(checked: &Checked) {
    let store = &checked.store;
    out::line(&format!(
        "  made      {} by Postern {}",
        checked.made, checked.version
    ));
    out::line(&format!("  files     {}", checked.files));
    out::line(&format!(
        "  store     {} people, {} devices, {} sessions",
        store.people, store.devices, store.sessions
    ));
    out::line(&format!(
        "  journal   {} records up to {}",
        checked.records, checked.journal
    ));
    for warning in &checked.warnings {
        out::note(&format!("warning: {warning}"));
    }
}

fn tell_restored(restored: &Restored) {
    out::line(&format!("restored {}", restored.config.display()));
    tell(&restored.backup);
    let ended = &restored.ended;
    out::line(&format!(
        "  ended     {} sessions, {} links, {} recovery codes, {} mails that waited",
        ended.sessions, ended.links, ended.recovery_codes, ended.mails
    ));
    for path in &restored.kept {
        out::line(&format!("  kept      {}", path.display()));
    }
    let made = &restored.backup.made;
    let config = restored.config.display();
    out::line(&format!(
        "Everybody signs in anew. Whom you disabled, and the devices and apps that were replaced or\n\
         revoked after {made}, are as they were then: look at `user list` and `device list`\n\
         before you start.\n\n  postern check --config {config}\n  postern run --config {config}"
    ));
}
