//! A desk of made-up people for the tests of the pages.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Extension;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tower::ServiceExt;
use zeroize::Zeroizing;

use crate::console::SharedConsole;
use crate::identity::{Notice, NoticeKind, Others, ShownCodes};
use crate::ids::{DeviceId, Door, SessionId, TokenId};
use crate::pages::ctx::SharedDesk;
use crate::pages::desk::devices::{DeviceDesk, DeviceFault, DeviceView, NewConfig};
use crate::pages::desk::proofs::{Ending, Held, KeptForm, ProofDesk, Said, Watch, Wondering};
use crate::pages::desk::tokens::{
    MadeToken, TokenApp, TokenDesk, TokenFault, TokenView, WantedToken,
};
use crate::pages::desk::{
    App, Ask, ChangeStep, Credentials, Desk, DeviceLine, DeviceState, EnrolStep, Enrolment,
    FirstStep, ForgotStep, Here, Person, RecoveryStep, ResetStep, SecondStep, SessionRow, Visit,
    Weakness,
};

pub(super) const NONCE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub(super) const KEY: &[u8] = b"key of the pages";
pub(super) const SESSION_SECRET: &str = "secret of the session";
pub(super) const HOST: &str = "gate.example.org";
/// A public key that is taken, and one that is in use.
pub(super) const GOOD_KEY: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
pub(super) const USED_KEY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
pub(super) const HOLE: &str = "<the private key>";

/// A gateway with one user, `nadia`, whose password is `right` and whose code is `123456`.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(super) visit: Visit,
    pub(super) cookies: BTreeMap<&'static str, String>,
    pub(super) apps: Vec<App>,
    pub(super) devices: Vec<DeviceLine>,
    pub(super) ca_root: Option<String>,
    pub(super) confirmed: bool,
    pub(super) mail: bool,
    pub(super) codes_left: usize,
    pub(super) notices: Vec<Notice>,
    pub(super) takes_tokens: bool,
    pub(super) ask: Ask,
    pub(super) held: Option<Held>,
    pub(super) watch: Option<Watch>,
    pub(super) ending: Option<Ending>,
    pub(super) acts: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub(crate) fn stranger() -> Self {
        Self {
            visit: Visit {
                request_id: "01KARQ0Z3M".into(),
                authority: HOST.to_owned(),
                host: HOST.to_owned(),
                portal: format!("https://{HOST}/"),
                person: None,
                console: false,
                here: Here::Web,
                contact: None,
            },
            cookies: BTreeMap::from([("__Host-postern-csrf", NONCE.to_owned())]),
            apps: apps(),
            devices: devices(),
            ca_root: None,
            confirmed: false,
            mail: true,
            codes_left: 10,
            notices: Vec::new(),
            takes_tokens: false,
            ask: Ask::NewPassword,
            held: None,
            watch: None,
            ending: None,
            acts: Arc::default(),
        }
    }

    pub(crate) fn nadia() -> Self {
        let mut fake = Self::stranger();
        fake.visit.person = Some(Person {
            user: "nadia".into(),
            csrf: SESSION_SECRET.to_owned(),
            language: None,
        });
        fake
    }

    pub(super) fn with_cookie(mut self, name: &'static str, value: &str) -> Self {
        self.cookies.insert(name, value.to_owned());
        self
    }

    pub(super) fn acts(&self) -> Vec<String> {
        self.acts.lock().clone()
    }

    fn note(&self, act: impl Into<String>) {
        self.acts.lock().push(act.into());
    }

    pub(super) async fn gate(&self, request: Request<Body>) -> Answer {
        self.ask(crate::pages::sign_in_host(), request).await
    }

    pub(super) async fn app(&self, request: Request<Body>) -> Answer {
        self.ask(crate::pages::app_host(), request).await
    }

    /// Asks the console, as a request that has a permit if there is something behind it.
    pub(crate) async fn console(
        &self,
        console: Option<SharedConsole>,
        request: Request<Body>,
    ) -> Answer {
        let routes = crate::console::routes();
        match console {
            Some(console) => self.ask(routes.layer(Extension(console)), request).await,
            None => self.ask(routes, request).await,
        }
    }

    async fn ask(&self, routes: axum::Router, request: Request<Body>) -> Answer {
        let desk: SharedDesk = Arc::new(self.clone());
        let routes = routes.layer(Extension(desk));
        let (parts, body) = routes.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer(Response::from_parts(
            parts,
            String::from_utf8(body.to_vec()).unwrap(),
        ))
    }
}

