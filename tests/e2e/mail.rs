//! Mails and the forgotten password, with a mail server of the tests' own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::chrome::Chrome;
use postern_tests::curl::{Answer, Client};
use postern_tests::gateway::{Gateway, Person, binary};
use postern_tests::html::{self, Form};
use postern_tests::journal;
use postern_tests::ports;
use postern_tests::process::Program;
use postern_tests::smtp::{Mail, Own, Sink};
use postern_tests::temp::Temp;
use postern_tests::totp;
use postern_tests::wait;
use serde_json::Value;

const ADDRESS: &str = "demo@example.org";
const NEW_PASSWORD: &str = "nine pears in a bowl";

/// A demo whose mails go to a port of loopback, in which demo has an address.
fn with_mail(port: u16) -> Gateway {
    configured(&format!(
        "host = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n"
    ))
}

fn configured(server: &str) -> Gateway {
    let mut gateway = Gateway::demo();
    gateway.stop();
    let from = "from = \"Gate <gate@example.org>\"\nadmins = [\"ops@example.org\"]\n";
    gateway.edit_config(|text| text.push_str(&format!("\n[mail]\n{server}{from}")));
    let users = gateway.facts.policy.join("users.toml");
    let text = fs::read_to_string(&users).unwrap();
    let text = text.replace(
        "[user.demo]\n",
        &format!("[user.demo]\nmail = \"{ADDRESS}\"\n"),
    );
    assert!(text.contains(ADDRESS), "{text}");
    fs::write(&users, text).unwrap();
    gateway.start_again();
    gateway
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

fn form_to(page: &Answer, action: &str) -> Form {
    let all = html::forms(&page.body);
    let found = all.into_iter().find(|f| f.action == action);
    found.unwrap_or_else(|| panic!("no form to {action} on {}:\n{}", page.url, page.body))
}

fn forgot(client: &Client, gateway: &Gateway, user: &str) -> Answer {
    let page = client.follow(&at(gateway, "/signin/forgot"));
    let mut form = form_to(&page, "/signin/forgot");
    form.set("username", user);
    client.submit(&page, &form)
}

fn is_reset(mail: &Mail) -> bool {
    mail.header("Subject").starts_with("A new password")
}

/// Opens the link of a mail and sends a password.
fn choose(client: &Client, link: &str, password: &str) -> Answer {
    let page = client.follow(link);
    let mut form = form_to(&page, "/signin/reset");
    form.set("password", password);
    form.set("again", password);
    client.submit(&page, &form)
}

fn is_the_app(answer: &Answer) -> bool {
    answer.status == 200 && answer.url.starts_with("https://app")
}

#[test]
fn a_link_by_mail_replaces_the_password_and_signing_in_still_needs_the_code() {
    let sink = Sink::new();
    let gateway = with_mail(sink.port());
    let demo = &gateway.facts.demo;
    let before = Client::new(&gateway);
    assert!(is_the_app(&before.sign_in(&gateway.facts.app, demo)));

    let client = Client::new(&gateway);
    let sent = forgot(&client, &gateway, "demo");
    let unknown = forgot(&Client::new(&gateway), &gateway, "nobody-here");
    assert_eq!(sent.status, 200, "{sent:?}");
    assert!(sent.body.contains("Look at your mails"), "{sent:?}");
    assert_eq!((sent.status, &sent.body), (unknown.status, &unknown.body));

    let mail = sink.wait_for("the link", is_reset);
    assert_eq!(mail.to, [ADDRESS]);
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    let link = mail.link();
    let token = link.rsplit('/').next().unwrap();
    let opened = client.open(&link);
    assert_eq!(opened.status, 303, "{opened:?}");
    assert!(!opened.location().unwrap().contains(token), "{opened:?}");
    assert!(is_the_app(&before.follow(&gateway.facts.app)));

    assert_eq!(choose(&client, &link, "short").status, 422);
    let done = choose(&client, &link, NEW_PASSWORD);
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.body.contains("Your password is set"), "{done:?}");
    assert_eq!(before.open(&gateway.facts.app).status, 303);
    assert_eq!(client.open(&gateway.facts.portal).status, 303);

    let again = Client::new(&gateway).open(&link);
    assert_eq!(again.status, 404, "a used link: {again:?}");
    let news = sink.wait_for("the news", |m| m.text.contains("password was changed"));
    assert_eq!(news.to, [ADDRESS]);
    assert_eq!(sink.mails().iter().filter(|m| is_reset(m)).count(), 1);

    let renewed = Person::new("demo", NEW_PASSWORD, &demo.totp_secret).follows(demo);
    let old = client.password(&gateway.facts.app, demo, &demo.password);
    assert_eq!(old.status, 401, "{old:?}");
    let half = client.password(&gateway.facts.app, &renewed, NEW_PASSWORD);
    assert_eq!(client.open(&gateway.facts.portal).status, 303);
    assert!(is_the_app(&client.code(&half, &renewed.code())));

    let set = journal::wait_for(&gateway, "factor-changed.1", |r| {
        journal::is(r, "reason", "password-set")
    });
    assert_eq!(set["user"], "demo");
    let audit = gateway.facts.data.join("audit");
    for file in fs::read_dir(audit).unwrap() {
        let text = fs::read(file.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(token));
    }
    assert!(!gateway.stderr().contains(token));
}

