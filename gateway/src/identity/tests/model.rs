//! Random courses of sign-ins, followed by a model that is small enough to be read at once.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};

use super::*;
use crate::ids::SessionId;

const USERS: [&str; 2] = ["alice", "bob"];
const IDLE: i64 = 3600;
const ABSOLUTE: i64 = 12 * 3600;
/// A restart finds the last use of a session as it was kept, at most so much earlier.
const KEPT_LATE: i64 = 60;

/// What happens next. Numbers choose among what there is; nothing happens where there is none.
#[derive(Clone, Debug)]
enum Happens {
    Password {
        user: usize,
        right: bool,
        place: u8,
    },
    /// The code of the step so far from the present one.
    Code {
        half: usize,
        ahead: i64,
    },
    WrongCode {
        half: usize,
    },
    Recovery {
        half: usize,
        code: usize,
    },
    WrongRecovery {
        half: usize,
    },
    Enrol {
        ticket: usize,
    },
    Use {
        session: usize,
    },
    SignOut {
        session: usize,
    },
    Revoke {
        user: usize,
    },
    Disable {
        user: usize,
    },
    Enable {
        user: usize,
    },
    Wait {
        secs: i64,
    },
    ClockSetBack {
        secs: i64,
    },
    Sweep,
    Restart,
}

fn happens() -> impl Strategy<Value = Happens> {
    let (user, any) = (0..USERS.len(), 0..8_usize);
    prop_oneof![
        6 => (user.clone(), prop::bool::weighted(0.7), 0..2_u8)
            .prop_map(|(user, right, place)| Happens::Password { user, right, place }),
        8 => (any.clone(), -2..=2_i64).prop_map(|(half, ahead)| Happens::Code { half, ahead }),
        2 => any.clone().prop_map(|half| Happens::WrongCode { half }),
        3 => (any.clone(), 0..3_usize).prop_map(|(half, code)| Happens::Recovery { half, code }),
        1 => any.clone().prop_map(|half| Happens::WrongRecovery { half }),
        3 => any.clone().prop_map(|ticket| Happens::Enrol { ticket }),
        2 => any.clone().prop_map(|session| Happens::Use { session }),
        1 => any.prop_map(|session| Happens::SignOut { session }),
        1 => user.clone().prop_map(|user| Happens::Revoke { user }),
        1 => user.clone().prop_map(|user| Happens::Disable { user }),
        2 => user.prop_map(|user| Happens::Enable { user }),
        4 => prop::sample::select(vec![1, 30, 60, 299, 300, 901, 1801, 3601])
            .prop_map(|secs| Happens::Wait { secs }),
        1 => prop::sample::select(vec![30, 3600]).prop_map(|secs| Happens::ClockSetBack { secs }),
        1 => Just(Happens::Sweep),
        1 => Just(Happens::Restart),
    ]
}

/// What a person sees of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// The next form: that of the code, or of a new app.
    Onward,
    SignedIn,
    Refused,
    Throttled,
    Expired,
}

/// Tries until `quiet` seconds went by without one.
#[derive(Clone, Copy, Default)]
struct Tries {
    count: i64,
    last: i64,
}

impl Tries {
    fn is_over(&mut self, most: i64, quiet: i64, now: i64) -> bool {
        if now >= self.last + quiet {
            self.count = 0;
        }
        self.count >= most
    }
}

struct Half {
    token: String,
    user: usize,
    until: i64,
    codes_left: u8,
    epoch: u32,
    taken: bool,
}

struct Ticket {
    token: String,
    user: usize,
    until: i64,
    void: bool,
}

struct Kept {
    id: SessionId,
    cookie: String,
    user: usize,
    created: i64,
    used: i64,
    ended: bool,
}

#[derive(Default)]
struct Account {
    secret: Vec<u8>,
    disabled: bool,
    last_step: i64,
    /// Recovery codes, and whether each was used.
    recovery: Vec<(String, bool)>,
    epoch: u32,
    codes: Tries,
    pairs: BTreeMap<u8, Tries>,
}

/// The rules in short: two proofs make a session, each proof counts once and for a time.
struct Model {
    wall: i64,
    steady: i64,
    accounts: [Account; 2],
    halves: Vec<Half>,
    tickets: Vec<Ticket>,
    sessions: Vec<Kept>,
}

impl Model {
    fn end_all_of(&mut self, user: usize) {
        self.accounts[user].epoch += 1;
        let of = |s: &&mut Kept| s.user == user;
        self.sessions
            .iter_mut()
            .filter(of)
            .for_each(|s| s.ended = true);
        let of = |t: &&mut Ticket| t.user == user;
        self.tickets
            .iter_mut()
            .filter(of)
            .for_each(|t| t.void = true);
    }