#[async_trait]
impl DeviceDesk for Fake {
    async fn own_devices(&self) -> Vec<DeviceView> {
        let all = (1..).zip(self.devices.iter());
        all.map(|(n, line)| view(n, line)).collect()
    }

    async fn add_device(&self, name: &str, public_key: &str) -> Result<NewConfig, DeviceFault> {
        self.note(format!("add device {name} {public_key}"));
        match name {
            "" => Err(DeviceFault::BadName),
            "laptop" => Err(DeviceFault::NameTaken),
            "eleventh" => Err(DeviceFault::TooMany(10)),
            "twentieth" => Err(DeviceFault::TooFast),
            "full" => Err(DeviceFault::NoAddress),
            "down" => Err(DeviceFault::Unavailable),
            "late" => Err(DeviceFault::NotConfirmed),
            _ => match public_key {
                GOOD_KEY => Ok(NewConfig {
                    name: name.to_owned(),
                    config: format!("[Interface]\nPrivateKey = {HOLE}\nAddress = 10.0.0.2/32\n"),
                    placeholder: HOLE,
                }),
                USED_KEY => Err(DeviceFault::KeyTaken),
                _ => Err(DeviceFault::BadKey),
            },
        }
    }

    async fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), DeviceFault> {
        self.note(format!("rename {device} {name}"));
        match (device, name) {
            (DeviceId(1 | 2), "late") => Err(DeviceFault::NotConfirmed),
            (DeviceId(1 | 2), "down") => Err(DeviceFault::Unavailable),
            (DeviceId(1 | 2), "") => Err(DeviceFault::BadName),
            (DeviceId(2), "laptop") => Err(DeviceFault::NameTaken),
            (DeviceId(1 | 2), _) => Ok(()),
            _ => Err(DeviceFault::Unknown),
        }
    }

    async fn revoke_device(&self, device: DeviceId) -> Result<(), DeviceFault> {
        self.note(format!("revoke {device}"));
        match device {
            DeviceId(1 | 2) => Ok(()),
            _ => Err(DeviceFault::Unknown),
        }
    }
}

#[async_trait]
impl TokenDesk for Fake {
    fn token_apps(&self) -> Vec<TokenApp> {
        let git = TokenApp {
            id: "app.git".to_owned(),
            name: "git".to_owned(),
            days: 90,
        };
        self.takes_tokens.then_some(git).into_iter().collect()
    }

    fn own_tokens(&self) -> Vec<TokenView> {
        let laptop = TokenView {
            id: TokenId(7),
            name: "<b>laptop".to_owned(),
            app: "git".to_owned(),
            created: 1_790_000_000,
            expires: 1_797_776_000,
            used: None,
        };
        let server = TokenView {
            id: TokenId(8),
            name: "server".to_owned(),
            used: Some((1_790_000_060, "office (192.0.2.1)".to_owned())),
            ..laptop.clone()
        };
        match self.takes_tokens {
            true => vec![laptop, server],
            false => Vec::new(),
        }
    }

    async fn make_token(&self, wanted: &WantedToken<'_>) -> Result<MadeToken, TokenFault> {
        let WantedToken { app, name, days } = *wanted;
        self.note(format!("make token {app} {name} {days}"));
        match name {
            "" => Err(TokenFault::BadName),
            "laptop" => Err(TokenFault::NameTaken),
            "eleventh" => Err(TokenFault::TooMany(20)),
            "down" => Err(TokenFault::Unavailable),
            "late" => Err(TokenFault::NotConfirmed),
            _ if app != "app.git" => Err(TokenFault::NoApp),
            _ => Ok(MadeToken {
                name: name.to_owned(),
                app: "git".to_owned(),
                url: "https://git.example/".to_owned(),
                text: Zeroizing::new("ptk_secret".to_owned()),
                expires: 1_797_776_000,
            }),
        }
    }

    async fn revoke_token(&self, token: TokenId) -> Result<(), TokenFault> {
        self.note(format!("revoke {token}"));
        match token {
            TokenId(7 | 8) => Ok(()),
            _ => Err(TokenFault::Unknown),
        }
    }
}

#[async_trait]
impl ProofDesk for Fake {
    fn held(&self) -> Option<Held> {
        self.held.clone()
    }

    async fn prove_again(&self, code: &str, rt: Option<&str>) -> SecondStep {
        self.note(format!("prove {code} {rt:?}"));
        second("half", code, rt)
    }