#[test]
fn of_parallel_uses_of_a_link_one_sets_the_password() {
    let sink = Sink::new();
    let gateway = with_mail(sink.port());
    drop(forgot(&Client::new(&gateway), &gateway, "demo"));
    let link = sink.wait_for("the link", is_reset).link();
    let done: Vec<u16> = std::thread::scope(|scope| {
        let (gateway, link) = (&gateway, &link);
        let tries: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(move || {
                    let client = Client::new(gateway);
                    let page = client.follow(link);
                    if page.status != 200 {
                        return page.status;
                    }
                    let mut form = form_to(&page, "/signin/reset");
                    form.set("password", NEW_PASSWORD);
                    form.set("again", NEW_PASSWORD);
                    client.submit(&page, &form).status
                })
            })
            .collect();
        tries.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(done.iter().filter(|s| **s == 200).count(), 1, "{done:?}");
    assert!(done.iter().all(|s| [200, 404, 503].contains(s)), "{done:?}");
}

#[test]
fn mails_wait_for_a_server_that_is_away_and_outlive_a_restart() {
    let port = ports::free_tcp();
    let mut gateway = with_mail(port);
    let client = Client::new(&gateway);
    drop(client.sign_in(&gateway.facts.portal, &gateway.facts.demo));
    assert_eq!(forgot(&client, &gateway, "demo").status, 200);
    wait::until_true(Duration::from_secs(20), "a try", || {
        gateway.stderr().contains("mails wait")
    });
    gateway.kill();
    wait::until_true(Duration::from_secs(10), "the end", || {
        std::net::TcpStream::connect(("127.0.0.1", gateway.https_port())).is_err()
    });
    let sink = Sink::at(port);
    gateway.start_again();
    let link = sink.wait_for("the mail of before", is_reset).link();
    drop(sink);

    // The link of before the restart counts, and the news of it wait for the server.
    let done = choose(&Client::new(&gateway), &link, NEW_PASSWORD);
    assert_eq!(done.status, 200, "{done:?}");
    wait::until_true(Duration::from_secs(20), "another try", || {
        gateway.stderr().contains("mails wait")
    });
    let sink = Sink::at(port);
    let news = sink.wait_for("the news", |m| m.text.contains("password was changed"));
    assert_eq!(news.to, [ADDRESS]);
}

#[test]
fn the_test_mail_says_what_the_server_says() {
    let sink = Sink::new();
    let gateway = with_mail(sink.port());
    let sent = gateway.must(&["mail", "test", "--to", "ops@example.org", "--json"]);
    let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(sent["to"], "ops@example.org");
    let mail = sink.wait_for("the test mail", |m| m.to == ["ops@example.org"]);
    assert!(mail.header("From").contains("gate@example.org"), "{mail:?}");
    let refused = gateway.run(&["mail", "test", "--to", "refused@example.org"]);
    assert_eq!(refused.status.code(), Some(69));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("no such mailbox"), "{text}");
    let nonsense = gateway.run(&["mail", "test", "--to", "a@b\r\nx"]);
    assert_eq!(nonsense.status.code(), Some(64));
}

#[test]
fn a_server_without_tls_gets_nothing_where_tls_is_asked_for() {
    let sink = Sink::new();
    let gateway = configured(&format!("host = \"localhost\"\nport = {}\n", sink.port()));
    let refused = gateway.run(&["mail", "test", "--to", "ops@example.org"]);
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    assert!(sink.mails().is_empty());
}

