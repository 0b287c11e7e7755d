//! Questions about access as people write them: in `[[test]]` and on the command line, read by one resolver.

mod names;

use std::net::IpAddr;

use crate::canon::{self, CanonHost, CanonPath};
use crate::compile::{Policy, SubjectBits, TimeClass, ZoneClass};
use crate::decide::{Context, Decision, Outcome, Subject};
use crate::diag::{Meant, show};
use crate::ir::{Device, Proto};
use crate::lane::Proof;
use crate::resolve::values;
pub(crate) use names::Names;

/// A question in words. What is left out: nobody signed in, from `internet`, device `any`, a fresh code, a fresh
/// sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryText {
    /// Who is signed in; `None` asks for nobody.
    pub user: Option<String>,
    /// Groups the person is taken to be in as well.
    pub groups: Vec<String>,
    /// By what the person is known: `sign-in`, `device` or `token`; `None` is a sign-in.
    pub by: Option<String>,
    /// Zone name or source address.
    pub from: Option<String>,
    /// `tue 10:00` (of the week of 2026-01-05) or `2026-10-12 10:00`, with an IANA time zone behind it where the
    /// schedules of the policy have several. `None` is the instant given to [`Policy::query_at`].
    pub at: Option<String>,
    /// `any`, `known` or `managed`.
    pub device: Option<String>,
    /// Age of the code such as `20m`, or `none`.
    pub mfa: Option<String>,
    /// Age of the sign-in such as `3h`.
    pub login: Option<String>,
    /// `[METHOD ]https://host/path`, `tcp://ip:port`, `udp://ip:port`, `icmp://ip` or `[METHOD ]admin`; without a
    /// method it is GET.
    pub to: String,
}

/// Which part of a question does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryField {
    /// `user`.
    User,
    /// `groups`, by position.
    Group(usize),
    /// `by`.
    By,
    /// `from`.
    From,
    /// `at`.
    At,
    /// `device`.
    Device,
    /// `mfa`.
    Mfa,
    /// `login`.
    Login,
    /// `to`.
    To,
}

/// A question that cannot be asked of this policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{title}")]
pub struct QueryError {
    /// The part at fault.
    pub field: QueryField,
    /// What is wrong, with the value.
    pub title: String,
    /// What to write instead.
    pub help: Option<String>,
    pub(crate) meant: Option<Box<Meant>>,
}

/// A question resolved against one policy; ask it of that policy only.
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) user: Option<u32>,
    pub(crate) user_name: Option<String>,
    /// Groups through nesting, sorted.
    pub(crate) groups: Vec<u32>,
    pub(crate) by: Proof,
    pub(crate) bits: Option<SubjectBits>,
    pub(crate) mfa_age: Option<u32>,
    pub(crate) login_age: u32,
    pub(crate) device: Device,
    pub(crate) zone: ZoneClass,
    /// The address and whether it is inside the tunnel, where one was named.
    pub(crate) source: Option<(IpAddr, bool)>,
    pub(crate) time: TimeClass,
    pub(crate) target: Target,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Http {
        method: String,
        host: CanonHost,
        path: CanonPath<'static>,
    },
    /// Has no canonical form; holds the reason.
    BadRequest(&'static str),
    Flow {
        dst: IpAddr,
        port: u16,
        proto: Proto,
    },
    Admin {
        method: String,
    },
}

impl Query {
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            bits: self.bits.as_ref(),
            mfa_age: self.mfa_age,
            login_age: self.login_age,
            device: self.device,
        }
    }

    pub(crate) fn context(&self) -> Context {
        Context::new(self.zone, self.time)
    }
}

impl Policy {
    /// Resolves a question against this policy. Without `at` the time is not known, so scheduled rules refuse.
    ///
    /// # Errors
    /// The first part that does not resolve, with a suggestion.
    pub fn query(&self, text: &QueryText) -> Result<Query, QueryError> {
        self.ask(text, TimeClass::default())
    }

    /// Like [`Self::query`]; without `at` the question is about `now`, in seconds since 1970.
    ///
    /// # Errors
    /// The first part that does not resolve, with a suggestion.
    pub fn query_at(&self, text: &QueryText, now: i64) -> Result<Query, QueryError> {
        self.ask(text, self.tick(now))
    }

