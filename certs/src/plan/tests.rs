use super::{Asked, Cause, Failure, Haste, Held, Output, Plan, Rules, Window};
use crate::DAY;

const NOW: i64 = 1_790_000_000;
const LIFE: Held = Held {
    not_before: NOW,
    not_after: NOW + 90 * DAY,
};

fn plan(directories: usize) -> Plan {
    let mut plan = Plan::new(Rules::default(), directories, 1);
    plan.handle_names(&[vec!["a.test".to_owned()]], NOW);
    plan
}

fn order(plan: &mut Plan, now: i64) -> Option<usize> {
    match plan.poll_output(now) {
        Some(Output::Order { directory, .. }) => Some(directory),
        Some(Output::AskWindow { .. }) | None => None,
    }
}

fn fails(plan: &mut Plan, cause: Cause, now: i64) {
    plan.handle_failure("a.test", Failure::new(cause, "told"), now);
}

fn next(plan: &Plan) -> i64 {
    plan.state("a.test").unwrap().next
}

#[test]
fn a_name_without_a_certificate_is_ordered_at_once_and_once() {
    let mut plan = plan(1);
    assert_eq!(order(&mut plan, NOW), Some(0));
    assert_eq!(order(&mut plan, NOW), None);
    plan.handle_issued("a.test", LIFE, NOW);
    assert_eq!(order(&mut plan, NOW + DAY), None);
}

fn asks(plan: &mut Plan, now: i64) -> Option<usize> {
    match plan.poll_output(now) {
        Some(Output::AskWindow { directory, .. }) => Some(directory),
        Some(Output::Order { .. }) | None => None,
    }
}

#[test]
fn the_directory_that_signed_is_asked_for_its_window_also_after_a_restart() {
    let mut plan = plan(2);
    assert_eq!(order(&mut plan, NOW), Some(0));
    fails(&mut plan, Cause::Unreachable, NOW);
    let again = next(&plan);
    assert_eq!(order(&mut plan, again), Some(1));
    plan.handle_issued("a.test", LIFE, again);
    assert_eq!(asks(&mut plan, again), Some(1));
    let memory = plan.memory(again + 30 * DAY);
    for (directories, asked) in [(2, 1), (1, 0)] {
        let mut next = Plan::new(Rules::default(), directories, 2);
        next.remember(memory.clone(), again + 30 * DAY);
        next.handle_names(&[vec!["a.test".to_owned()]], again + 30 * DAY);
        next.handle_held("a.test", Some(LIFE), again + 30 * DAY);
        assert_eq!(asks(&mut next, again + 30 * DAY), Some(asked));
    }
    // the twin: what the first signed is the first's to say
    let mut other = self::plan(2);
    assert_eq!(order(&mut other, NOW), Some(0));
    other.handle_issued("a.test", LIFE, NOW);
    assert_eq!(asks(&mut other, NOW), Some(0));
}

#[test]
fn a_certificate_is_renewed_at_a_third_left_and_not_all_at_once() {
    let mut due = Vec::new();
    for seed in 0..50 {
        let mut plan = Plan::new(Rules::default(), 1, seed);
        plan.handle_names(&[vec!["a.test".to_owned()]], NOW);
        plan.handle_held("a.test", Some(LIFE), NOW);
        due.push(next(&plan));
    }
    assert!(due.iter().all(|at| *at <= NOW + 60 * DAY - DAY));
    assert!(due.iter().all(|at| *at >= NOW + 55 * DAY));
    due.sort_unstable();
    due.dedup();
    assert!(due.len() > 40);
}