    fn is_live(&self, session: &Kept) -> bool {
        let end = (session.used + IDLE).min(session.created + ABSOLUTE);
        !session.ended && self.steady < end
    }

    fn password(&mut self, user: usize, right: bool, place: u8) -> Seen {
        let now = self.steady;
        let account = &mut self.accounts[user];
        let pair = account.pairs.entry(place).or_default();
        if pair.is_over(5, 900, now) {
            return Seen::Throttled;
        }
        pair.last = now;
        if right && !account.disabled {
            return Seen::Onward;
        }
        pair.count += 1;
        Seen::Refused
    }

    /// Counts a code or recovery code; says whether it is looked at.
    fn second(&mut self, half: usize) -> Result<usize, Seen> {
        let now = self.steady;
        let half = &mut self.halves[half];
        if half.taken || now >= half.until || half.codes_left == 0 {
            half.taken = true;
            return Err(Seen::Expired);
        }
        half.codes_left -= 1;
        let codes = &mut self.accounts[half.user].codes;
        if codes.is_over(10, 3600, now) {
            return Err(Seen::Throttled);
        }
        codes.last = now;
        Ok(half.user)
    }

    fn code(&mut self, half: usize, step: Option<i64>) -> Seen {
        let user = match self.second(half) {
            Ok(user) => user,
            Err(seen) => return seen,
        };
        let present = self.wall / 30;
        let account = &mut self.accounts[user];
        if account.disabled {
            return Seen::Refused;
        }
        let fresh = step.filter(|s| (s - present).abs() <= 1 && *s > account.last_step);
        let Some(step) = fresh else {
            account.codes.count += 1;
            return Seen::Refused;
        };
        account.last_step = step;
        self.halves[half].taken = true;
        if self.halves[half].epoch != account.epoch {
            return Seen::Expired;
        }
        account.codes = Tries::default();
        Seen::SignedIn
    }

    fn recovery(&mut self, half: usize, code: Option<usize>) -> Seen {
        let user = match self.second(half) {
            Ok(user) => user,
            Err(seen) => return seen,
        };
        let account = &mut self.accounts[user];
        let unused = code.and_then(|code| account.recovery.get_mut(code));
        let unused = unused.filter(|(_, used)| !*used && !account.disabled);
        let Some((_, used)) = unused else {
            account.codes.count += 1;
            return Seen::Refused;
        };
        *used = true;
        self.halves[half].taken = true;
        for ticket in self.tickets.iter_mut().filter(|t| t.user == user) {
            ticket.void = true;
        }
        if self.halves[half].epoch != self.accounts[user].epoch {
            return Seen::Expired;
        }
        Seen::Onward
    }

    /// Says whether a ticket opens the form of a new app.
    fn opens(&self, ticket: usize) -> bool {
        let ticket = &self.tickets[ticket];
        !ticket.void && self.steady < ticket.until && !self.accounts[ticket.user].disabled
    }
}

/// The engine and its model, side by side.
struct Course {
    bench: Option<Bench>,
    model: Model,
    enrolled: usize,
}

type Checked = Result<(), TestCaseError>;

impl Course {
    async fn start() -> Self {
        let bench = Bench::new().await;
        let mut accounts = [Account::default(), Account::default()];
        for (user, account) in USERS.iter().zip(&mut accounts) {
            let (shown, kept) = bench.identity.draw_codes(user);
            bench.store.put_recovery(user, kept).await.unwrap();
            account.secret = SECRET.to_vec();
            account.recovery = shown.iter().map(|c| (c.to_string(), false)).collect();
        }
        let model = Model {
            wall: NOW,
            steady: NOW,
            accounts,
            halves: Vec::new(),
            tickets: Vec::new(),
            sessions: Vec::new(),
        };
        Self {
            bench: Some(bench),
            model,
            enrolled: 0,
        }
    }

    fn bench(&self) -> &Bench {
        self.bench.as_ref().unwrap()
    }

