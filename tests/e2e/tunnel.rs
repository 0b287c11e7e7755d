//! The tunnel with Debian's wireguard-go: quarantine, sign-in, permitted and forbidden services.
//! The gateway runs as `nobody`; three namespaces stand for the laptop, the edge and the office.

use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use postern_tests::curl::{Answer, host, origin};
use postern_tests::journal;
use postern_tests::office::{FORBIDDEN, NOBODY, OFFICE_NETWORK, Office, PERMITTED, echoes};
use postern_tests::wait;

fn is_the_app(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains("the recorder saw")
}

#[test]
fn before_sign_in_a_device_reaches_the_portal_and_dns_and_nothing_else() {
    let office = Office::new();
    let browser = office.browser();
    let portal = browser.follow(&office.gateway.facts.tunnel_portal);
    assert!(portal.body.contains("name=\"password\""), "{portal:?}");
    assert!(office.laptop.has_handshake());
    for name in ["gate.postern.internal", "app.gate.postern.internal"] {
        assert_eq!(
            look_up(&office, name),
            Some(office.tunnel_address()),
            "{name}"
        );
    }
    let app = browser.open(&office.tunnel_app());
    assert_eq!(app.status, 303, "{app:?}");
    let plain = browser.open("http://app.gate.postern.internal/");
    let target = plain.location().unwrap();
    assert_eq!(host(&target), host(&office.gateway.facts.tunnel_portal));
    for service in [PERMITTED, FORBIDDEN] {
        assert!(office.connect(service).is_err(), "{service}");
    }
    assert!(office.recorder.seen().is_empty());
    let record = journal::wait_for(&office.gateway, "flow-decided.1", |r| {
        r["outcome"] == "deny" && r.to_string().contains("10.78.0.2")
    });
    assert!(record["rule"].is_string() || record["reason"].is_string());
    assert!(record["device"].is_string(), "{record}");
    let status = device_state(&office);
    assert_eq!(status, "quarantine");
}

#[test]
fn a_laptop_that_knows_a_second_address_of_the_edge_is_answered_from_there() {
    let office = Office::everywhere("10.77.0.9");
    let browser = office.browser();
    let facts = &office.gateway.facts;
    let portal = browser.sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(portal.status, 200, "{portal:?}");
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "from the second address").unwrap());
}

#[test]
fn one_sign_in_opens_the_app_and_the_permitted_service() {
    let office = Office::new();
    let browser = office.browser();
    let facts = &office.gateway.facts;
    let portal = browser.sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(portal.status, 200, "{portal:?}");
    assert_eq!(device_state(&office), "open");
    let app = browser.follow(&office.tunnel_app());
    assert!(is_the_app(&app), "{app:?}");
    let forms = browser.history();
    let forms = forms
        .iter()
        .filter(|a| a.body.contains("name=\"password\""));
    assert_eq!(forms.count(), 1, "the first sign-in is the only one");
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "through the tunnel").unwrap());
    assert!(office.connect(FORBIDDEN).is_err());
    let allowed = journal::wait_for(&office.gateway, "flow-decided.1", |r| {
        r["outcome"] == "allow"
    });
    assert_eq!(allowed["rule"], "net.echo#demo");
    assert_eq!(allowed["user"], "demo");
    journal::wait_for(&office.gateway, "flow-decided.1", |r| {
        r["outcome"] == "deny" && r.to_string().contains("7001")
    });
    drop(stream);
    let ended = journal::wait_for(&office.gateway, "flow-ended.1", |_| true);
    assert_eq!(ended["user"], "demo");
    let both_ways = 2 * "through the tunnel".len();
    assert_eq!(ended["bytes"], both_ways, "{ended}");
}

#[test]
fn who_signs_in_through_the_device_of_somebody_else_opens_nothing_with_it() {
    let office = Office::new();
    let facts = &office.gateway.facts;
    let (own, other) = (office.browser(), office.browser());
    drop(other.sign_in(&facts.tunnel_portal, &facts.guest));
    assert_eq!(device_state(&office), "quarantine");
    assert!(!is_the_app(&other.follow(&office.tunnel_app())));
    assert!(office.connect(PERMITTED).is_err());

    // its person opens it, for herself
    drop(own.sign_in(&facts.tunnel_portal, &facts.demo));
    assert_eq!(device_state(&office), "open");
    assert!(is_the_app(&own.follow(&office.tunnel_app())));
    let refused = other.follow(&office.tunnel_app());
    assert_eq!(refused.status, 403, "{refused:?}");
    let record = journal::wait_for(&office.gateway, "access-decided.1", |r| {
        r["reason"] == "device-mismatch"
    });
    assert_eq!(record["user"], "guest");
    assert_eq!(record["device"], "d1");
    // at the web door it is nobody's device
    let people = "who = [\"demo\", \"guest\"] }";
    assert!(office.gateway.policy_text().contains(people));
    let web = office.web_browser();
    assert!(is_the_app(&web.sign_in(&facts.app, &facts.guest)));
}

