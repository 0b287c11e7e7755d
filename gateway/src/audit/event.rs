//! The closed list of event names.

/// What a record is about; the name carries the version of its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    SignedIn,
    SignInFailed,
    SignedOut,
    SessionEnded,
    AccessDecided,
    RequestEnded,
    FlowDecided,
    FlowEnded,
    DnsRefused,
    Limited,
    Banned,
    Unbanned,
    UserChanged,
    DeviceChanged,
    FactorChanged,
    PolicyApplied,
    PolicyRejected,
    CertificateChanged,
    KeyRotated,
    Started,
    Stopped,
    ClockJumped,
    AuditRead,
    MailFailed,
    CachePurged,
    TokenChanged,
}

impl Event {
    /// Every event, in the order of the contract.
    pub(crate) const ALL: [Self; 26] = [
        Self::SignedIn,
        Self::SignInFailed,
        Self::SignedOut,
        Self::SessionEnded,
        Self::AccessDecided,
        Self::RequestEnded,
        Self::FlowDecided,
        Self::FlowEnded,
        Self::DnsRefused,
        Self::Limited,
        Self::Banned,
        Self::Unbanned,
        Self::UserChanged,
        Self::DeviceChanged,
        Self::FactorChanged,
        Self::PolicyApplied,
        Self::PolicyRejected,
        Self::CertificateChanged,
        Self::KeyRotated,
        Self::Started,
        Self::Stopped,
        Self::ClockJumped,
        Self::AuditRead,
        Self::MailFailed,
        Self::CachePurged,
        Self::TokenChanged,
    ];

    /// Names the event as the journal writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SignedIn => "signed-in.1",
            Self::SignInFailed => "sign-in-failed.1",
            Self::SignedOut => "signed-out.1",
            Self::SessionEnded => "session-ended.1",
            Self::AccessDecided => "access-decided.1",
            Self::RequestEnded => "request-ended.1",
            Self::FlowDecided => "flow-decided.1",
            Self::FlowEnded => "flow-ended.1",
            Self::DnsRefused => "dns-refused.1",
            Self::Limited => "limited.1",
            Self::Banned => "banned.1",
            Self::Unbanned => "unbanned.1",
            Self::UserChanged => "user-changed.1",
            Self::DeviceChanged => "device-changed.1",
            Self::FactorChanged => "factor-changed.1",
            Self::PolicyApplied => "policy-applied.1",
            Self::PolicyRejected => "policy-rejected.1",
            Self::CertificateChanged => "certificate-changed.1",
            Self::KeyRotated => "key-rotated.1",
            Self::Started => "started.1",
            Self::Stopped => "stopped.1",
            Self::ClockJumped => "clock-jumped.1",
            Self::AuditRead => "audit-read.1",
            Self::MailFailed => "mail-failed.1",
            Self::CachePurged => "cache-purged.1",
            Self::TokenChanged => "token-changed.1",
        }
    }

    /// Finds the event of a name, with or without its version.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| {
            let full = event.name();
            full == name || full.strip_suffix(".1") == Some(name)
        })
    }
}
