//! What the language means, case by case.

use policy::{
    Context, Device, HostPattern, Outcome, Policy, Proto, QueryText, SignInDoor, Sources, Subject,
    canon,
};

fn load(text: &str) -> Policy {
    let mut sources = Sources::new();
    sources.add("policy.toml", format!("postern = 1\n{text}"));
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{}", lines.join("\n"))
    });
    loaded.policy
}

/// Asks as `user` (empty: nobody) with a fresh code; gives `outcome rule`.
fn ask(policy: &Policy, user: &str, from: &str, to: &str) -> String {
    let text = QueryText {
        user: (!user.is_empty()).then(|| user.to_owned()),
        from: Some(from.to_owned()),
        to: to.to_owned(),
        ..QueryText::default()
    };
    let explained = policy.explain(&policy.query(&text).unwrap());
    format!("{} {}", explained.outcome, explained.rule)
}

const AREAS: &str = r#"
[zone]
office = "192.168.1.0/24"
[group]
it = ["nadia"]
hr = ["ines"]
staff = ["@it", "@hr"]
[app.web]
host = ["web.example", "*.web.example"]
upstream = "https://10.0.0.1:8443"
allow.staff = { who = "@staff" }
[app.web."/admin"]
allow.it = { who = "@it" }
[app.web."=/admin/health"]
allow.hr = { who = "@hr", methods = "read" }
[app.web."/(x"]
allow.it = { who = "@it" }
[app.web."/u/*/keys"]
allow.it = { who = "@it" }
[app.web."/u/me"]
allow.hr = { who = "@hr" }
[app.web."/u/me/keys"]
allow.hr = { who = "@hr", methods = "PUT" }
"#;

#[test]
fn an_area_replaces_its_parent_and_whole_segments_count() {
    let policy = load(AREAS);
    for (user, path, want) in [
        ("ines", "/", "allow app.web#staff"),
        ("ines", "/administrator", "allow app.web#staff"),
        ("ines", "/admin", "deny builtin.default"),
        ("ines", "/admin/", "deny builtin.default"),
        ("ines", "/x/../admin", "deny builtin.default"),
        ("ines", "//admin", "deny builtin.default"),
        ("ines", "/%61dmin", "deny builtin.default"),
        ("nadia", "/admin/users", "allow app.web/admin#it"),
        ("ines", "/admin/health", "allow app.web=/admin/health#hr"),
        ("ines", "/admin/health/", "deny builtin.default"),
        ("nadia", "/admin/health", "deny builtin.default"),
        ("ines", "/%28x", "deny builtin.default"),
        ("ines", "/(x", "deny builtin.default"),
        ("nadia", "/%28x", "allow app.web/(x#it"),
        ("ines", "/u/7/keys", "deny builtin.default"),
        ("nadia", "/u/7/keys", "allow app.web/u/*/keys#it"),
        ("ines", "/u//keys", "allow app.web#staff"),
        ("ines", "/u/me/name", "allow app.web/u/me#hr"),
        ("nadia", "/u/me/keys", "deny builtin.default"),
        ("ines", "/admin%2Fusers", "deny builtin.bad-request"),
    ] {
        let to = format!("https://web.example{path}");
        assert_eq!(ask(&policy, user, "internet", &to), want, "{user} {path}");
    }
}

#[test]
fn a_star_host_is_exactly_one_label() {
    let policy = load(AREAS);
    for (host, want) in [
        ("web.example", "allow app.web#staff"),
        ("WEB.example.", "allow app.web#staff"),
        ("a.web.example", "allow app.web#staff"),
        ("a.b.web.example", "deny builtin.no-such-app"),
        ("xweb.example", "deny builtin.no-such-app"),
        ("example", "deny builtin.no-such-app"),
    ] {
        assert_eq!(
            ask(&policy, "ines", "internet", &format!("https://{host}/")),
            want,
            "{host}"
        );
    }
    let (_, app) = policy.apps().next().unwrap();
    assert_eq!(app.exact_hosts().collect::<Vec<_>>(), ["web.example"]);
    assert_eq!(
        app.hosts.last(),
        Some(&HostPattern::AnyLabel("web.example".to_owned()))
    );
    let to = app.upstreams().next().unwrap().to_string();
    assert_eq!(to, "https://10.0.0.1:8443");
}

