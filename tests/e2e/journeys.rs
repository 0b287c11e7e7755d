//! Power cuts in the middle of people's journeys: what was acknowledged stays, what was used up
//! never works again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use postern_tests::curl::{Answer, Client, host};
use postern_tests::gateway::Gateway;
use postern_tests::html::{self, Form};
use postern_tests::{totp, wait};

/// Journeys that are under way at each cut.
const AT_ONCE: usize = 4;
const OLD: &str = "a zebra under the stairs";
const NEW: &str = "nine pears in a bowl";

fn cuts() -> usize {
    let journeys = match std::env::var_os("POSTERN_LONG") {
        Some(_) => 200,
        None => 20,
    };
    journeys / AT_ONCE
}

/// The steps of a journey, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Invite,
    Enrol,
    SignIn,
    Confirm,
    ChangePassword,
    Recover,
    SignOut,
}

const STEPS: [Step; 7] = [
    Step::Invite,
    Step::Enrol,
    Step::SignIn,
    Step::Confirm,
    Step::ChangePassword,
    Step::Recover,
    Step::SignOut,
];

/// One person's way from the invitation to the end of a session.
struct Journey {
    user: String,
    client: Client,
    /// How many steps were begun.
    begun: usize,
    acknowledged: Option<Step>,
    link: String,
    secret: String,
    recovery: Vec<String>,
    /// The TOTP steps whose codes were shown to the gateway, the newest last.
    shown: Vec<u64>,
    cookie: Option<String>,
}

/// The gateway was cut off, with what was said of that.
#[derive(Debug)]
struct Cut(String);

impl From<String> for Cut {
    fn from(said: String) -> Self {
        Self(said)
    }
}

/// One edits the people of the policy folder at a time; a second one would be refused.
static EDITS: Mutex<()> = Mutex::new(());

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

fn form_to(page: &Answer, action: &str) -> Form {
    let found = html::forms(&page.body)
        .into_iter()
        .find(|f| f.action == action);
    found.unwrap_or_else(|| panic!("no form to {action} on {}:\n{}", page.url, page.body))
}

fn must(answer: Answer, status: u16) -> Answer {
    assert_eq!(answer.status, status, "{answer:?}");
    answer
}

fn between(text: &str, start: &str, end: &str) -> String {
    let rest = text
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start} in {text}"))
        .1;
    rest.split_once(end).unwrap().0.to_owned()
}

impl Journey {
    fn new(gateway: &Gateway, cut: usize, number: usize) -> Self {
        let source = format!("127.1.{cut}.{}", number + 1);
        Self {
            user: format!("j{cut}x{number}"),
            client: Client::at(gateway, &source),
            begun: 0,
            acknowledged: None,
            link: String::new(),
            secret: String::new(),
            recovery: Vec::new(),
            shown: Vec::new(),
            cookie: None,
        }
    }

    fn acknowledges(&self, step: Step) -> bool {
        self.acknowledged.is_some_and(|last| last >= step)
    }

    fn has_begun(&self, step: Step) -> bool {
        STEPS[..self.begun].contains(&step)
    }

    /// Goes on until the gateway is cut off; `furthest` is how many steps anybody has begun.
    fn go(&mut self, gateway: &Gateway, furthest: &AtomicUsize) -> Result<(), Cut> {
        for step in STEPS {
            self.begun += 1;
            furthest.fetch_max(self.begun, Ordering::SeqCst);
            match step {
                Step::Invite => self.invite(gateway)?,
                Step::Enrol => self.enrol(gateway)?,
                Step::SignIn => self.sign_in(gateway)?,
                Step::Confirm => self.confirm(gateway)?,
                Step::ChangePassword => self.change_password(gateway)?,
                Step::Recover => self.recover(gateway)?,
                Step::SignOut => self.sign_out(gateway)?,
            }
            self.acknowledged = Some(step);
        }
        Ok(())
    }

    /// A code of a step after all before; those of three steps are good at any time.
    fn code(&mut self) -> String {
        let present = || totp::now() / totp::STEP;
        let next = self.shown.last().map_or(present() - 1, |last| last + 1);
        let next = next.max(present() - 1);
        wait::until_true(Duration::from_secs(65), "the app shows a code", || {
            next <= present() + 1
        });
        self.shown.push(next);
        totp::code_at(&self.secret, next * totp::STEP)
    }

