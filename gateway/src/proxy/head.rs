//! The strict head: what pingora would let through and this gateway refuses.
//!
//! HTTP/1 heads are judged on the bytes as they came, before pingora parses one of them, so that
//! nothing is normalised away first. HTTP/2 heads are judged on the decoded fields. Both end in
//! the same [`Target`], whose canonical host and path are matched, logged and forwarded.
//!
//! Source: RFC 9112 sections 2.2, 3, 5, 6; RFC 9110 sections 4.2, 5.5, 7.2;
//! security.md R-PX-01..05, R-PX-12..19, R-PX-22, R-AZ-04..09.

use http::HeaderMap;

/// The longest head in bytes, request line and blank line included.
pub(crate) const MAX_HEAD: usize = 32 * 1024;
/// The longest request line in bytes.
pub(crate) const MAX_LINE: usize = 8 * 1024;
/// The most header fields in one head.
pub(crate) const MAX_FIELDS: usize = 100;

/// Why a head is refused: the status to answer and a closed reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The HTTP status of the answer.
    pub(crate) status: u16,
    /// The kebab-case reason that log, record and test share.
    pub(crate) reason: &'static str,
}

const fn refused(status: u16, reason: &'static str) -> Refused {
    Refused { status, reason }
}

/// The canonical target of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Canonical host, without port.
    pub(crate) host: policy::canon::CanonHost,
    /// The port of the request's authority, if the client wrote one.
    pub(crate) port: Option<u16>,
    /// Canonical path; what policy matches and, with the parameters an app takes, the upstream gets.
    pub(crate) path: policy::canon::CanonPath<'static>,
    /// The query without its question mark, as the client wrote it.
    pub(crate) query: Option<String>,
}

impl Target {
    /// Writes host and port as a URL authority.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host.as_str()),
            None => self.host.as_str().to_owned(),
        }
    }

    /// Writes path and query as the upstream gets them.
    pub(crate) fn path_and_query(&self) -> String {
        let path = self.path.forward();
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }
}

/// Finds the end of an HTTP/1 head (the byte after the blank line); `seen` bytes were searched
/// before. A bare-LF blank line also ends it: [`scan`] then refuses the head.
pub(crate) fn end_of_head(bytes: &[u8], seen: usize) -> Option<usize> {
    let mut from = seen.saturating_sub(3);
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == b'\n')?;
        let before = bytes.get(..at)?;
        if before.ends_with(b"\r\n\r") || before.ends_with(b"\n") {
            return Some(at + 1);
        }
        from = at + 1;
    }
}

/// Judges a whole HTTP/1 head.
///
/// # Errors
/// The first thing wrong with it.
pub(crate) fn scan(head: &[u8]) -> Result<(), Refused> {
    if head.len() > MAX_HEAD {
        return Err(refused(431, "head-too-large"));
    }
    let mut lines = Lines(head);
    let request_line = lines.next().ok_or(refused(400, "bad-request-line"))??;
    scan_request_line(request_line)?;
    let mut seen = Seen::default();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        seen.field(line)?;
    }
    seen.verdict(request_line)
}

struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(end) = self.0.iter().position(|b| *b == b'\n') else {
            self.0 = &[];
            return Some(Err(refused(400, "bare-line-end")));
        };
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else {
            return Some(Err(refused(400, "bare-line-end")));
        };
        if line.iter().any(|b| matches!(b, b'\r' | 0)) {
            return Some(Err(refused(400, "control-byte")));
        }
        Some(Ok(line))
    }
}

fn scan_request_line(line: &[u8]) -> Result<(), Refused> {
    if line.len() > MAX_LINE {
        return Err(refused(414, "request-line-too-long"));
    }
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(refused(400, "bad-request-line"));
    };
    scan_method(method)?;
    if target.is_empty()
        || target
            .iter()
            .any(|b| !(0x21..0x7f).contains(b) || *b == b'#')
    {
        return Err(refused(400, "bad-target-byte"));
    }
    if !target.starts_with(b"/") && target != b"*" {
        return Err(refused(400, "bad-target-form"));
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        _ => Err(refused(505, "bad-version")),
    }
}

/// The methods any app may get; TRACE and CONNECT never.
const METHODS: [&[u8]; 14] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"OPTIONS",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
];

/// Tells whether any app may get a method.
pub(crate) fn is_method(name: &str) -> bool {
    METHODS.contains(&name.as_bytes())
}

fn scan_method(method: &[u8]) -> Result<(), Refused> {
    if METHODS.contains(&method) {
        Ok(())
    } else if !method.is_empty() && method.len() <= 32 && method.iter().all(|b| is_token(*b)) {
        Err(refused(405, "method-not-allowed"))
    } else {
        Err(refused(400, "bad-method"))
    }
}