#[test]
fn get_implies_head_and_nothing_implies_options() {
    let policy = load(
        "[group]\nit = [\"nadia\"]\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\", methods = \"GET\" }\n[app.b]\nhost = \"b.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\" }\nallow.dav = { who = \"@it\", methods = \"PROPFIND\" }\n",
    );
    for (method, a, b) in [
        ("GET", "allow", "allow"),
        ("HEAD", "allow", "allow"),
        ("OPTIONS", "deny", "allow"),
        ("POST", "deny", "allow"),
        ("get", "deny", "deny"),
        ("PROPFIND", "deny", "allow"),
        ("BREW", "deny", "deny"),
        ("TRACE", "deny", "deny"),
        ("CONNECT", "deny", "deny"),
    ] {
        for (host, want) in [("a", a), ("b", b)] {
            let got = ask(
                &policy,
                "nadia",
                "internet",
                &format!("{method} https://{host}.example/"),
            );
            assert!(got.starts_with(want), "{method} {host}: {got}");
        }
    }
}

#[test]
fn login_is_offered_only_where_it_can_lead_to_allow() {
    let policy = load(
        "[zone]\noffice = \"10.0.0.0/8\"\n[group]\nit = [\"nadia\"]\nhr = [\"ines\"]\n[deny.hr-outside]\nwho = \"@hr\"\nfrom = \"internet\"\nreason = \"r\"\n[deny.old]\ndevice-not = \"known\"\non = \"app.c\"\nreason = \"r\"\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\nallow.hr = { who = \"@hr\" }\n[app.b]\nhost = \"b.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\", from = \"office\" }\n[app.c]\nhost = \"c.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\" }\n",
    );
    for (from, to, want) in [
        ("office", "https://a.example/", "login app.a#hr"),
        ("internet", "https://a.example/", "deny builtin.default"),
        ("office", "https://b.example/", "login app.b#it"),
        ("internet", "https://b.example/", "deny builtin.default"),
        ("office", "https://c.example/", "deny deny.old"),
    ] {
        assert_eq!(ask(&policy, "", from, to), want, "{from} {to}");
    }
}

#[test]
fn a_disabled_person_is_nobody() {
    let mut sources = Sources::new();
    sources.add("policy.toml", "postern = 1\n[group]\nit = [\"nadia\", \"max\"]\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\nallow.max = { who = \"max\" }\n[app.b]\nhost = \"b.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\" }\n".to_owned());
    sources.add("users.toml", "postern = 1\n[user.nadia]\n[user.max]\nname = \"Max\"\ndisabled = true\nattributes = { team = \"x\" }\n".to_owned());
    let policy = policy::load(&sources).unwrap().policy;
    assert!(policy.subject("max").is_none() && policy.subject("nobody").is_none());
    assert!(policy.subject("nadia").is_some());
    let max = policy.user("max").unwrap();
    assert!(max.disabled && max.groups.iter().any(|group| &**group == "it"));
    assert_eq!(max.attributes.get("team").map(String::as_str), Some("x"));
    assert_eq!(
        ask(&policy, "max", "internet", "https://b.example/"),
        "deny builtin.default"
    );
    assert_eq!(
        ask(&policy, "nadia", "internet", "https://b.example/"),
        "allow app.b#it"
    );
    // only the disabled one could go there, so nobody is sent to sign in
    assert_eq!(
        ask(&policy, "", "internet", "https://a.example/"),
        "deny builtin.default"
    );
    assert_eq!(
        ask(&policy, "", "internet", "https://b.example/"),
        "login app.b#it"
    );
}

#[test]
fn flows_go_to_the_longest_prefix_then_the_narrowest_ports() {
    let policy = load(
        "[group]\nit = [\"nadia\"]\n[net.wide]\nto = \"10.0.0.0/8\"\nport = \"1-65535/tcp\"\nallow.it = { who = \"@it\" }\n[net.host]\nto = \"10.0.0.5\"\nport = [\"20-30/tcp\", \"icmp\"]\nallow.it = { who = \"@it\" }\n[net.ssh]\nto = \"10.0.0.5\"\nport = \"22/tcp\"\n",
    );
    for (to, want) in [
        ("tcp://10.0.0.5:22", "deny builtin.default"),
        ("tcp://10.0.0.5:23", "allow net.host#it"),
        ("tcp://10.0.0.5:80", "allow net.wide#it"),
        ("tcp://[::ffff:10.0.0.5]:23", "allow net.host#it"),
        ("icmp://10.0.0.5", "allow net.host#it"),
        ("udp://10.0.0.5:23", "deny builtin.no-such-service"),
        ("tcp://11.0.0.5:22", "deny builtin.no-such-service"),
    ] {
        assert_eq!(ask(&policy, "nadia", "tunnel", to), want, "{to}");
    }
}

