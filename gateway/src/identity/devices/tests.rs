use std::net::Ipv4Addr;

use super::{Class, DeviceChange, DeviceError, NewDevice, Psk};
use crate::audit::Event;
use crate::identity::tests::flow::new_device;
use crate::identity::tests::{Bench, NOW};
use crate::ids::DeviceId;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 200, 200, last)
}

#[tokio::test]
async fn a_device_gets_the_first_address_after_the_gateway() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let mut changes = devices.subscribe();
    let first = devices.add(new_device("alice", 1)).await.unwrap();
    let second = devices.add(new_device("bob", 2)).await.unwrap();
    assert_eq!((first.address4, second.address4), (address(2), address(3)));
    assert_eq!(changes.recv().await.unwrap(), DeviceChange::Added(first.id));
    assert_eq!(bench.journal.count(Event::DeviceChanged, "device-added"), 2);
    assert!(devices.is_of(first.id, "alice"));
    assert!(!devices.is_of(first.id, "bob"));
}

#[tokio::test]
async fn addresses_outside_reserved_or_taken_are_refused_and_a_free_one_is_given() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let wanted = |n, wanted| NewDevice {
        address4: Some(wanted),
        ..new_device("alice", n)
    };
    devices.add(wanted(1, address(9))).await.unwrap();
    for bad in [
        address(0),
        address(1),
        address(255),
        address(9),
        Ipv4Addr::new(10, 0, 0, 1),
    ] {
        let refused = devices.add(wanted(2, bad)).await;
        assert!(matches!(refused, Err(DeviceError::BadAddress(a)) if a == bad));
    }
    let given = devices.add(wanted(2, address(8))).await.unwrap();
    assert_eq!(given.address4, address(8));
}

#[tokio::test]
async fn the_address_of_a_revoked_device_is_used_again_last() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let first = devices.add(new_device("alice", 1)).await.unwrap();
    assert!(devices.revoke(first.id, NOW).await.unwrap());
    assert!(!devices.revoke(first.id, NOW).await.unwrap());
    let next = devices.add(new_device("alice", 2)).await.unwrap();
    assert_eq!(next.address4, address(3));
    assert_eq!(next.id, DeviceId(2));

    let network = "10.0.0.0/29".parse().unwrap();
    let gateway = Ipv4Addr::new(10, 0, 0, 1);
    let mut all: Vec<_> = (2..=6)
        .map(|n| {
            let mut device = super::Device::clone(&next);
            device.address4 = Ipv4Addr::new(10, 0, 0, n);
            device.revoked = match n {
                3 => Some(200),
                5 => Some(100),
                _ => None,
            };
            std::sync::Arc::new(device)
        })
        .collect();
    let addresses = super::Addresses::new(network, gateway, &all);
    assert_eq!(addresses.next(), Some(Ipv4Addr::new(10, 0, 0, 5)));
    all.retain(|device| device.revoked.is_none());
    all.push(std::sync::Arc::new(super::Device {
        address4: Ipv4Addr::new(10, 0, 0, 3),
        ..super::Device::clone(&next)
    }));
    all.push(std::sync::Arc::new(super::Device {
        address4: Ipv4Addr::new(10, 0, 0, 5),
        ..super::Device::clone(&next)
    }));
    assert_eq!(super::Addresses::new(network, gateway, &all).next(), None);
}

#[tokio::test]
async fn keys_that_are_none_and_keys_of_others_are_refused() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let with = |public_key| NewDevice {
        public_key,
        ..new_device("alice", 0)
    };
    let mut one = [0; 32];
    one[0] = 1;
    for bad in [[0; 32], one, [0xff; 32]] {
        let refused = devices.add(with(bad)).await;
        assert!(matches!(refused, Err(DeviceError::BadKey)));
    }
    let device = devices.add(new_device("alice", 9)).await.unwrap();
    let twin = devices.add(new_device("bob", 9)).await;
    assert!(matches!(twin, Err(DeviceError::KeyTaken(id)) if id == device.id));
    devices.revoke(device.id, NOW).await.unwrap();
    let twin = devices.add(new_device("bob", 9)).await;
    assert!(matches!(twin, Err(DeviceError::KeyRevoked(id)) if id == device.id));
}

#[tokio::test]
async fn names_have_one_to_sixty_four_characters() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let long = "x".repeat(65);
    for bad in ["", "a\nb", "a\u{202e}b", "\u{200b}", long.as_str()] {
        let named = NewDevice {
            name: bad,
            ..new_device("alice", 1)
        };
        assert!(matches!(
            devices.add(named).await,
            Err(DeviceError::BadName)
        ));
    }
    let named = NewDevice {
        name: "Zoë's phone",
        ..new_device("alice", 1)
    };
    assert!(devices.add(named).await.is_ok());
}

#[tokio::test]
async fn a_person_has_ten_devices() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    for n in 1..=10 {
        devices.add(new_device("alice", n)).await.unwrap();
    }
    let more = devices.add(new_device("alice", 11)).await;
    assert!(matches!(more, Err(DeviceError::TooMany(_, 10))));
    devices.add(new_device("bob", 12)).await.unwrap();
    devices.revoke(DeviceId(1), NOW).await.unwrap();
    devices.add(new_device("alice", 11)).await.unwrap();
}

