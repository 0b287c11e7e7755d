//! What opens more in the tunnel.

use super::*;

const TUNNEL: &str = "[tunnel]\nreprove = { moved = true, after = \"8h\" }\ndns = { others = \"refuse\", quarantine = \"own\" }\n[admin]";

#[test]
fn what_opens_more_in_the_tunnel_is_held_until_the_exact_number_is_accepted() {
    let before = with("[admin]", TUNNEL);
    let headless = "[tunnel.headless]\n\"ann/printer\" = \"net.ssh\"\n[admin]";
    for (from, to, count, named) in [
        ("\"8h\"", "\"9h\"", 1, "reprove.after"),
        (", after = \"8h\"", "", 1, "reprove.after"),
        ("moved = true", "moved = false", 1, "reprove.moved"),
        ("\"refuse\"", "\"forward\"", 1, "dns.others"),
        ("\"own\"", "\"forward\"", 1, "dns.quarantine"),
        ("[tunnel]", "[tunnel]\nsign-in = \"web\"", 1, "sign-in"),
        ("[admin]", headless, 1, "net.ssh to ann/printer"),
        (TUNNEL, "[admin]", 4, "dns.others"),
    ] {
        let after = with("[admin]", &TUNNEL.replace(from, to));
        for how in [
            How::Apply,
            How::Watch,
            How::Signal,
            How::Reload,
            How::Rollback,
        ] {
            let case = |wider| Case::wider(how, wider);
            let judged = case(None).judge(&before, &after);
            let [stop] = judged.stops.as_slice() else {
                panic!("{to}: {:?}", judged.stops)
            };
            assert_eq!(stop.guard, "tunnel-open", "{to}");
            assert!(stop.text.contains(named), "{}", stop.text);
            let accept = format!("--accept-wider {count}");
            assert_eq!(stop.accept.as_deref(), Some(&*accept), "{}", stop.text);
            let accepted = case(Some(count)).judge(&before, &after);
            assert!(accepted.stops.is_empty(), "{:?}", accepted.stops);
            assert!(accepted.warnings.iter().any(|w| w.contains(named)));
            assert_eq!(
                case(Some(count + 1)).stops(&before, &after),
                ["tunnel-open"]
            );
        }
        // the way back needs nobody
        assert_eq!(Case::default().stops(&after, &before), [""; 0], "{to}");
    }
}

#[test]
fn a_headless_entry_that_another_covered_already_needs_nobody() {
    let headless = |device: &str| {
        let entry = format!("[tunnel.headless]\n\"{device}\" = \"net.ssh\"\n[admin]");
        with("[admin]", &entry)
    };
    let (all, one) = (headless("ann/*"), headless("ann/printer"));
    assert_eq!(Case::default().stops(&all, &one), [""; 0]);
    assert_eq!(Case::default().stops(&one, &all), ["tunnel-open"]);
    let other = headless("ann/scanner");
    assert_eq!(Case::default().stops(&one, &other), ["tunnel-open"]);
}

#[test]
fn a_door_to_the_world_and_one_of_the_tunnel_are_accepted_together() {
    let before = with("[admin]", TUNNEL);
    let opened = TUNNEL.replace("refuse", "forward");
    let after = policy(&BASE.replace(STAFF, WORLD).replace("[admin]", &opened));
    let case = |wider| Case::wider(How::Apply, wider);
    let stops = case(None).judge(&before, &after).stops;
    let [stop] = stops.as_slice() else {
        panic!("{stops:?}")
    };
    assert_eq!(stop.guard, "world-open");
    assert!(stop.text.contains("app.wiki"), "{}", stop.text);
    assert!(stop.text.contains("dns.others"), "{}", stop.text);
    let count = stop.accept.as_deref().and_then(|a| a.split(' ').nth(1));
    let count: usize = count.unwrap().parse().unwrap();
    assert_eq!(case(Some(count)).stops(&before, &after), [""; 0]);
    assert_eq!(case(Some(count - 1)).stops(&before, &after), ["world-open"]);
}