#[test]
fn a_window_of_the_directory_goes_before_the_third() {
    let mut plan = plan(1);
    plan.handle_held("a.test", Some(LIFE), NOW);
    let asked = plan.poll_output(NOW);
    assert!(matches!(asked, Some(Output::AskWindow { .. })), "{asked:?}");
    let window = Window {
        start: NOW + 10 * DAY,
        end: NOW + 12 * DAY,
    };
    plan.handle_window("a.test", Some(window), Some(3600), NOW);
    assert!((window.start..=window.end).contains(&next(&plan)));
    let before = next(&plan);
    let again = plan.poll_output(NOW + 3600);
    assert!(matches!(again, Some(Output::AskWindow { .. })), "{again:?}");
    plan.handle_window("a.test", Some(window), Some(3600), NOW + 3600);
    assert_eq!(next(&plan), before, "the same window is not drawn again");
}

#[test]
fn a_window_after_the_end_does_not_let_the_certificate_end() {
    let mut plan = plan(1);
    plan.handle_held("a.test", Some(LIFE), NOW);
    let late = Window {
        start: NOW + 200 * DAY,
        end: NOW + 201 * DAY,
    };
    plan.handle_window("a.test", Some(late), None, NOW);
    assert!(next(&plan) <= LIFE.not_after - 15 * DAY);
    let past = Window {
        start: NOW - 2 * DAY,
        end: NOW - DAY,
    };
    plan.handle_window("a.test", Some(past), None, NOW);
    assert_eq!(next(&plan), NOW, "revoked ones are renewed at once");
}

#[test]
fn a_dead_directory_gives_way_to_the_next_and_comes_first_again() {
    let mut plan = plan(2);
    assert_eq!(order(&mut plan, NOW), Some(0));
    fails(&mut plan, Cause::Unreachable, NOW);
    let soon = next(&plan);
    assert!(soon <= NOW + 60, "{}", soon - NOW);
    assert_eq!(order(&mut plan, soon), Some(1));
    plan.handle_issued("a.test", LIFE, soon);
    let later = next(&plan);
    assert_eq!(order(&mut plan, later), Some(0));
}

#[test]
fn the_only_directory_is_left_alone_longer_each_time() {
    let mut plan = plan(1);
    let (mut now, mut waits) = (NOW, Vec::new());
    for _ in 0..8 {
        assert_eq!(order(&mut plan, now), Some(0));
        fails(&mut plan, Cause::Unreachable, now);
        let then = next(&plan);
        waits.push(then - now);
        assert_eq!(order(&mut plan, then - 1), None);
        now = then;
    }
    assert!(waits[0] >= 150 && waits[0] <= 300, "{waits:?}");
    assert!(waits[7] >= 1800 && waits[7] <= 3600, "{waits:?}");
}

#[test]
fn a_wish_of_the_directory_is_kept_to_the_second() {
    let mut plan = plan(1);
    assert_eq!(order(&mut plan, NOW), Some(0));
    let mut failure = Failure::new(Cause::RateLimited, "too many");
    failure.retry_after = Some(7200);
    plan.handle_failure("a.test", failure, NOW);
    assert_eq!(order(&mut plan, NOW + 7199), None);
    assert_eq!(order(&mut plan, NOW + 7200), Some(0));
}

#[test]
fn a_wish_for_years_is_followed_for_a_week() {
    let mut plan = plan(1);
    assert_eq!(order(&mut plan, NOW), Some(0));
    let mut failure = Failure::new(Cause::RateLimited, "too many");
    failure.retry_after = Some(i64::MAX);
    plan.handle_failure("a.test", failure, NOW);
    assert_eq!(order(&mut plan, NOW + 7 * DAY), Some(0));
}

#[test]
fn failures_stay_below_the_limit_of_an_hour_even_when_asked_for() {
    let mut plan = plan(1);
    let mut tried = 0;
    for second in 0..3600 {
        if plan.ask("a.test", Haste::Forced, NOW + second) == Asked::Soon
            && order(&mut plan, NOW + second).is_some()
        {
            fails(&mut plan, Cause::Answer, NOW + second);
            tried += 1;
        }
    }
    assert_eq!(tried, 5);
    let asked = plan.ask("a.test", Haste::Forced, NOW + 3600);
    assert!(matches!(asked, Asked::Guarded { .. }), "{asked:?}");
    assert_eq!(plan.ask("a.test", Haste::Forced, NOW + 3601), Asked::Soon);
}