#[test]
fn zones_overlap_and_internet_is_what_is_left() {
    let policy = load("[zone]\na = \"10.0.0.0/8\"\nb = [\"10.1.0.0/16\", \"2001:db8::/32\"]\n");
    let names = |ip: &str, tunnel| {
        let class = policy.zone(ip.parse().unwrap(), tunnel);
        policy.zone_names(class).join(" ")
    };
    assert_eq!(names("9.255.255.255", false), "internet");
    assert_eq!(names("10.0.0.0", false), "a");
    assert_eq!(names("10.1.2.3", false), "a b");
    assert_eq!(names("::ffff:10.1.2.3", false), "a b");
    assert_eq!(names("10.255.255.255", false), "a");
    assert_eq!(names("11.0.0.0", false), "internet");
    assert_eq!(names("2001:db8::1", false), "b");
    assert_eq!(names("2001:db9::", false), "internet");
    assert_eq!(names("10.1.2.3", true), "tunnel");
}

#[test]
fn bits_and_classes_of_another_policy_open_nothing() {
    let (policy, other) = (load(AREAS), load("[group]\nit = [\"nadia\"]\n"));
    let host = canon::host("web.example").unwrap();
    let path = canon::path(b"/").unwrap();
    let ip = "10.0.0.1".parse().unwrap();
    let decide = |bits: &policy::SubjectBits, zone| {
        let subject = Subject {
            bits: Some(bits),
            mfa_age: Some(0),
            login_age: 0,
            device: Device::Any,
        };
        policy
            .decide_http(
                &subject,
                &host,
                &path,
                "GET",
                &Context::new(zone, policy::TimeClass::default()),
            )
            .outcome
    };
    let (own, foreign) = (
        policy.subject("nadia").unwrap(),
        other.subject("nadia").unwrap(),
    );
    assert_eq!(decide(&own, policy.zone(ip, false)), Outcome::Allow);
    assert_eq!(decide(&foreign, policy.zone(ip, false)), Outcome::Deny);
    assert_eq!(decide(&own, other.zone(ip, false)), Outcome::Deny);
}

#[test]
fn obligations_and_expiry_follow_the_rule_that_allowed() {
    let policy = load(
        "[group]\nit = [\"nadia\"]\n[default]\nlogin = \"10h\"\nidle = \"30m\"\nsessions = 3\nhide = true\nrate = \"std\"\n[rate]\nstd = \"20/s burst 60\"\n[tunnel]\nsign-in = \"web\"\nreprove = { moved = true, after = \"8h\" }\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\", mfa = \"15m\" }\n",
    );
    assert!(policy.hide());
    assert_eq!(policy.tunnel_sign_in(), SignInDoor::Web);
    let reprove = policy.tunnel_reprove();
    assert_eq!((reprove.moved, reprove.after), (true, Some(28_800)));
    assert_eq!((reprove.idle, policy.session_extend()), (None, None));
    assert_eq!(policy.default_idle().unwrap().as_secs(), 1800);
    assert_eq!(policy.default_login().as_secs(), 36_000);
    assert_eq!(policy.default_sessions(), Some(3));
    let bits = policy.subject("nadia").unwrap();
    let host = canon::host("a.example").unwrap();
    let path = canon::path(b"/").unwrap();
    let context = Context::new(
        policy.zone("10.0.0.1".parse().unwrap(), false),
        policy::TimeClass::default(),
    );
    let decide = |mfa_age, login_age| {
        let subject = Subject {
            bits: Some(&bits),
            mfa_age,
            login_age,
            device: Device::Any,
        };
        policy.decide_http(&subject, &host, &path, "GET", &context)
    };
    let allowed = decide(Some(600), 700);
    assert_eq!(
        (allowed.outcome, allowed.expires_in),
        (Outcome::Allow, Some(301))
    );
    assert_eq!(decide(Some(900), 900).expires_in, Some(1));
    assert_eq!(decide(Some(901), 901).outcome, Outcome::StepUp);
    assert_eq!(decide(None, 0).outcome, Outcome::StepUp);
    assert_eq!(decide(Some(0), 35_999).expires_in, Some(2));
    assert_eq!(decide(Some(0), 36_001).outcome, Outcome::Login);
    let owed = policy.obligations(allowed.obligations);
    let rate = owed.rate.as_ref().unwrap();
    assert_eq!(
        (&*rate.name, rate.count, rate.per.as_secs(), rate.burst),
        ("std", 20, 1, 60)
    );
    assert_eq!(owed.mfa_max.unwrap().as_secs(), 900);
    assert!(!owed.public);
    let rule = policy.rule(allowed.rule);
    assert_eq!(
        (&*rule.id, &*rule.file, rule.line),
        ("app.a#it", "policy.toml", 18)
    );
    let flow = Subject {
        bits: Some(&bits),
        mfa_age: None,
        login_age: 0,
        device: Device::Any,
    };
    let refused = policy.decide_flow(&flow, "10.0.0.1".parse().unwrap(), 22, Proto::Tcp, &context);
    assert_eq!(&*policy.rule(refused.rule).id, "builtin.no-such-service");
}

