//! A console of made-up people.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::line;
use super::look::Book;
use crate::console::{
    Act, Acts, Again, Amend, AppClock, At, Consent, Console, Deed, Device, Factors, FileDiff,
    GroupLine, GroupOf, GroupView, Health, Ledger, Locked, Member, NotDone, Outcome, Page,
    PersonLine, PersonView, Preview, Reach, Rulebook, SessionLine, SharedConsole, Slice, TokenLine,
};
use crate::control::{Code, Refusal, ban};
use crate::edits::Edit;
use crate::edits::lines::Mark;

/// What an act comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Plan {
    #[default]
    Do,
    Refuse,
    AskAgain(Again),
}

/// Acts that were done, each with what was agreed to.
type Log = Arc<Mutex<Vec<(Deed, Consent)>>>;

#[derive(Clone)]
pub(super) struct Office {
    act: Act,
    plan: Plan,
    shown: Preview,
    done: Log,
    /// Policy and journal.
    pub(super) book: Book,
    may_act: bool,
    /// The clock of the app of zoe's page and zora's line.
    app_clock: Option<AppClock>,
}

impl Default for Office {
    fn default() -> Self {
        Self::showing(preview())
    }
}

impl Office {
    pub(super) fn showing(shown: Preview) -> Self {
        Self {
            act: Act::Read,
            plan: Plan::Do,
            shown,
            done: Log::default(),
            book: Book::default(),
            may_act: true,
            app_clock: None,
        }
    }

    /// As it is once a code was of another time.
    pub(super) fn with_clock(off_s: i64) -> Self {
        let at = At(1_763_629_740);
        Self {
            app_clock: Some(AppClock { off_s, at }),
            ..Self::default()
        }
    }

    pub(super) fn answering(plan: Plan) -> Self {
        Self {
            plan,
            ..Self::default()
        }
    }

    /// As somebody who may only look has it.
    pub(super) fn of_auditor() -> Self {
        Self {
            may_act: false,
            ..Self::default()
        }
    }

    /// As a GET has it.
    pub(super) fn looking(&self) -> SharedConsole {
        Arc::new(self.clone())
    }

    /// As a POST has it.
    pub(super) fn acting(&self) -> SharedConsole {
        let act = Act::Write;
        Arc::new(Self {
            act,
            ..self.clone()
        })
    }

    pub(super) fn done(&self) -> Vec<(Deed, Consent)> {
        self.done.lock().clone()
    }
}

pub(super) fn preview() -> Preview {
    Preview {
        digest: "seen".to_owned(),
        files: vec![FileDiff {
            path: "policy.toml".to_owned(),
            lines: vec![
                line(Mark::Old, "it = [\"zoe\"] <b>"),
                line(Mark::New, "it = []"),
            ],
        }],
        access: "- allow zoe app.wiki".to_owned(),
        ..Preview::default()
    }
}

fn session() -> SessionLine {
    SessionLine {
        id: "saaaaaaaaaaaaa".to_owned(),
        user: "zoe".to_owned(),
        door: "web",
        source: "192.0.2.1".to_owned(),
        zones: vec!["office".to_owned()],
        browser: "Firefox".to_owned(),
        devices: Vec::new(),
        created: At(1_763_629_740),
        last_used: At(1_763_629_800),
        expires: At(1_763_639_800),
        own: true,
    }
}

pub(in crate::console) fn device() -> Device {
    Device {
        id: "d7".to_owned(),
        user: "zoe".to_owned(),
        name: "<i>zoe's".to_owned(),
        address: "10.200.200.2".to_owned(),
        managed: false,
        state: "open".to_owned(),
        disputed: false,
        clock_ahead: false,
        endpoint: None,
        handshake_age_s: Some(7),
    }
}

fn page<T>(line: T) -> Page<T> {
    Page {
        total: 1,
        skipped: 0,
        lines: vec![line],
    }
}

#[async_trait]
impl Console for Office {
    fn acts(&self) -> Option<&dyn Acts> {
        match self.act {
            Act::Write => Some(self),
            Act::Read => None,
        }
    }

    fn may_act(&self) -> bool {
        self.may_act
    }

    fn ledger(&self) -> &dyn Ledger {
        &self.book
    }

    fn rulebook(&self) -> &dyn Rulebook {
        &self.book
    }

    async fn health(&self) -> Result<Health, Refusal> {
        Ok(super::look::health())
    }

    async fn people(&self, _: &str, slice: Slice) -> Result<Page<PersonLine>, Refusal> {
        let line = |user: &str| PersonLine {
            user: user.to_owned(),
            name: "<i>zoe".to_owned(),
            groups: vec!["it".to_owned()],
            disabled: false,
            enrolled: true,
            sessions: 1,
            locked: false,
            app_clock: self.app_clock.filter(|_| user == "zora"),
        };
        Ok(Page {
            total: 120,
            skipped: slice.skip,
            lines: vec![line("zoe"), line("zora")],
        })
    }

