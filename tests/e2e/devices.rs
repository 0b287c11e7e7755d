//! A person's own devices: keys made in a real browser, the file it shows run by Debian's
//! wireguard-go, and the end of a lost one from the phone.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postern_tests::apps;
use postern_tests::chrome::Chrome;
use postern_tests::curl::{Answer, Client};
use postern_tests::gateway::{Gateway, Person};
use postern_tests::html::{self, Form};
use postern_tests::journal;
use postern_tests::netns::{Namespace, join};
use postern_tests::office::{OFFICE_NETWORK, Office, PERMITTED, echoes};
use postern_tests::temp::Temp;
use postern_tests::wait;
use postern_tests::wireguard;
use serde_json::{Value, json};

const LIST: &str = "/account/devices";
const ADD: &str = "/account/devices/add";
const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// Keeps what the page sends and counts the key pairs WebCrypto made.
const WATCH: &str = r#"
    window.sent = [];
    window.pairs = 0;
    const ask = window.fetch;
    window.fetch = (...args) => { window.sent.push(String(args[1]?.body)); return ask(...args); };
    const make = crypto.subtle.generateKey;
    SubtleCrypto.prototype.generateKey = function (...args) {
        window.pairs += 1;
        return make.apply(this, args);
    };
"#;
/// As a browser whose WebCrypto has no X25519.
const WITHOUT_X25519: &str = "delete SubtleCrypto.prototype.generateKey;";

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

fn form_to(page: &Answer, action: &str) -> Form {
    let all = html::forms(&page.body);
    let found = all.into_iter().find(|f| f.action == action);
    found.unwrap_or_else(|| panic!("no form to {action} on {}:\n{}", page.url, page.body))
}

/// The form to `action` for one device.
fn form_of(page: &Answer, action: &str, device: &str) -> Form {
    let all = html::forms(&page.body);
    let own = |f: &Form| f.action == action && f.value("device") == Some(device);
    let found = all.into_iter().find(own);
    found.unwrap_or_else(|| panic!("no form to {action} for {device}:\n{}", page.body))
}

/// Gives password and code and returns the page they lead to.
fn confirm(client: &Client, gateway: &Gateway, person: &Person, path: &str) -> Answer {
    let page = client.follow(&at(gateway, path));
    let mut form = form_to(&page, "/account/confirm");
    form.set("password", &person.password);
    form.set("code", &person.code());
    client.follow_from(client.submit(&page, &form))
}

/// Signs in with a browser and goes to the form for another device.
fn open_form(chrome: &Chrome, gateway: &Gateway) {
    let demo = &gateway.facts.demo;
    chrome.open(&gateway.facts.portal);
    chrome.type_into("input[name=username]", &demo.user);
    chrome.type_into("input[name=password]", &format!("{}\n", demo.password));
    chrome.type_into("input[name=code]", &format!("{}\n", demo.code()));
    chrome.wait_for_text("Hello, demo");
    chrome.open(&at(gateway, ADD));
    chrome.type_into("input[name=password]", &demo.password);
    chrome.type_into("input[name=code]", &format!("{}\n", demo.code()));
    chrome.wait_for_text("Add a device");
}

/// What the page shows of a new device.
struct Shown {
    config: String,
    private: String,
    public: String,
}

/// Adds a device in the browser; the file it saves and the picture are the text it shows.
fn add(chrome: &Chrome, gateway: &Gateway, name: &str) -> Shown {
    let dir = Temp::new();
    chrome.save_into(dir.path());
    chrome.type_into("#name", &format!("{name}\n"));
    chrome.wait_for_text("The device is added");
    let text = |script: &str| {
        let text = chrome.run(script, &[]);
        text.as_str().unwrap().to_owned()
    };
    let config = text("return document.getElementById('config').textContent");
    chrome.click("#save");
    let file = dir.path().join("postern.conf");
    let saved = wait::until(LIMIT, "the file is saved", || {
        let text = fs::read_to_string(&file).ok()?;
        (!text.is_empty()).then_some(text)
    });
    assert_eq!(saved, config);
    let path = text("return document.querySelector('#qr path').getAttribute('d')");
    let side = text("return document.getElementById('qr').getAttribute('viewBox')");
    assert_eq!(decode(&side, &path), config, "the picture");

    apps::accept(&config).unwrap();
    let private = wireguard::Config::parse(&config).interface["PrivateKey"].clone();
    let public = public_of(&private);
    let sent = chrome.run("return window.sent.join()", &[]).to_string();
    let encoded = public.replace('+', "%2B").replace('/', "%2F");
    assert!(sent.contains(encoded.trim_end_matches('=')), "{sent}");
    let bare = private.trim_end_matches('=');
    assert!(!sent.contains(&bare.replace('+', "%2B").replace('/', "%2F")));
    let listed = device(gateway, name);
    assert_eq!(listed["public_key"], json!(public));
    assert_eq!(listed["user"], "demo");
    Shown {
        config,
        private,
        public,
    }
}