    fn ask(&self, text: &QueryText, now: TimeClass) -> Result<Query, QueryError> {
        let user = match &text.user {
            Some(name) => Some(self.names().user(name)?),
            None => None,
        };
        let mut groups = self.query_groups(&text.groups)?;
        nobody_in_groups(text)?;
        let person = user.and_then(|ix| self.ir.users.get(ix as usize));
        groups.extend(person.iter().flat_map(|person| &person.groups));
        groups.sort_unstable();
        groups.dedup();
        let time = match &text.at {
            Some(at) => self.query_time(at)?,
            None => now,
        };
        let enabled = person.filter(|person| !person.disabled);
        Ok(Query {
            user,
            user_name: text.user.clone(),
            by: by(text.by.as_deref())?,
            bits: enabled.map(|_| self.subject_with(user, &groups)),
            groups,
            mfa_age: mfa_age(text.mfa.as_deref())?,
            login_age: age(QueryField::Login, text.login.as_deref())?,
            device: device(text.device.as_deref())?,
            zone: self.query_zone(text.from.as_deref())?,
            source: text
                .from
                .as_deref()
                .and_then(|from| Some((from.parse().ok()?, false))),
            time,
            target: self.query_target(&text.to)?,
        })
    }

    /// Decides a resolved question. A disabled person is denied where a stranger could still sign in.
    pub fn decide(&self, query: &Query) -> Decision {
        let decision = self.decide_as_asked(query);
        let disabled = query.user.is_some() && query.bits.is_none();
        if disabled && decision.outcome == Outcome::Login {
            return Decision::deny(crate::compile::DEFAULT);
        }
        decision
    }

    fn decide_as_asked(&self, query: &Query) -> Decision {
        let (subject, context) = (query.subject(), query.context());
        match &query.target {
            Target::Http { method, host, path } => {
                self.decide_http_by(query.by, &subject, host, path, method, &context)
            }
            Target::Flow { dst, port, proto } => {
                self.decide_flow(&subject, *dst, *port, *proto, &context)
            }
            Target::Admin { method } => self.decide_admin(&subject, method, &context),
            Target::BadRequest(_) => Decision::deny(crate::compile::BAD_REQUEST),
        }
    }

    fn query_groups(&self, names: &[String]) -> Result<Vec<u32>, QueryError> {
        let mut out = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let ix = self.names().group(at, name)?;
            let group = self.ir.groups.get(ix as usize);
            out.extend(group.iter().flat_map(|group| &group.within));
        }
        Ok(out)
    }

    /// Reads a wall time; the time zone is the one written, else the only one the schedules have, else UTC.
    pub(crate) fn query_time(&self, text: &str) -> Result<TimeClass, QueryError> {
        self.names().time(text)
    }

    fn query_zone(&self, from: Option<&str>) -> Result<ZoneClass, QueryError> {
        let from = from.unwrap_or("internet");
        if let Ok(ip) = from.parse::<IpAddr>() {
            return Ok(self.zone(ip, false));
        }
        let zone = self.query_named_zone(from)?;
        let class = self.zones.class_of_zone(zone);
        class.ok_or_else(|| self.names().unknown_zone(from))
    }

    /// Finds a zone by name.
    pub(crate) fn query_named_zone(&self, name: &str) -> Result<u32, QueryError> {
        self.names().zone(name)
    }

    fn names(&self) -> Names<'_> {
        Names {
            users: &self.ir.users,
            groups: &self.ir.groups,
            zones: &self.ir.zones,
            schedules: &self.ir.schedules,
        }
    }
}

/// Refuses groups of nobody.
fn nobody_in_groups(text: &QueryText) -> Result<(), QueryError> {
    if text.user.is_none() && !text.groups.is_empty() {
        return Err(error(QueryField::Group(0), "groups without a user").help("add `user`"));
    }
    Ok(())
}

fn error(field: QueryField, title: &str) -> QueryError {
    QueryError {
        field,
        title: title.to_owned(),
        help: None,
        meant: None,
    }
}