#[test]
fn a_person_has_one_budget_over_both_doors_and_another_has_her_own() {
    let office = Office::new();
    let (gateway, facts) = (&office.gateway, &office.gateway.facts);
    let (tunnel, web, other) = (office.browser(), office.web_browser(), office.web_browser());
    drop(tunnel.sign_in(&facts.tunnel_portal, &facts.demo));
    assert!(is_the_app(&tunnel.follow(&office.tunnel_app())));
    assert!(is_the_app(&web.sign_in(&facts.app, &facts.demo)));
    assert!(is_the_app(&other.sign_in(&facts.app, &facts.guest)));
    let people = "who = [\"demo\", \"guest\"] }";
    let limited = people.replace(" }", ", rate = \"tiny\" }");
    let text = gateway.policy_text().replace(people, &limited);
    gateway.set_policy(&format!("{text}\n[rate]\ntiny = \"5/h\"\n"));
    let by_web = (0..12).map(|_| web.fetch(&facts.app).status);
    let by_web: Vec<u16> = by_web.collect();
    assert!(
        by_web.contains(&200) && by_web.ends_with(&[429]),
        "{by_web:?}"
    );
    assert_eq!(tunnel.fetch(&office.tunnel_app()).status, 429);
    assert!(is_the_app(&other.fetch(&facts.app)));
}

#[test]
fn after_sign_out_the_device_is_in_quarantine_again() {
    let office = Office::new();
    let browser = office.browser();
    let facts = &office.gateway.facts;
    let portal = browser.sign_in(&facts.tunnel_portal, &facts.demo);
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "open").unwrap());
    let forms = postern_tests::html::forms(&portal.body);
    let form = forms.iter().find(|f| f.action.ends_with("/signout"));
    let answer = browser.submit(&portal, form.unwrap());
    assert!(answer.status < 400, "{answer:?}");
    assert!(!echoes(&mut stream, "closed").unwrap_or(false));
    assert!(office.connect(PERMITTED).is_err());
    assert_eq!(browser.open(&office.tunnel_app()).status, 303);
    assert_eq!(device_state(&office), "quarantine");
}

#[test]
fn a_source_that_is_not_the_devices_own_is_dropped_and_recorded() {
    let office = Office::new();
    let browser = office.browser();
    let facts = &office.gateway.facts;
    browser.sign_in(&facts.tunnel_portal, &facts.demo);
    let spoofed: IpAddr = match office.tunnel_address() {
        IpAddr::V4(own) => {
            let [a, b, c, _] = own.octets();
            Ipv4Addr::new(a, b, c, 250).into()
        }
        IpAddr::V6(_) => panic!("the tunnel network is IPv4"),
    };
    let mut own = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut own, "own source").unwrap());
    let link = office.laptop.link.clone();
    office
        .outside
        .ip(&["addr", "add", &format!("{spoofed}/32"), "dev", &link]);
    office.outside.ip(&[
        "route",
        "replace",
        OFFICE_NETWORK,
        "dev",
        &link,
        "src",
        &spoofed.to_string(),
    ]);
    assert!(office.connect(PERMITTED).is_err());
    journal::wait_for(&office.gateway, "flow-decided.1", |r| {
        r["outcome"] == "deny" && r.to_string().contains("source")
    });
    assert!(echoes(&mut own, "still own source").unwrap());
}

#[test]
fn the_gateway_needs_no_privileges() {
    let office = Office::new();
    let pid = office.gateway.facts.pid;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(field("Uid:"), NOBODY.to_string());
    assert_eq!(u64::from_str_radix(&field("CapEff:"), 16), Ok(0));
    assert!(
        office
            .browser()
            .follow(&office.gateway.facts.tunnel_portal)
            .status
            < 400
    );
}

#[test]
fn a_revoked_device_is_silent() {
    let office = Office::new();
    let browser = office.browser();
    let portal = &office.gateway.facts.tunnel_portal;
    assert!(browser.follow(portal).status < 400);
    let devices = office.gateway.must(&["device", "list", "--json"]);
    let device = journal::records(&devices).remove(0);
    office
        .gateway
        .must(&["device", "revoke", device["id"].as_str().unwrap()]);
    let address = office.tunnel_address();
    let answer = browser.try_send(portal, &["--max-time", "2"]);
    assert!(answer.is_err(), "{answer:?}");
    let tcp = office
        .outside
        .enter(|| TcpStream::connect_timeout(&(address, 443).into(), Duration::from_secs(2)));
    assert!(tcp.is_err());
    assert_eq!(origin(portal), "https://gate.postern.internal");
}

fn device_state(office: &Office) -> String {
    let status = office.gateway.must(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let state = status["devices"][0]["state"].as_str();
    state.unwrap_or_else(|| panic!("{status}")).to_owned()
}

/// Asks the gateway's tunnel address for the A record of a name, as the laptop would.
fn look_up(office: &Office, name: &str) -> Option<IpAddr> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let to = (office.tunnel_address(), 53);
    let socket = office
        .outside
        .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    wait::until(Duration::from_secs(5), "an answer of the DNS", || {
        socket.send_to(&query, to).ok()?;
        let mut answer = [0; 512];
        let count = socket.recv(&mut answer).ok()?;
        let answer = &answer[..count];
        let records = u16::from_be_bytes([answer[6], answer[7]]);
        let last: [u8; 4] = answer[count - 4..].try_into().unwrap();
        Some((records == 1).then(|| IpAddr::from(last)))
    })
}
