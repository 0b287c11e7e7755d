use super::{Bent, Judge, Want};

/// How an answer was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// Whole, and the next may come.
    Whole,
    /// All of it is an answer so far.
    More,
    /// So many bytes are an answer; the rest is none.
    Behind(usize),
    Bent,
}

fn judge(want: Want) -> Judge {
    let mut judge = Judge::new();
    judge.expect(want);
    judge
}

/// What becomes of parts that come one after another.
fn parts(want: Want, parts: &[&[u8]]) -> Read {
    let mut judge = judge(want);
    let mut all = 0;
    for part in parts {
        let quiet = judge.is_quiet();
        match judge.take(part) {
            Ok(taken) => all += taken,
            Err(Bent(_)) if quiet => return Read::Behind(all),
            Err(Bent(_)) => return Read::Bent,
        }
        if judge.is_bent() {
            return Read::Behind(all);
        }
    }
    if judge.is_quiet() {
        Read::Whole
    } else {
        Read::More
    }
}

/// Reads an answer whole, byte by byte and in any two parts; all must say the same.
fn read(want: Want, answer: &[u8]) -> Read {
    let shown = answer.escape_ascii().to_string();
    let whole = parts(want, &[answer]);
    assert_eq!(
        parts(want, &answer.chunks(1).collect::<Vec<_>>()),
        whole,
        "{shown}"
    );
    let step = answer.len() / 500 + 1;
    for at in (1..answer.len()).step_by(step) {
        let (first, second) = answer.split_at(at);
        assert_eq!(parts(want, &[first, second]), whole, "{shown} at {at}");
    }
    whole
}

fn with(fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}").into_bytes()
}

#[test]
fn a_sound_answer_passes_and_ends_where_it_says() {
    let chunks = "2\r\nok\r\n0\r\n\r\n";
    for answer in [
        with("Content-Length: 2\r\n", "ok"),
        with("content-LENGTH:2 \t\r\n", "ok"),
        with("Content-Length: 0\r\n", ""),
        with("Transfer-Encoding: chunked\r\n", chunks),
        with("transfer-encoding:\t Chunked \r\n", chunks),
        with(
            "Transfer-Encoding: chunked\r\n",
            "2;a=b\r\nok\r\n0\r\nX-A: 1\r\n\r\n",
        ),
        with(
            "X:\r\nX-A: \u{e9}\t \r\nContent-Lengt: x\r\nContent-Lengths: y\r\nTE: x\r\nContent-Length: 2\r\n",
            "ok",
        ),
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.0 599 N \t ot\r\nContent-Length: 1\r\n\r\nx".to_vec(),
        b"HTTP/1.1 204 No\r\n\r\n".to_vec(),
        b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 304 Not\r\nContent-Length: 7\r\n\r\n".to_vec(),
        b"HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
            .to_vec(),
    ] {
        let shown = answer.escape_ascii().to_string();
        assert_eq!(read(Want::Whole, &answer), Read::Whole, "{shown}");
        let more = [answer.as_slice(), b"HTTP/1.1 200"].concat();
        assert_eq!(
            read(Want::Whole, &more),
            Read::Behind(answer.len()),
            "{shown}"
        );
        let less = answer.get(..answer.len() - 1).unwrap();
        assert_eq!(read(Want::Whole, less), Read::More, "{shown}");
    }
    assert_eq!(read(Want::Whole, &with("", "until it closes")), Read::More);
}

#[test]
fn what_was_asked_says_whether_there_is_a_body_and_a_tunnel() {
    let head = with("Content-Length: 2\r\n", "");
    assert_eq!(read(Want::Head, &head), Read::Whole);
    assert_eq!(read(Want::Whole, &head), Read::More);
    let body = with("Content-Length: 2\r\n", "ok");
    assert_eq!(read(Want::Head, &body), Read::Behind(head.len()));
    let chunked = with("Transfer-Encoding: chunked\r\n", "");
    assert_eq!(read(Want::Head, &chunked), Read::Whole);
    let switched = b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n\x81\0\r\n";
    assert_eq!(read(Want::Upgrade, switched), Read::More);
    assert_eq!(read(Want::Whole, switched), Read::Bent);
    assert_eq!(read(Want::Upgrade, &body), Read::Whole);
}