#[test]
fn a_public_probe_puts_no_app_on_a_strangers_list() {
    let text = "[rate]\nslow = \"1/s\"\n[group]\nit = [\"nadia\"]\nhr = [\"ines\"]\n[app.a]\nhost = \"a.example\"\nupstream = \"http://h\"\n[app.a.\"/x\"]\nallow.it = { who = \"@it\", mfa = \"1m\" }\n[app.a.\"=/health\"]\npublic = \"p\"\nallow.any = { who = \"anyone\", rate = \"slow\" }\n";
    let policy = load(text);
    let (app, _) = policy.apps().next().unwrap();
    let context = Context::new(
        policy.zone("10.0.0.1".parse().unwrap(), false),
        policy::TimeClass::default(),
    );
    let opens = |user: &str| {
        let bits = policy.subject(user);
        let subject = Subject {
            bits: bits.as_ref(),
            mfa_age: Some(100),
            login_age: 0,
            device: Device::Any,
        };
        policy.opens(&subject, app, &context)
    };
    assert_eq!(opens("nadia"), Outcome::StepUp);
    assert_eq!(opens("ines"), Outcome::Deny);
    assert_eq!(opens(""), Outcome::Login);
    let open = load(&text.replace(
        "[app.a.\"/x\"]",
        "public = \"all\"\nallow.any = { who = \"anyone\", rate = \"slow\" }\n[app.a.\"/x\"]",
    ));
    let zone = open.zone("10.0.0.1".parse().unwrap(), false);
    let nobody = Subject {
        bits: None,
        mfa_age: None,
        login_age: 0,
        device: Device::Any,
    };
    let (app, _) = open.apps().next().unwrap();
    assert_eq!(
        open.opens(
            &nobody,
            app,
            &Context::new(zone, policy::TimeClass::default())
        ),
        Outcome::Allow
    );
}

#[test]
fn explain_says_what_and_why_in_a_fixed_shape() {
    let policy = load(AREAS);
    let text = QueryText {
        user: Some("ines".to_owned()),
        to: "https://web.example/admin".to_owned(),
        ..QueryText::default()
    };
    let explained = policy.explain(&policy.query(&text).unwrap());
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "outcome": "deny", "rule": "builtin.default", "app": "app.web", "area": "app.web/admin",
            "at": "policy.toml:13", "guards": [], "guards_passed": [],
            "allows": [{"rule": "app.web/admin#it", "ok": false, "why": "who: ines is not in @it (nadia)", "holds": ["login", "mfa"]}],
            "headers": null, "justify": null, "shadow": null,
            "would_allow": ["being in @it"],
        })
    );
    let text = explained.to_text();
    for part in [
        "DENY  builtin.default",
        "app.web/admin",
        "`/` names ines (#staff), but /admin replaces it",
        "would be allowed by:",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json = |to: &str| {
        let text = QueryText {
            to: to.to_owned(),
            ..QueryText::default()
        };
        serde_json::to_value(policy.explain(&policy.query(&text).unwrap())).unwrap()
    };
    assert_eq!(
        json("https://nowhere.example/")["app"],
        serde_json::Value::Null
    );
    assert_eq!(json("https://web.example/")["area"], "app.web/");
}