#[test]
fn no_more_than_five_certificates_a_week_are_asked_for() {
    let mut plan = plan(1);
    let mut issued = 0;
    for hour in 0..7 * 24 {
        let now = NOW + hour * 3600;
        if plan.ask("a.test", Haste::Forced, now) == Asked::Soon && order(&mut plan, now).is_some()
        {
            let mut broken = Failure::new(Cause::Unusable, "no names");
            broken.issued = true;
            match issued % 2 {
                0 => plan.handle_issued("a.test", LIFE, now),
                _ => plan.handle_failure("a.test", broken, now),
            }
            issued += 1;
        }
    }
    assert_eq!(issued, 5);
}

#[test]
fn an_operator_goes_past_the_wait_but_nothing_is_ordered_that_is_not_due() {
    let mut plan = plan(1);
    assert_eq!(order(&mut plan, NOW), Some(0));
    fails(&mut plan, Cause::Dns, NOW);
    assert_eq!(order(&mut plan, NOW + 1), None);
    assert_eq!(plan.ask("a.test", Haste::Due, NOW + 1), Asked::Soon);
    assert_eq!(order(&mut plan, NOW + 1), Some(0));
    plan.handle_issued("a.test", LIFE, NOW + 1);
    let asked = plan.ask("a.test", Haste::Due, NOW + 2);
    assert!(matches!(asked, Asked::NotDue { .. }), "{asked:?}");
    assert_eq!(plan.ask("a.test", Haste::Forced, NOW + 2), Asked::Soon);
    assert_eq!(order(&mut plan, NOW + 2), Some(0));
    assert_eq!(plan.ask("b.test", Haste::Forced, NOW), Asked::Unknown);
}

#[test]
fn an_operator_may_try_a_directory_that_was_down() {
    let mut plan = plan(1);
    assert_eq!(order(&mut plan, NOW), Some(0));
    fails(&mut plan, Cause::Unreachable, NOW);
    assert_eq!(plan.ask("a.test", Haste::Due, NOW + 1), Asked::Soon);
    assert_eq!(order(&mut plan, NOW + 1), Some(0));
}

#[test]
fn the_state_names_the_last_failure_until_a_success() {
    let mut plan = plan(1);
    assert_eq!(order(&mut plan, NOW), Some(0));
    fails(&mut plan, Cause::Caa, NOW);
    let state = plan.state("a.test").unwrap();
    assert_eq!(state.failed.unwrap().cause, Cause::Caa);
    assert_eq!(state.failures, 1);
    assert_eq!(plan.ask("a.test", Haste::Due, NOW), Asked::Soon);
    assert_eq!(order(&mut plan, NOW), Some(0));
    plan.handle_issued("a.test", LIFE, NOW);
    let state = plan.state("a.test").unwrap();
    assert_eq!((state.failed, state.failures), (None, 0));
}

#[test]
fn a_name_that_is_no_longer_wanted_is_not_ordered_and_its_answer_is_ignored() {
    let mut plan = plan(1);
    assert_eq!(order(&mut plan, NOW), Some(0));
    plan.handle_names(&[vec!["b.test".to_owned()]], NOW);
    plan.handle_issued("a.test", LIFE, NOW);
    assert_eq!(plan.names().collect::<Vec<_>>(), ["b.test"]);
    assert_eq!(order(&mut plan, NOW), Some(0));
}

#[test]
fn more_orders_than_places_wait_their_turn() {
    let mut plan = Plan::new(Rules::default(), 1, 1);
    let names: Vec<_> = (0..10).map(|n| vec![format!("h{n}.test")]).collect();
    plan.handle_names(&names, NOW);
    let mut out = 0;
    while order(&mut plan, NOW).is_some() {
        out += 1;
    }
    assert_eq!(out, Rules::default().parallel);
    plan.handle_issued("h0.test", LIFE, NOW);
    assert!(order(&mut plan, NOW).is_some());
}

