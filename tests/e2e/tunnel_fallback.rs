//! Where the tunnel cannot be opened: it says what to grant, and the web door is not concerned.

use postern_tests::curl::Client;
use postern_tests::gateway::{Gateway, Setup};
use serde_json::Value;

/// Puts a script before the gateway, as root of a mount and a user namespace of its own.
fn under(script: &str) -> Gateway {
    let script = format!("{script} && exec \"$@\"");
    let words = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    Gateway::start(Setup {
        wrap: words.map(str::to_owned).to_vec(),
        ..Setup::default()
    })
}

fn why_down(gateway: &Gateway) -> String {
    assert_eq!(gateway.facts.wg_config, None);
    assert_eq!(gateway.facts.wg_endpoint, None);
    let status: Value = serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    let tunnel = &status["tunnel"];
    assert_eq!(tunnel["state"], "down", "{tunnel}");
    let why = tunnel["why"].as_str().unwrap().to_owned();
    assert!(gateway.stderr().contains(&why), "{}", gateway.stderr());
    why
}

/// Signs somebody in and out of the app, over the web door.
fn serves(gateway: &Gateway) {
    let client = Client::new(gateway);
    let app = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert!(
        app.status == 200 && app.url.starts_with("https://app"),
        "{app:?}"
    );
    assert_eq!(Client::new(gateway).open(&gateway.facts.app).status, 303);
}

#[test]
fn without_the_tun_device_the_gateway_says_how_to_get_it_and_serves_the_web() {
    let gateway = under("mount -t tmpfs none /dev/net");
    let why = why_down(&gateway);
    for part in [
        "tunnel cannot open /dev/net/tun",
        "modprobe tun",
        "Docker: --device /dev/net/tun",
        "systemd: PrivateDevices=no",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    serves(&gateway);
}

#[test]
fn without_namespaces_the_gateway_says_what_to_allow_and_serves_the_web() {
    let gateway = under(
        "echo 0 > /proc/sys/user/max_user_namespaces && echo 0 > /proc/sys/user/max_net_namespaces",
    );
    let why = why_down(&gateway);
    for part in [
        "tunnel cannot make a network namespace",
        "sysctl user.max_user_namespaces above 0",
        "systemd: no RestrictNamespaces=",
        "Docker: --security-opt",
        "AppArmor:",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    serves(&gateway);
}

#[test]
fn without_user_namespaces_the_right_to_make_a_network_is_enough() {
    let gateway = under("echo 0 > /proc/sys/user/max_user_namespaces");
    assert!(gateway.facts.wg_config.is_some(), "{}", gateway.stderr());
    let status: Value = serde_json::from_str(&gateway.must(&["status", "--json"])).unwrap();
    assert_eq!(status["tunnel"]["state"], "up", "{status}");
    serves(&gateway);
}