    fn watch(&self) -> Option<Watch> {
        self.watch
    }

    async fn keep_key(&self, raw: &[u8]) -> bool {
        self.note(format!("key of {} bytes", raw.len()));
        raw.len() == 65
    }

    async fn signed(&self, signature: &[u8]) -> bool {
        self.note(format!("signature of {} bytes", signature.len()));
        signature.len() == 64
    }

    fn ending(&self) -> Option<Ending> {
        self.ending
    }

    fn wondering(&self, rt: &str) -> Option<Wondering> {
        (rt == "crm1").then(|| Wondering {
            app: "crm".to_owned(),
            hold: Duration::from_secs(5400),
        })
    }

    fn justify(&self, rt: &str, reason: &str) -> Said {
        self.note(format!("justify {rt} {reason}"));
        match reason.len() {
            0..3 => Said::Unclear,
            _ => Said::Kept(Some("https://crm.example/.postern/open?code=c".to_owned())),
        }
    }

    fn kept_form(&self, id: &str) -> Option<KeptForm> {
        self.note(format!("form {id}"));
        let text = |text: &str| Zeroizing::new(text.to_owned());
        (id == "note").then(|| KeptForm {
            to: "/notes?x=1&y=2".to_owned(),
            fields: vec![
                (text("title"), text("\"Fish\" & <chips>")),
                (text("csrf_token"), text("s3cr3t")),
                (text("body"), text(&"long ".repeat(60))),
            ],
        })
    }

    async fn extend(&self, code: &str) -> SecondStep {
        self.note(format!("extend {code}"));
        second("half", code, None)
    }
}

fn view(n: u32, line: &DeviceLine) -> DeviceView {
    let is_live = line.state != DeviceState::Revoked;
    let heard = line.state != DeviceState::Never && is_live;
    DeviceView {
        id: DeviceId(n),
        name: line.name.clone(),
        address: line.address.clone(),
        managed: line.managed,
        state: line.state,
        here: n == 1,
        created: 1_763_625_600,
        revoked: (!is_live).then_some(1_763_629_740),
        heard: heard.then_some(1_763_629_740),
        place: heard.then(|| "office (192.0.2.7)".to_owned()),
        traffic: heard.then_some((1_234_567, 89_000)),
    }
}

/// An answer whose body was read.
pub(crate) struct Answer(pub(super) Response<String>);

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub(crate) fn is_page(&self) -> bool {
        self.0.status() == StatusCode::OK && self.body().starts_with("<!DOCTYPE html>")
    }

    pub(crate) fn body(&self) -> &str {
        self.0.body()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.0
            .headers()
            .get(name)
            .map_or("", |v| v.to_str().unwrap())
    }

    pub(super) fn cookies(&self) -> Vec<&str> {
        let all = self.0.headers().get_all("set-cookie").iter();
        all.map(|v| v.to_str().unwrap()).collect()
    }
}

#[async_trait]
impl Desk for Fake {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    fn csrf_key(&self) -> &[u8] {
        KEY
    }

    async fn password(&self, attempt: Credentials) -> FirstStep {
        self.note(format!("password {} {}", attempt.user, attempt.agent));
        match (attempt.user.as_str(), attempt.password.as_str()) {
            ("nadia", "right") => FirstStep::Code("half".to_owned()),
            ("brought", "right") => FirstStep::Enrol("invite".to_owned()),
            ("eager", _) => FirstStep::Throttled(Duration::from_millis(89_500)),
            ("crowd", _) => FirstStep::Overloaded,
            ("down", _) => FirstStep::Unavailable,
            _ => FirstStep::Refused,
        }
    }

    async fn code(&self, half: &str, code: &str, rt: Option<&str>) -> SecondStep {
        self.note(format!("code {half} {code} {rt:?}"));
        second(half, code, rt)
    }

    async fn step_up(&self, code: &str, rt: Option<&str>) -> SecondStep {
        self.note(format!("step-up {code} {rt:?}"));
        second("half", code, rt)
    }

    async fn recover(&self, half: &str, code: &str) -> RecoveryStep {
        self.note(format!("recover {half} {code}"));
        match (half, code) {
            ("half", "abcd-efgh-ijkl-mnop") => RecoveryStep::Enrol("invite".to_owned()),
            ("half", "wait") => RecoveryStep::Throttled(Duration::from_secs(900)),
            ("half", "down") => RecoveryStep::Unavailable,
            ("half", _) => RecoveryStep::Refused,
            _ => RecoveryStep::Expired,
        }
    }

