//! Random tenants beside a random root, and the law that one never touches another.

use proptest::prelude::*;

use super::laws::{REQUESTS, cases, remake, some_guard};
use super::tests::compiled;
use super::world::{Dice, On, USERS, allows, request_of, sections, settle};
use super::{Request, Target};
use crate::compile::Policy;
use crate::decide::Outcome;
use crate::resolve::tenants::owner;
use crate::source::Sources;

const HOSTS: [&str; 3] = ["acme.example", "x.acme.example", "durand.example"];

/// A file below the policy folder: its path and text.
pub(crate) type Below = (String, String);

/// What the root says of its tenants and makes of their names.
pub(crate) fn root(dice: &mut Dice) -> Vec<String> {
    let mut parts = vec![
        "[tenant.acme]\ndir = \"tenants/acme\"\ndomains = [\"acme.example\", \"*.acme.example\"]\nquota.allows = 99\n".to_owned(),
        "[tenant.durand]\ndir = \"t/durand\"\ndomains = \"durand.example\"\n".to_owned(),
        "[zone-file]\nblk = \"lists/blk.txt\"\n".to_owned(),
        format!("[deny.blk]\nfrom = \"blk\"\nreason = \"r\"\nshadow = {}\n", dice.chance(20)),
    ];
    if dice.chance(50) {
        parts.push("[deny.acme]\nwho = \"@acme/g0\"\nfrom = [\"tunnel\", \"acme/z0\"]\non = [\"acme/app.t0\", \"admin\"]\nreason = \"r\"\n".to_owned());
    }
    if dice.chance(50) {
        parts.push("[deny.every]\nwho = [\"any-user\", \"!@g0\"]\nfrom = \"internet\"\ndevice-not = \"known\"\nreason = \"r\"\n".to_owned());
    }
    if dice.chance(50) {
        parts.push("[app.ten]\nhost = \"ten.example\"\nupstream = \"http://h\"\nallow.r0 = { who = [\"@durand/any-user\", \"@acme/g1\"] }\n".to_owned());
    }
    parts
}

pub(crate) fn list(dice: &mut Dice) -> Below {
    let lines = [
        "10.1.2.0/24 # some",
        "192.0.2.0/24",
        "2001:db8::/33",
        "\n# none",
        "10.0.0.1",
    ];
    let text: String = (0..6).map(|_| format!("{}\n", dice.pick(&lines))).collect();
    (
        "lists/blk.txt".to_owned(),
        format!("198.51.100.0/24\n{text}"),
    )
}