#[derive(Default)]
struct Seen {
    fields: usize,
    hosts: usize,
    lengths: usize,
    codings: usize,
    /// Whether its body is to have bytes.
    filled: bool,
    expects: bool,
    upgrades: usize,
    versions: usize,
    /// Whether one of them is for something else than a WebSocket of version 13.
    strange_upgrade: bool,
}

impl Seen {
    fn field(&mut self, line: &[u8]) -> Result<(), Refused> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(refused(431, "too-many-fields"));
        }
        let colon = line.iter().position(|b| *b == b':');
        let (name, value) = line.split_at(colon.ok_or(refused(400, "bad-field"))?);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return Err(refused(400, "bad-field-name"));
        }
        if value
            .iter()
            .any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f)
        {
            return Err(refused(400, "control-byte"));
        }
        match KNOWN.into_iter().find(|known| folds_to(name, known)) {
            Some(known) => self.known(name, known, value),
            None => Ok(()),
        }
    }

    fn known(&mut self, name: &[u8], folded: &str, value: &[u8]) -> Result<(), Refused> {
        let twin = name.contains(&b'_');
        match folded {
            "host" if twin => return Err(refused(400, "underscore-twin")),
            "content-length" | "transfer-encoding" if twin => {
                return Err(refused(400, "underscore-twin"));
            }
            "host" => {
                self.hosts += 1;
                if !value.iter().copied().all(is_of_host) {
                    return Err(refused(400, "bad-host"));
                }
            }
            "content-length" => {
                self.lengths += 1;
                if !is_length(value) {
                    return Err(refused(400, "bad-content-length"));
                }
                self.filled = value.iter().any(|digit| *digit != b'0');
            }
            "transfer-encoding" => {
                self.codings += 1;
                self.filled = true;
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(refused(400, "bad-transfer-encoding"));
                }
            }
            "expect" if !value.eq_ignore_ascii_case(b"100-continue") => return Err(BAD_EXPECT),
            "expect" => self.expects = true,
            "upgrade" => {
                self.upgrades += 1;
                self.strange_upgrade |= twin || !value.eq_ignore_ascii_case(b"websocket");
            }
            "sec-websocket-version" => {
                self.versions += 1;
                self.strange_upgrade |= twin || value != b"13";
            }
            _ => {}
        }
        Ok(())
    }

    fn verdict(&self, request_line: &[u8]) -> Result<(), Refused> {
        let old_version = request_line.ends_with(b"/1.0");
        match (self.lengths, self.codings) {
            (0, 0 | 1) | (1, 0) => {}
            (_, 0) => return Err(refused(400, "duplicate-content-length")),
            (0, _) => return Err(refused(400, "duplicate-transfer-encoding")),
            _ => return Err(refused(400, "length-and-transfer-encoding")),
        }
        if old_version && self.codings > 0 {
            return Err(refused(400, "transfer-encoding-in-1-0"));
        }
        if self.expects && !self.filled && !old_version {
            return Err(BAD_EXPECT);
        }
        if self.upgrades > 0 {
            let get = request_line.starts_with(b"GET ");
            if self.lengths + self.codings > 0 {
                return Err(refused(400, "upgrade-with-body"));
            }
            let once = self.upgrades == 1 && self.versions == 1;
            if !once || self.strange_upgrade || !get || old_version {
                return Err(refused(400, "bad-upgrade"));
            }
        }
        match self.hosts {
            1 => Ok(()),
            0 => Err(refused(400, "no-host")),
            _ => Err(refused(400, "duplicate-host")),
        }
    }
}

/// An expectation other than that of a 100, or of one without a body: no client may send it. One of HTTP/1.0 is ignored.
/// Source: RFC 9110 section 10.1.1; security.md R-PX-11.
const BAD_EXPECT: Refused = refused(417, "bad-expect");

/// The fields whose number or value is judged.
const KNOWN: [&str; 6] = [
    "host",
    "content-length",
    "transfer-encoding",
    "expect",
    "upgrade",
    "sec-websocket-version",
];

/// Tells whether [`fold_name`] makes `known` of a name.
fn folds_to(name: &[u8], known: &str) -> bool {
    let folded = name.iter().map(|b| match b {
        b'_' => b'-',
        b => b.to_ascii_lowercase(),
    });
    name.len() == known.len() && folded.eq(known.bytes())
}

/// Folds a field name as careless servers do: lower case, underscore as hyphen.
pub(crate) fn fold_name(name: &[u8]) -> String {
    name.iter()
        .map(|b| match b {
            b'_' => '-',
            b => char::from(b.to_ascii_lowercase()),
        })
        .collect()
}

fn is_length(value: &[u8]) -> bool {
    !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit)
}

/// Tells whether a byte may stand in a host and port; [`target`] judges the whole.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)
}

/// Tells whether a byte may stand in a name of a field or of a method.
///
/// Source: [RFC 9110 section 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)
pub(in crate::proxy) fn is_token(byte: u8) -> bool {
    TOKENS.get(usize::from(byte)).is_some_and(|is_one| *is_one)
}