#[test]
fn without_a_directory_nothing_is_planned() {
    let mut plan = plan(0);
    assert_eq!(plan.poll_output(NOW), None);
    assert_eq!(plan.poll_timeout(), None);
}

/// A plan that was told of nothing but what the other remembers.
fn restarted(plan: &Plan, directories: usize, now: i64) -> Plan {
    let mut again = Plan::new(Rules::default(), directories, 2);
    again.remember(plan.memory(now), now);
    again.handle_names(&[vec!["a.test".to_owned()]], now);
    again
}

#[test]
fn a_restart_forgets_neither_limits_nor_wishes_nor_causes() {
    let mut plan = plan(1);
    for step in 0..5 {
        // five failures within an hour are what the guard lets out
        plan = restarted(&plan, 1, NOW + step * 60);
        assert_eq!(order(&mut plan, NOW + step * 60), Some(0), "{step}");
        fails(&mut plan, Cause::Answer, NOW + step * 60);
    }
    plan = restarted(&plan, 1, NOW + 300);
    assert_eq!(order(&mut plan, NOW + 300), None);
    assert_eq!(next(&plan), NOW + 3601);
    let state = plan.state("a.test").unwrap();
    assert_eq!(
        (state.failures, state.failed.unwrap().cause),
        (5, Cause::Answer)
    );
    // a wish of the directory
    let mut limited = Failure::new(Cause::RateLimited, "told");
    limited.retry_after = Some(2 * DAY);
    assert_eq!(order(&mut plan, NOW + 3601), Some(0));
    plan.handle_failure("a.test", limited, NOW + 3601);
    plan = restarted(&plan, 1, NOW + DAY);
    assert_eq!(order(&mut plan, NOW + DAY), None);
    assert_eq!(order(&mut plan, NOW + 2 * DAY + 3601), Some(0));
    plan.handle_issued("a.test", LIFE, NOW + 2 * DAY + 3601);
    assert_eq!(
        restarted(&plan, 1, NOW + 3 * DAY)
            .state("a.test")
            .unwrap()
            .failures,
        0
    );
}

#[test]
fn a_directory_that_failed_is_left_alone_after_a_restart_too() {
    let mut plan = plan(2);
    assert_eq!(order(&mut plan, NOW), Some(0));
    fails(&mut plan, Cause::Unreachable, NOW);
    let mut again = restarted(&plan, 2, NOW + 1);
    assert_eq!(order(&mut again, NOW + 1), Some(1));
    // a clock that was wrong blocks nothing for longer than any directory may wish
    let mut again = restarted(&plan, 1, NOW - 400 * DAY);
    assert_eq!(order(&mut again, NOW - 400 * DAY + 7 * DAY), Some(0));
}

#[test]
fn a_name_that_goes_and_comes_keeps_what_its_directory_counts_for_a_week() {
    let mut plan = plan(1);
    for _ in 0..5 {
        assert_eq!(order(&mut plan, NOW), Some(0));
        plan.handle_issued("a.test", LIFE, NOW);
        assert_eq!(
            plan.ask("a.test", Haste::Forced, NOW),
            match plan.memory(NOW).names["a.test"].places[0].issued.len() {
                5 => Asked::Guarded {
                    until: NOW + 7 * DAY + 1
                },
                _ => Asked::Soon,
            }
        );
    }
    plan.handle_names(&[], NOW);
    plan.handle_names(&[vec!["a.test".to_owned()]], NOW + DAY);
    assert_eq!(order(&mut plan, NOW + DAY), None);
    assert!(plan.memory(NOW + 8 * DAY).names.is_empty());
    assert_eq!(order(&mut plan, NOW + 7 * DAY + 1), Some(0));
}