    async fn go(&mut self, next: &Happens) -> Checked {
        let (wall, steady) = (self.model.wall, self.model.steady);
        match *next {
            Happens::Password { user, right, place } => self.password(user, right, place).await?,
            Happens::Code { half, ahead } => self.code(half, Some(ahead)).await?,
            Happens::WrongCode { half } => self.code(half, None).await?,
            Happens::Recovery { half, code } => self.recovery(half, Some(code)).await?,
            Happens::WrongRecovery { half } => self.recovery(half, None).await?,
            Happens::Enrol { ticket } => self.enrol(ticket).await?,
            Happens::Use { session } => {
                let Some(at) = nth(&self.model.sessions, session) else {
                    return Ok(());
                };
                let live = self.model.is_live(&self.model.sessions[at]);
                let kept = &mut self.model.sessions[at];
                let sessions = self.bench.as_ref().unwrap().identity.sessions();
                let found = sessions.find(&kept.cookie, HOST, wall);
                prop_assert_eq!(found.is_some(), live);
                if live {
                    kept.used = steady;
                }
            }
            Happens::SignOut { session } => {
                let Some(at) = nth(&self.model.sessions, session) else {
                    return Ok(());
                };
                let id = self.model.sessions[at].id;
                let sessions = self.bench().identity.sessions();
                sessions.end(id, EndReason::SignedOut).await.unwrap();
                self.model.sessions[at].ended = true;
            }
            Happens::Revoke { user } => self.end(user, EndReason::Revoked).await,
            Happens::Disable { user } => {
                self.bench().people.set(USERS[user], Standing::Disabled);
                self.model.accounts[user].disabled = true;
                self.end(user, EndReason::UserDisabled).await;
            }
            Happens::Enable { user } => {
                self.bench().people.set(USERS[user], Standing::Active);
                self.model.accounts[user].disabled = false;
            }
            Happens::Wait { secs } => {
                self.model.wall += secs;
                self.model.steady = steady.max(self.model.wall);
            }
            Happens::ClockSetBack { secs } => self.model.wall -= secs,
            Happens::Sweep => drop(self.bench().identity.sweep(wall).await),
            Happens::Restart => self.restart().await?,
        }
        self.compare()
    }

    async fn password(&mut self, user: usize, right: bool, place: u8) -> Checked {
        let expected = self.model.password(user, right, place);
        let from = self
            .bench()
            .from(self.model.wall, &format!("192.0.2.{place}"));
        let typed = if right { PASSWORD } else { "not the password" };
        let seen = match self.bench().password(USERS[user], typed, from).await {
            PasswordStep::Code { half } => {
                self.model.halves.push(Half {
                    token: half,
                    user,
                    until: self.model.steady + 300,
                    codes_left: 5,
                    epoch: self.model.accounts[user].epoch,
                    taken: false,
                });
                Seen::Onward
            }
            PasswordStep::Refused => Seen::Refused,
            PasswordStep::Throttled { .. } => Seen::Throttled,
            other @ (PasswordStep::Enrol { .. }
            | PasswordStep::Overloaded
            | PasswordStep::Unavailable) => {
                return Err(TestCaseError::fail(format!("{other:?}")));
            }
        };
        prop_assert_eq!(seen, expected);
        Ok(())
    }

    /// Types the code of the step `ahead` of the present one, or a wrong one.
    async fn code(&mut self, half: usize, ahead: Option<i64>) -> Checked {
        let Some(half) = nth(&self.model.halves, half) else {
            return Ok(());
        };
        let (wall, user) = (self.model.wall, self.model.halves[half].user);
        let secret = &self.model.accounts[user].secret;
        let typed = match ahead {
            Some(ahead) => totp::code_at(secret, wall + 30 * ahead),
            None => "no code".to_owned(),
        };
        let expected = self.model.code(half, ahead.map(|ahead| wall / 30 + ahead));
        let token = &self.model.halves[half].token;
        let from = self.bench().from(wall, "192.0.2.0");
        let step = self.bench().identity.code(token, &typed, &from).await;
        let seen = match step {
            CodeStep::SignedIn { cookie, session } => {
                prop_assert_eq!(&*session.user, USERS[user]);
                // the place of this code is the one that is forgiven
                self.model.accounts[user].pairs.remove(&0);
                self.model.sessions.push(Kept {
                    id: session.id,
                    cookie,
                    user,
                    created: self.model.steady,
                    used: self.model.steady,
                    ended: false,
                });
                Seen::SignedIn
            }
            CodeStep::Refused => Seen::Refused,
            CodeStep::Throttled { .. } => Seen::Throttled,
            CodeStep::Expired => Seen::Expired,
            CodeStep::Unavailable => return Err(TestCaseError::fail("unavailable")),
        };
        prop_assert_eq!(seen, expected);
        Ok(())
    }

    async fn recovery(&mut self, half: usize, code: Option<usize>) -> Checked {
        let Some(half) = nth(&self.model.halves, half) else {
            return Ok(());
        };
        let user = self.model.halves[half].user;
        let known = code.and_then(|code| self.model.accounts[user].recovery.get(code));
        let typed = known.map_or_else(|| "aaaa-aaaa-aaaa-aaaa".to_owned(), |c| c.0.clone());
        let expected = self.model.recovery(half, code);
        let token = &self.model.halves[half].token;
        let from = self.bench().from(self.model.wall, "192.0.2.0");
        let step = self.bench().identity.recover(token, &typed, &from).await;
        let seen = match step {
            RecoverStep::Enrol { token } => {
                self.model.tickets.push(Ticket {
                    token,
                    user,
                    until: self.model.steady + 1800,
                    void: false,
                });
                Seen::Onward
            }
            RecoverStep::Refused => Seen::Refused,
            RecoverStep::Throttled { .. } => Seen::Throttled,
            RecoverStep::Expired => Seen::Expired,
            RecoverStep::Unavailable => return Err(TestCaseError::fail("unavailable")),
        };
        prop_assert_eq!(seen, expected);
        Ok(())
    }