#[tokio::test]
async fn of_a_hundred_devices_that_are_added_at_once_ten_are() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let adding = (1..=100).map(|n| devices.add(new_device("alice", n)));
    let added = futures_util::future::join_all(adding).await;
    let made = added.iter().filter(|added| added.is_ok()).count();
    let full = |added: &&Result<_, _>| matches!(added, Err(DeviceError::TooMany(_, 10)));
    let refused = added.iter().filter(full).count();
    assert_eq!((made, refused), (10, 90));
    assert_eq!(devices.list().len(), 10);
    devices.add(new_device("bob", 101)).await.unwrap();
}

#[tokio::test]
async fn devices_survive_a_restart_with_their_keys_marks_and_classes() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let device = devices.add(new_device("alice", 1)).await.unwrap();
    let revoked = devices.add(new_device("alice", 2)).await.unwrap();
    let psk = devices.psk(device.id).unwrap().unwrap();
    devices.mark(device.id, Class::Managed).await.unwrap();
    devices.revoke(revoked.id, NOW).await.unwrap();
    let endpoint = Some("198.51.100.4:5000".parse().unwrap());
    devices.heard(device.id, Some([5; 12]), endpoint);
    devices.heard(device.id, Some([4; 12]), None);
    devices.flush().await.unwrap();

    let bench = bench.restart(NOW).await;
    let devices = bench.identity.devices();
    let kept = devices.get(device.id).unwrap();
    assert_eq!(kept.class, Class::Managed);
    assert_eq!((kept.mark, kept.endpoint), (Some([5; 12]), endpoint));
    assert_eq!(devices.psk(device.id).unwrap(), Some(psk));
    assert_eq!(devices.get(revoked.id).unwrap().revoked, Some(NOW));
    assert!(!devices.is_of(revoked.id, "alice"));
    assert_eq!(
        devices.add(new_device("bob", 3)).await.unwrap().id,
        DeviceId(3)
    );
}

#[tokio::test]
async fn a_pre_shared_key_is_taken_over_drawn_or_absent() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let with = |n, psk| NewDevice {
        psk,
        ..new_device("alice", n)
    };
    let given = zeroize::Zeroizing::new([3; 32]);
    let taken = devices
        .add(with(1, Psk::Given(given.clone())))
        .await
        .unwrap();
    let drawn = devices.add(with(2, Psk::Generate)).await.unwrap();
    let absent = devices.add(with(3, Psk::Absent)).await.unwrap();
    assert_eq!(devices.psk(taken.id).unwrap(), Some(given.clone()));
    assert!(
        devices
            .psk(drawn.id)
            .unwrap()
            .is_some_and(|key| key != given)
    );
    assert_eq!(devices.psk(absent.id).unwrap(), None);
    assert!(
        !taken
            .psk
            .as_ref()
            .unwrap()
            .windows(32)
            .any(|w| w == [3; 32])
    );
}

#[tokio::test]
async fn a_pre_shared_key_is_replaced_for_a_device_in_force_only() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let device = devices.add(new_device("alice", 1)).await.unwrap();
    let without = NewDevice {
        psk: Psk::Absent,
        ..new_device("alice", 2)
    };
    let without = devices.add(without).await.unwrap();
    let before = devices.psk(device.id).unwrap().unwrap();
    let mut changes = devices.subscribe();
    for id in [device.id, without.id] {
        devices.rotate_psk(id).await.unwrap();
        assert_eq!(changes.recv().await.unwrap(), DeviceChange::Rekeyed(id));
    }
    let after = devices.psk(device.id).unwrap().unwrap();
    assert_ne!(before, after);
    assert!(devices.psk(without.id).unwrap().is_some());
    let recorded = bench
        .journal
        .count(Event::DeviceChanged, "device-psk-changed");
    assert_eq!(recorded, 2);
    devices.revoke(without.id, NOW).await.unwrap();
    let refused = devices.rotate_psk(without.id).await;
    assert!(matches!(refused, Err(DeviceError::Unknown(id)) if id == without.id));

    let bench = bench.restart(NOW).await;
    let devices = bench.identity.devices();
    assert_eq!(devices.psk(device.id).unwrap(), Some(after));
}

#[tokio::test]
async fn both_addresses_are_given_kept_and_refused_alike() {
    let bench = Bench::new().await;
    let devices = bench.identity.devices();
    let wanted = |n, wanted: &str| NewDevice {
        address6: Some(wanted.parse().unwrap()),
        ..new_device("alice", n)
    };
    let first = devices.add(new_device("alice", 1)).await.unwrap();
    let six = |text: &str| Some(text.parse::<std::net::Ipv6Addr>().unwrap());
    assert_eq!(first.address6, six("fd12:3456:789a:1::2"));
    for bad in [
        "fd12:3456:789a:1::1",
        "fd12:3456:789a:1::2",
        "fd12:3456:789a:2::7",
    ] {
        let refused = devices.add(wanted(2, bad)).await;
        assert!(matches!(refused, Err(DeviceError::BadAddress6(_))), "{bad}");
    }
    let given = devices.add(wanted(2, "fd12:3456:789a:1::4")).await.unwrap();
    assert_eq!(given.address6, six("fd12:3456:789a:1::4"));
    assert_eq!(given.address4, address(3));
    let beside = devices.add(new_device("alice", 3)).await.unwrap();
    assert_eq!(beside.address4, address(4));
    assert_eq!(beside.address6, six("fd12:3456:789a:1:0:1:0:4"));
    let before = devices.list();
    let bench = bench.restart(NOW).await;
    let after = bench.identity.devices().list();
    let addresses = |list: &[std::sync::Arc<super::Device>]| {
        let both = list.iter().map(|d| (d.address4, d.address6));
        both.collect::<Vec<_>>()
    };
    assert_eq!(addresses(&after), addresses(&before));
}