    fn invite(&mut self, gateway: &Gateway) -> Result<(), Cut> {
        let _one = EDITS.lock().unwrap();
        let output = gateway.run(&["user", "add", &self.user]);
        let link = String::from_utf8(output.stdout).unwrap();
        if !output.status.success() {
            return Err(Cut(String::from_utf8(output.stderr).unwrap()));
        }
        link.trim().clone_into(&mut self.link);
        Ok(())
    }

    fn enrol(&mut self, gateway: &Gateway) -> Result<(), Cut> {
        must(self.client.try_open(&self.link)?, 303);
        let page = must(self.client.try_open(&at(gateway, "/enrol"))?, 200);
        let secret = between(&page.body, "<p class=\"secret\"><code>", "<");
        self.secret = secret.replace(' ', "");
        let mut form = form_to(&page, "/enrol");
        form.set("password", OLD);
        form.set("again", OLD);
        form.set("code", &self.code());
        let mut page = submit(&self.client, &page, &form)?;
        if page.status == 422 {
            // the step went by meanwhile
            let mut form = form_to(&page, "/enrol");
            form.set("password", OLD);
            form.set("again", OLD);
            self.shown.clear();
            form.set("code", &self.code());
            page = submit(&self.client, &page, &form)?;
        }
        let page = must(page, 200);
        let list = between(&page.body, "<ol class=\"codes\"", "</ol>");
        let codes = list.split("<code>").skip(1);
        self.recovery = codes
            .map(|c| c.split('<').next().unwrap().to_owned())
            .collect();
        Ok(())
    }

    fn sign_in(&mut self, gateway: &Gateway) -> Result<(), Cut> {
        let page = password(&self.client, gateway, &self.user, OLD)?;
        let code = self.code();
        let done = submit_code(&self.client, &page, &code)?;
        must(done, 303);
        self.keep_cookie(gateway);
        Ok(())
    }

    fn confirm(&mut self, gateway: &Gateway) -> Result<(), Cut> {
        let page = must(
            self.client.try_open(&at(gateway, "/account/password"))?,
            200,
        );
        let mut form = form_to(&page, "/account/confirm");
        form.set("password", OLD);
        form.set("code", &self.code());
        must(submit(&self.client, &page, &form)?, 303);
        self.keep_cookie(gateway);
        Ok(())
    }

    fn change_password(&mut self, gateway: &Gateway) -> Result<(), Cut> {
        let page = must(
            self.client.try_open(&at(gateway, "/account/password"))?,
            200,
        );
        let mut form = form_to(&page, "/account/password");
        form.set("password", NEW);
        form.set("again", NEW);
        must(submit(&self.client, &page, &form)?, 303);
        Ok(())
    }

    fn recover(&mut self, gateway: &Gateway) -> Result<(), Cut> {
        let other = Client::at(gateway, &format!("127.2.{}", self.place()));
        must(
            recovery(&other, gateway, &self.user, NEW, &self.recovery[0])?,
            303,
        );
        Ok(())
    }

    fn sign_out(&mut self, gateway: &Gateway) -> Result<(), Cut> {
        let page = must(self.client.try_open(&gateway.facts.portal)?, 200);
        let forms = html::forms(&page.body);
        let form = forms
            .iter()
            .find(|f| f.action.ends_with("/signout"))
            .unwrap();
        let done = self.client.try_submit(&page, form)?;
        assert!(done.status < 400, "{done:?}");
        Ok(())
    }

    fn keep_cookie(&mut self, gateway: &Gateway) {
        let portal = host(&gateway.facts.portal);
        self.cookie = self.client.cookie(portal, "__Host-postern");
        assert!(self.cookie.is_some());
    }

    /// Numbers of an address that no other journey has.
    fn place(&self) -> String {
        let (cut, number) = self.user[1..].split_once('x').unwrap();
        format!("{cut}.{}", number.parse::<usize>().unwrap() + 1)
    }