/// The files of one tenant. Its names are those of the root, and mean its own things.
pub(crate) fn files(dice: &mut Dice, tenant: &str) -> Vec<Below> {
    let dir = if tenant == "acme" {
        "tenants/acme"
    } else {
        "t/durand"
    };
    let own = format!("{tenant}0");
    let mut people: Vec<&str> = USERS.to_vec();
    people.extend(["@root/g0", "@root/g2"]);
    if dice.chance(60) {
        people.push(&own);
    }
    let mut text = format!(
        "postern = 1\n[group-optional]\ng0 = {}\ng1 = {}\ng2 = [\"@g0\", {:?}]\ng3 = []\n",
        dice.some(&people, 2),
        dice.some(&people, 2),
        dice.pick(&people),
    );
    let nets = [
        "10.1.0.0/16",
        "192.0.2.0/25",
        "0.0.0.0/0",
        "2001:db8::/31",
        "10.1.2.3",
    ];
    text.push_str(&format!(
        "[zone]\nz0 = {}\nz1 = {}\nz2 = {}\n",
        dice.some(&nets, 1),
        dice.some(&nets, 1),
        dice.some(&nets, 1),
    ));
    let times = ["07:00-21:00", "22:00-03:30", "00:00-12:00"];
    for at in 0..3 {
        text.push_str(&format!(
            "[schedule.s{at}]\ntime = {:?}\ntz = \"Asia/Tokyo\"\n",
            dice.pick(&times)
        ));
    }
    if dice.chance(40) {
        text.push_str("[default]\nmfa = \"none\"\nrate = \"t\"\n");
        text.push_str("[rate]\nt = \"3/s\"\n");
    }
    text.push_str("[headers]\nh0 = { X-Own = \"{user}\" }\nh2 = { X-Groups = \"{groups}\" }\n");
    for at in 0..dice.roll(3) {
        let who = dice.pick(&["@g1", "any-user", "u1", "@root/g1"]);
        text.push_str(&format!("[deny.d{at}]\nreason = \"r\"\nwho = {who:?}\n"));
        if dice.chance(70) {
            let from = ["tunnel", "internet", "z0", "root/internet", "root/z1"];
            text.push_str(&format!("from = {}\n", dice.some(&from, 1)));
        }
        if dice.chance(30) {
            text.push_str("unless-when = [\"s0\", \"root/s1\"]\n");
        }
    }
    let host = match tenant {
        "acme" => dice.pick(&[
            "[\"acme.example\", \"*.acme.example\"]",
            "\"x.acme.example\"",
            "\"acme.example\"",
        ]),
        _ => "\"durand.example\"",
    };
    text.push_str(&format!(
        "[app.t0]\nhost = {host}\nupstream = \"http://{tenant}\"\n{}",
        allows(dice, "@g0", On::Area)
    ));
    for area in ["/a", "=/a/b", "/b"] {
        if dice.chance(50) {
            text.push_str(&format!(
                "[app.t0.{area:?}]\n{}",
                allows(dice, "any-user", On::Area)
            ));
        }
    }
    let users = format!(
        "postern = 1\n[user.{own}]\ndisabled = {}\n",
        dice.chance(20)
    );
    vec![
        (format!("{dir}/policy.toml"), text),
        (format!("{dir}/users.toml"), users),
    ]
}

/// A request that is about a tenant as often as not.
pub(crate) fn aimed(dice: &mut Dice, request: Request) -> Request {
    let target = match request.target {
        Target::Http(_, path, method) if dice.chance(60) => {
            Target::Http(dice.pick(&HOSTS).to_owned(), path, method)
        }
        other @ (Target::Http(..) | Target::Flow(..) | Target::Admin(_)) => other,
    };
    let user = match dice.roll(6) {
        0 => Some("acme0".to_owned()),
        1 => Some("durand0".to_owned()),
        _ => request.user,
    };
    Request {
        user,
        target,
        ..request
    }
}

/// Two policies with the same root; the files of one tenant differ.
fn pair(seed: u64, changed: &str) -> (Policy, Policy) {
    let mut dice = Dice(seed);
    let mut parts = sections(&mut dice);
    parts.extend(root(&mut dice));
    let list = list(&mut dice);
    let mut below: Vec<Below> = Vec::new();
    let mut other: Vec<Below> = Vec::new();
    for tenant in ["acme", "durand"] {
        let own = files(&mut dice, tenant);
        let mut next = own.clone();
        if tenant == changed {
            next = files(&mut dice, tenant);
        }
        below.extend(own);
        other.extend(next);
    }
    below.push(list.clone());
    other.push(list);
    let load = |sources: &Sources| crate::load(sources).unwrap().policy;
    let first = settle(&mut parts, &below, &mut dice);
    let second = settle(&mut parts, &other, &mut dice);
    (load(&first), load(&second))
}

/// All that a decision says, in words.
fn answer(
    policy: &Policy,
    request: &Request,
) -> (Outcome, String, Option<(Outcome, String)>, String) {
    let decision = compiled(policy, request);
    let id = |rule| policy.rule(rule).id.to_string();
    let shadow = decision.shadow.map(|(outcome, rule)| (outcome, id(rule)));
    let duties = policy.obligations(decision.obligations);
    let headers = duties.headers.as_ref().map(|set| (&set.name, &set.fields));
    let proofs = (duties.mfa_max, duties.login_max, duties.public);
    let duties = format!(
        "{:?} {proofs:?} {headers:?} {:?}",
        duties.rate, decision.expires_in
    );
    (decision.outcome, id(decision.rule), shadow, duties)
}