    async fn confirm(&self, password: Zeroizing<String>, code: &str) -> SecondStep {
        self.note(format!("confirm {} {code}", password.as_str()));
        match password.as_str() {
            "right" => second("half", code, None),
            _ => SecondStep::Refused,
        }
    }

    fn has_mail(&self) -> bool {
        self.mail
    }

    async fn forgot(&self, user: &str) -> ForgotStep {
        self.note(format!("forgot {user}"));
        match user {
            "eager" => ForgotStep::Throttled(Duration::from_secs(600)),
            _ => ForgotStep::Taken,
        }
    }

    async fn reset_user(&self, token: &str) -> Option<String> {
        (token == NONCE).then(|| "nadia".to_owned())
    }

    async fn reset(&self, token: &str, new: Zeroizing<String>) -> ResetStep {
        self.note(format!("reset {token} {}", new.as_str()));
        match new.as_str() {
            "short" => ResetStep::Weak(Weakness::Short),
            "late" => ResetStep::Dead,
            "eager" => ResetStep::Throttled(Duration::from_secs(60)),
            "crowd" => ResetStep::Overloaded,
            "down" => ResetStep::Unavailable,
            _ => ResetStep::Done,
        }
    }

    fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    fn password_minimum(&self) -> usize {
        15
    }

    async fn change_password(&self, new: Zeroizing<String>, others: Others) -> ChangeStep {
        self.note(format!("change-password {} {others:?}", new.as_str()));
        match new.as_str() {
            "short" => ChangeStep::Weak(Weakness::Short),
            "password1234567" => ChangeStep::Weak(Weakness::Common),
            "late" => ChangeStep::NotConfirmed,
            "eager" => ChangeStep::Throttled(Duration::from_secs(60)),
            "crowd" => ChangeStep::Overloaded,
            "down" => ChangeStep::Unavailable,
            _ => ChangeStep::Done,
        }
    }

    fn other_app(&self) -> Option<Enrolment> {
        self.confirmed.then(|| enrolment(self.ask))
    }

    async fn change_app(&self, code: &str, others: Others) -> ChangeStep {
        self.note(format!("change-app {code} {others:?}"));
        match code {
            "123456" => ChangeStep::Done,
            _ => ChangeStep::WrongCode,
        }
    }

    async fn new_codes(&self) -> ChangeStep {
        self.note("new-codes");
        ChangeStep::Codes(shown())
    }

    async fn codes_left(&self) -> Option<usize> {
        Some(self.codes_left)
    }

    async fn notices(&self) -> Vec<Notice> {
        self.notices.clone()
    }

    async fn dismiss(&self, notice: i64) -> bool {
        self.note(format!("dismiss {notice}"));
        notice == 1
    }

    async fn end_others(&self) -> bool {
        self.note("end others");
        true
    }

    fn leave(&self, path: &str) -> String {
        path.replace('/', "_")
    }

    async fn onward(&self, rt: &str) -> Option<String> {
        (rt == "app1").then(|| "https://app.example.org/.postern/enter?c=1".to_owned())
    }

    fn target_origin(&self, rt: &str) -> Option<String> {
        (rt == "app1").then(|| "https://app.example.org".to_owned())
    }

    fn ca_root(&self) -> Option<String> {
        self.ca_root.clone()
    }

    fn apps(&self) -> Vec<App> {
        self.apps.clone()
    }

    fn devices(&self) -> Vec<DeviceLine> {
        self.devices.clone()
    }

    fn sessions(&self) -> Vec<SessionRow> {
        let row = |id, door, last: u8, current| SessionRow {
            id: SessionId(id),
            door,
            source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
            zones: if last == 7 {
                vec!["office".to_owned()]
            } else {
                Vec::new()
            },
            browser: if last == 7 {
                "Firefox, Windows".to_owned()
            } else {
                String::new()
            },
            devices: if last == 7 {
                Vec::new()
            } else {
                vec!["phone".to_owned()]
            },
            created: 1_763_625_600,
            last_used: 1_763_629_740,
            current,
        };
        vec![row(1, Door::Web, 7, true), row(2, Door::Tunnel, 9, false)]
    }

    async fn end(&self, session: SessionId) -> bool {
        self.note(format!("end {session}"));
        self.sessions().iter().any(|s| s.id == session)
    }

    async fn end_all(&self) -> bool {
        self.note("end all");
        true
    }

    async fn sign_out(&self) -> bool {
        self.note("sign out");
        true
    }

