//! `postern cert import --ca` and `postern cert ca-root`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::{About, Imported};
use serde::Serialize;

use super::super::exit::{Exit, Failure};
use super::super::out;
use super::put_in_force;
use crate::clock;
use crate::config::Config;
use crate::config::lock;
use crate::proxy::tls::{self, files as pem};
use crate::secrets::Keys;
use crate::snapshot::files::{self, Links};

#[derive(Serialize)]
struct Done {
    /// The subject of the certificate that signs.
    subject: String,
    /// When it, or its root, ends, RFC 3339.
    not_after: String,
    /// Where the authority before it is kept.
    kept: Option<PathBuf>,
    /// Whether a running gateway uses it already.
    in_force: bool,
}

/// The largest certificate file in bytes.
const PEM_MAX: u64 = 1 << 20;

#[derive(Serialize)]
struct Shown {
    /// The certificate.
    pem: String,
    /// Its fingerprint in hexadecimal, as the page of the root shows it.
    sha256: String,
    /// Its subject.
    subject: String,
    /// When it ends, RFC 3339.
    not_after: String,
    /// Where its key was written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
}

/// Shows the root of the internal authority, and writes its key where that is wanted.
///
/// # Errors
/// [`Exit::Unavailable`] while there is none, or its key is not in the state folder,
/// [`Exit::CannotCreate`] for a file that is there already.
pub(super) fn root(config: &Config, key: Option<&Path>, json: bool) -> Result<(), Failure> {
    let dir = config.data.join("ca");
    let path = dir.join("root.pem");
    if !path.exists() {
        let text = format!("{} is made by the first start", path.display());
        return Err(Failure::new(Exit::Unavailable, text));
    }
    let pem = files::read_text(&path, PEM_MAX, Links::Follow)?;
    if let Some(to) = key {
        let keys = Arc::new(Keys::load(&config.master_key)?);
        if !dir.join("root.key").exists() {
            let text =
                "root.key is not in the state folder: it is kept elsewhere, or never was here";
            return Err(Failure::new(Exit::Unavailable, text));
        }
        write_key(to, &tls::root_key(&dir, &keys)?)?;
    }
    if !json {
        out::raw(&pem);
        if let Some(to) = key {
            let (to, held) = (to.display(), dir.join("root.key"));
            let held = held.display();
            out::note(&format!(
                "{to} holds the key in clear: bring it to a safe place, then remove {held}"
            ));
        }
        return Ok(());
    }
    let about = About::read(&pem);
    let about =
        about.map_err(|e| Failure::new(Exit::Config, format!("{}: {e}", path.display())))?;
    out::json(&Shown {
        pem,
        sha256: about.fingerprint(),
        subject: about.subject,
        not_after: rfc3339(about.not_after),
        key: key.map(Path::to_owned),
    });
    Ok(())
}

/// Writes a key for its owner only; nothing is overwritten.
fn write_key(to: &Path, key_pem: &str) -> Result<(), Failure> {
    let written = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(to)?;
        file.write_all(key_pem.as_bytes())?;
        file.sync_all()
    };
    written().map_err(|e| Failure::new(Exit::CannotCreate, format!("{}: {e}", to.display())))
}

/// Checks an authority, puts it in place of the internal one and has a running gateway use it.
///
/// # Errors
/// [`Exit::Data`] with what is wrong with it, [`Exit::Config`] where the internal authority is off.
pub(super) fn import(config: &Config, cert: &Path, key: &Path, json: bool) -> Result<(), Failure> {
    if !config.tls.internal_ca {
        let text = "[tls] internal-ca is false: nothing would be signed by it; set it to true";
        return Err(Failure::new(Exit::Config, text));
    }
    let bad = |path: &Path, e: &dyn std::error::Error| {
        Failure::new(Exit::Data, format!("{}: {e}", path.display()))
    };
    let now = clock::unix();
    let cert_pem = pem::read_public(cert).map_err(|e| Failure::new(Exit::Data, e.to_string()))?;
    let key_pem = pem::read_secret(key, pem::Readers::Owner);
    let key_pem = key_pem.map_err(|e| Failure::new(Exit::Data, e.to_string()))?;
    let cert_pem = std::str::from_utf8(&cert_pem).map_err(|e| bad(cert, &e))?;
    let key_pem = std::str::from_utf8(&key_pem).map_err(|e| bad(key, &e))?;
    let imported = Imported::read(cert_pem, key_pem, now).map_err(|e| bad(cert, &e))?;
    let hosts = &config.http.sign_in;
    imported.covers(hosts).map_err(|e| bad(cert, &e))?;
    let name = config.http.sign_in.first();
    let name = name.map_or("Postern", String::as_str);
    lock::check_folder(&config.data)?;
    let dir = config.data.join("ca");
    let keys = Arc::new(Keys::load(&config.master_key)?);
    let kept = tls::install_authority(&dir, &keys, &imported, key_pem, name, now)?;
    let done = Done {
        subject: imported.subject,
        not_after: rfc3339(imported.not_after),
        kept,
        in_force: put_in_force(config)?,
    };
    if json {
        out::json(&done);
    } else {
        tell(&done);
    }
    Ok(())
}

fn tell(done: &Done) {
    let when = match done.in_force {
        true => "signs every internal certificate from now on",
        false => "signs every internal certificate from the next start on",
    };
    out::line(&format!(
        "{} until {}, {when}",
        done.subject, done.not_after
    ));
    if let Some(kept) = &done.kept {
        out::line(&format!(
            "the authority before it is kept in {}",
            kept.display()
        ));
    }
    out::note(
        "clients trust it once its root is imported: postern cert ca-root, or /ca of the sign-in host",
    );
}

fn rfc3339(unix: i64) -> String {
    clock::rfc3339(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}
