use std::net::SocketAddr;

use proptest::prelude::*;

use super::{Bad, FIXED, LINE, MOST, SIGNATURE, Step, is_begun, is_listed, step};

/// Reads a whole stream as [`super::read`] does; returns what it found and how many bytes it took.
fn read(stream: &[u8]) -> Option<Result<(Option<SocketAddr>, usize), Bad>> {
    let mut taken = 0;
    loop {
        let wanted = match step(&stream[..taken]) {
            Err(bad) => return Some(Err(bad)),
            Ok(Step::Done(source)) => return Some(Ok((source, taken))),
            Ok(Step::Need(wanted)) => wanted,
            Ok(Step::Line(most)) => {
                let ahead = &stream[taken..stream.len().min(taken + most)];
                ahead
                    .iter()
                    .position(|b| *b == b'\n')
                    .map_or(ahead.len(), |at| at + 1)
                    .max(1)
            }
        };
        assert!(wanted > 0, "it goes on");
        taken += wanted;
        if taken > stream.len() {
            return None;
        }
    }
}

fn binary(kind: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[kind, family], &length, body].concat()
}

fn v4(more: usize) -> Vec<u8> {
    let mut body = vec![192, 0, 2, 7, 192, 0, 2, 1, 0x9c, 0x40, 1, 0xbb];
    body.resize(12 + more, 7);
    body
}

#[test]
fn both_versions_name_who_stands_behind_and_nothing_after_them_is_taken() {
    let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
    let mut v6 = vec![0; 32];
    (v6[0], v6[1], v6[15]) = (0x20, 0x01, 7);
    v6.extend([0x9c, 0x40, 1, 0xbb]);
    let mut mapped = vec![0; 32];
    mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 7]);
    mapped.extend([0x9c, 0x40, 1, 0xbb]);
    for (header, source) in [
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n".to_vec(),
            at("192.0.2.7:40000"),
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n".to_vec(),
            at("[2001:db8::7]:40000"),
        ),
        (
            b"PROXY TCP6 ::ffff:192.0.2.7 ::1 40000 443\r\n".to_vec(),
            at("192.0.2.7:40000"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n".to_vec(), None),
        (binary(0x21, 0x11, &v4(0)), at("192.0.2.7:40000")),
        (binary(0x21, 0x11, &v4(300)), at("192.0.2.7:40000")),
        (binary(0x21, 0x21, &v6), at("[2001::7]:40000")),
        (binary(0x21, 0x21, &mapped), at("192.0.2.7:40000")),
        (binary(0x20, 0x00, &[]), None),
        (binary(0x20, 0x11, &v4(0)), None),
        (binary(0x21, 0x00, b"ignored"), None),
    ] {
        let stream = [&header[..], b"\x16\x03\x01GET \n"].concat();
        assert_eq!(
            read(&stream),
            Some(Ok((source, header.len()))),
            "{header:?}"
        );
        for cut in 0..header.len() {
            assert_eq!(read(&header[..cut]), None, "{cut} of {header:?}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let long = format!(
        "PROXY TCP4 192.0.2.7 192.0.2.1 40000 {}\r\n",
        "4".repeat(LINE)
    );
    for (stream, bad) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Bad::None),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
            Bad::None,
        ),
        (b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n", Bad::None),
        (long.as_bytes(), Bad::Long),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n", Bad::Addresses),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n", Bad::Addresses),
        (b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n", Bad::Addresses),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", Bad::Addresses),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n", Bad::Addresses),
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n",
            Bad::Addresses,
        ),
        (b"PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n", Bad::Addresses),
        (
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            Bad::Addresses,
        ),
        (b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n", Bad::Addresses),
        (b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n", Bad::Addresses),
        (b"PROXY UNKNOWNED\r\n", Bad::Addresses),
        (b"PROXY \xff\xff\xff\xff\xff\xff\r\n", Bad::Addresses),
        (&binary(0x11, 0x11, &v4(0)), Bad::Kind),
        (&binary(0x22, 0x11, &v4(0)), Bad::Kind),
        (&binary(0x21, 0x12, &v4(0)), Bad::Kind),
        (&binary(0x21, 0x31, &[0; 216]), Bad::Kind),
        (&binary(0x21, 0x11, &v4(0)[..11]), Bad::Addresses),
        (&binary(0x21, 0x21, &[0; 35]), Bad::Addresses),
        (&binary(0x21, 0x11, &v4(MOST)), Bad::Long),
    ] {
        assert_eq!(
            read(stream),
            Some(Err(bad)),
            "{:?}",
            String::from_utf8_lossy(stream)
        );
    }
}

#[test]
fn a_header_is_seen_by_its_first_bytes_and_nothing_else_is_taken_for_one() {
    assert!(is_begun(b"PROXY TCP4 1"));
    assert!(is_begun(&SIGNATURE));
    assert!(is_begun(&SIGNATURE[..6]));
    for other in [
        &b""[..],
        b"PRO",
        b"\r\n",
        b"GET / HTTP/1",
        b"PRI * HTTP/2",
        b"\x16\x03\x01\x02\x00\x01",
    ] {
        assert!(!is_begun(other), "{other:?}");
    }
}

#[test]
fn nobody_is_listed_by_default_and_an_address_counts_in_both_its_forms() {
    let listed = ["192.0.2.0/28".parse().unwrap()];
    assert!(!is_listed(&[], "192.0.2.7".parse().unwrap()));
    assert!(is_listed(&listed, "192.0.2.7".parse().unwrap()));
    assert!(is_listed(&listed, "::ffff:192.0.2.7".parse().unwrap()));
    assert!(!is_listed(&listed, "192.0.2.16".parse().unwrap()));
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Some(Ok((_, taken))) = read(&bytes) {
            prop_assert!(taken <= bytes.len() && taken <= MOST);
        }
    }

    #[test]
    fn any_binary_header_is_read_within_bounds(
        kind in any::<u8>(), family in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        claimed in any::<u16>(),
    ) {
        let mut header = binary(kind, family, &body);
        let whole = header.len();
        match read(&header) {
            Some(Ok((source, taken))) => {
                prop_assert_eq!(taken, whole);
                prop_assert!(source.is_none() || (kind == 0x21 && matches!(family, 0x11 | 0x21)));
            }
            Some(Err(_)) => {}
            None => prop_assert!(false, "it is whole"),
        }
        header[14..16].copy_from_slice(&claimed.to_be_bytes());
        if let Some(Ok((_, taken))) = read(&header) {
            prop_assert_eq!(taken, FIXED + usize::from(claimed));
        }
    }

    #[test]
    fn any_line_is_read_within_bounds(line in "PROXY (TCP4|TCP6|UNKNOWN| )[ 0-9a-f:.\r\n]{0,120}") {
        if let Some(Ok((_, taken))) = read(line.as_bytes()) {
            prop_assert!(taken <= LINE && line.as_bytes()[taken - 1] == b'\n');
        }
    }

    #[test]
    fn every_source_is_read_as_it_was_written(a in any::<[u8; 4]>(), port in any::<u16>()) {
        let source = SocketAddr::from((a, port));
        let line = format!("PROXY TCP4 {} 192.0.2.1 {} 443\r\n", source.ip(), port);
        prop_assert_eq!(read(line.as_bytes()), Some(Ok((Some(source), line.len()))));
        let mut body = a.to_vec();
        body.extend([192, 0, 2, 1]);
        body.extend(port.to_be_bytes());
        body.extend([1, 0xbb]);
        let header = binary(0x21, 0x11, &body);
        prop_assert_eq!(read(&header), Some(Ok((Some(source), header.len()))));
    }
}