static TOKENS: [bool; 256] = all_tokens();

const fn all_tokens() -> [bool; 256] {
    let mut all = [false; 256];
    let mut rest: &mut [bool] = &mut all;
    let mut byte = 0_u8;
    while let Some((is_one, behind)) = rest.split_first_mut() {
        *is_one = matches!(byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'z' | b'|' | b'~');
        rest = behind;
        byte = byte.wrapping_add(1);
    }
    all
}

/// Reads the canonical target of a parsed head, HTTP/1 or HTTP/2.
///
/// `authority` is HTTP/2's `:authority`; HTTP/1 has none unless the target was in absolute form,
/// which is refused. `raw_target` is origin-form. `opts` says what paths on a host may hold beyond the ordinary.
///
/// # Errors
/// 400 for anything but one well-formed host and an origin-form target that has one canonical
/// reading.
pub(crate) fn target(
    raw_target: &[u8],
    authority: Option<&str>,
    headers: &HeaderMap,
    opts: impl FnOnce(&policy::canon::CanonHost) -> policy::canon::PathOpts,
) -> Result<Target, Refused> {
    let authority = one_authority(authority, headers)?;
    let (host, port) = split_authority(authority)?;
    let host = policy::canon::host(host).map_err(|_| refused(400, "bad-host"))?;
    if raw_target.first() != Some(&b'/') {
        return Err(refused(400, "bad-target-form"));
    }
    if raw_target.contains(&b'#') {
        return Err(refused(400, "bad-target-byte"));
    }
    let (path, query) = match raw_target.iter().position(|b| *b == b'?') {
        Some(at) => (raw_target.get(..at), raw_target.get(at + 1..)),
        None => (Some(raw_target), None),
    };
    let path = policy::canon::path_with(path.unwrap_or_default(), opts(&host))
        .map_err(|_| refused(400, "ambiguous-path"))?;
    let query = query.map(read_query).transpose()?;
    Ok(Target {
        host,
        port,
        path: path.into_owned(),
        query,
    })
}

fn read_query(query: &[u8]) -> Result<String, Refused> {
    if query.iter().any(|b| !(0x21..0x7f).contains(b)) {
        return Err(refused(400, "bad-target-byte"));
    }
    String::from_utf8(query.to_vec()).map_err(|_| refused(400, "bad-target-byte"))
}

fn one_authority<'a>(
    authority: Option<&'a str>,
    headers: &'a HeaderMap,
) -> Result<&'a str, Refused> {
    let mut hosts = headers.get_all(http::header::HOST).iter();
    let host = hosts
        .next()
        .map(|v| v.to_str().map_err(|_| refused(400, "bad-host")))
        .transpose()?;
    if hosts.next().is_some() {
        return Err(refused(400, "duplicate-host"));
    }
    match (authority, host) {
        (Some(a), Some(h)) if a != h => Err(refused(400, "host-differs-from-authority")),
        (Some(a), _) => Ok(a),
        (None, Some(h)) => Ok(h),
        (None, None) => Err(refused(400, "no-host")),
    }
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), Refused> {
    let bad = refused(400, "bad-host");
    let Some((host, port)) = authority.rsplit_once(':') else {
        return Ok((authority, None));
    };
    if host.contains(':') && !host.ends_with(']') {
        return Err(bad);
    }
    if port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad);
    }
    let port: u16 = port.parse().map_err(|_| bad)?;
    if port == 0 {
        Err(bad)
    } else {
        Ok((host, Some(port)))
    }
}

/// Judges the target and the fields of an HTTP/2 head that the framing layer lets through; `ends` says that the request
/// ends with it.
///
/// # Errors
/// The first thing wrong with it.
pub(crate) fn scan_h2(
    method: &str,
    raw_target: &[u8],
    headers: &HeaderMap,
    ends: bool,
) -> Result<(), Refused> {
    scan_method(method.as_bytes())?;
    if raw_target.len() > MAX_LINE {
        return Err(refused(414, "request-line-too-long"));
    }
    if headers.len() > MAX_FIELDS {
        return Err(refused(431, "too-many-fields"));
    }
    let mut lengths = 0;
    for (name, value) in headers {
        let folded = fold_name(name.as_str().as_bytes());
        match folded.as_str() {
            "content-length" => {
                lengths += 1;
                if !is_length(value.as_bytes()) || name.as_str().contains('_') {
                    return Err(refused(400, "bad-content-length"));
                }
            }
            "transfer-encoding" => return Err(refused(400, "bad-transfer-encoding")),
            "host" if name.as_str().contains('_') => {
                return Err(refused(400, "underscore-twin"));
            }
            "expect" if ends || !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
                return Err(BAD_EXPECT);
            }
            _ => {}
        }
    }
    if lengths > 1 {
        return Err(refused(400, "duplicate-content-length"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
