//! How a command ends: an exit code of sysexits(3) and a text for stderr.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use policy::{Diagnostic, Sources};
use serde::Serialize;

use super::findings::{self, Finding};
use super::{out, render};
use crate::audit::AuditError;
use crate::backup::BackupError;
use crate::config::ConfigError;
use crate::config::lock::LockError;
use crate::config::named::NamedError;
use crate::control::{Code, Refusal};
use crate::edits::EditError;
use crate::identity::IdentityError;
use crate::mail::RelayError;
use crate::proxy::tls::CertError;
use crate::secrets::KeyError;
use crate::snapshot::files::FileError;
use crate::snapshot::folder::FolderError;
use crate::store::StoreError;
use crate::traces::TracesError;

/// The exit codes scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Another policy would widen access or answer otherwise than is on record, or a guard waits for somebody to
    /// accept.
    Widens = 3,
    /// The command line makes no sense.
    Usage = 64,
    /// What was named does not exist or is not as needed.
    Data = 65,
    /// The gateway cannot be reached, or an address is taken.
    Unavailable = 69,
    /// A fault of the program.
    Internal = 70,
    /// Something that would be made is there already.
    CannotCreate = 73,
    /// A file or folder is closed to us, or open to others.
    Permission = 77,
    /// Configuration or policy is wrong.
    Config = 78,
}

impl Exit {
    /// Returns the number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Widens => 3,
            Self::Usage => 64,
            Self::Data => 65,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::CannotCreate => 73,
            Self::Permission => 77,
            Self::Config => 78,
        }
    }
}

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What failed; may have several lines.
    pub(crate) text: String,
    /// What is wrong in the policy's files, where that is why.
    pub(crate) findings: Vec<Finding>,
}

/// A failure as scripts read it: the document of a command that has no other answer.
#[derive(Serialize)]
struct Failed<'a> {
    ok: bool,
    exit: u8,
    error: &'a str,
    findings: &'a [Finding],
}

impl Failure {
    /// Makes a failure.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
            findings: Vec::new(),
        }
    }

    /// Makes the failure of a policy that does not load.
    pub(crate) fn policy(sources: &Sources, found: &[Diagnostic]) -> Self {
        Self {
            findings: findings::all(sources, found),
            ..Self::new(Exit::Config, render::all(sources, found))
        }
    }

    /// Writes the failure to stdout as one line of JSON.
    pub(crate) fn json(&self) {
        let error = match self.findings.as_slice() {
            [] => self.text.trim_end(),
            [first, ..] => &first.title,
        };
        out::json(&Failed {
            ok: false,
            exit: self.exit.number(),
            error,
            findings: &self.findings,
        });
    }

    /// Makes a failure from an error with its chain.
    pub(crate) fn of(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    /// Makes a failure from what the operating system said about a file.
    pub(crate) fn file(doing: &str, path: &std::path::Path, error: &io::Error) -> Self {
        let exit = if is_denied(error) {
            Exit::Permission
        } else if error.kind() == io::ErrorKind::AlreadyExists {
            Exit::CannotCreate
        } else {
            Exit::Data
        };
        Self::new(exit, format!("cannot {doing} {}: {error}", path.display()))
    }

    /// Makes a failure from what the operating system said about a folder to be made.
    pub(crate) fn folder(path: &std::path::Path, error: &io::Error) -> Self {
        let exit = if is_denied(error) {
            Exit::Permission
        } else {
            Exit::CannotCreate
        };
        Self::new(exit, format!("cannot make {}: {error}", path.display()))
    }
}

fn is_denied(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    [PermissionDenied, ReadOnlyFilesystem].contains(&error.kind())
}