#[test]
fn what_bends_the_grammar_is_no_answer() {
    let line = |line: &str| format!("{line}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    for start in [
        "",
        "\r\nHTTP/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 600 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 OK\nX: a",
        "HTTP 200 OK",
    ] {
        assert_eq!(read(Want::Whole, &line(start)), Read::Bent, "{start:?}");
    }
    for fields in [
        "X-A : a\r\n",
        " X-A: a\r\n",
        "X-A: a\r\n b\r\n",
        "X-A: a\r\n\tb\r\n",
        "X-A: a\nX-B: b\r\n",
        "X-A: a\r\r\n",
        "X-A: a\rX-B: b\r\n",
        "X-A: \0\r\n",
        "X-A: \x7f\r\n",
        "X-A\r\n",
        ": a\r\n",
        "X(A: a\r\n",
        "X\u{e9}: a\r\n",
        "Content-Length : 2\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: 2 2\r\n",
        "Content-Length:\r\n",
        "Content-Length: \t\r\n",
        "Content-Length: 9999999999999999999\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content_Length: 2\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunke\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chun ked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(
            read(Want::Whole, &with(fields, "")),
            Read::Bent,
            "{fields:?}"
        );
    }
    for answer in [
        &b"HTTP/1.1 200 OK\n\n"[..],
        b"HTTP/1.1 200 OK\r\n\n",
        b"HTTP/1.1 200 OK\r\n\rX",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 103 E\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    ] {
        assert_eq!(
            read(Want::Whole, answer),
            Read::Bent,
            "{}",
            answer.escape_ascii()
        );
    }
    for chunks in [
        "\r\n",
        " 2\r\n",
        "2 \r\n",
        "2\nok",
        "2;\x01\r\n",
        "2\r\nokX",
    ] {
        let answer = with("Transfer-Encoding: chunked\r\n", chunks);
        assert_eq!(read(Want::Whole, &answer), Read::Bent, "{chunks:?}");
    }
}

#[test]
fn a_head_has_its_bounds() {
    let head = |fields: usize| {
        let fields: String = (0..fields).map(|at| format!("X-{at}: a\r\n")).collect();
        with(&fields, "")
    };
    assert_eq!(read(Want::Whole, &head(100)), Read::More);
    assert_eq!(read(Want::Whole, &head(101)), Read::Bent);
    let empty = with("X: \r\n", "").len();
    let long = |bytes: usize| with(&format!("X: {}\r\n", "a".repeat(bytes - empty)), "");
    assert_eq!(long(32 * 1024).len(), 32 * 1024);
    assert_eq!(read(Want::Whole, &long(32 * 1024)), Read::More);
    assert_eq!(read(Want::Whole, &long(32 * 1024 + 1)), Read::Bent);
    // each head before the last has its own
    let hint = |bytes: usize| {
        let link = "a".repeat(bytes);
        format!("HTTP/1.1 103 E\r\nLink: {link}\r\n\r\n").into_bytes()
    };
    let hints = [hint(30_000), hint(30_000)].concat();
    assert_eq!(read(Want::Whole, &hints), Read::More);
}

#[test]
fn a_connection_is_for_one_answer_at_a_time() {
    let answer = with("Content-Length: 2\r\n", "ok");
    let mut again = judge(Want::Whole);
    assert_eq!(again.take(&answer), Ok(answer.len()));
    again.expect(Want::Head);
    assert_eq!(
        again.take(&with("Content-Length: 2\r\n", "")),
        Ok(answer.len() - 2)
    );
    assert!(again.is_quiet());
    // its twins: an answer that is not whole, and one that nobody asked for
    let mut early = judge(Want::Whole);
    assert!(early.take(answer.get(..20).unwrap()).is_ok());
    early.expect(Want::Whole);
    assert!(early.is_bent() && early.take(&answer).is_err());
    assert!(Judge::new().take(&answer).is_err());
    assert!(again.take(&answer).is_err() && again.is_bent());
}
