//! The SMTP server that takes the mails.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::Letter;
use crate::config;
use crate::config::MailTls;
use crate::config::named::{self, NamedError};
use crate::ids;

/// Steps of one conversation that may each take the configured time.
const STEPS: u32 = 4;
/// Characters of a server's answer that are told.
const ANSWER_MAX: usize = 200;

/// Says why no mail can be sent as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// A file that `[mail]` names cannot be read, or others may read the password.
    #[error(transparent)]
    Named(#[from] NamedError),
    /// The authorities cannot be used.
    #[error("{}: no certificates in PEM form", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// TLS cannot be set up.
    #[error("mail: TLS cannot be set up: {0}")]
    Tls(lettre::transport::smtp::Error),
}

/// Says why one mail was not sent. No text of the mail is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// The server cannot be reached or does not answer in time; nothing is wrong with the mail.
    #[error("{0}")]
    Unreachable(String),
    /// The server does not take this mail at present.
    #[error("{0}")]
    NotNow(String),
    /// The server never takes this mail.
    #[error("{0}")]
    Never(String),
}

/// A server to hand mails to.
pub(crate) struct Relay {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    deadline: Duration,
    /// `host:port`, for people.
    pub(super) name: String,
}

impl Relay {
    /// Sets up what `[mail]` says; `None` if it names no server.
    ///
    /// # Errors
    /// [`RelayError`] for files that are missing or open to others.
    pub(crate) fn open(config: &config::Mail, own: &str) -> Result<Option<Self>, RelayError> {
        let (Some(host), Some(from)) = (&config.host, &config.from) else {
            return Ok(None);
        };
        let tls = match config.tls {
            MailTls::None => Tls::None,
            MailTls::Starttls => Tls::Required(parameters(config, host)?),
            MailTls::Tls => Tls::Wrapper(parameters(config, host)?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(config.port())
            .tls(tls)
            .hello_name(ClientId::Domain(own.to_owned()))
            .timeout(Some(config.timeout));
        if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
            let password = named::read_secret(file)?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Some(Self {
            transport: builder.build(),
            from: from.clone(),
            deadline: config.timeout.saturating_mul(STEPS),
            name: format!("{host}:{}", config.port()),
        }))
    }

    /// Hands one mail over; `at` is the time it tells, in UNIX seconds.
    ///
    /// # Errors
    /// [`SendError`]; the server did not take it, or did not say so.
    pub(super) async fn send(&self, letter: &Letter, at: i64) -> Result<(), SendError> {
        let message = self.message(letter, at)?;
        let sent = tokio::time::timeout(self.deadline, self.transport.send(message)).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(fault(&error)),
            Err(_) => Err(SendError::Unreachable("no answer in time".to_owned())),
        }
    }

    fn message(&self, letter: &Letter, at: i64) -> Result<Message, SendError> {
        let never = |what: &str| SendError::Never(what.to_owned());
        let to: Address = letter.to.parse().map_err(|_| never("not a mail address"))?;
        let since = Duration::from_secs(u64::try_from(at).unwrap_or(0));
        let domain = self.from.email.domain();
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(one_line(&letter.subject))
            .date(UNIX_EPOCH + since)
            .message_id(Some(format!("<{}@{domain}>", ids::token())))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|_| never("the mail cannot be written"))
    }
}

/// Leaves no line break or other control character in what becomes a field.
pub(super) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(200).collect()
}

fn fault(error: &lettre::transport::smtp::Error) -> SendError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    let text = one_line(&text).chars().take(ANSWER_MAX).collect();
    if error.is_permanent() {
        SendError::Never(text)
    } else if error.is_transient() {
        SendError::NotNow(text)
    } else {
        SendError::Unreachable(text)
    }
}

fn parameters(config: &config::Mail, host: &str) -> Result<TlsParameters, RelayError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &config.ca {
        let path = path.clone();
        let pem = std::fs::read(&path).map_err(NamedError::unreadable(&path))?;
        let authorities = RelayError::Authorities { path };
        let Ok(certificate) = Certificate::from_pem(&pem) else {
            return Err(authorities);
        };
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(RelayError::Tls)
}

/// Tells machines not to answer. Source: RFC 3834 section 5.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn relay() -> Relay {
        let text =
            "[mail]\nhost = \"127.0.0.1\"\ntls = \"none\"\nfrom = \"Gate <gate@example.org>\"\n";
        let config = config::Config::parse(Path::new("/etc/p.toml"), text).unwrap();
        Relay::open(&config.mail, "gate.example.org")
            .unwrap()
            .unwrap()
    }

    fn letter(to: &str, subject: &str) -> Letter {
        Letter {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: "Bonjour à tous\n".to_owned(),
        }
    }

    #[test]
    fn a_line_break_in_a_subject_begins_no_field() {
        let relay = relay();
        let evil = letter(
            "ann@example.org",
            "hello\r\nBcc: eve@example.org\r\n\r\nbody",
        );
        let message = relay.message(&evil, 1_800_000_000).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(!text.contains("\nBcc:"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated"), "{text}");
        assert!(text.contains("Date: Fri, 15 Jan 2027"), "{text}");
        assert_eq!(message.envelope().to().len(), 1);
    }

    #[test]
    fn what_is_no_address_is_never_sent_and_an_address_is() {
        let relay = relay();
        for to in [
            "",
            "ann",
            "a@b>\r\nRCPT TO:<eve@x.org",
            "ann@example.org, eve@x.org",
        ] {
            let refused = relay.message(&letter(to, "x"), 0);
            assert!(matches!(refused, Err(SendError::Never(_))), "{to:?}");
        }
        assert!(relay.message(&letter("ann@example.org", "x"), 0).is_ok());
    }
}