/// Writes an error and its causes once each.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        next = cause.source();
    }
    text
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Read(error) => error.into(),
            ConfigError::Invalid(_) => Self::of(Exit::Config, &error),
        }
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        let faults: Vec<String> = error.faults().map(|fault| chain(fault)).collect();
        let rendered = render::all(&error.sources, &error.found);
        let text = format!("{}\n\n{rendered}", faults.join("\nerror: "));
        Self {
            findings: findings::of_folder(&error),
            ..Self::new(Exit::from(&error.first), text.trim_end())
        }
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<&FileError> for Exit {
    fn from(error: &FileError) -> Self {
        match error {
            FileError::Writable { .. } | FileError::Owner { .. } => Self::Permission,
            FileError::Io { source, .. } if denied(source) => Self::Permission,
            FileError::Io { .. } | FileError::Refused { .. } | FileError::NotText { .. } => {
                Self::Config
            }
        }
    }
}

impl From<&LockError> for Exit {
    fn from(error: &LockError) -> Self {
        match error {
            LockError::Held(_) => Self::Unavailable,
            LockError::Exposed { .. } => Self::Permission,
            LockError::Io { source, .. } if denied(source) => Self::Permission,
            LockError::Io { .. } => Self::Config,
        }
    }
}

impl From<&KeyError> for Exit {
    fn from(error: &KeyError) -> Self {
        if error.is_permission() {
            Self::Permission
        } else {
            Self::Config
        }
    }
}

impl From<&NamedError> for Exit {
    fn from(error: &NamedError) -> Self {
        match error {
            NamedError::Exposed { .. } => Self::Permission,
            NamedError::File { source, .. } if denied(source) => Self::Permission,
            NamedError::File { .. } => Self::Config,
        }
    }
}

impl From<&RelayError> for Exit {
    fn from(error: &RelayError) -> Self {
        match error {
            RelayError::Named(named) => Self::from(named),
            RelayError::Authorities { .. } | RelayError::Tls(_) => Self::Config,
        }
    }
}

impl From<&TracesError> for Exit {
    fn from(error: &TracesError) -> Self {
        match error {
            TracesError::Named(named) => Self::from(named),
            TracesError::Field { .. } | TracesError::Roots(_) => Self::Config,
        }
    }
}

impl From<&CertError> for Exit {
    fn from(error: &CertError) -> Self {
        if error.is_permission() {
            Self::Permission
        } else {
            Self::Config
        }
    }
}

impl From<&AuditError> for Exit {
    fn from(error: &AuditError) -> Self {
        match error {
            AuditError::Exposed { .. } => Self::Permission,
            AuditError::Folder { source, .. } if denied(source) => Self::Permission,
            AuditError::Busy { .. } => Self::Unavailable,
            AuditError::Folder { .. }
            | AuditError::Broken { .. }
            | AuditError::Full
            | AuditError::Closed => Self::Internal,
        }
    }
}

impl From<&StoreError> for Exit {
    fn from(_: &StoreError) -> Self {
        Self::Internal
    }
}

impl From<&BackupError> for Exit {
    fn from(error: &BackupError) -> Self {
        match error {
            BackupError::File { source, .. } if denied(source) => Self::Permission,
            BackupError::File { source, doing, .. } => match (source.kind(), *doing) {
                (io::ErrorKind::AlreadyExists, _) | (_, "make") => Self::CannotCreate,
                _ => Self::Data,
            },
            BackupError::Exposed { .. } => Self::Permission,
            BackupError::Restless(_) => Self::Unavailable,
            BackupError::Occupied(_) => Self::CannotCreate,
            BackupError::Sealed(_)
            | BackupError::NotOne(_)
            | BackupError::Newer(_)
            | BackupError::Malformed(_)
            | BackupError::Name(_)
            | BackupError::OtherKey { .. }
            | BackupError::WrongKind(_)
            | BackupError::Weak { .. }
            | BackupError::Unusable(_) => Self::Data,
            BackupError::Store(error) => error.into(),
            BackupError::Key(error) => error.into(),
            BackupError::Lock(error) => error.into(),
            BackupError::Audit(error) => error.into(),
        }
    }
}

impl From<&IdentityError> for Exit {
    fn from(error: &IdentityError) -> Self {
        match error {
            IdentityError::Cost(_) => Self::Config,
            IdentityError::Store(error) => error.into(),
            IdentityError::Argon2(_) | IdentityError::Threads(_) => Self::Internal,
        }
    }
}