#[test]
fn a_server_is_trusted_by_its_authority_and_gets_the_password_only_then() {
    let dir = Temp::new();
    let now = i64::try_from(totp::now()).unwrap();
    let ca = certs::Root::create("Mail", now).unwrap();
    let issuer = ca.intermediate("Mail 1", now).unwrap();
    let leaf = issuer.issue(&["localhost"], now, 90 * certs::DAY).unwrap();
    let other = certs::Root::create("Other", now).unwrap();
    let right = dir.write("right.pem", ca.pem());
    let wrong = dir.write("wrong.pem", other.pem());
    let secret = dir.write("secret", "pears and plums\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    for (own, word) in [(Own::Starttls, "starttls"), (Own::Tls, "tls")] {
        let sink = Sink::safe(own, &leaf.chain_pem, &leaf.key_pem);
        let with = |authority: &Path| {
            let (port, secret) = (sink.port(), secret.display());
            format!(
                "host = \"localhost\"\nport = {port}\ntls = \"{word}\"\nca = \"{}\"\n\
                 user = \"gate\"\npassword-file = \"{secret}\"\n",
                authority.display()
            )
        };
        let gateway = configured(&with(&wrong));
        let refused = gateway.run(&["mail", "test", "--to", "ops@example.org"]);
        assert_eq!(refused.status.code(), Some(69), "{refused:?}");
        assert!(sink.mails().is_empty() && sink.accounts().is_empty());
        drop(gateway);
        let gateway = configured(&with(&right));
        gateway.must(&["mail", "test", "--to", "ops@example.org"]);
        assert_eq!(sink.mails().len(), 1);
        assert_eq!(sink.accounts(), [" gate pears and plums"]);
        assert!(!gateway.stderr().contains("plums"));
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(gateway.run(&["check"]).status.code(), Some(77));
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(gateway.run(&["check"]).status.code(), Some(0));
    }
}

#[test]
fn many_failures_are_told_to_the_administrators_once() {
    let sink = Sink::new();
    let gateway = with_mail(sink.port());
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    wait::until_true(Duration::from_secs(60), "a wait", || {
        let page = client.password(&gateway.facts.portal, demo, "not the password");
        page.status == 429
    });
    let told = sink.wait_for("the alarm", |m| m.to == ["ops@example.org"]);
    assert!(told.text.contains("demo"), "{told:?}");
    let page = client.password(&gateway.facts.portal, demo, "not the password");
    assert_eq!(page.status, 429);
    // what comes after it in the queue shows that no second one does
    gateway.must(&["mail", "test", "--to", "end@example.org"]);
    let alarms = sink.mails().into_iter();
    assert_eq!(alarms.filter(|m| m.to == ["ops@example.org"]).count(), 1);
}

#[test]
fn without_mail_the_page_says_whom_to_ask_and_nothing_is_kept() {
    let gateway = Gateway::demo();
    let client = Client::new(&gateway);
    let page = client.follow(&at(&gateway, "/signin/forgot"));
    assert_eq!(page.status, 200);
    assert!(page.body.contains("sends no mails"), "{page:?}");
    assert!(
        html::forms(&page.body)
            .iter()
            .all(|f| f.action != "/signin/forgot")
    );
    let test = gateway.run(&["mail", "test", "--to", "ops@example.org"]);
    assert_eq!(test.status.code(), Some(78));
}

#[test]
fn one_source_asks_for_ten_names_and_then_waits() {
    let sink = Sink::new();
    let gateway = with_mail(sink.port());
    let client = Client::new(&gateway);
    for n in 0..10 {
        let answer = forgot(&client, &gateway, &format!("name-{n}"));
        assert_eq!(answer.status, 200, "{n}: {answer:?}");
    }
    let answer = forgot(&client, &gateway, "demo");
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(sink.mails().is_empty());
}

#[test]
fn a_browser_goes_the_whole_way() {
    let sink = Sink::new();
    let gateway = with_mail(sink.port());
    let demo = &gateway.facts.demo;
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.open(&at(&gateway, "/signin"));
    chrome.click("a[href=\"/signin/forgot\"]");
    chrome.wait_for_text("Send the link");
    chrome.type_into("#username", "demo");
    chrome.click("button[type=submit]");
    chrome.wait_for_text("Look at your mails");
    chrome.open(&sink.wait_for("the link", is_reset).link());
    chrome.wait_for_text("Choose a new password");
    chrome.type_into("#password", NEW_PASSWORD);
    chrome.type_into("#again", NEW_PASSWORD);
    chrome.click("button[type=submit]");
    chrome.wait_for_text("Your password is set");
    chrome.click("a.button");
    chrome.wait_for_text("User name");
    chrome.type_into("#username", "demo");
    chrome.type_into("#password", NEW_PASSWORD);
    chrome.click("button[type=submit]");
    chrome.wait_for_text("Enter your code");
    chrome.type_into("#code", &demo.code());
    chrome.click("button[type=submit]");
    chrome.wait_for_text("News about your account");
}