    /// Looks at what there is after the restart.
    fn check(&self, gateway: &Gateway) {
        let seen = format!("{}: {:?} acknowledged", self.user, self.acknowledged);
        if self.acknowledges(Step::Invite) {
            let answer = self.client.open(&self.link);
            if self.acknowledges(Step::Enrol) {
                assert_eq!(answer.status, 404, "{seen}: a used link: {answer:?}");
            } else if !self.has_begun(Step::Enrol) {
                assert_eq!(answer.status, 303, "{seen}: the link: {answer:?}");
            }
        }
        if !self.acknowledges(Step::Enrol) {
            return;
        }
        self.check_session(gateway, &seen);
        let password = self.check_password(gateway, &seen);
        self.check_codes(gateway, password, &seen);
        self.check_recovery(gateway, password, &seen);
    }

    fn check_session(&self, gateway: &Gateway, seen: &str) {
        let Some(cookie) = &self.cookie else { return };
        let cookie = format!("Cookie: __Host-postern={cookie}");
        let answer = Client::new(gateway).send(&gateway.facts.portal, &["-H", &cookie]);
        if self.acknowledges(Step::SignOut) {
            assert_ne!(answer.status, 200, "{seen}: an ended session: {answer:?}");
        } else if !self.has_begun(Step::SignOut)
            // the answer with the changed cookie may be lost
            && (self.acknowledges(Step::Confirm) || !self.has_begun(Step::Confirm))
        {
            assert_eq!(answer.status, 200, "{seen}: the session: {answer:?}");
        }
    }

    /// Says which password counts.
    fn check_password(&self, gateway: &Gateway, seen: &str) -> &'static str {
        let takes = |word: &str| {
            let client = Client::at(gateway, &format!("127.3.{}", self.place()));
            let page = password(&client, gateway, &self.user, word);
            let page = page.unwrap_or_else(|_| panic!("no answer"));
            let taken = html::form_with(&page.body, "code").is_some();
            assert!(taken || page.status == 401, "{seen}: {page:?}");
            taken
        };
        let (old, new) = (takes(OLD), takes(NEW));
        assert!(old != new, "{seen}: old password {old}, new password {new}");
        if self.acknowledges(Step::ChangePassword) {
            assert!(new, "{seen}: the new password is lost");
        } else if !self.has_begun(Step::ChangePassword) {
            assert!(old, "{seen}: the old password is lost");
        }
        if new { NEW } else { OLD }
    }

    fn check_codes(&self, gateway: &Gateway, word: &str, seen: &str) {
        let used = [Step::Enrol, Step::SignIn, Step::Confirm];
        let used = used.iter().filter(|step| self.acknowledges(**step)).count();
        let client = Client::at(gateway, &format!("127.4.{}", self.place()));
        let mut page = self.code_page(gateway, &client, word);
        for step in &self.shown[..used] {
            let code = totp::code_at(&self.secret, step * totp::STEP);
            page = submit_code(&client, &page, &code).unwrap_or_else(|_| panic!("no answer"));
            assert_eq!(page.status, 401, "{seen}: a used code: {page:?}");
        }
        let next = self.shown.last().unwrap() + 1;
        if next <= totp::now() / totp::STEP + 1 {
            let next = next.max(totp::now() / totp::STEP);
            let code = totp::code_at(&self.secret, next * totp::STEP);
            page = submit_code(&client, &page, &code).unwrap_or_else(|_| panic!("no answer"));
            assert_eq!(page.status, 303, "{seen}: an unused code: {page:?}");
        }
    }

    fn code_page(&self, gateway: &Gateway, client: &Client, word: &str) -> Answer {
        let page = password(client, gateway, &self.user, word);
        page.unwrap_or_else(|_| panic!("no answer"))
    }

    fn check_recovery(&self, gateway: &Gateway, word: &str, seen: &str) {
        let client = Client::at(gateway, &format!("127.5.{}", self.place()));
        let uses = |code: &str| {
            let answer = recovery(&client, gateway, &self.user, word, code);
            answer.unwrap_or_else(|_| panic!("no answer")).status
        };
        let first = uses(&self.recovery[0]);
        if self.acknowledges(Step::Recover) {
            assert_eq!(first, 401, "{seen}: a used recovery code");
        } else if !self.has_begun(Step::Recover) {
            assert_eq!(first, 303, "{seen}: an unused recovery code");
        }
        assert_eq!(uses(&self.recovery[0]), 401, "{seen}: the second use");
        assert_eq!(uses(&self.recovery[1]), 303, "{seen}: the next code");
    }
}