fn device(gateway: &Gateway, name: &str) -> Value {
    let devices = journal::records(&gateway.must(&["device", "list", "--json"]));
    let found = devices.iter().find(|d| d["name"] == name);
    found.unwrap_or_else(|| panic!("{devices:?}")).clone()
}

fn state(gateway: &Gateway, name: &str) -> String {
    let status: Value = serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    let devices = status["devices"].as_array().unwrap();
    let found = devices.iter().find(|d| d["name"] == name);
    found.unwrap()["state"].as_str().unwrap().to_owned()
}

/// Asks Debian's `wg` for the public key of a private one.
fn public_of(private: &str) -> String {
    let mut command = Command::new("wg");
    command
        .arg("pubkey")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{private}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Reads a QR code out of its path, drawn at four points a module.
fn decode(view_box: &str, path: &str) -> String {
    let side: usize = view_box.split(' ').nth(2).unwrap().parse().unwrap();
    let mut dark = vec![vec![false; side]; side];
    for run in path.split('M').skip(1) {
        let (place, rest) = run.split_once('h').unwrap();
        let (x, y) = place.split_once(' ').unwrap();
        let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
        let long: usize = rest.split('v').next().unwrap().parse().unwrap();
        dark[y][x..x + long].fill(true);
    }
    let scale = 4;
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(side * scale, side * scale, |x, y| {
            if dark[y / scale][x / scale] { 0 } else { 255 }
        });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}

/// A place outside with a client of its own, beside the laptop of the office.
struct Outside {
    client: wireguard::Client,
    namespace: Namespace,
}

impl Outside {
    fn connect(office: &Office, number: u8, config: &str) -> Self {
        let namespace = Namespace::new("dev");
        let (own, edge) = (format!("10.79.{number}.2"), format!("10.79.{number}.1"));
        join(
            &namespace,
            &format!("{own}/24"),
            &office.edge,
            &format!("{edge}/24"),
        );
        namespace.ip(&["route", "add", "10.77.0.0/24", "via", &edge]);
        let config = wireguard::Config::parse(config);
        let client = wireguard::Client::start(&namespace, config, &[OFFICE_NETWORK]);
        Self { client, namespace }
    }

    fn browser(&self, office: &Office) -> Client {
        let address = self.client.config.gateway();
        let resolve = [443, 80].map(|port| format!("*:{port}:{address}"));
        let root = &office.gateway.facts.ca_root;
        Client::with(root, &resolve, &self.namespace.wrap())
    }

    fn reach(&self, to: &str) -> std::io::Result<TcpStream> {
        let to = to.parse().unwrap();
        let limit = Duration::from_secs(2);
        self.namespace
            .enter(|| TcpStream::connect_timeout(&to, limit))
    }
}

#[test]
fn a_device_made_in_the_browser_connects_with_exactly_that_file_and_ends_from_the_phone() {
    let office = Office::new();
    let gateway = &office.gateway;
    let demo = &gateway.facts.demo;
    let chrome = Chrome::start_in(&office.edge, &gateway.facts.ca_root);
    chrome.run_before_pages(WATCH);
    open_form(&chrome, gateway);
    let work = add(&chrome, gateway, "work");
    assert_eq!(
        chrome.run("return window.pairs", &[]),
        json!(1),
        "by WebCrypto"
    );

    // Leaving loses the key: neither the way back nor the gateway has it.
    chrome.click("#kept");
    chrome.wait_for_text("Your devices");
    chrome.run("history.back()", &[]);
    chrome.wait_for_text("Add a device");
    let page = chrome.run("return document.documentElement.outerHTML", &[]);
    assert!(
        !page
            .to_string()
            .contains(work.private.trim_end_matches('='))
    );
    chrome.run_before_pages(WITHOUT_X25519);
    chrome.open(&at(gateway, ADD));
    let home = add(&chrome, gateway, "home");
    assert_eq!(
        chrome.run("return window.pairs", &[]),
        json!(0),
        "by the page"
    );
    assert_ne!(work.private, home.private);
    for private in [&work.private, &home.private] {
        assert!(
            !is_kept(gateway, private),
            "the gateway has the private key"
        );
    }
    assert!(
        is_kept(gateway, "device-added"),
        "the search finds what is there"
    );
    assert_ne!(work.public, home.public);

    let place = Outside::connect(&office, 1, &work.config);
    let browser = place.browser(&office);
    let portal = browser.follow(&gateway.facts.tunnel_portal);
    assert!(portal.body.contains("name=\"password\""), "{portal:?}");
    assert!(place.client.has_handshake());
    assert_eq!(state(gateway, "work"), "quarantine");
    assert!(place.reach(PERMITTED).is_err());
    let other = Outside::connect(&office, 2, &home.config);
    let closed = other.browser(&office).follow(&gateway.facts.tunnel_portal);
    assert!(closed.body.contains("name=\"password\""), "{closed:?}");

    browser.sign_in(&gateway.facts.tunnel_portal, demo);
    let app = browser.follow(&office.tunnel_app());
    assert!(app.body.contains("the recorder saw"), "{app:?}");
    assert_eq!(state(gateway, "work"), "open");
    let mut stream = place.reach(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "through the tunnel").unwrap());
    revoked_from_the_phone(&office, &place, stream);
    let closed = other.browser(&office).follow(&gateway.facts.tunnel_portal);
    assert!(closed.body.contains("name=\"password\""), "{closed:?}");
}

