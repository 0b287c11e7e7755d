//! Where in a trace a request stands, and whether the trace is recorded. Source: W3C Trace Context, section 3.2.

use data_encoding::HEXLOWER;

use crate::ids;

/// The flag of traces that are recorded.
const SAMPLED: u8 = 1;

/// A place in a trace: that of whoever asks, or the beginning of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) trace: [u8; 16],
    /// The span of whoever asks.
    pub(super) parent: Option<[u8; 8]>,
    pub(super) flags: u8,
}

impl Place {
    /// Reads a `traceparent` of version 00.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-').skip(1);
        let (trace, parent) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
        let [flags] = bytes(parts.next()?)?;
        Some(Self {
            trace,
            parent: Some(parent),
            flags,
        })
    }

    /// Tells whether its trace is recorded.
    pub(super) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Writes the `traceparent` of what a span asks.
    pub(super) fn of(&self, span: [u8; 8]) -> String {
        let (trace, span) = (HEXLOWER.encode(&self.trace), HEXLOWER.encode(&span));
        format!("00-{trace}-{span}-{:02x}", self.flags)
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The share of traces that are recorded, of those that begin here: those whose random last seven bytes lie under it.
/// Source: OpenTelemetry, "Probability Sampling", consistent with W3C Trace Context level 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    under: u64,
}

impl Share {
    /// Takes a share from 0 to 1.
    pub(super) fn new(share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a float saturates, and the share is none below 0"
        )]
        let under = (share * (1_u64 << 56) as f64) as u64;
        Self { under }
    }

    /// Begins a trace, if it is one that is recorded.
    pub(super) fn draw(self) -> Option<Place> {
        let trace = ids::label::<16>();
        self.takes(&trace).then_some(Place {
            trace,
            parent: None,
            flags: SAMPLED,
        })
    }

    fn takes(self, trace: &[u8; 16]) -> bool {
        let random = u128::from_be_bytes(*trace) & u128::from((1_u64 << 56) - 1);
        random < u128::from(self.under)
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Share};

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_place_is_read_and_leads_on_within_its_trace() {
        let place = Place::read(TEXT).unwrap();
        assert_eq!(place.of(place.parent.unwrap()), TEXT);
        let next = Place::read(&place.of([7; 8])).unwrap();
        assert_eq!((next.trace, next.parent), (place.trace, Some([7; 8])));
    }

    #[test]
    fn a_trace_is_recorded_if_its_flag_says_so() {
        assert!(Place::read(TEXT).unwrap().is_sampled());
        let both = format!("{}03", TEXT.strip_suffix("01").unwrap());
        assert!(Place::read(&both).unwrap().is_sampled());
        for flags in ["00", "02"] {
            let text = format!("{}{flags}", TEXT.strip_suffix("01").unwrap());
            assert!(!Place::read(&text).unwrap().is_sampled(), "{text}");
        }
    }

    #[test]
    fn as_many_traces_begin_as_the_share_says() {
        let of = |share: f64| {
            (0..4000)
                .filter(|_| Share::new(share).draw().is_some())
                .count()
        };
        assert_eq!((of(0.0), of(1.0)), (0, 4000));
        assert!((800..1200).contains(&of(0.25)), "{}", of(0.25));
    }

    #[test]
    fn the_first_and_the_last_trace_are_on_their_sides_of_any_share() {
        let (first, last) = ([0; 16], [255; 16]);
        let small = Share::new(f64::MIN_POSITIVE);
        assert!(!small.takes(&first) && !Share::new(0.0).takes(&first));
        assert!(Share::new(1.0).takes(&last) && !Share::new(0.999).takes(&last));
    }
}
