//! Many people, sessions and passwords: bounds that hold on a busy machine too. The figures
//! themselves are measured by `tests/bench`.

use std::thread;
use std::time::Duration;

use postern_tests::curl::Client;
use postern_tests::gateway::Gateway;
use postern_tests::policy::two_apps;
use postern_tests::reloads::{ALL_RULES, LargePolicy, requests_beside};
use postern_tests::scale;
use postern_tests::upstream::Recorder;

#[test]
fn the_page_is_quick_beside_passwords_that_are_refused_and_their_memory_is_bounded() {
    let gateway = Gateway::demo();
    let beside = scale::page_beside_sign_ins(&gateway, 500, 50);
    println!("{beside:?}");
    assert!(beside.sent > 20.0, "{beside:?}");
    assert!(beside.p99 < 500.0, "{beside:?}");
    // 64 MiB for each place, of which there are as many as cores, at least two
    let places = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .max(2);
    let cap = f64::from(u32::try_from(places).unwrap()) * 64.0;
    assert!(beside.grown < cap + 48.0, "{beside:?}, {places} places");
}

#[test]
fn ten_thousand_sessions_weigh_less_than_32_mib() {
    let weight = scale::weight_of_sessions(10_000);
    println!("10,000 sessions: {weight:.2} MiB");
    assert!(weight < 32.0, "{weight}");
}

#[test]
fn a_hundred_thousand_people_start_quickly_and_are_found_at_once() {
    let (few, many) = (scale::crowd(100), scale::crowd(100_000));
    println!("100: {few:?}; 100,000: {many:?}");
    assert!(many.start_cpu < 6.0, "{many:?}");
    // a look that grew with the number would take a thousand times as long
    assert!(
        many.refused_cpu < few.refused_cpu * 2.0,
        "{few:?}, {many:?}"
    );
}

/// The median.
fn middle(mut three: [f64; 3]) -> f64 {
    three.sort_by(f64::total_cmp);
    three[1]
}

#[test]
fn reloads_of_a_hundred_thousand_rules_delay_no_request() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    gateway.set_policy(&two_apps(&recorder.url(), ""));
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let mut large = LargePolicy::of(&gateway);
    let rounds = [(); 3].map(|()| {
        let mut took = [0.0; 3];
        let beside = requests_beside(&gateway, &client, || took = took.map(|_| large.flip()));
        let span = Duration::from_secs_f64(took.iter().sum());
        let alone = requests_beside(&gateway, &client, || thread::sleep(span));
        println!("{ALL_RULES} rules, reloads {took:.2?} s: beside {beside:.2?}, alone {alone:.2?}");
        (beside.longest, alone.longest)
    });
    let (beside, alone) = (
        middle(rounds.map(|(beside, _)| beside)),
        middle(rounds.map(|(_, alone)| alone)),
    );
    println!(
        "longest request, medians of three: {beside:.1} ms beside reloads, {alone:.1} ms alone"
    );
    assert!(beside < 200.0, "{beside:.1} ms, {alone:.1} ms alone");
}