impl QueryError {
    fn help(self, help: &str) -> Self {
        self.help_opt(Some(help.to_owned()))
    }

    fn help_opt(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }

    fn meant(self, meant: Option<Meant>) -> Self {
        let help = meant.as_ref().map(Meant::help).or(self.help);
        Self {
            help,
            meant: meant.map(Box::new),
            ..self
        }
    }
}

fn mfa_age(text: Option<&str>) -> Result<Option<u32>, QueryError> {
    if text == Some("none") {
        return Ok(None);
    }
    age(QueryField::Mfa, text).map(Some)
}

fn age(field: QueryField, text: Option<&str>) -> Result<u32, QueryError> {
    let Some(text) = text else { return Ok(0) };
    values::duration(text)
        .map_err(|help| error(field, &format!("`{}` is not an age", show(text))).help(&help))
}

fn by(text: Option<&str>) -> Result<Proof, QueryError> {
    let Some(text) = text else {
        return Ok(Proof::SignIn);
    };
    Proof::from_word(text).ok_or_else(|| {
        let title = format!("`{}` proves nobody", show(text));
        error(QueryField::By, &title).help("one of: sign-in, device, token")
    })
}

fn device(text: Option<&str>) -> Result<Device, QueryError> {
    let Some(text) = text else {
        return Ok(Device::Any);
    };
    Device::from_word(text).ok_or_else(|| {
        error(
            QueryField::Device,
            &format!("`{}` is not a device class", show(text)),
        )
        .help("one of: any, known, managed")
    })
}

impl Policy {
    fn query_target(&self, text: &str) -> Result<Target, QueryError> {
        target(text, |method, rest| self.query_http(method, rest))
    }

    /// What has no canonical form is a question too: it is denied.
    fn query_http(&self, method: &str, rest: &str) -> Target {
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(cut).unwrap_or((rest, ""));
        let path = if path.starts_with('/') { path } else { "/" };
        let resolved = canon::method(method).and_then(|method| {
            let host = canon::host(without_port(authority))?;
            let opts = self.path_opts(&host);
            Ok(Target::Http {
                method: method.to_owned(),
                path: canon::path_with(path.as_bytes(), opts)?.into_owned(),
                host,
            })
        });
        resolved.unwrap_or_else(|reject| Target::BadRequest(reject.reason()))
    }
}

/// Reads what is asked for; `http` reads method and address of a page.
fn target(text: &str, http: impl FnOnce(&str, &str) -> Target) -> Result<Target, QueryError> {
    let (method, url) = text.split_once(' ').unwrap_or(("GET", text));
    if url == "admin" {
        return Ok(console(method));
    }
    match url.split_once("://") {
        Some(("https" | "http", rest)) => Ok(http(method, rest)),
        Some((scheme @ ("tcp" | "udp" | "icmp"), rest)) if method == "GET" => {
            flow(scheme, rest).ok_or_else(|| bad_target(text))
        }
        _ => Err(bad_target(text)),
    }
}

/// The console asked by a method; one that is never let through is a question too.
pub(crate) fn console(method: &str) -> Target {
    match canon::method(method) {
        Ok(method) => Target::Admin {
            method: method.to_owned(),
        },
        Err(reject) => Target::BadRequest(reject.reason()),
    }
}

fn bad_target(text: &str) -> QueryError {
    error(
        QueryField::To,
        &format!("`{}` is nothing to reach", show(text)),
    )
    .help("write https://host/path, POST https://host/path, tcp://ip:port, icmp://ip, admin or POST admin")
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if values::port(port).is_some() => host,
        _ => authority,
    }
}

fn flow(scheme: &str, rest: &str) -> Option<Target> {
    if scheme == "icmp" {
        return Some(Target::Flow {
            dst: rest.parse().ok()?,
            port: 0,
            proto: Proto::Icmp,
        });
    }
    let (host, port) = rest.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    Some(Target::Flow {
        dst: bare.unwrap_or(host).parse().ok()?,
        port: values::port(port)?,
        proto: if scheme == "tcp" {
            Proto::Tcp
        } else {
            Proto::Udp
        },
    })
}
