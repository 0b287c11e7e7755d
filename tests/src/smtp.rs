//! A mail server that keeps what it is given.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use data_encoding::{BASE64, BASE64_MIME};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

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

/// How a server protects itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    Plain,
    /// Plain until the client asks.
    Starttls,
    /// From the first byte.
    Tls,
}

/// A server on loopback; dropping it closes the port.
#[derive(Debug)]
pub struct Sink {
    port: u16,
    kept: Arc<Kept>,
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
        Self::start(port, Own::Plain, None)
    }

    /// Listens with a certificate.
    #[must_use]
    pub fn safe(own: Own, chain_pem: &str, key_pem: &str) -> Self {
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start(0, own, Some(Arc::new(config)))
    }

    fn start(port: u16, own: Own, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Kept::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (for_all, stopped) = (kept.clone(), stop.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (kept, tls) = (for_all.clone(), tls.clone());
                thread::spawn(move || drop(serve(stream, tls.as_ref(), own, &kept)));
            }
        });
        Self {
            port,
            kept,
            stop,
            thread: Some(thread),
        }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the section of a configuration that sends mails here.
    #[must_use]
    pub fn section(&self) -> String {
        format!(
            "\n[mail]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"gate@example.org\"\n",
            self.port
        )
    }

    /// Returns what has arrived so far.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.kept.mails.lock().unwrap().clone()
    }

    /// Returns the accounts that were named, as `" user password"`.
    #[must_use]
    pub fn accounts(&self) -> Vec<String> {
        self.kept.accounts.lock().unwrap().clone()
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

/// A stream of either kind.
trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// The mails and the accounts that were named.
#[derive(Debug, Default)]
struct Kept {
    mails: Mutex<Vec<Mail>>,
    accounts: Mutex<Vec<String>>,
}

/// Speaks as much of RFC 5321, 3207 and 4954 as one client needs.
fn serve(
    stream: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    own: Own,
    kept: &Kept,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let wrap = |stream: TcpStream| -> Box<dyn Duplex> {
        let config = tls.cloned().expect("a certificate");
        let connection = ServerConnection::new(config).unwrap();
        Box::new(StreamOwned::new(connection, stream))
    };
    let plain = stream.try_clone()?;
    let mut safe = own == Own::Tls;
    let mut talk = BufReader::new(if safe {
        wrap(stream)
    } else {
        Box::new(stream) as Box<dyn Duplex>
    });
    say(&mut talk, "220 sink ESMTP")?;
    let mut to = Vec::new();
    loop {
        let Some(line) = hear(&mut talk)? else {
            return Ok(());
        };
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => {
                to.clear();
                say(&mut talk, "250-sink")?;
                match (own, safe) {
                    (Own::Starttls, false) => say(&mut talk, "250-STARTTLS")?,
                    (_, true) => say(&mut talk, "250-AUTH PLAIN")?,
                    (Own::Plain | Own::Tls, false) => {}
                }
                say(&mut talk, "250 8BITMIME")?;
            }
            "STARTTLS" if own == Own::Starttls && !safe => {
                say(&mut talk, "220 go on")?;
                talk = BufReader::new(wrap(plain.try_clone()?));
                safe = true;
            }
            "AUTH" => {
                let secret = line.rsplit(' ').next().unwrap_or_default();
                let secret = BASE64.decode(secret.as_bytes()).unwrap_or_default();
                let account = String::from_utf8_lossy(&secret).replace('\0', " ");
                kept.accounts.lock().unwrap().push(account);
                say(&mut talk, "235 welcome")?;
            }
            "MAIL" | "RSET" | "NOOP" => say(&mut talk, "250 ok")?,
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                if address.starts_with("refused") {
                    say(&mut talk, "550 5.1.1 no such mailbox")?;
                } else {
                    to.push(address.to_owned());
                    say(&mut talk, "250 ok")?;
                }
            }
            "DATA" => {
                say(&mut talk, "354 go on")?;
                let mut raw = Vec::new();
                while let Some(line) = hear(&mut talk)?.filter(|line| line != ".") {
                    raw.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
                }
                let mail = read(std::mem::take(&mut to), &raw);
                kept.mails.lock().unwrap().push(mail);
                say(&mut talk, "250 taken")?;
            }
            "QUIT" => return say(&mut talk, "221 bye"),
            _ => say(&mut talk, "502 what?")?,
        }
    }
}

fn say(talk: &mut BufReader<Box<dyn Duplex>>, line: &str) -> io::Result<()> {
    let stream = talk.get_mut();
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    stream.flush()
}

fn hear(talk: &mut BufReader<Box<dyn Duplex>>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = talk.read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
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