    async fn enrol(&mut self, ticket: usize) -> Checked {
        let Some(at) = nth(&self.model.tickets, ticket) else {
            return Ok(());
        };
        let Ticket { token, user, .. } = &self.model.tickets[at];
        let (token, user, wall) = (token.clone(), *user, self.model.wall);
        let from = self.bench().at(wall);
        let view = self.bench().identity.enrol_begin(&token, &from).await;
        prop_assert_eq!(view.is_some(), self.model.opens(at));
        let Some(view) = view else { return Ok(()) };
        let secret = data_encoding::BASE32_NOPAD.decode(view.secret_base32.as_bytes());
        let secret = secret.unwrap();
        let answers = Answers {
            password: Zeroizing::new(String::new()),
            code: &totp::code_at(&secret, wall),
        };
        let step = self.bench().identity.enrol_finish(&token, answers, &from);
        let EnrolStep::Done(codes) = step.await else {
            return Err(TestCaseError::fail("an open ticket did not enrol"));
        };
        self.enrolled += 1;
        self.model.tickets[at].void = true;
        self.model.end_all_of(user);
        let account = &mut self.model.accounts[user];
        account.secret = secret;
        account.last_step = account.last_step.max(wall / 30);
        account.recovery = codes.iter().map(|c| (c.to_string(), false)).collect();
        account.codes = Tries::default();
        // the context of this step is another place
        account.pairs.remove(&1);
        Ok(())
    }

    async fn end(&mut self, user: usize, why: EndReason) {
        let sessions = self.bench().identity.sessions();
        sessions.end_user(USERS[user], why).await.unwrap();
        self.model.end_all_of(user);
    }

    /// Half-way sign-ins are gone; all else is as it was.
    async fn restart(&mut self) -> Checked {
        let model = &mut self.model;
        model.wall = model.steady;
        let bench = self.bench.take().unwrap();
        bench.identity.sweep(model.wall).await;
        let bench = bench.restart(model.wall).await;
        model.halves.iter_mut().for_each(|half| half.taken = true);
        for kept in &mut model.sessions {
            if let Some(session) = bench.identity.sessions().find_by_id(kept.id) {
                let used = session.last_used();
                prop_assert!((kept.used - KEPT_LATE..=kept.used).contains(&used));
                kept.used = used;
            }
        }
        self.bench = Some(bench);
        Ok(())
    }

    /// The sessions that count are those of the model, no more and no fewer.
    fn compare(&self) -> Checked {
        let identity = &self.bench().identity;
        prop_assert_eq!(identity.steady(self.model.wall), self.model.steady);
        let sessions = identity.sessions();
        let live = |s: &Arc<super::super::Session>| s.is_live(self.model.wall);
        let mut engine: Vec<_> = sessions
            .list()
            .into_iter()
            .filter(live)
            .map(|s| s.id)
            .collect();
        let model = self.model.sessions.iter().filter(|s| self.model.is_live(s));
        let mut model: Vec<_> = model.map(|s| s.id).collect();
        engine.sort();
        model.sort();
        prop_assert_eq!(engine, model);
        Ok(())
    }
}

/// Chooses from the end: what is new is used most.
fn nth<T>(all: &[T], n: usize) -> Option<usize> {
    let from_end = n.checked_rem(all.len())?;
    Some(all.len() - 1 - from_end)
}

#[expect(clippy::print_stdout, reason = "the figure of a long run")]
#[test]
fn random_courses_of_sign_ins_end_as_the_model_says() {
    let cases = match std::env::var_os("POSTERN_LONG") {
        Some(_) => 320,
        None => 32,
    };
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let (signed_in, enrolled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    proptest!(config, |(course in prop::collection::vec(happens(), 1..60))| {
        runtime.block_on(async {
            let mut both = Course::start().await;
            for (n, next) in course.iter().enumerate() {
                if let Err(error) = both.go(next).await {
                    return Err(TestCaseError::fail(format!("at {n}, {next:?}: {error}")));
                }
            }
            signed_in.fetch_add(both.model.sessions.len(), Ordering::Relaxed);
            enrolled.fetch_add(both.enrolled, Ordering::Relaxed);
            Ok(())
        })?;
    });
    // courses that lead nowhere would show nothing
    let (signed_in, enrolled) = (signed_in.into_inner(), enrolled.into_inner());
    println!("{signed_in} sign-ins, {enrolled} new apps");
    assert!(signed_in >= 3, "{signed_in}, {enrolled}");
}