/// An outcome with all that comes with it.
type Answer = (Outcome, String, Option<(Outcome, String)>, String);

/// Requests for hosts of `acme` by people who may sign in under both policies, with both answers.
fn answers(seed: u64, changed: &str) -> Vec<(Request, [Answer; 2])> {
    let (a, b) = pair(seed, changed);
    let mut dice = Dice(seed ^ 0x5151);
    let mut out = Vec::new();
    for _ in 0..1_600 {
        let request = request_of(&mut dice);
        let Target::Http(_, path, method) = &request.target else {
            continue;
        };
        let host = dice.pick(&HOSTS[..2]).to_owned();
        let target = Target::Http(host, path.clone(), method.clone());
        let request = aimed(
            &mut dice,
            Request {
                target: Target::Admin("GET".to_owned()),
                ..request.clone()
            },
        );
        let request = Request { target, ..request };
        let known = request
            .user
            .iter()
            .all(|name| a.subject(name).is_some() && b.subject(name).is_some());
        if known {
            let both = [answer(&a, &request), answer(&b, &request)];
            out.push((request, both));
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() * 2, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// Property 9: 64 pairs of worlds, 102,400 requests less those by people only one of them has.
    #[test]
    fn what_a_tenant_writes_changes_nothing_for_another(seed in any::<u64>()) {
        for (request, [before, after]) in answers(seed, "durand") {
            prop_assert_eq!(before, after, "{:?}", request);
        }
    }
}

/// The twin: what a tenant writes does change its own answers, so the comparison sees changes.
#[test]
fn what_a_tenant_writes_changes_its_own_answers() {
    let differ = |seed| {
        answers(seed, "acme")
            .iter()
            .filter(|(_, [a, b])| a != b)
            .count()
    };
    let all: usize = (0..20).map(differ).sum();
    assert!(all > 100, "{all}");
}

/// Property 9: of the root only its guards reach into a tenant. 102,400 requests.
#[test]
fn of_the_rules_of_the_root_only_guards_change_what_a_tenant_answers() {
    let mut changed = 0;
    for seed in 0..32 {
        let (policy, _) = pair(seed, "acme");
        let mut dice = Dice(seed ^ 0x3131);
        let mut bare = policy.ir.clone();
        bare.admin.clear();
        bare.nets.iter_mut().for_each(|net| net.allows.clear());
        for app in bare.apps.iter_mut().filter(|app| owner(&app.id).is_none()) {
            app.areas.iter_mut().for_each(|area| area.allows.clear());
        }
        let bare = remake(bare);
        let mut guarded = policy.ir.clone();
        guarded.guards.push(some_guard(&mut dice));
        let guarded = remake(guarded);
        for _ in 0..REQUESTS {
            let mut request = request_of(&mut dice);
            let path = match &request.target {
                Target::Http(_, path, _) => path.clone(),
                Target::Flow(..) | Target::Admin(_) => "/a".to_owned(),
            };
            let host = dice.pick(&HOSTS[..2]).to_owned();
            request.target = Target::Http(host, path, "GET".to_owned());
            request.user = dice.pick(&[Some("acme0".to_owned()), request.user.clone(), None]);
            let was = compiled(&policy, &request).outcome;
            assert_eq!(compiled(&bare, &request).outcome, was, "{seed} {request:?}");
            let now = compiled(&guarded, &request).outcome;
            assert!(now <= was, "{seed} {request:?}");
            changed += u32::from(now < was);
        }
    }
    assert!(
        changed > 1_000,
        "only {changed}: the guards do not reach in"
    );
}