/// The other device of the same person stays; this one ends within a second, mid-transfer.
fn revoked_from_the_phone(office: &Office, place: &Outside, stream: TcpStream) {
    let gateway = &office.gateway;
    let phone = office.web_browser();
    phone.sign_in(&gateway.facts.portal, &gateway.facts.demo);
    let list = confirm(
        &phone,
        gateway,
        &gateway.facts.demo,
        "/account/devices/change",
    );
    assert!(list.body.contains("10.79.1.2"), "where it is: {list:?}");
    let id = device(gateway, "work")["id"].as_str().unwrap().to_owned();
    let form = form_of(&list, "/account/devices/revoke", &id);

    let blocks = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&blocks);
    let transfer = std::thread::spawn(move || last_echo(stream, &counter));
    wait::until_true(LIMIT, "the transfer runs", || {
        blocks.load(Ordering::Relaxed) > 20
    });
    let start = Instant::now();
    let done = phone.submit(&list, &form);
    let answered = Instant::now();
    assert_eq!(done.status, 303, "{done:?}");
    let (last, over) = transfer.join().unwrap();
    let took = last.saturating_duration_since(start);
    let mut out = std::io::stderr();
    writeln!(
        out,
        "last byte {:.1} ms after the form was sent, answer after {:.1} ms",
        took.as_secs_f64() * 1000.0,
        (answered - start).as_secs_f64() * 1000.0
    )
    .unwrap();
    assert!(over > start, "the transfer ran when the form was sent");
    assert!(took < SECOND, "{took:?}");
    assert!(
        last <= answered + Duration::from_millis(250),
        "after the answer nothing passes"
    );
    let ended = journal::wait_for(gateway, "flow-ended.1", |r| r["outcome"] == "cut");
    assert_eq!(ended["device"], json!(id));
    let record = journal::wait_for(gateway, "device-changed.1", |r| {
        journal::is(r, "reason", "device-revoked")
    });
    assert_eq!(
        (&record["user"], &record["device"]),
        (&json!("demo"), &json!(id))
    );
    assert!(record["source"].is_string() && record["request_id"].is_string());
    assert!(place.reach(PERMITTED).is_err());
    let silent = place.browser(office);
    let answer = silent.try_send(&gateway.facts.tunnel_portal, &["--max-time", "2"]);
    assert!(answer.is_err(), "{answer:?}");
    let portal = phone.follow(&gateway.facts.portal);
    assert!(
        portal.body.contains("a device of yours was revoked"),
        "{portal:?}"
    );
    assert!(portal.body.contains("a device for the tunnel was added"));
}

/// Sends and reads back without a pause until the flow ends or nothing comes for two seconds;
/// returns when the last byte came and when it was over.
fn last_echo(mut stream: TcpStream, blocks: &AtomicU64) -> (Instant, Instant) {
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let (block, mut back) = ([7; 4096], [0; 4096]);
    let mut last = Instant::now();
    while stream.write_all(&block).is_ok() && stream.read_exact(&mut back).is_ok() {
        last = Instant::now();
        blocks.fetch_add(1, Ordering::Relaxed);
    }
    (last, Instant::now())
}