const PRINTER: &str = "[group]\nstaff = [\"nadia\", \"plotter\"]\n[net.print]\nto = \"10.0.0.9\"\nport = \"631/tcp\"\nallow.staff = { who = \"@staff\" }\n[net.ssh]\nto = \"10.0.0.9\"\nport = \"22/tcp\"\nallow.staff = { who = \"@staff\" }\n";

#[test]
fn only_the_device_that_is_named_needs_no_sign_in_and_only_for_the_net_that_is_named() {
    let policy = load(&format!(
        "{PRINTER}[tunnel.headless]\n\"plotter/hall\" = \"net.print\"\n"
    ));
    let host = "10.0.0.9".parse().unwrap();
    let reaches =
        |user, device, port| policy.headless_reaches((user, device), host, port, Proto::Tcp);
    assert!(policy.is_headless("plotter", "hall"));
    assert!(reaches("plotter", "hall", 631));
    assert!(!reaches("plotter", "hall", 22));
    assert!(!reaches("plotter", "lobby", 631));
    assert!(!reaches("nadia", "hall", 631));
    assert!(!reaches("nobody", "hall", 631));
    assert!(!policy.is_headless("plotter", "*"));
}

#[test]
fn a_star_is_every_device_of_that_user_and_nothing_is_exempt_by_default() {
    let policy = load(&format!(
        "{PRINTER}[tunnel.headless]\n\"plotter/*\" = [\"net.print\", \"net.ssh\"]\n"
    ));
    assert!(policy.is_headless("plotter", "lobby"));
    assert!(!policy.is_headless("nadia", "lobby"));
    assert!(!load(PRINTER).is_headless("plotter", "lobby"));
}

#[test]
fn a_new_exemption_widens_and_one_that_goes_narrows() {
    let (none, some) = (
        load(PRINTER),
        load(&format!(
            "{PRINTER}[tunnel.headless]\n\"plotter/hall\" = \"net.print\"\n"
        )),
    );
    let wider = policy::diff(&none, &some);
    assert!(wider.widens);
    let change = wider.changes.first().unwrap();
    assert_eq!(change.resource, "net.print");
    assert_eq!(change.contexts, ["without a sign-in, through plotter/hall"]);
    assert!(change.line > 0);
    let narrower = policy::diff(&some, &none);
    assert!(!narrower.widens && narrower.changes.len() == 1);
}

#[test]
fn what_closes_devices_and_needs_no_sign_in_is_written_out_as_it_was_read() {
    let policy = load(&format!(
        "{PRINTER}[default]\nextend = \"90m\"\n[tunnel]\nreprove = {{ moved = true, idle = \"30m\" }}\n[tunnel.headless]\n\"plotter/in the \\\"hall\\\"\" = \"net.print\"\n\"plotter/*\" = \"net.ssh\"\n"
    ));
    let written = policy.canonical();
    let text = written
        .files()
        .map(|file| written.text(file))
        .collect::<String>();
    assert!(
        text.contains("reprove = { moved = true, idle = \"30m\" }"),
        "{text}"
    );
    let again = policy::load(&written).unwrap().policy;
    assert_eq!(again.digest(), policy.digest(), "{text}");
    assert_ne!(load(PRINTER).digest(), policy.digest());
}

#[test]
fn which_names_the_tunnel_looks_up_is_written_out_as_it_was_read() {
    let policy = load(
        "[tunnel]\ndns = { others = \"refuse\", quarantine = \"sign-in\", refuse = [\"Ads.Example.\", \"a.example\"] }\n",
    );
    let dns = policy.tunnel_dns();
    assert_eq!(dns.others, policy::DnsOthers::Refuse);
    assert_eq!(dns.quarantine, policy::DnsQuarantine::SignIn);
    assert_eq!(dns.refuse, ["a.example", "ads.example"]);
    let written = policy.canonical();
    let again = policy::load(&written).unwrap().policy;
    assert_eq!(again.tunnel_dns(), dns);
    assert_eq!(again.digest(), policy.digest());
    let silent = load("[tunnel]\nsign-in = \"tunnel\"\n");
    assert!(silent.tunnel_dns().is_nothing());
    assert_ne!(silent.digest(), policy.digest());
}
