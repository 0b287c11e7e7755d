//! Heads of the library, worked on as what they are made of.
//!
//! The library's own methods write the name of each field out and read it again, and note its case; names that are
//! constants cost nothing this way, and have no case.

use std::mem;

use http::{Request, Response, request, response};
use pingora_http::{RequestHeader, ResponseHeader};

/// Works on the parts of a request's head; its names lose their case.
pub(super) fn of_request<T>(
    head: &mut RequestHeader,
    work: impl FnOnce(&mut request::Parts) -> T,
) -> T {
    let ends = head.send_end_stream();
    let (none, ()) = Request::new(()).into_parts();
    let mut parts = request::Parts::from(mem::replace(head, RequestHeader::from(none)));
    let done = work(&mut parts);
    *head = RequestHeader::from(parts);
    if let Some(ends) = ends {
        head.set_send_end_stream(ends);
    }
    done
}

/// Works on the parts of an answer's head; its names lose their case, its own reason phrase stays.
pub(super) fn of_answer<T>(
    head: &mut ResponseHeader,
    work: impl FnOnce(&mut response::Parts) -> T,
) -> T {
    let (status, usual) = (head.status, head.status.canonical_reason());
    let own = head.get_reason_phrase().filter(|own| usual != Some(*own));
    let own = own.map(str::to_owned);
    let (none, ()) = Response::new(()).into_parts();
    let mut parts = response::Parts::from(mem::replace(head, ResponseHeader::from(none)));
    let done = work(&mut parts);
    *head = ResponseHeader::from(parts);
    if own.is_some() && head.status == status {
        // a phrase that could be read can be written
        drop(head.set_reason_phrase(own.as_deref()));
    }
    done
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode, Version, header};
    use pingora_http::{RequestHeader, ResponseHeader};

    use super::{of_answer, of_request};

    #[test]
    fn what_is_not_touched_stays_as_it_was() {
        let mut head = ResponseHeader::build(200, None).unwrap();
        head.append_header("x-a", "1").unwrap();
        head.append_header("x-a", "2").unwrap();
        head.set_version(Version::HTTP_10);
        head.set_reason_phrase(Some("Fine")).unwrap();
        of_answer(&mut head, |parts| {
            parts
                .headers
                .insert(header::ETAG, HeaderValue::from_static("\"a\""));
        });
        let all: Vec<_> = head.headers.get_all("x-a").iter().collect();
        assert_eq!(all, ["1", "2"]);
        assert_eq!(head.headers["etag"], "\"a\"");
        assert_eq!(
            (head.version, head.get_reason_phrase()),
            (Version::HTTP_10, Some("Fine"))
        );
        of_answer(&mut head, |parts| parts.status = StatusCode::NOT_FOUND);
        assert_eq!(head.get_reason_phrase(), Some("Not Found"));
    }

    #[test]
    fn a_request_over_http2_keeps_whether_its_head_ends_it() {
        for ends in [true, false] {
            let mut head = RequestHeader::build("GET", b"/a?b", None).unwrap();
            head.set_version(Version::HTTP_2);
            head.set_send_end_stream(ends);
            of_request(&mut head, |parts| {
                parts
                    .headers
                    .insert(header::HOST, HeaderValue::from_static("a.example"));
            });
            assert_eq!(head.send_end_stream(), Some(ends));
            assert_eq!(head.raw_path(), b"/a?b");
            assert_eq!(head.headers["host"], "a.example");
        }
    }
}
