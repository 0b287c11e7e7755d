//! That somebody read the journal is a record in it.

use super::exit::Failure;
use super::{block_on, out};
use crate::audit::{Audit, Event, Record, reason};
use crate::config::{Config, lock};
use crate::control::{Operator, Remote};
use crate::secrets::Keys;

/// Records that the journal of a configuration is read, through the gateway if one runs. Who may read the files may
/// read them without this command too, so a record that cannot be written is a note and stops nobody.
pub(crate) fn note(config: &Config, what: &str) {
    let written = block_on(async {
        match Remote::find(&config.control_socket()).await? {
            Some(remote) => Ok(remote.audit_read(uid(), what).await?),
            None if config.data.is_dir() => write(config, what).await,
            None => Ok(()),
        }
    });
    if let Err(failure) = written {
        out::note(&format!(
            "note: this reading is not on record: {}",
            failure.text
        ));
    }
}

/// Writes the record where no gateway runs. The state folder is held so long; only its owner can do that.
async fn write(config: &Config, what: &str) -> Result<(), Failure> {
    let _lock = lock::acquire(&config.data)?;
    let keys = Keys::load(&config.master_key)?;
    let audit = Audit::open(&config.data.join("audit"), &keys.derive_all("audit"))?;
    let record = record(uid(), what);
    let durability = record.durability();
    audit.write(record, durability).await?;
    audit.close().await;
    Ok(())
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes the record of a reading by a local user.
pub(crate) fn record(uid: u32, what: &str) -> Record {
    let found = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    let name = found.map_or_else(|| "user".to_owned(), |user| user.name);
    let mut record = Record::new(Event::AuditRead, "ok", reason::JOURNAL_READ);
    record.detail = Some(format!("by {name} ({uid}): {what}"));
    record
}

#[cfg(test)]
mod tests {
    use super::record;

    #[test]
    fn the_record_names_the_local_user_and_the_command() {
        let detail = record(0, "audit tail -n 20").detail.unwrap();
        assert_eq!(detail, "by root (0): audit tail -n 20");
        let unknown = record(4_000_000_000, "x").detail.unwrap();
        assert_eq!(unknown, "by user (4000000000): x");
    }
}
