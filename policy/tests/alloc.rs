//! Deciding never allocates: the number of allocations of this thread does not move.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;

use policy::{Context, Device, Outcome, Proto, Sources, Subject, canon};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator cannot be written without it")]
// SAFETY: every call is passed on to the system's allocator as it came
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as promised by the caller
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TEXT: &str = r#"
postern = 1
[zone]
office = "10.0.0.0/8"
[group]
it = ["ann"]
staff = ["ann", "bob"]
[schedule.work]
days = "mon-fri"
time = "08:00-18:00"
tz = "Europe/Paris"
[admin]
allow.it = { who = "@it" }
[deny.lost]
who = "bob"
from = "internet"
reason = "device lost"
[net.ssh]
to = "10.9.0.0/16"
port = "22/tcp"
allow.it = { who = "@it", mfa = "15m" }
[app.web]
host = ["web.example", "*.web.example"]
upstream = "http://h"
allow.staff = { who = "@staff", when = "work" }
allow.it = { who = "@it", shadow = true }
[app.web."/admin"]
allow.it = { who = "@it", methods = ["GET", "PURGE"], mfa = "15m" }
[app.web."/a/*/c"]
allow.it = { who = "@it", from = "office" }
"#;

/// Runs `work` and returns its result with how often this thread allocated.
fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.get();
    let result = work();
    (result, COUNT.get() - before)
}

#[test]
fn deciding_never_allocates() {
    let mut sources = Sources::new();
    sources.add("policy.toml", TEXT.to_owned());
    let loaded = policy::load(&sources);
    let policy = loaded
        .unwrap_or_else(|d| panic!("{}: {}", sources.locate(&d[0].span), d[0].title))
        .policy;
    let subjects = [None, policy.subject("ann"), policy.subject("bob")];
    let hosts = ["web.example", "x.web.example", "none.example"].map(|h| canon::host(h).unwrap());
    let mut seen = [0; 4];
    let (_, allocations) = counted(|| {
        for ip in [[10, 1, 1, 1], [192, 0, 2, 1]].map(IpAddr::from) {
            let context = Context::new(policy.zone(ip, false), policy.tick(1_800_000_000));
            for bits in &subjects {
                for mfa_age in [None, Some(10), Some(100_000)] {
                    let subject = Subject {
                        bits: bits.as_ref(),
                        mfa_age,
                        login_age: 60,
                        device: Device::Known,
                    };
                    for host in &hosts {
                        for raw in ["/", "/admin/x.css?q=1", "/a/b/c", "/a/b/d", "/adm(in)/"] {
                            let path = canon::path(raw.as_bytes()).unwrap();
                            for method in ["GET", "POST", "PURGE", "BREW", "TRACE"] {
                                let d = policy.decide_http(&subject, host, &path, method, &context);
                                seen[d.outcome as usize] += 1;
                            }
                        }
                    }
                    let dst = IpAddr::from([10, 9, 0, 1]);
                    let flow = policy.decide_flow(&subject, dst, 22, Proto::Tcp, &context);
                    seen[flow.outcome as usize] += 1;
                    for method in ["GET", "POST", "BREW", "TRACE"] {
                        let d = policy.decide_admin(&subject, method, &context);
                        seen[d.outcome as usize] += 1;
                    }
                }
            }
        }
    });
    assert_eq!(allocations, 0);
    let all = [
        Outcome::Deny,
        Outcome::Login,
        Outcome::StepUp,
        Outcome::Allow,
    ];
    assert!(all.iter().all(|o| seen[*o as usize] > 0), "{seen:?}");
    let (host, allocations) = counted(|| canon::host("web.example").unwrap());
    assert!(allocations > 0, "{host}: the counter counts");
}