/// Says whether a text stands in any file of the gateway's state.
fn is_kept(gateway: &Gateway, text: &str) -> bool {
    fn search(dir: &std::path::Path, text: &[u8]) -> bool {
        fs::read_dir(dir).unwrap().flatten().any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                return search(&path, text);
            }
            let bytes = fs::read(&path).unwrap_or_default();
            bytes.windows(text.len()).any(|w| w == text)
        })
    }
    search(&gateway.facts.data, text.as_bytes())
}

#[test]
fn the_pages_own_x25519_is_that_of_rfc_7748_of_wg_and_of_the_gateway() {
    let gateway = Gateway::demo();
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.run_before_pages(WATCH);
    open_form(&chrome, &gateway);
    let compute = |scalar: &str, point: &str| {
        let script =
            "const bytes = (hex) => Uint8Array.from(hex.match(/../g), (h) => parseInt(h, 16));
            const out = x25519(bytes(arguments[0]), bytes(arguments[1]));
            return Array.from(out, (b) => b.toString(16).padStart(2, '0')).join('')";
        let out = chrome.run(script, &[json!(scalar), json!(point)]);
        out.as_str().unwrap().to_owned()
    };
    let base = format!("09{}", "00".repeat(31));
    // RFC 7748 section 5.2.
    for (scalar, point, result) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        assert_eq!(compute(scalar, point), result);
    }
    let many = "let [k, u] = [BASE_POINT, BASE_POINT];
        for (let i = 0; i < 1000; i += 1) [k, u] = [x25519(k, u), k];
        return Array.from(k, (b) => b.toString(16).padStart(2, '0')).join('')";
    assert_eq!(
        chrome.run(many, &[]),
        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"
    );
    let hex = |base64: &str| {
        let bytes = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
        data_encoding::HEXLOWER.encode(&bytes)
    };
    let made = gateway.must(&["device", "add", "demo", "desk", "--generate"]);
    let private = wireguard::Config::parse(&made).interface["PrivateKey"].clone();
    let of_the_gateway = device(&gateway, "desk")["public_key"].clone();
    assert_eq!(
        compute(&hex(&private), &base),
        hex(of_the_gateway.as_str().unwrap())
    );
    for _ in 0..8 {
        let private = Command::new("wg").arg("genkey").output().unwrap().stdout;
        let private = String::from_utf8(private).unwrap().trim().to_owned();
        assert_eq!(compute(&hex(&private), &base), hex(&public_of(&private)));
    }
    // WebCrypto and the page agree on what WebCrypto makes.
    let agree = "return nativePair().then((pair) =>
        String(x25519(pair.privateKey, BASE_POINT)) === String(pair.publicKey))";
    assert_eq!(chrome.run(agree, &[]), json!(true));
}

#[test]
fn the_form_says_what_stands_against_a_device_and_asks_a_person_whose_session_ended() {
    let gateway = Gateway::demo();
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.run_before_pages(WATCH);
    open_form(&chrome, &gateway);
    chrome.type_into("#name", "laptop\n");
    chrome.wait_for_text("You have a device of that name already");
    let devices = gateway.must(&["device", "list", "--json"]);
    assert_eq!(journal::records(&devices).len(), 1, "{devices}");
    // A key of her own goes as without a script.
    let (_, public) = key_pair();
    chrome.click("#by-hand summary");
    chrome.type_into("#public_key", &public);
    chrome.type_into("#name", " of mine\n");
    chrome.wait_for_text("Put your private key in the place");
    assert_eq!(
        device(&gateway, "laptop of mine")["public_key"],
        json!(public)
    );
    chrome.open(&at(&gateway, ADD));
    gateway.must(&["session", "revoke", "--user", "demo"]);
    chrome.type_into("#name", "late\n");
    chrome.wait_for_text("Use your user name and password");
    let devices = gateway.must(&["device", "list", "--json"]);
    assert_eq!(journal::records(&devices).len(), 2, "{devices}");
}

fn key_pair() -> (String, String) {
    let private = Command::new("wg").arg("genkey").output().unwrap().stdout;
    let private = String::from_utf8(private).unwrap().trim().to_owned();
    let public = public_of(&private);
    (private, public)
}

fn add_by_form(client: &Client, gateway: &Gateway, name: &str, key: &str) -> Answer {
    let page = client.follow(&at(gateway, ADD));
    let mut form = form_to(&page, ADD);
    form.set("name", name);
    form.set("public_key", key);
    client.submit(&page, &form)
}

