//! The desk of one request: what the pages ask, answered by the running gateway.

mod devices;
mod forgot;
mod lines;
mod proofs;
mod tokens;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use policy::{Outcome, SignInDoor};
use zeroize::Zeroizing;

pub(crate) use self::proofs::here_now;
use super::app::RequestCtl;
use super::conn::ConnCtx;
use super::cookies::{self, Cookies};
use super::head::Target;
use super::identify::Identified;
use super::own;
use super::pep::Ctx;
use crate::access::{self, Caller, Quarantine};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::{
    self, Answers, Class, CodeStep, Context, EndReason, Notice, Others, PasswordAttempt,
    PasswordStep, RecoverStep, Session, StepUp,
};
use crate::ids::{DeviceId, SessionId};
use crate::pages::{
    App, ChangeStep, Credentials, Desk, DeviceLine, EnrolStep, Enrolment, FirstStep, ForgotStep,
    Here, Person, RecoveryStep, ResetStep, SecondStep, SessionRow, Visit,
};
use crate::snapshot::Snapshot;

/// One request to the pages, with the gateway behind it.
pub(crate) struct Counter {
    gw: Arc<Gateway>,
    conn: Arc<ConnCtx>,
    snap: Arc<Snapshot>,
    caller: Caller,
    quarantine: Quarantine,
    /// The person's session, where only another proof for the device is due.
    held: Option<Arc<Session>>,
    cookies: Cookies,
    visit: Visit,
    agent: String,
    csrf_key: Zeroizing<[u8; 32]>,
    port: Option<u16>,
    /// The token that the answer gives the browser.
    browser: Mutex<Option<String>>,
}

impl Counter {
    /// Opens the desk for a request that was identified.
    pub(crate) fn new(
        gw: &Arc<Gateway>,
        ctl: &RequestCtl,
        ctx: &Ctx,
        target: &Target,
        who: Identified,
        session: &pingora_proxy::Session,
    ) -> Self {
        let agent = session.req_header().headers.get(http::header::USER_AGENT);
        let agent = agent.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let language = |user: &str| ctx.snap.policy.user(user)?.language.clone();
        let person = who.caller.session.as_ref().map(|s| Person {
            user: Arc::clone(&s.user),
            csrf: s.csrf(),
            language: language(&s.user),
        });
        let visit = Visit {
            request_id: Arc::clone(&ctx.request_id),
            authority: target.authority(),
            host: target.host.as_str().to_owned(),
            portal: format!("{}/", own::sign_in_origin(gw, target)),
            person,
            console: access::shows_console(&ctx.snap, &who.caller),
            here: here(gw, ctl.conn.device, &who),
            contact: gw.config.contact.clone(),
        };
        Self {
            gw: Arc::clone(gw),
            conn: Arc::clone(&ctl.conn),
            snap: Arc::clone(&ctx.snap),
            caller: who.caller,
            quarantine: who.quarantine,
            held: who.held,
            cookies: who.cookies,
            visit,
            agent: agent.chars().take(256).collect(),
            csrf_key: gw.keys.derive("pages"),
            port: target.port,
            browser: Mutex::default(),
        }
    }

    /// Takes the token for the browser's cookie, if this request made one.
    pub(crate) fn take_browser(&self) -> Option<String> {
        self.browser.lock().take()
    }