    async fn person(&self, user: &str) -> Result<Option<PersonView>, Refusal> {
        let group = |group: &str, named| GroupOf {
            group: group.to_owned(),
            named,
        };
        Ok((user == "zoe").then(|| PersonView {
            user: user.to_owned(),
            name: "<i>zoe".to_owned(),
            mail: "zoe@example.org".to_owned(),
            attributes: BTreeMap::from([("department".to_owned(), "it".to_owned())]),
            disabled: false,
            groups: vec![group("it", true), group("staff", false)],
            joinable: vec!["acme/team".to_owned()],
            factors: Factors {
                password: true,
                totp: true,
                recovery_codes: 9,
                invited: false,
            },
            app_clock: self.app_clock,
            last_sign_in: Some(At(1_763_629_740)),
            locked_s: Some(61),
            sessions: vec![session()],
            devices: vec![device()],
            reach: vec![Reach {
                resource: "app.wiki".to_owned(),
                rule: "app.wiki#it".to_owned(),
                contexts: Vec::new(),
            }],
        }))
    }

    async fn groups(&self) -> Result<Vec<GroupLine>, Refusal> {
        Ok(vec![GroupLine {
            group: "it".to_owned(),
            people: 2,
        }])
    }

    async fn group(&self, name: &str, _: Slice) -> Result<Option<GroupView>, Refusal> {
        let member = Member {
            user: "zoe".to_owned(),
            name: "<i>zoe".to_owned(),
            named: true,
        };
        Ok((name == "it").then(|| GroupView {
            group: name.to_owned(),
            people: page(member),
        }))
    }

    async fn devices(&self, _: &str, _: Slice) -> Page<Device> {
        page(device())
    }

    fn sessions(&self, _: Option<&str>, _: Slice) -> Page<SessionLine> {
        page(session())
    }

    fn tokens(&self, _: &str, _: Slice) -> Page<TokenLine> {
        page(TokenLine {
            id: "taaaaaaaaaaaaa".to_owned(),
            user: "zoe".to_owned(),
            app: "app.git".to_owned(),
            name: "<b>laptop".to_owned(),
            created: At(1_790_000_000),
            expires: At(1_797_776_000),
            last_used: None,
            place: String::new(),
        })
    }

    fn certificates(&self) -> Vec<crate::acme::Line> {
        let line = serde_json::json!({
            "names": ["gate.example.org"], "source": "directory",
            "not_before": "2026-01-01T00:00:00.000Z", "not_after": "2026-04-01T00:00:00.000Z",
            "days_left": 5, "next": "2026-03-02T00:00:00.000Z",
            "cause": "dns", "detail": "<i>zoe: no record", "advice": "mend the zone",
        });
        let own = serde_json::json!({
            "names": ["app.example.org"], "source": "file",
            "not_before": "2026-01-01T00:00:00.000Z", "not_after": "2026-06-01T00:00:00.000Z",
            "days_left": 66,
        });
        let read = |line| serde_json::from_value(line).unwrap();
        vec![read(line), read(own)]
    }

    async fn bans(&self) -> Result<Vec<ban::Line>, Refusal> {
        Ok(vec![ban::Line {
            network: "192.0.2.9/32".parse().unwrap(),
            since: "2026-01-01T00:00:00.000Z".to_owned(),
            until: None,
            left_s: None,
            times: 1,
            reason: "by-operator".to_owned(),
            note: Some("<i>zoe".to_owned()),
        }])
    }

    fn locked(&self) -> Vec<Locked> {
        vec![Locked {
            user: "zoe".to_owned(),
            left_s: 61,
        }]
    }

    async fn preview(&self, _: &Edit) -> Result<Preview, Refusal> {
        Ok(self.shown.clone())
    }
}

#[async_trait]
impl Acts for Office {
    fn amend(&self) -> &dyn Amend {
        &self.book
    }

    async fn carry_out(&self, deed: &Deed, consent: &Consent) -> Result<Outcome, NotDone> {
        match self.plan {
            Plan::Do => {}
            Plan::Refuse => return Err(Refusal::new(Code::Data, "no user <zoe>").into()),
            Plan::AskAgain(again) => {
                return Err(NotDone::AskAgain(Box::new(self.shown.clone()), again));
            }
        }
        self.done.lock().push((deed.clone(), consent.clone()));
        let makes_link = matches!(
            deed,
            Deed::Invite { .. } | Deed::Reset { .. } | Deed::Edit(Edit::Add(_))
        );
        Ok(match makes_link {
            true => Outcome::Link("https://gate/enrol/secret".to_owned()),
            false => Outcome::Done,
        })
    }
}
