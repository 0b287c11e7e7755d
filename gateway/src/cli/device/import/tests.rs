use std::path::Path;

use super::{Plan, plan};
use crate::config::{Config, Problem};

const SERVER: &str = "dwdtCnMYpX08FsFyUbJmRcML1UtzNX5f2zmxhZV1XuU=";
const FIRST: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const SECOND: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

/// The server's file of the guide for the office of an accountant, with keys in the place of its
/// placeholders.
fn guide() -> String {
    let text = "[Interface]
Address = 10.200.200.1/24
ListenPort = 51820
PrivateKey = <server-private-key>
PostUp = iptables -A FORWARD -i wg0 -j ACCEPT; iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
PostDown = iptables -D FORWARD -i wg0 -j ACCEPT; iptables -t nat -D POSTROUTING -o eth0 -j MASQUERADE

# Add each remote user
[Peer]
PublicKey = <user1-public-key>
AllowedIPs = 10.200.200.2/32

[Peer]
PublicKey = <user2-public-key>
AllowedIPs = 10.200.200.3/32
";
    text.replace("<server-private-key>", SERVER)
        .replace("<user1-public-key>", FIRST)
        .replace("<user2-public-key>", SECOND)
}

fn configured(tunnel: &str) -> Config {
    let config = format!("[http]\nsign-in = [\"gate\"]\n[tunnel]\n{tunnel}\n");
    Config::parse(Path::new("/x/postern.toml"), &config).unwrap()
}

fn read(text: &str, map: Option<&str>, tunnel: &str) -> Result<Plan, Vec<Problem>> {
    let config = configured(tunnel);
    let knows = |user: &str| ["comptable1", "zoe"].contains(&user);
    let map = map.map(|text| (Path::new("owners.txt"), text));
    plan(Path::new("wg0.conf"), text, map, &knows, &config.tunnel)
}

fn wrong(text: &str, map: Option<&str>, tunnel: &str) -> Vec<String> {
    let problems = read(text, map, tunnel).err().unwrap();
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn the_guides_server_is_taken_over_with_a_map() {
    let map = "# who has what\n10.200.200.2 = comptable1 laptop\n\n\
               3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08= = zoe\n";
    let plan = read(&guide(), Some(map), "").unwrap();
    assert_eq!(plan.server_key.as_deref(), Some(SERVER));
    let devices: Vec<_> = plan
        .devices
        .iter()
        .map(|d| {
            (
                d.place.as_str(),
                d.user.as_str(),
                d.name.as_str(),
                d.address.to_string(),
            )
        })
        .collect();
    assert_eq!(
        devices,
        [
            (
                "wg0.conf:9:1",
                "comptable1",
                "laptop",
                "10.200.200.2".to_owned()
            ),
            (
                "wg0.conf:13:1",
                "zoe",
                "wireguard 10.200.200.3",
                "10.200.200.3".to_owned()
            ),
        ]
    );
    assert_eq!(plan.notes.len(), 2);
    assert!(plan.notes[0].starts_with("wg0.conf:5:1: PostUp: not needed"));
    assert_eq!(plan.undo[0], "systemctl disable --now wg-quick@wg0");
    assert_eq!(plan.undo[1], "sysctl -w net.ipv4.ip_forward=0");
    assert!(!format!("{:?}", plan.devices).contains(SERVER));
}

#[test]
fn peers_that_nobody_owns_are_told_with_what_to_write_and_nothing_is_taken() {
    let found = wrong(&guide(), None, "");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("wg0.conf:9:1: nobody is called `Add each remote user`"));
    assert!(
        found[1].starts_with(
            "wg0.conf:13:1: nobody owns this peer; write `10.200.200.3 = USER laptop`"
        )
    );
    let named = guide().replace("# Add each remote user", "# Zoe's phone");
    let left_out = Some("10.200.200.3 = -\n");
    let plan = read(&named, left_out, "").unwrap();
    assert_eq!(plan.devices.len(), 1);
    assert_eq!(
        (plan.devices[0].user.as_str(), plan.devices[0].name.as_str()),
        ("zoe", "phone")
    );
    assert!(plan.notes[2].ends_with("left out by the map"));
}

#[test]
fn a_map_that_is_wrong_is_told_by_line_and_column() {
    let map = "10.200.200.2 comptable1\n 10.200.200.2 = nobody\n";
    let found = wrong(&guide(), Some(map), "");
    assert!(
        found[0].starts_with("owners.txt:1:1: no `=` in this line"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("owners.txt:2:17: no user `nobody`"),
        "{found:?}"
    );
    let map = "10.200.200.2 = zoe a\n10.200.200.3 = zoe b\n10.200.200.9 = zoe c\n";
    let found = wrong(&guide(), Some(map), "");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("owners.txt:3:1: no peer is `10.200.200.9`"),
        "{found:?}"
    );
}

#[test]
fn a_network_or_port_that_is_not_the_tunnels_is_told_with_the_setting() {
    let map = "10.200.200.2 = zoe a\n10.200.200.3 = zoe b\n";
    let elsewhere = "network = \"10.9.0.0/24\"\nlisten = \"0.0.0.0:51821\"";
    let found = wrong(&guide(), Some(map), elsewhere);
    assert!(
        found[0].ends_with("set `listen = \"0.0.0.0:51820\"` in [tunnel]"),
        "{found:?}"
    );
    assert!(
        found[1].ends_with("set `network = \"10.200.200.0/24\"` in [tunnel]"),
        "{found:?}"
    );
}

#[test]
fn a_peer_with_a_network_behind_it_is_no_device() {
    let site = guide().replace("10.200.200.3/32", "10.200.200.3/32, 192.168.7.0/24");
    let map = "10.200.200.2 = zoe a\n10.200.200.3 = zoe b\n";
    let found = wrong(&site, Some(map), "");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("wg0.conf:15:31: 192.168.7.0/24 is more than"),
        "{found:?}"
    );
    let both = guide().replace("10.200.200.3/32", "10.200.200.3/32, fd42::3/128");
    let found = wrong(&both, Some(map), "");
    assert!(found[0].contains("needs IPv6 in the tunnel"), "{found:?}");
    let plan = read(&both, Some(map), "network6 = \"fd42::/64\"").unwrap();
    assert_eq!(plan.devices[1].address6, "fd42::3".parse().ok());
}
