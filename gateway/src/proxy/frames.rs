//! Follows the frames a WebSocket client sends, to tell use from keeping alive.
//!
//! Only the heads of frames are read; payloads are counted and never looked at. What is not a
//! frame is passed on to the app all the same: this decides nothing but idleness.
//! Source: RFC 6455 section 5.2; security.md R-SE-07.

/// Where in the client's frames the bytes stand.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; 14],
    have: usize,
    payload_left: u64,
    data: bool,
}

impl Frames {
    /// Takes the next bytes and tells whether any of them belong to a data frame: text, binary
    /// or a continuation. Pings, pongs and closes are no use of a session.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut used = false;
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                used |= self.data;
                let all = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let skipped = self.payload_left.min(all);
                self.payload_left -= skipped;
                let skipped = usize::try_from(skipped).unwrap_or(bytes.len());
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            if let Some(slot) = self.head.get_mut(self.have) {
                *slot = first;
            }
            self.have += 1;
            bytes = rest;
            if self.have >= self.head_len() {
                self.data = self.head[0] & 0x0f <= 2;
                used |= self.data;
                self.payload_left = self.payload_len();
                self.have = 0;
            }
        }
        used
    }

    /// Returns the length of the head in bytes, as far as it can be told.
    fn head_len(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + mask
    }

    fn payload_len(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.head;
        match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    fn frame(opcode: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode];
        match payload {
            0..126 => bytes.push(0x80 | u8::try_from(payload).unwrap()),
            126..65536 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.resize(bytes.len() + payload, 0x8a);
        bytes
    }

    #[test]
    fn data_is_use_and_control_is_not() {
        for (opcode, used) in [
            (0, true),
            (1, true),
            (2, true),
            (8, false),
            (9, false),
            (10, false),
        ] {
            for payload in [0, 5, 125, 126, 70_000] {
                let mut frames = Frames::default();
                assert_eq!(
                    frames.take(&frame(opcode, payload)),
                    used,
                    "{opcode} {payload}"
                );
            }
        }
    }

    #[test]
    fn frames_are_followed_over_any_cut() {
        let stream = [frame(10, 3), frame(1, 300), frame(9, 0), frame(10, 126)].concat();
        let text = frame(10, 3).len()..frame(10, 3).len() + frame(1, 300).len();
        let mut frames = Frames::default();
        for (at, byte) in stream.iter().enumerate() {
            let used = frames.take(std::slice::from_ref(byte));
            // the head tells what it is with its last byte
            let tells = text.contains(&at) && at >= text.start + 7;
            assert_eq!(used, tells, "byte {at}");
        }
    }

    #[test]
    fn pongs_after_data_are_no_use() {
        let mut frames = Frames::default();
        assert!(frames.take(&frame(2, 10)));
        assert!(!frames.take(&frame(10, 4)));
    }
}
