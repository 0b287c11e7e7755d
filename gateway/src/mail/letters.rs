//! What each mail says.

use std::net::IpAddr;

use certs::plan::Failure;

use super::Letter;
use super::words;
use crate::acme::Ending;
use crate::identity::Notice;
use crate::pages::{Lang, fill, minute, notice_text};

/// Whom a mail is for, and how to speak to them.
pub(super) struct Reader {
    pub(super) to: String,
    pub(super) lang: Lang,
    /// The name they are greeted by; empty for no greeting.
    pub(super) name: String,
}

/// The gateway as mails name it.
pub(super) struct Sender<'a> {
    /// The sign-in host.
    pub(super) host: &'a str,
    /// Its origin, without a final slash.
    pub(super) url: &'a str,
}

/// Tells what the pages tell at the next visit.
pub(super) fn news(reader: &Reader, from: &Sender<'_>, notice: &Notice) -> Letter {
    let words = words::of(reader.lang);
    let text = [
        notice_text(reader.lang.texts(), notice),
        format!("{}\n{}/account", words.not_you, from.url),
    ];
    letter(reader, from, words.news_subject, &text)
}

/// Brings the link of somebody who forgot the password.
pub(super) fn reset(
    reader: &Reader,
    from: &Sender<'_>,
    token: &str,
    at: i64,
    source: IpAddr,
) -> Letter {
    let words = words::of(reader.lang);
    let asked = fill(words.reset_text, "time", &minute(at));
    let text = [
        fill(&asked, "place", &source.to_canonical().to_string()),
        format!("{}\n{}/signin/reset/{token}", words.reset_link, from.url),
        words.reset_ignore.to_owned(),
    ];
    letter(reader, from, words.reset_subject, &text)
}

fn place(source: Option<IpAddr>) -> String {
    source.map_or_else(|| "-".to_owned(), |ip| ip.to_canonical().to_string())
}

/// Tells administrators that sign-ins at one account fail.
pub(super) fn series(
    reader: &Reader,
    from: &Sender<'_>,
    at: i64,
    user: &str,
    source: Option<IpAddr>,
) -> Letter {
    let words = words::of(reader.lang);
    let place = place(source);
    let text = fill(words.alarm_series, "time", &minute(at));
    let text = fill(&text, "place", &place);
    let text = [fill(&text, "name", user), words.alarm_hint.to_owned()];
    letter(reader, from, words.alarm_subject, &text)
}

/// Tells administrators that sign-ins at many accounts fail.
pub(super) fn spraying(reader: &Reader, from: &Sender<'_>, at: i64, accounts: usize) -> Letter {
    let words = words::of(reader.lang);
    let text = fill(words.alarm_spraying, "time", &minute(at));
    let text = fill(&text, "count", &accounts.to_string());
    letter(
        reader,
        from,
        words.alarm_subject,
        &[text, words.alarm_hint.to_owned()],
    )
}

/// Tells administrators that what lies in the policy folder is not in force.
pub(super) fn policy(reader: &Reader, from: &Sender<'_>, at: i64, why: &str) -> Letter {
    let words = words::of(reader.lang);
    let text = fill(words.policy_text, "time", &minute(at));
    let text = [text, why.to_owned(), words.policy_hint.to_owned()];
    letter(reader, from, words.policy_subject, &text)
}

/// Tells administrators that a name has no certificate, and why none could be ordered.
pub(super) fn order(
    reader: &Reader,
    from: &Sender<'_>,
    at: i64,
    name: &str,
    failure: &Failure,
) -> Letter {
    let words = words::of(reader.lang);
    let text = fill(words.order_text, "name", name);
    let cause = format!("{}: {}", failure.cause.code(), failure.detail);
    let parts = [
        fill(&text, "time", &minute(at)),
        fill(words.ends_cause, "cause", &cause),
        fill(words.ends_advice, "advice", failure.cause.advice()),
        words.ends_hint.to_owned(),
    ];
    let subject = fill(words.order_subject, "name", name);
    letter(reader, from, &subject, &parts)
}

/// Tells administrators that somebody used up a limit called sensitive.
pub(super) fn limit(
    reader: &Reader,
    from: &Sender<'_>,
    at: i64,
    (tier, host): (&str, Option<&str>),
    (user, source): (Option<&str>, Option<IpAddr>),
) -> Letter {
    let words = words::of(reader.lang);
    let place = place(source);
    let mut text = words.limit_text.to_owned();
    for (name, value) in [
        ("time", minute(at).as_str()),
        ("tier", tier),
        ("name", user.unwrap_or("-")),
        ("place", &place),
        ("app", host.unwrap_or("-")),
    ] {
        text = fill(&text, name, value);
    }
    let text = [text, words.limit_hint.to_owned()];
    letter(reader, from, words.limit_subject, &text)
}

