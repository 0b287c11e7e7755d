//! A mail server that keeps what it is given.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use data_encoding::BASE64_MIME;

use crate::wait;

/// A mail as it arrived.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// Fields, unfolded.
    pub headers: Vec<(String, String)>,
    /// The decoded text.
    pub text: String,
}

impl Mail {
    /// Returns the value of a field.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(held, _)| held.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// Returns the first link in the text.
    #[must_use]
    pub fn link(&self) -> String {
        let mut words = self.text.split_whitespace();
        let link = words.find(|word| word.starts_with("https://"));
        link.unwrap_or_else(|| panic!("no link in {}", self.text))
            .to_owned()
    }
}

/// A server on loopback; dropping it closes the port.
#[derive(Debug)]
pub struct Sink {
    port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        Self::at(0)
    }

    /// Listens on a given port.
    #[must_use]
    pub fn at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (kept, stopped) = (mails.clone(), stop.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let kept = kept.clone();
                thread::spawn(move || drop(serve(stream, &kept)));
            }
        });
        Self {
            port,
            mails,
            stop,
            thread: Some(thread),
        }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns what has arrived so far.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }

    /// Waits for a mail.
    #[must_use]
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Mail) -> bool) -> Mail {
        wait::until(Duration::from_secs(40), what, || {
            self.mails().into_iter().find(|mail| is_it(mail))
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // wakes the thread, which then closes the port
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Speaks as much of RFC 5321 as one client needs.
fn serve(stream: TcpStream, kept: &Mutex<Vec<Mail>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut write = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    write.write_all(b"220 sink ESMTP\r\n")?;
    let mut to = Vec::new();
    while let Some(line) = lines.next() {
        let line = line?;
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        let answer = match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => {
                to.clear();
                "250-sink\r\n250 8BITMIME\r\n"
            }
            "MAIL" | "RSET" | "NOOP" => "250 ok\r\n",
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                if address.starts_with("refused") {
                    "550 5.1.1 no such mailbox\r\n"
                } else {
                    to.push(address.to_owned());
                    "250 ok\r\n"
                }
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n")?;
                let mut raw = Vec::new();
                for line in lines.by_ref() {
                    let line = line?;
                    if line == "." {
                        break;
                    }
                    raw.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
                }
                let mail = read(std::mem::take(&mut to), &raw);
                kept.lock().unwrap().push(mail);
                "250 taken\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => "502 what?\r\n",
        };
        write.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn read(to: Vec<String>, raw: &[String]) -> Mail {
    let end = raw.iter().position(String::is_empty).unwrap_or(raw.len());
    let (head, body) = raw.split_at(end);
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in head {
        match (line.starts_with([' ', '\t']), headers.last_mut()) {
            (true, Some((_, value))) => value.push_str(line),
            _ => {
                let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    let body = body.get(1..).unwrap_or_default().join("\r\n");
    let mut mail = Mail {
        to,
        headers,
        text: String::new(),
    };
    let bytes = match mail.header("Content-Transfer-Encoding") {
        "base64" => BASE64_MIME.decode(body.as_bytes()).unwrap(),
        "quoted-printable" => quoted_printable(&body),
        _ => body.into_bytes(),
    };
    mail.text = String::from_utf8(bytes).unwrap();
    mail
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let joined = text.replace("=\r\n", "");
    let mut out = Vec::new();
    let mut bytes = joined.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'=' {
            out.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(2).collect();
        let digits = String::from_utf8(digits).unwrap();
        out.push(u8::from_str_radix(&digits, 16).unwrap());
    }
    out
}
