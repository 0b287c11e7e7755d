//! Compression on the way to the browser.
//!
//! Only where the policy says so, by type and length; never of an answer that sets a cookie, which may stand beside
//! text a stranger chose (BREACH), nor of a stream of events, which must not wait in a buffer.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use pingora_core::protocols::http::compression::ResponseCompressionCtx;
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use policy::front::Compress as Written;

use crate::proxy::answer::add_vary;
use crate::proxy::parts;

/// What the answers of an area are compressed by.
pub(crate) struct Compress(Written);

/// Compresses one answer.
pub(crate) struct Compressor {
    ctx: ResponseCompressionCtx,
    end: End,
}

/// What an answer still needs to be whole; the library writes no end of a stream of brotli.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing.
    Written,
    /// All of a stream that holds nothing.
    Empty,
    /// The end of one that holds something.
    Open,
}

impl End {
    /// The bytes of it. A stream that was flushed ends on a whole byte, and a last block without content behind it is
    /// one more. Source: RFC 7932 sections 9.1 and 9.2.
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Written => &[],
            Self::Empty => &[0x06],
            Self::Open => &[0x03],
        }
    }
}

/// Brotli above this is slower than the line.
const BROTLI_MOST: u32 = 5;

impl Compress {
    /// Reads the policy's key.
    pub(super) fn new(written: Written) -> Self {
        Self(written)
    }

    /// Starts compressing an answer if it is to be, and says so in its head.
    ///
    /// # Errors
    /// None in practice; header building reports one.
    pub(crate) fn start(
        &self,
        request: &RequestHeader,
        answer: &mut ResponseHeader,
    ) -> Result<Option<Compressor>> {
        if !self.fits(answer) {
            return Ok(None);
        }
        parts::of_answer(answer, |parts| {
            add_vary(&mut parts.headers, "Accept-Encoding")
        });
        let Some(coding) = wanted(&request.headers) else {
            return Ok(None);
        };
        if request.method == http::Method::HEAD {
            return Ok(None);
        }
        let level = match coding {
            "br" => self.0.level.min(BROTLI_MOST),
            _ => self.0.level,
        };
        let mut ctx = ResponseCompressionCtx::new(level, false, false);
        let mut asked = RequestHeader::build("GET", b"/", Some(1))?;
        asked.insert_header(header::ACCEPT_ENCODING, coding)?;
        ctx.request_filter(&asked);
        ctx.response_header_filter(answer, false);
        if !ctx.is_enabled() {
            return Ok(None);
        }
        answer.remove_header(&header::ACCEPT_RANGES);
        let end = match coding {
            "br" => End::Empty,
            _ => End::Written,
        };
        Ok(Some(Compressor { ctx, end }))
    }

    fn fits(&self, answer: &ResponseHeader) -> bool {
        let fields = &answer.headers;
        let text = |name: HeaderName| fields.get(name).and_then(|v| v.to_str().ok());
        let short = text(header::CONTENT_LENGTH)
            .and_then(|n| n.parse::<u64>().ok())
            .is_some_and(|length| length < self.0.min);
        let fixed = text(header::CACHE_CONTROL).is_some_and(|c| c.contains("no-transform"));
        answer.status == StatusCode::OK
            && !fields.contains_key(header::CONTENT_ENCODING)
            && !fields.contains_key(header::SET_COOKIE)
            && !short
            && !fixed
            && text(header::CONTENT_TYPE).is_some_and(|kind| self.named(kind))
    }

    fn named(&self, content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        let Some((main, _)) = kind.split_once('/') else {
            return false;
        };
        kind != "text/event-stream"
            && self.0.types.iter().any(|known| {
                *known == kind || known.strip_suffix("/*").is_some_and(|all| all == main)
            })
    }
}

impl Compressor {
    /// Compresses a part of the body.
    pub(crate) fn part(&mut self, body: &mut Option<Bytes>, end: bool) {
        if self.end == End::Empty && body.as_ref().is_some_and(|body| !body.is_empty()) {
            self.end = End::Open;
        }
        if let Some(compressed) = self.ctx.response_body_filter(body.as_ref(), end) {
            *body = Some(compressed);
        }
        let left = match self.end {
            left @ (End::Empty | End::Open) if end => left,
            End::Written | End::Empty | End::Open => return,
        };
        self.end = End::Written;
        let written = match left {
            End::Open => body.take().unwrap_or_default(),
            End::Written | End::Empty => Bytes::new(),
        };
        *body = Some([&written, left.bytes()].concat().into());
    }
}