    fn from(&self) -> Context<'_> {
        Context {
            now: clock::unix(),
            source: self.caller.source,
            door: self.caller.door,
            device: self.caller.device.as_ref().map(|d| d.id),
            browser: self.cookies.one(cookies::BROWSER),
            host: &self.visit.host,
            agent: &self.agent,
            request_id: Some(&self.visit.request_id),
            directory: &*self.snap,
        }
    }

    /// Opens the tunnel devices that this sign-in opens: the one it came through if it is the
    /// person's own; where the policy lets a web sign-in do it, all of the person's.
    async fn open_devices(&self, session: &Arc<Session>) {
        let came_by = self
            .caller
            .device
            .as_ref()
            .filter(|d| d.user == session.user);
        let mut opened: Vec<DeviceId> = came_by.map(|d| d.id).into_iter().collect();
        if self.snap.policy.tunnel_sign_in() == SignInDoor::Web {
            let all = self.gw.devices.list().into_iter();
            opened.extend(
                all.filter(|d| d.user == session.user && d.revoked.is_none())
                    .map(|d| d.id),
            );
        }
        for device in opened {
            let place = self.gw.place_of(device);
            let bound = self.gw.sessions.bind_device(session, device, place);
            if let Err(error) = bound.await {
                tracing::error!(%error, %device, "the device stays closed");
            }
        }
    }

    /// Makes the browser of a fresh sign-in known from the next one on.
    async fn remember_browser(&self, session: &Session) {
        let shown = self.cookies.one(cookies::BROWSER);
        match self.gw.sessions.remember_browser(session, shown).await {
            Ok(token) => *self.browser.lock() = token,
            Err(error) => tracing::error!(%error, "the browser is not remembered"),
        }
    }

    /// Ends a session of the person by their own wish. The request's own connection is untied
    /// first and the act runs by itself, so that it is finished and answered even though it
    /// cuts everything that stood on the session.
    async fn finish(&self, id: SessionId, why: EndReason) -> bool {
        self.conn.let_go();
        let gw = Arc::clone(&self.gw);
        let act = tokio::spawn(async move { gw.end_session(id, why).await });
        matches!(act.await, Ok(Ok(true)))
    }

    /// Returns the hand-over URL of a return target, if the session may go on from here.
    fn arrive(&self, rt: &str, session: &Session) -> Option<String> {
        let (handover, now) = (&self.gw.handover, clock::now());
        handover
            .home(rt, &self.visit.host, now)
            .or_else(|| handover.arrive(rt, session.id, self.caller.source, now))
    }
}

fn here(gw: &Gateway, device: Option<DeviceId>, who: &Identified) -> Here {
    let Some(device) = device.and_then(|id| gw.devices.get(id)) else {
        return Here::Web;
    };
    let name = device.name.to_string();
    let session = who.caller.session.as_ref();
    if session.is_some_and(|s| s.user != device.user) {
        return Here::NotYours(name);
    }
    match who.quarantine {
        Quarantine::Open => Here::Open(name),
        Quarantine::Closed | Quarantine::Held(_) => Here::Closed(name),
    }
}