/// A limit that the policy calls sensitive is told of when somebody uses it up; another is not.
#[test]
fn administrators_hear_of_a_sensitive_limit_that_is_used_up() {
    let sink = Sink::new();
    let gateway = with_mail(sink.port());
    let text = gateway.policy_text();
    let limits = |alert: &str| {
        format!(
            "{text}\n[rate]\nexport = \"1/h burst 1{alert}\"\nplain = \"1/h burst 1\"\n\
             [app.app.\"/export\"]\nallow.demo = {{ who = \"demo\", rate = \"export\" }}\n\
             [app.app.\"/plain\"]\nallow.demo = {{ who = \"demo\", rate = \"plain\" }}\n"
        )
    };
    gateway.set_policy(&limits(" alert"));
    let client = Client::new(&gateway);
    assert!(is_the_app(
        &client.sign_in(&gateway.facts.app, &gateway.facts.demo)
    ));
    let third = |path: &str| {
        let url = format!("{}{path}", gateway.facts.app);
        let answers: Vec<u16> = (0..3).map(|_| client.fetch(&url).status).collect();
        let limited = answers.iter().map(|status| *status == 429);
        assert!(limited.eq([false, false, true]), "{path}: {answers:?}");
    };
    third("plain");
    third("export");
    let mail = sink.wait_for("the alarm", |mail| {
        mail.header("Subject").starts_with("A sensitive limit")
    });
    assert_eq!(mail.to, ["ops@example.org"]);
    let told = mail.text.replace("\r\n", " ");
    for word in ["demo", "\"export\"", "127.0.0.1", "app.gate.localhost"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    journal::wait_for(&gateway, "limited.1", |r| {
        r["reason"] == "sensitive-limited"
    });
    let limited = |reason: &str| journal::search(&gateway, &["--reason", reason]);
    let (loud, quiet) = (limited("sensitive-limited"), limited("rate-limited"));
    assert_eq!((loud.len(), quiet.len()), (1, 1));
    assert_eq!(loud[0]["detail"], "rate export");
    assert_eq!(quiet[0]["detail"], "rate plain");
    let about = |mail: &&Mail| mail.header("Subject").contains("limit");
    assert_eq!(sink.mails().iter().filter(about).count(), 1);
}

/// Whoever saves files that are refused or held hears of it, also when nobody asked for a reload.
#[test]
fn administrators_hear_of_a_policy_folder_that_is_not_in_force() {
    let sink = Sink::new();
    let gateway = with_mail(sink.port());
    let good = gateway.policy_text();
    let told = |word: &str| {
        let mail = sink.wait_for(word, |mail| {
            mail.header("Subject").starts_with("The policy of") && mail.text.contains(word)
        });
        assert_eq!(mail.to, ["ops@example.org"]);
        assert!(
            mail.text.contains("The rules of before go on"),
            "{}",
            mail.text
        );
    };
    let file = gateway.policy_file();
    let save = |text: &str| fs::write(&file, text).unwrap();
    save(&good.replace("[app.app]", "[app.app]\nhots = 1"));
    told("hots");
    save(&good.replace(
        "[app.app]",
        "[app.app.\"=/open\"]\npublic = \"a leaflet\"\nallow.world = { who = \"anyone\" }\n[app.app]",
    ));
    told("become open to the world");
}

/// Nobody asked for anything: the gateway came up by itself, and the folder was wrong.
#[test]
fn administrators_hear_of_a_start_by_the_last_good_policy() {
    let sink = Sink::new();
    let mut gateway = with_mail(sink.port());
    let good = gateway.policy_text();
    gateway.stop();
    fs::write(
        gateway.policy_file(),
        good.replace("[app.app]", "[app.app]\nhots = 1"),
    )
    .unwrap();
    let mut command = Command::new(binary());
    command.args(["run", "--config"]).arg(&gateway.facts.config);
    let served = Program::start(command, gateway.dir(), "served");
    let mail = sink.wait_for("the mail about the start", |mail| {
        mail.header("Subject").starts_with("The policy of")
    });
    assert_eq!(mail.to, ["ops@example.org"]);
    assert!(mail.text.contains("hots"), "{}", mail.text);
    let loud = "THE POLICY FOLDER IS NOT IN FORCE";
    assert!(served.stderr().contains(loud), "{}", served.stderr());
    let status: Value = serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    assert_eq!(status["policy"]["cached"], true, "{status}");
}