/// Tells administrators of certificates that end.
pub(super) fn certificates(reader: &Reader, from: &Sender<'_>, found: &[Ending]) -> Letter {
    let words = words::of(reader.lang);
    let mut parts = Vec::new();
    for ending in found {
        let text = fill(words.ends_text, "name", &ending.name);
        let text = fill(&text, "days", &ending.days.to_string());
        let text = fill(&text, "time", &minute(ending.not_after));
        let cause = match ending.detail.as_str() {
            "" => ending.cause.clone(),
            detail => format!("{}: {detail}", ending.cause),
        };
        let why = fill(words.ends_cause, "cause", &cause);
        let todo = fill(words.ends_advice, "advice", &ending.advice);
        parts.push(format!("{text}\n{why}\n{todo}"));
    }
    parts.push(words.ends_hint.to_owned());
    letter(reader, from, words.ends_subject, &parts)
}

/// Shows that mails arrive.
pub(super) fn test(reader: &Reader, from: &Sender<'_>) -> Letter {
    let words = words::of(reader.lang);
    let text = fill(words.test_text, "host", from.host);
    letter(reader, from, words.test_subject, &[text])
}

fn letter(reader: &Reader, from: &Sender<'_>, subject: &str, parts: &[String]) -> Letter {
    let words = words::of(reader.lang);
    let mut text = String::new();
    if !reader.name.is_empty() {
        let hello = reader.lang.texts().portal_greeting;
        text.push_str(&fill(hello, "name", &reader.name));
        text.push_str(",\n\n");
    }
    text.push_str(&parts.join("\n\n"));
    text.push_str("\n\n-- \n");
    text.push_str(&fill(words.footer, "host", from.host));
    text.push('\n');
    Letter {
        to: reader.to.clone(),
        subject: fill(subject, "host", from.host),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NoticeKind;

    #[test]
    fn the_end_of_a_certificate_is_told_with_its_cause_and_what_to_do() {
        let from = Sender {
            host: "gate.example.org",
            url: "https://gate.example.org",
        };
        let ending = |name: &str, detail: &str| Ending {
            name: name.to_owned(),
            days: 7,
            not_after: 1_800_000_000,
            cause: "dns".to_owned(),
            detail: detail.to_owned(),
            advice: "mend the zone".to_owned(),
        };
        let found = [
            ending("a.example.org", "no A record"),
            ending("b.example.org", ""),
        ];
        for lang in [Lang::En, Lang::Fr, Lang::De] {
            let reader = Reader {
                to: "ops@example.org".to_owned(),
                lang,
                name: String::new(),
            };
            let letter = certificates(&reader, &from, &found);
            for part in [
                "a.example.org",
                "b.example.org",
                " 7 ",
                "dns: no A record",
                "mend the zone",
            ] {
                assert!(letter.text.contains(part), "{part}: {}", letter.text);
            }
            assert!(!letter.text.contains('{'), "{}", letter.text);
            assert!(letter.subject.contains("gate.example.org"));
        }
    }

    #[test]
    fn a_mail_speaks_the_language_of_its_reader() {
        let from = Sender {
            host: "gate.example.org",
            url: "https://gate.example.org",
        };
        let notice = Notice {
            id: 1,
            kind: NoticeKind::PasswordChanged,
            at: 1_800_000_000,
            session: None,
            source: "192.0.2.7".parse().ok(),
            detail: String::new(),
        };
        for (lang, subject, word) in [
            (
                Lang::En,
                "News about your account at gate.example.org",
                "was changed",
            ),
            (
                Lang::Fr,
                "Nouvelles de votre compte sur gate.example.org",
                "mot de passe",
            ),
            (
                Lang::De,
                "Neues zu Ihrem Konto bei gate.example.org",
                "Passwort",
            ),
        ] {
            let reader = Reader {
                to: "ann@example.org".to_owned(),
                lang,
                name: "Ann".to_owned(),
            };
            let letter = news(&reader, &from, &notice);
            assert_eq!(letter.subject, subject);
            assert!(letter.text.contains(word), "{}", letter.text);
            assert!(letter.text.contains("192.0.2.7"), "{}", letter.text);
            assert!(letter.text.contains("https://gate.example.org/account\n"));
        }
    }
}
