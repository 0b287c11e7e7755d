//! Many people, sessions and passwords: bounds that hold on a busy machine too. The figures
//! themselves are measured by `tests/bench`.

use postern_tests::gateway::Gateway;
use postern_tests::scale;

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