fn denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// One error, one code: whichever command meets it.
macro_rules! fails {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(Exit::from(&error), &error)
            }
        })+
    };
}

fails!(
    BackupError,
    FileError,
    LockError,
    KeyError,
    CertError,
    RelayError,
    TracesError,
    AuditError,
    StoreError,
    IdentityError
);

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let error = match error.downcast::<KeyError>() {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        let mut causes = error.chain().filter_map(|e| e.downcast_ref::<io::Error>());
        let exit = match causes.next().map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => Exit::Permission,
            Some(io::ErrorKind::NotFound) => Exit::Data,
            _ => Exit::Internal,
        };
        Self::of(exit, error.as_ref())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = match refusal.code {
            Code::Usage => Exit::Usage,
            Code::Data => Exit::Data,
            Code::Unavailable => Exit::Unavailable,
            Code::Internal => Exit::Internal,
            Code::Permission => Exit::Permission,
            Code::Config => Exit::Config,
            Code::Held => Exit::Widens,
        };
        Self::new(exit, refusal.message)
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, Failure, chain};
    use crate::audit::AuditError;
    use crate::config::ConfigError;
    use crate::config::lock::LockError;
    use crate::control::{Code, Refusal};
    use crate::snapshot::files::FileError;
    use crate::store::StoreError;
    use std::io;
    use std::sync::Arc;

    fn denied() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    fn missing() -> io::Error {
        io::ErrorKind::NotFound.into()
    }

    #[test]
    fn each_error_has_its_exit_code() {
        let path = || "/x".into();
        let file = |source| FileError::Io {
            path: path(),
            source,
        };
        let lock = |source| LockError::Io {
            path: path(),
            source,
        };
        let journal = |source| AuditError::Folder {
            path: path(),
            source: Arc::new(source),
        };
        let exposed = LockError::Exposed {
            path: path(),
            mode: 0o755,
            owner: 0,
        };
        let cases: Vec<(Failure, u8)> = vec![
            (ConfigError::Invalid(Vec::new()).into(), 78),
            (ConfigError::Read(file(missing())).into(), 78),
            (ConfigError::Read(file(denied())).into(), 77),
            (
                FileError::Writable {
                    path: path(),
                    mode: 0o666,
                }
                .into(),
                77,
            ),
            (
                FileError::Owner {
                    path: path(),
                    owner: 1,
                }
                .into(),
                77,
            ),
            (
                FileError::Refused {
                    path: path(),
                    what: "x",
                }
                .into(),
                78,
            ),
            (
                AuditError::Exposed {
                    path: path(),
                    mode: 0o755,
                }
                .into(),
                77,
            ),
            (AuditError::Busy { path: path() }.into(), 69),
            (journal(denied()).into(), 77),
            (journal(missing()).into(), 70),
            (AuditError::Full.into(), 70),
            (StoreError::Stopped.into(), 70),
            (LockError::Held(path()).into(), 69),
            (exposed.into(), 77),
            (lock(denied()).into(), 77),
            (lock(missing()).into(), 78),
            (Refusal::new(Code::Usage, "").into(), 64),
            (Refusal::new(Code::Data, "").into(), 65),
            (Refusal::new(Code::Unavailable, "").into(), 69),
            (Refusal::new(Code::Internal, "").into(), 70),
            (Refusal::new(Code::Permission, "").into(), 77),
            (Refusal::new(Code::Config, "").into(), 78),
            (Refusal::new(Code::Held, "").into(), 3),
            (Failure::new(Exit::CannotCreate, ""), 73),
        ];
        for (failure, number) in cases {
            assert_eq!(failure.exit.number(), number, "{failure:?}");
        }
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = FileError::Io {
            path: "/x".into(),
            source: missing(),
        };
        assert_eq!(chain(&error), "cannot read /x: entity not found");
        let outer = io::Error::other("wrapped: entity not found");
        assert_eq!(chain(&outer), "wrapped: entity not found");
    }
}