    async fn enrolment(&self, token: &str) -> Option<Enrolment> {
        let mut enrolment = enrolment(self.ask);
        if self.ask == Ask::Recovered {
            enrolment.sessions = self.sessions();
        }
        (token == "invite").then_some(enrolment)
    }

    async fn enrol(&self, token: &str, password: Zeroizing<String>, code: &str) -> EnrolStep {
        self.note(format!("enrol {token} {}", password.as_str()));
        match (password.as_str(), code) {
            ("short", _) => EnrolStep::Weak(Weakness::Short),
            ("long", _) => EnrolStep::Weak(Weakness::Long),
            ("password1234567", _) => EnrolStep::Weak(Weakness::Common),
            ("not mine", _) => EnrolStep::WrongPassword,
            ("eager", _) => EnrolStep::Throttled(Duration::from_secs(60)),
            ("crowd", _) => EnrolStep::Overloaded,
            (_, "123456") => EnrolStep::Done(shown()),
            _ => EnrolStep::WrongCode,
        }
    }
}

fn second(half: &str, code: &str, rt: Option<&str>) -> SecondStep {
    match (half, code) {
        ("half", "123456") => SecondStep::Done {
            cookie: "fresh".to_owned(),
            next: rt
                .filter(|rt| *rt == "app1")
                .map(|_| "https://app.example.org/.postern/enter?c=1".to_owned()),
        },
        ("half", "999999") => SecondStep::Throttled(Duration::from_secs(900)),
        ("half", "888888") => SecondStep::Unavailable,
        ("half", _) => SecondStep::Refused,
        _ => SecondStep::Expired,
    }
}

fn enrolment(ask: Ask) -> Enrolment {
    Enrolment {
        ask,
        sessions: Vec::new(),
        user: "nadia".to_owned(),
        otpauth: Zeroizing::new(
            "otpauth://totp/Postern:nadia?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Postern"
                .to_owned(),
        ),
        secret: Zeroizing::new("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".to_owned()),
        minimum: 15,
    }
}

fn shown() -> ShownCodes {
    let codes = ('a'..='j').map(|c| format!("{c}bcd-efgh-ijkl-mnop"));
    codes.map(Zeroizing::new).collect()
}

/// One notice of each kind.
pub(super) fn news() -> Vec<Notice> {
    let kinds = [
        (NoticeKind::NewPlace, "Firefox, Windows"),
        (NoticeKind::RecoveryUsed, "9"),
        (NoticeKind::CodesRenewed, ""),
        (NoticeKind::PasswordChanged, ""),
        (NoticeKind::TotpReplaced, ""),
        (NoticeKind::FactorReset, "lost <phone>"),
        (NoticeKind::CodeReplayed, ""),
        (NoticeKind::DeviceAdded, "laptop"),
        (NoticeKind::DeviceRevoked, "<old> phone"),
        (NoticeKind::KeySeenTwice, "<work> laptop"),
        (NoticeKind::ManyFailures, "12"),
        (NoticeKind::TokenMade, "<my> laptop, app.git"),
    ];
    let notice = |(id, (kind, detail)): (i64, (NoticeKind, &str))| Notice {
        id,
        kind,
        at: 1_763_629_740,
        session: (kind == NoticeKind::NewPlace).then_some(SessionId(2)),
        source: (kind != NoticeKind::FactorReset)
            .then_some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9))),
        detail: detail.to_owned(),
    };
    (1..).zip(kinds).map(notice).collect()
}

fn apps() -> Vec<App> {
    let app = |name: &str, host: &str, needs_code| App {
        name: name.to_owned(),
        url: format!("https://{host}/"),
        needs_code,
    };
    vec![
        app("Payroll", "payroll.example.org", true),
        app("Wiki", "wiki.example.org", false),
        app("Ticket desk", "tickets.example.org", false),
        app("Build server", "build.example.org", false),
    ]
}

fn devices() -> Vec<DeviceLine> {
    let device = |id: &str, name: &str, address: &str, managed, state| DeviceLine {
        id: id.to_owned(),
        name: name.to_owned(),
        address: address.to_owned(),
        managed,
        state,
    };
    vec![
        device("d3", "laptop", "10.200.200.2", true, DeviceState::Open),
        device("d4", "phone", "10.200.200.3", false, DeviceState::Closed),
        device(
            "d9",
            "old laptop",
            "10.200.200.9",
            false,
            DeviceState::Revoked,
        ),
    ]
}