#[async_trait]
impl Desk for Counter {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.one(name)
    }

    fn csrf_key(&self) -> &[u8] {
        &*self.csrf_key
    }

    async fn password(&self, attempt: Credentials) -> FirstStep {
        let mut from = self.from();
        from.agent = &attempt.agent;
        let step = self.gw.identity.password(PasswordAttempt {
            user: attempt.user,
            password: attempt.password,
            from,
        });
        match step.await {
            PasswordStep::Code { half } => FirstStep::Code(half),
            PasswordStep::Enrol { token } => FirstStep::Enrol(token),
            PasswordStep::Refused => FirstStep::Refused,
            PasswordStep::Throttled { retry_after } => FirstStep::Throttled(retry_after),
            PasswordStep::Overloaded => FirstStep::Overloaded,
            PasswordStep::Unavailable => FirstStep::Unavailable,
        }
    }

    async fn code(&self, half: &str, code: &str, rt: Option<&str>) -> SecondStep {
        match self.gw.identity.code(half, code, &self.from()).await {
            CodeStep::SignedIn { cookie, session } => {
                self.open_devices(&session).await;
                self.remember_browser(&session).await;
                let before = self.caller.session.as_ref();
                if let Some(before) = before.or(self.held.as_ref()) {
                    self.finish(before.id, EndReason::Replaced).await;
                }
                let strange = self
                    .caller
                    .device
                    .as_ref()
                    .is_some_and(|d| d.user != session.user);
                let next = rt
                    .filter(|_| !strange)
                    .and_then(|rt| self.arrive(rt, &session));
                SecondStep::Done { cookie, next }
            }
            CodeStep::Refused => SecondStep::Refused,
            CodeStep::Throttled { retry_after } => SecondStep::Throttled(retry_after),
            CodeStep::Expired => SecondStep::Expired,
            CodeStep::Unavailable => SecondStep::Unavailable,
        }
    }

    async fn step_up(&self, code: &str, rt: Option<&str>) -> SecondStep {
        let Some(session) = &self.caller.session else {
            return SecondStep::Expired;
        };
        match self.gw.identity.step_up(session, code, &self.from()).await {
            StepUp::Done { cookie } => {
                self.open_devices(session).await;
                let next = rt.and_then(|rt| self.arrive(rt, session));
                SecondStep::Done { cookie, next }
            }
            StepUp::Refused => SecondStep::Refused,
            StepUp::Throttled { retry_after } => SecondStep::Throttled(retry_after),
            StepUp::Expired => SecondStep::Expired,
            StepUp::Unavailable => SecondStep::Unavailable,
        }
    }

    async fn recover(&self, half: &str, code: &str) -> RecoveryStep {
        match self.gw.identity.recover(half, code, &self.from()).await {
            RecoverStep::Enrol { token } => RecoveryStep::Enrol(token),
            RecoverStep::Refused => RecoveryStep::Refused,
            RecoverStep::Throttled { retry_after } => RecoveryStep::Throttled(retry_after),
            RecoverStep::Expired => RecoveryStep::Expired,
            RecoverStep::Unavailable => RecoveryStep::Unavailable,
        }
    }

    async fn confirm(&self, password: Zeroizing<String>, code: &str) -> SecondStep {
        let Some(session) = &self.caller.session else {
            return SecondStep::Expired;
        };
        let identity = &self.gw.identity;
        match identity
            .confirm(session, password, code, &self.from())
            .await
        {
            StepUp::Done { cookie } => SecondStep::Done { cookie, next: None },
            StepUp::Refused => SecondStep::Refused,
            StepUp::Throttled { retry_after } => SecondStep::Throttled(retry_after),
            StepUp::Expired => SecondStep::Expired,
            StepUp::Unavailable => SecondStep::Unavailable,
        }
    }

    fn is_confirmed(&self) -> bool {
        let session = self.caller.session.as_ref();
        session.is_some_and(|s| s.is_confirmed(clock::unix()))
    }

    fn password_minimum(&self) -> usize {
        self.gw.config.identity.password_min
    }

    async fn change_password(&self, new: Zeroizing<String>, others: Others) -> ChangeStep {
        let Some(session) = &self.caller.session else {
            return ChangeStep::NotConfirmed;
        };
        let (identity, from) = (&self.gw.identity, self.from());
        let step = identity.change_password(session, new, others, &from);
        lines::changed(step.await)
    }

    fn other_app(&self) -> Option<Enrolment> {
        let session = self.caller.session.as_ref()?;
        let view = self.gw.identity.totp_begin(session, &self.from())?;
        Some(lines::enrolment(&self.gw, &self.snap, view))
    }

    async fn change_app(&self, code: &str, others: Others) -> ChangeStep {
        let Some(session) = &self.caller.session else {
            return ChangeStep::NotConfirmed;
        };
        let (identity, from) = (&self.gw.identity, self.from());
        let step = identity.totp_replace(session, code, others, &from);
        lines::changed(step.await)
    }

    async fn new_codes(&self) -> ChangeStep {
        let Some(session) = &self.caller.session else {
            return ChangeStep::NotConfirmed;
        };
        let identity = &self.gw.identity;
        lines::changed(identity.renew_codes(session, &self.from()).await)
    }

    async fn codes_left(&self) -> Option<usize> {
        let session = self.caller.session.as_ref()?;
        self.gw.identity.recovery_left(&session.user).await.ok()
    }

    async fn notices(&self) -> Vec<Notice> {
        let Some(session) = &self.caller.session else {
            return Vec::new();
        };
        let kept = self.gw.identity.notices(&session.user).await;
        kept.unwrap_or_default()
    }

    async fn dismiss(&self, notice: i64) -> bool {
        let Some(session) = &self.caller.session else {
            return false;
        };
        let (user, by) = (&session.user, session.id);
        let dropped = self.gw.identity.dismiss(user, notice, by).await;
        dropped.unwrap_or(false)
    }

    async fn end_others(&self) -> bool {
        let Some(session) = &self.caller.session else {
            return false;
        };
        let ended =
            self.gw
                .sessions
                .end_others(&session.user, session.id, EndReason::SignedOutElsewhere);
        // The streams are cut as the ends are announced.
        ended.await.is_ok()
    }

    fn has_mail(&self) -> bool {
        self.gw.mail.is_on()
    }

    async fn forgot(&self, user: &str) -> ForgotStep {
        self.take_forgotten(user)
    }

    async fn reset_user(&self, token: &str) -> Option<String> {
        self.gw.identity.reset_begin(token, &self.from()).await
    }

    async fn reset(&self, token: &str, new: Zeroizing<String>) -> ResetStep {
        let (identity, from) = (&self.gw.identity, self.from());
        forgot::answered(identity.reset_finish(token, new, &from).await)
    }

    fn leave(&self, path: &str) -> String {
        let Visit {
            host, authority, ..
        } = &self.visit;
        let (handover, source) = (&self.gw.handover, self.caller.source);
        let departure = handover.depart(host, authority, path, None, source, clock::now());
        departure.rt
    }

    async fn onward(&self, rt: &str) -> Option<String> {
        self.arrive(rt, self.caller.session.as_deref()?)
    }

    fn target_origin(&self, rt: &str) -> Option<String> {
        self.gw.handover.target_origin(rt, clock::now())
    }

    fn ca_root(&self) -> Option<String> {
        let authority = self.gw.authority.as_ref()?;
        Some(authority.root_pem())
    }

    fn apps(&self) -> Vec<App> {
        if self.quarantine != Quarantine::Open {
            return Vec::new();
        }
        let port = self.port.map(|p| format!(":{p}")).unwrap_or_default();
        let policy = &self.snap.policy;
        let mut apps = Vec::new();
        for (at, app) in policy.apps() {
            let outcome = self.caller.opens(&self.snap, at);
            if !matches!(outcome, Outcome::Allow | Outcome::StepUp) {
                continue;
            }
            let Some(host) = own::nearest(app.exact_hosts(), &self.visit.host) else {
                continue;
            };
            apps.push(App {
                name: tokens::shown(&app.id).to_owned(),
                url: format!("https://{host}{port}/"),
                needs_code: outcome == Outcome::StepUp,
            });
        }
        apps
    }

    fn devices(&self) -> Vec<DeviceLine> {
        let Some(session) = &self.caller.session else {
            return Vec::new();
        };
        let mine = self.gw.devices.list().into_iter();
        mine.filter(|d| d.user == session.user)
            .map(|d| DeviceLine {
                id: d.id.to_string(),
                name: d.name.to_string(),
                address: d.address4.to_string(),
                managed: d.class == Class::Managed,
                state: devices::state(&self.gw, &d),
            })
            .collect()
    }

    fn sessions(&self) -> Vec<SessionRow> {
        let Some(session) = &self.caller.session else {
            return Vec::new();
        };
        lines::sessions(&self.gw, &self.snap, &session.user, Some(session.id))
    }

    async fn end(&self, id: SessionId) -> bool {
        let Some(session) = &self.caller.session else {
            return false;
        };
        let own = self.gw.sessions.find_by_id(id);
        if own.is_none_or(|s| s.user != session.user) {
            return false;
        }
        let why = if id == session.id {
            EndReason::SignedOut
        } else {
            EndReason::SignedOutElsewhere
        };
        self.finish(id, why).await
    }

    async fn end_all(&self) -> bool {
        let Some(session) = &self.caller.session else {
            return false;
        };
        self.conn.let_go();
        let (gw, user) = (Arc::clone(&self.gw), Arc::clone(&session.user));
        let why = EndReason::SignedOutElsewhere;
        let act = tokio::spawn(async move { gw.end_user(&user, why).await });
        matches!(act.await, Ok(Ok(_)))
    }

    async fn sign_out(&self) -> bool {
        let Some(session) = &self.caller.session else {
            return true;
        };
        self.finish(session.id, EndReason::SignedOut).await
    }

    async fn enrolment(&self, token: &str) -> Option<Enrolment> {
        let view = self.gw.identity.enrol_begin(token, &self.from()).await?;
        Some(lines::enrolment(&self.gw, &self.snap, view))
    }

    async fn enrol(&self, token: &str, password: Zeroizing<String>, code: &str) -> EnrolStep {
        let identity = &self.gw.identity;
        match identity
            .enrol_finish(token, Answers { password, code }, &self.from())
            .await
        {
            identity::EnrolStep::Done(codes) => EnrolStep::Done(codes),
            identity::EnrolStep::WrongPassword => EnrolStep::WrongPassword,
            identity::EnrolStep::Weak(weak) => EnrolStep::Weak(lines::weakness(weak)),
            identity::EnrolStep::WrongCode => EnrolStep::WrongCode,
            identity::EnrolStep::Expired => EnrolStep::Dead,
            identity::EnrolStep::Throttled { retry_after } => EnrolStep::Throttled(retry_after),
            identity::EnrolStep::Overloaded => EnrolStep::Overloaded,
            identity::EnrolStep::Unavailable => EnrolStep::Unavailable,
        }
    }
}