/// The best coding a client takes. Source: RFC 9110 section 12.5.3.
fn wanted(request: &HeaderMap) -> Option<&'static str> {
    let mut best = None;
    for line in request.get_all(header::ACCEPT_ENCODING) {
        for word in line.to_str().unwrap_or_default().split(',') {
            let mut parts = word.split(';');
            let name = parts.next().unwrap_or_default().trim();
            let refused = parts.any(|part| {
                let part = part.trim().to_ascii_lowercase();
                let weight = part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
                weight.is_some_and(|weight| weight <= 0.0)
            });
            let rank = ["gzip", "br", "zstd"]
                .iter()
                .position(|known| name.eq_ignore_ascii_case(known));
            if !refused {
                best = best.max(rank);
            }
        }
    }
    ["gzip", "br", "zstd"].get(best?).copied()
}

#[cfg(test)]
mod tests {
    use super::{Compress, Written};
    use bytes::Bytes;
    use pingora_http::{RequestHeader, ResponseHeader};

    fn compress() -> Compress {
        Compress::new(Written {
            types: vec!["application/json".to_owned(), "text/*".to_owned()],
            min: 100,
            level: 6,
        })
    }

    fn started(
        accept: &str,
        method: &str,
        fields: &[(&'static str, &str)],
    ) -> (ResponseHeader, bool) {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        request.insert_header("accept-encoding", accept).unwrap();
        let mut answer = ResponseHeader::build(200, None).unwrap();
        for (name, value) in fields {
            answer.insert_header(*name, *value).unwrap();
        }
        let started = compress().start(&request, &mut answer).unwrap();
        let Some(mut compressor) = started else {
            return (answer, false);
        };
        let mut body = Some(Bytes::from("a".repeat(5000)));
        compressor.part(&mut body, true);
        assert!(body.unwrap().len() < 500);
        (answer, true)
    }

    const TEXT: (&str, &str) = ("content-type", "text/html; charset=utf-8");

    #[test]
    fn the_best_coding_the_client_takes_is_used() {
        for (accept, coding) in [
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, br", "br"),
            ("GZIP;q=0.5", "gzip"),
            ("gzip, br;q=0", "gzip"),
        ] {
            let (answer, started) = started(accept, "GET", &[TEXT, ("content-length", "5000")]);
            assert!(started, "{accept}");
            assert_eq!(answer.headers["content-encoding"], coding);
            assert_eq!(answer.headers["vary"], "Accept-Encoding");
            assert!(!answer.headers.contains_key("content-length"));
        }
    }

    #[test]
    fn a_stream_of_brotli_has_an_end_in_parts_whole_and_empty() {
        let parts = |parts: &[&str]| {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            request.insert_header("accept-encoding", "br").unwrap();
            let mut answer = ResponseHeader::build(200, None).unwrap();
            answer.insert_header("content-type", "text/html").unwrap();
            let started = compress().start(&request, &mut answer).unwrap();
            let (mut compressor, mut all) = (started.unwrap(), Vec::new());
            for part in parts {
                let mut body = Some(Bytes::copy_from_slice(part.as_bytes()));
                compressor.part(&mut body, false);
                all.extend(body.unwrap());
            }
            let mut body = None;
            compressor.part(&mut body, true);
            all.extend(body.unwrap());
            all
        };
        assert_eq!(parts(&[]), [0x06]);
        assert_eq!(parts(&[""]), [0x06]);
        let long = "long ".repeat(50_000);
        for given in [&["short"][..], &["in", "parts"], &[long.as_str(), "end"]] {
            let all = parts(given);
            assert!(all.len() > 1 && all.last() == Some(&0x03), "{all:?}");
        }
    }

    #[test]
    fn what_is_short_compressed_secret_or_a_stream_stays_as_it_is() {
        for fields in [
            &[TEXT, ("content-length", "99")][..],
            &[TEXT, ("content-encoding", "gzip")],
            &[TEXT, ("set-cookie", "a=b")],
            &[TEXT, ("cache-control", "private, no-transform")],
            &[("content-type", "image/png")],
            &[("content-type", "text/event-stream")],
            &[],
        ] {
            assert!(!started("gzip", "GET", fields).1, "{fields:?}");
        }
        assert!(!started("identity", "GET", &[TEXT]).1);
        assert!(!started("gzip", "HEAD", &[TEXT]).1);
        assert!(started("gzip", "GET", &[TEXT]).1);
    }
}