#[test]
fn without_a_script_a_person_adds_a_key_of_her_own_renames_and_revokes() {
    let gateway = Gateway::demo();
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    drop(client.sign_in(&gateway.facts.portal, demo));
    let page = client.follow(&at(&gateway, LIST));
    assert!(
        !page.body.contains("action=\"/account/devices/"),
        "{page:?}"
    );
    let page = confirm(&client, &gateway, demo, ADD);
    assert!(page.url.ends_with(ADD), "{page:?}");

    let (private, public) = key_pair();
    let page = add_by_form(&client, &gateway, "desk", &public);
    assert_eq!(page.status, 200, "{page:?}");
    let config = page
        .body
        .split("aria-label=\"Configuration\">")
        .nth(1)
        .unwrap();
    let config = config.split("</pre>").next().unwrap();
    let config = config.replace("&#60;the private key of this device&#62;", &private);
    let config = wireguard::Config::parse(&config);
    assert_eq!(config.interface["PrivateKey"], private);
    let both = format!("{}, {}", config.gateway(), config.gateway6().unwrap());
    assert_eq!(config.interface["DNS"], both);
    assert_eq!(config.peer["PresharedKey"].len(), 44);
    assert!(config.peer["PublicKey"].len() == 44 && config.peer.contains_key("Endpoint"));
    assert_eq!(device(&gateway, "desk")["class"], "known");

    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let one = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let (_, fresh) = key_pair();
    for (name, key) in [
        ("twin", public.as_str()),
        ("zero", zero),
        ("one", one),
        ("short", "AAAA"),
        ("desk", &fresh),
        ("", &fresh),
        (&"x".repeat(65), &fresh),
    ] {
        let refused = add_by_form(&client, &gateway, name, key);
        assert_eq!(refused.status, 422, "{name}: {refused:?}");
        assert!(refused.body.contains("role=\"alert\""));
    }
    for n in 0..8 {
        let (_, key) = key_pair();
        let page = add_by_form(&client, &gateway, &format!("device {n}"), &key);
        assert_eq!(page.status, 200, "{page:?}");
    }
    let many = add_by_form(&client, &gateway, "eleventh", &fresh);
    assert_eq!(many.status, 422, "{many:?}");
    assert!(many.body.contains("10 devices"), "{many:?}");

    let id = device(&gateway, "desk")["id"].as_str().unwrap().to_owned();
    let list = client.follow(&at(&gateway, LIST));
    let mut rename = form_of(&list, "/account/devices/rename", &id);
    rename.set("name", "work <desk>");
    let list = client.follow_from(client.submit(&list, &rename));
    assert!(list.body.contains("work &#60;desk&#62;"), "{list:?}");
    assert_eq!(device(&gateway, "work <desk>")["id"], json!(id));
    others_cannot(&gateway, &id, &list);
    let revoke = form_of(&list, "/account/devices/revoke", &id);
    let list = client.follow_from(client.submit(&list, &revoke));
    assert!(list.body.contains("revoked on"), "{list:?}");
    let again = client.submit(&list, &revoke);
    assert_eq!(again.status, 404, "{again:?}");
    let used = add_by_form(&client, &gateway, "again", &public);
    assert_eq!(used.status, 422, "a key of a revoked device: {used:?}");
    let room = add_by_form(&client, &gateway, "eleventh", &fresh);
    assert_eq!(room.status, 200, "{room:?}");
    for reason in ["device-added", "device-renamed", "device-revoked"] {
        let record = journal::wait_for(&gateway, "device-changed.1", |r| {
            journal::is(r, "reason", reason) && r["device"] == json!(id)
        });
        assert_eq!(record["user"], "demo");
        assert!(record["source"].is_string(), "{record}");
    }
}

/// A confirmed session of somebody else neither sees, renames nor revokes the device.
fn others_cannot(gateway: &Gateway, id: &str, list: &Answer) {
    let guest = Client::new(gateway);
    let person = &gateway.facts.guest;
    drop(guest.sign_in(&gateway.facts.portal, person));
    let page = confirm(&guest, gateway, person, ADD);
    let own = guest.follow(&at(gateway, LIST));
    assert!(!own.body.contains("work &#60;desk&#62;"), "{own:?}");
    let csrf = form_to(&page, ADD).value("csrf").unwrap().to_owned();
    for action in ["/account/devices/rename", "/account/devices/revoke"] {
        let mut form = form_of(list, action, id);
        let stolen = guest.submit(&page, &form);
        assert_eq!(
            stolen.status, 403,
            "the proof of another session: {stolen:?}"
        );
        form.set("csrf", &csrf);
        let refused = guest.submit(&page, &form);
        assert_eq!(refused.status, 404, "{refused:?}");
    }
    assert_eq!(device(gateway, "work <desk>")["revoked"], Value::Null);
}
