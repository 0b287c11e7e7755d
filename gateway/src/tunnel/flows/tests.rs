use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wg::{FlowId, FlowRecord, PeerId, Refusal as How, Unreachable};

use super::super::testing::{Waiting, ground};
use super::{DIALS_PER_DEVICE, FLOWS_PER_DEVICE, Flows, NEW_AT_ONCE, how_to_say};
use crate::audit::reason;
use crate::tunnel::shard::{Command, FlowNews};

fn flow(peer: u32, number: usize) -> FlowRecord {
    let number = u32::try_from(number).unwrap();
    FlowRecord {
        id: FlowId::new(number, peer),
        peer: PeerId(peer),
        source: ([10, 200, 200, 2], 40_000).into(),
        destination: ([192, 0, 2, 7], 5432).into(),
    }
}

#[tokio::test]
async fn a_device_has_so_many_flows_and_the_next_one_when_one_is_over() {
    let (ground, _commands) = ground(Arc::new(Waiting::default()));
    let mut flows = Flows::new(ground);
    for number in 0..FLOWS_PER_DEVICE {
        assert!(flows.begin(&flow(1, number)).is_ok(), "{number}");
    }
    let one_more = flow(1, FLOWS_PER_DEVICE);
    let full = flows.begin(&one_more);
    assert_eq!(full, Err((How::Reset, reason::TOO_MANY_CONNECTIONS)));
    assert!(
        flows.begin(&flow(2, 0)).is_ok(),
        "another device has its own"
    );
    flows.forget(flow(1, 0).id);
    assert!(flows.begin(&one_more).is_ok());
    assert!(flows.begin(&flow(1, FLOWS_PER_DEVICE + 1)).is_err());
}

#[tokio::test]
async fn new_flows_of_a_device_have_a_rate() {
    let (ground, _commands) = ground(Arc::new(Waiting::default()));
    let mut flows = Flows::new(ground);
    let mut last = Ok(true);
    for number in 0..2 * NEW_AT_ONCE as usize {
        last = flows.begin(&flow(1, number));
        flows.forget(flow(1, number).id);
    }
    assert_eq!(last, Err((How::Reset, reason::RATE_LIMITED)));
    assert!(flows.begin(&flow(2, 0)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_device_dials_so_many_hosts_at_once_and_the_rest_wait_held() {
    let gate = Arc::new(Waiting::default());
    let (ground, mut commands) = ground(Arc::clone(&gate));
    let stop = ground.stop.clone();
    let (news, inbox) = tokio::sync::mpsc::channel(1024);
    for number in 0..DIALS_PER_DEVICE + 8 {
        news.try_send(FlowNews::Syn(flow(1, number))).unwrap();
    }
    let table = tokio::spawn(Flows::new(ground).run(inbox));
    let asked = |gate: &Waiting| gate.asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(asked(&gate), DIALS_PER_DEVICE);
    assert!(commands.try_recv().is_err(), "nobody was answered");
    news.try_send(FlowNews::Syn(flow(2, 0))).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(asked(&gate), DIALS_PER_DEVICE + 1, "another device dials");

    gate.refuse.add_permits(3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut refused = 0;
    while let Ok(command) = commands.try_recv() {
        refused += usize::from(matches!(command, Command::Refuse(_, How::Reset)));
    }
    assert_eq!(refused, 3);
    assert!(
        asked(&gate) > DIALS_PER_DEVICE + 1,
        "those that waited go on"
    );
    stop.cancel();
    gate.refuse.add_permits(1000);
    drop(table.await);
}

#[test]
fn a_host_that_is_not_there_is_not_heard_as_one_that_refuses() {
    let away = How::Unreachable(Unreachable::Host);
    for (reason, how) in [
        (reason::TIMEOUT, away),
        (reason::UNREACHABLE, away),
        (reason::UPSTREAM_DOWN, How::Reset),
        (reason::OVERLOADED, How::Reset),
        (reason::REVOKED, How::Reset),
    ] {
        assert_eq!(how_to_say(reason), how, "{reason}");
    }
}
