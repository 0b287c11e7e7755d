use std::path::Path;

use proptest::prelude::*;

use super::{Server, parse};

/// Keys of RFC 7748 section 6.1: of Alice and Bob, in base64.
const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRcML1UtzNX5f2zmxhZV1XuU=";
const ALICE: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const BOB: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

fn read(text: &str) -> Server {
    parse(Path::new("wg0.conf"), text).unwrap()
}

/// Lists what is wrong as `line:column: what`.
fn wrong(text: &str) -> Vec<String> {
    let problems = parse(Path::new("wg0.conf"), text).unwrap_err();
    problems
        .iter()
        .map(|p| format!("{}:{}: {}", p.line, p.column, p.what))
        .collect()
}

#[test]
fn a_servers_file_is_read_with_names_out_of_its_comments() {
    let text = format!(
        "[Interface]\nAddress = 10.200.200.1/24, fd42::1/64\nListenPort=51820\r\n\
         privatekey = {PRIVATE}\nPostUp = iptables -A FORWARD -i wg0 -j ACCEPT; true\n\n\
         # alice laptop\n[peer]\nPublicKey = {ALICE}   # a key\nPresharedKey = {PRIVATE}\n\
         AllowedIPs = 10.200.200.2/32\nAllowedIPs = fd42::2\n\n\
         [Peer] \n# friendly_name = bob\nPublicKey = {BOB}\nAllowedIPs = 10.200.200.3/32,\t10.9.0.0/16\n"
    );
    let server = read(&text);
    assert!(server.private_key.is_some());
    let addresses: Vec<_> = server
        .addresses
        .iter()
        .map(|a| a.value.to_string())
        .collect();
    assert_eq!(addresses, ["10.200.200.1/24", "fd42::1/64"]);
    assert_eq!(server.port.unwrap().value, 51820);
    assert!(server.unneeded[0].value.starts_with("PostUp: not needed"));
    let [alice, bob] = server.peers.as_slice() else {
        panic!("two peers")
    };
    assert_eq!(alice.name.as_deref(), Some("alice laptop"));
    assert_eq!(bob.name.as_deref(), Some("bob"));
    assert_eq!(alice.public_key.to_string(), ALICE);
    assert!(alice.preshared_key.is_some() && bob.preshared_key.is_none());
    let nets: Vec<_> = alice
        .allowed_ips
        .iter()
        .map(|a| a.value.to_string())
        .collect();
    assert_eq!(nets, ["10.200.200.2/32", "fd42::2/128"]);
    let second = &bob.allowed_ips[1];
    assert_eq!(text.get(second.span.clone()), Some("10.9.0.0/16"));
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_no_key_is_shown() {
    let text = format!(
        "Address = 10.0.0.1/24\n[Interface]\nPrivateKey = <server-private-key>\nListenPort = many\n\
         Adress = 10.0.0.1\nhello\n[Wireguard]\n[Peer]\nAllowedIPs = 10.0.0.2/33, 10.0.0.3\n\
         [Peer]\nPublicKey = {ALICE}\nPublicKey = {BOB}\nPresharedKey = {PRIVATE}x\n"
    );
    assert_eq!(
        wrong(&text),
        [
            "1:1: Address stands in no section",
            "3:14: PrivateKey is not a private key",
            "4:14: `many` is no port",
            "5:1: unknown key `Adress`",
            "6:1: `hello` is no line of a WireGuard file",
            "7:1: unknown section [Wireguard]",
            "9:14: `10.0.0.2/33` is no address",
            "8:1: this peer has no PublicKey",
            "12:1: PublicKey stands twice in this section",
            "13:16: PresharedKey is not a preshared key",
        ]
    );
    let problems = parse(Path::new("wg0.conf"), &text).unwrap_err();
    assert!(problems.iter().all(|p| !p.to_string().contains(PRIVATE)));
    assert!(
        problems[1]
            .to_string()
            .contains("a placeholder stands here")
    );
}

#[test]
fn a_key_of_two_peers_and_a_key_that_is_none_are_refused() {
    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let twice = format!("[Peer]\nPublicKey = {ALICE}\n[Peer]\nPublicKey = {ALICE}\n");
    let found = wrong(&twice);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("3:1: the key"), "{found:?}");
    let found = wrong(&format!("[Peer]\nPublicKey = {zero}\n"));
    assert!(found[0].starts_with("2:13: PublicKey is not"), "{found:?}");
    assert_eq!(
        read(&format!("[Peer]\nPublicKey = {ALICE}\n")).peers.len(),
        1
    );
}

/// Writes a server as its file would be.
fn written(server: &Server) -> String {
    let mut text = String::from("[Interface]\n");
    if let Some(port) = &server.port {
        text += &format!("ListenPort = {}\n", port.value);
    }
    for address in &server.addresses {
        text += &format!("Address = {}\n", address.value);
    }
    for peer in &server.peers {
        let name = peer.name.as_ref().map(|name| format!("# {name}\n"));
        text += &format!("\n{}[Peer]\n", name.unwrap_or_default());
        text += &format!("PublicKey = {}\n", peer.public_key);
        if let Some(key) = &peer.preshared_key {
            text += &format!("PresharedKey = {}\n", key.to_base64().as_str());
        }
        let nets: Vec<_> = peer
            .allowed_ips
            .iter()
            .map(|a| a.value.to_string())
            .collect();
        if !nets.is_empty() {
            text += &format!("AllowedIPs = {}\n", nets.join(", "));
        }
    }
    text
}

/// The lines a file is made of, good and bad.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[Peer]".to_owned()),
        Just("[Interface]".to_owned()),
        Just(format!("PublicKey = {ALICE}")),
        Just(format!("PublicKey = {BOB} # bob")),
        Just(format!("PresharedKey={PRIVATE}")),
        Just(String::new()),
        "# ?[a-z]{0,9}( [a-z]{1,5})?",
        "(Address|AllowedIPs) = [0-9./, :a-f]{0,30}",
        "AllowedIPs = 10\\.0\\.0\\.[1-9]/32",
        "ListenPort = [0-9]{0,6}",
        "(PostUp|MTU|DNS) = .{0,20}",
        ".{0,30}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_places_inside_it(
        lines in proptest::collection::vec(line(), 0..40),
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
    ) {
        let text = lines.join(end);
        match parse(Path::new("wg0.conf"), &text) {
            Ok(server) => {
                for peer in &server.peers {
                    prop_assert!(text.get(peer.span.clone()).is_some_and(|s| s.starts_with('[')));
                    for net in &peer.allowed_ips {
                        let shown = text.get(net.span.clone()).unwrap_or_default();
                        prop_assert!(net.value.to_string().starts_with(shown.split('/').next().unwrap_or_default()) || shown.contains(':'));
                    }
                }
                let again = parse(Path::new("wg0.conf"), &written(&server)).unwrap();
                prop_assert_eq!(written(&again), written(&server));
                prop_assert_eq!(again.peers.len(), server.peers.len());
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                let count = text.matches('\n').count() + 1;
                prop_assert!(problems.iter().all(|p| p.line <= count && p.column >= 1));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in "\\PC*|[\\[\\]=#,\n\r\t A-Za-z0-9]*") {
        drop(parse(Path::new("x"), &text));
    }
}