fn password(client: &Client, gateway: &Gateway, user: &str, word: &str) -> Result<Answer, Cut> {
    let page = must(client.try_open(&at(gateway, "/signin"))?, 200);
    let mut form = page.form("password");
    form.set("username", user);
    form.set("password", word);
    submit(client, &page, &form)
}

/// Sends a form; again where a busy machine found no place to compare the password.
fn submit(client: &Client, page: &Answer, form: &Form) -> Result<Answer, Cut> {
    wait::until(Duration::from_secs(60), "a place for a password", || {
        let sent = client.try_submit(page, form);
        let busy = sent.as_ref().is_ok_and(|answer| answer.status == 503);
        (!busy).then(|| Ok(sent?))
    })
}

fn submit_code(client: &Client, page: &Answer, code: &str) -> Result<Answer, Cut> {
    let mut form = page.form("code");
    form.set("code", code);
    Ok(client.try_submit(page, &form)?)
}

fn recovery(
    client: &Client,
    gateway: &Gateway,
    user: &str,
    word: &str,
    code: &str,
) -> Result<Answer, Cut> {
    password(client, gateway, user, word)?;
    let page = must(client.try_open(&at(gateway, "/signin/recovery"))?, 200);
    let mut form = page.form("recovery");
    form.set("recovery", code);
    Ok(client.try_submit(&page, &form)?)
}

/// A number below `most` that no run repeats.
fn drawn(most: usize) -> usize {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let mixed = u64::from(now.subsec_nanos()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    usize::try_from(mixed).unwrap() % most
}

#[test]
fn a_power_cut_at_any_point_of_a_journey_takes_nothing_back_and_revives_nothing() {
    let mut gateway = Gateway::demo();
    gateway.stop();
    let light = "[identity]\nargon2 = { memory-kib = 19456, passes = 2 }\n";
    gateway.edit_config(|text| *text = text.replace("[identity]\n", light));
    gateway.start_again();
    let first = drawn(STEPS.len() + 1);
    for cut in 0..cuts() {
        // each step is met in turn, at a moment of its own
        let (step, delay) = ((first + cut) % (STEPS.len() + 1), drawn(120));
        let mut journeys: Vec<_> = (0..AT_ONCE)
            .map(|n| Journey::new(&gateway, cut, n))
            .collect();
        let delay = Duration::from_millis(u64::try_from(delay).unwrap());
        println!("cut {cut}: {delay:?} after step {step}");
        run_until_cut(&gateway, &mut journeys, step, delay);
        gateway.kill();
        gateway.start_again();
        gateway.must(&["audit", "verify"]);
        thread::scope(|scope| {
            for journey in &journeys {
                scope.spawn(|| journey.check(&gateway));
            }
        });
    }
}

/// Lets all of them go and cuts the gateway off when the first begins the given step.
fn run_until_cut(gateway: &Gateway, journeys: &mut [Journey], step: usize, delay: Duration) {
    let (cut, reached) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for journey in journeys {
            let (cut, reached) = (&cut, &reached);
            scope.spawn(move || {
                let ended = journey.go(gateway, reached);
                reached.fetch_max(STEPS.len() + 1, Ordering::SeqCst);
                let expected = ended.is_ok() || cut.load(Ordering::SeqCst);
                let said = ended.err().map(|Cut(said)| said);
                assert!(expected, "cut off too early: {said:?}");
            });
        }
        wait::until_true(Duration::from_secs(60), "a journey gets so far", || {
            reached.load(Ordering::SeqCst) >= step
        });
        thread::sleep(delay);
        cut.store(true, Ordering::SeqCst);
        gateway.signal(nix::sys::signal::Signal::SIGKILL);
    });
}
