//! WebSockets pass unchanged: every frame of RFC 6455, sound or not, is the app's and the client's affair.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use postern_tests::curl::{Client, host};
use postern_tests::gateway::Gateway;
use postern_tests::journal;
use postern_tests::mirror::{BYE, Mirror};
use postern_tests::policy::two_apps;
use postern_tests::raw::{self, Tls};
use postern_tests::wait;
use postern_tests::websocket::{self, Socket};

/// What the app of [`eager`] says along with its 101.
const FIRST: &[u8] = b"\x81\x05first";
const SOON: Duration = postern_tests::wait::PATIENCE;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const MORE: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

struct Scene {
    mirror: Mirror,
    gateway: Gateway,
    cookie: String,
}

impl Scene {
    fn new() -> Self {
        let mirror = Mirror::new();
        let url = mirror.url();
        Self::before(mirror, &url)
    }

    fn before(mirror: Mirror, app: &str) -> Self {
        let gateway = Gateway::demo_before(app);
        let client = Client::new(&gateway);
        let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
        let cookie = client
            .cookie(host(&gateway.facts.app), "__Host-postern")
            .unwrap();
        Self {
            mirror,
            gateway,
            cookie: format!("__Host-postern={cookie}"),
        }
    }

    fn open(&self, path: &str) -> Tls {
        self.offer(path, "").0
    }

    /// Opens a WebSocket with more lines in the head; returns the head of the answer, too.
    fn offer(&self, path: &str, lines: &str) -> (Tls, String) {
        let name = host(&self.gateway.facts.app);
        let tcp = TcpStream::connect(("127.0.0.1", self.gateway.https_port())).unwrap();
        let tls = raw::tls_over(tcp, name, &self.gateway.facts.ca_root, SOON);
        let authority = format!("{name}:{}", self.gateway.https_port());
        let (socket, answer) =
            Socket::offer(tls, &authority, path, Some(&self.cookie), lines).unwrap();
        (socket.into_stream(), answer)
    }

    /// Sends parts, each as a write of its own, and checks that both sides got each byte.
    fn passes(&self, socket: &mut Tls, name: &str, parts: &[Vec<u8>]) {
        let mut back = Vec::new();
        for part in parts {
            // what comes back must be read, or nobody could go on writing
            for block in part.chunks(64 * 1024) {
                socket.write_all(block).unwrap();
                socket.flush().unwrap();
                let before = back.len();
                back.resize(before + block.len(), 0);
                socket.read_exact(&mut back[before..]).unwrap();
            }
        }
        let sent = parts.concat();
        assert!(back == sent, "{name}: what came back differs");
        assert!(
            self.mirror.came() == sent,
            "{name}: what the app got differs"
        );
    }
}

/// Writes a frame of a client, masked by a key that shows.
fn frame(first: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match u16::try_from(data.len()) {
        Ok(short @ 0..126) => out.push(0x80 | short.to_be_bytes()[1]),
        Ok(long) => {
            out.push(0x80 | 126);
            out.extend(long.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend(u64::try_from(data.len()).unwrap().to_be_bytes());
        }
    }
    let key = [0x37, 0xfa, 0x21, 0x3d];
    out.extend(key);
    out.extend(
        data.iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    out
}

fn close(code: u16, why: &str) -> Vec<u8> {
    frame(
        FIN | CLOSE,
        &[&code.to_be_bytes()[..], why.as_bytes()].concat(),
    )
}

#[test]
fn frames_of_every_kind_and_length_pass_as_they_are() {
    let scene = Scene::new();
    let mut socket = scene.open("/ws");
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 1 << 20] {
        for kind in [TEXT, BINARY] {
            let name = format!("{length} bytes of kind {kind}");
            let data = vec![b'*'; length];
            scene.passes(&mut socket, &name, &[frame(FIN | kind, &data)]);
        }
    }
    let bits = (0_u8..8).map(|bits| frame(FIN | bits << 4 | TEXT, b"reserved bits"));
    let kinds = (3_u8..8)
        .chain(0xb..=0xf)
        .map(|kind| frame(FIN | kind, b"reserved kinds"));
    for odd in bits.chain(kinds) {
        scene.passes(&mut socket, "reserved", &[odd]);
    }
    let bytes = frame(
        FIN | TEXT,
        "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes(),
    );
    let single: Vec<Vec<u8>> = bytes.iter().map(|byte| vec![*byte]).collect();
    scene.passes(&mut socket, "byte by byte", &single);
    scene.passes(
        &mut socket,
        "no text",
        &[frame(FIN | TEXT, b"\xce\xba\xed\xa0\x80")],
    );
    scene.passes(&mut socket, "not masked", &[b"\x81\x02hi".to_vec()]);
    let many: Vec<u8> = (0..2000)
        .flat_map(|_| frame(FIN | BINARY, &[7; 16]))
        .collect();
    scene.passes(&mut socket, "many small ones at once", &[many]);
    let large = frame(FIN | BINARY, &vec![9; 16 << 20]);
    scene.passes(&mut socket, "a large one", &[large]);
}

#[test]
fn lengths_written_longer_than_they_must_be_pass_as_they_are() {
    let scene = Scene::new();
    let mut socket = scene.open("/ws");
    let key = [0; 4];
    for (name, head) in [
        ("5 in sixteen bits", &b"\x82\xfe\0\x05"[..]),
        ("5 in 64 bits", b"\x82\xff\0\0\0\0\0\0\0\x05"),
        ("a ping's in sixteen bits", b"\x89\xfe\0\x05"),
        ("the highest bit of 64", b"\x82\xff\x80\0\0\0\0\0\0\x05"),
    ] {
        scene.passes(&mut socket, name, &[[head, &key, b"hello"].concat()]);
    }
}

#[test]
fn what_is_offered_and_what_is_taken_pass_and_compressed_frames_with_them() {
    let scene = Scene::new();
    let offers = [
        "Sec-WebSocket-Protocol: chat.v2, chat.v1",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-own; a=\"b c\"",
    ];
    let (mut socket, answer) = scene.offer("/ws", &format!("{}\r\n", offers.join("\r\n")));
    let answer = answer.to_lowercase();
    for line in [
        "sec-websocket-protocol: chat.v2\r\n",
        "sec-websocket-extensions: permessage-deflate; server_no_context_takeover\r\n",
    ] {
        assert!(answer.contains(line), "{answer}");
    }
    let head = scene.mirror.head().to_lowercase();
    for line in offers {
        assert!(
            head.contains(&format!("{}\r\n", line.to_lowercase())),
            "{head}"
        );
    }
    // RFC 7692 section 7.2.3.1: "Hello"
    let hello = frame(FIN | 0x40 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    let parts = [
        frame(0x40 | TEXT, b"\xf2\x48\xcd"),
        frame(FIN | MORE, b"\xc9\xc9\x07\x00"),
    ];
    scene.passes(&mut socket, "compressed", &[hello]);
    scene.passes(&mut socket, "compressed, in parts", &parts);
    // who offers nothing is given nothing
    let (_, answer) = scene.offer("/ws", "");
    let answer = answer.to_lowercase();
    assert!(
        !answer.contains("sec-websocket-protocol") && !answer.contains("-extensions"),
        "{answer}"
    );
}

#[test]
fn fragments_and_what_stands_between_them_pass_in_their_order() {
    let scene = Scene::new();
    let mut socket = scene.open("/ws");
    let parts = [
        frame(TEXT, b"one "),
        frame(FIN | PING, b"between"),
        frame(MORE, b""),
        frame(MORE, b"two "),
        frame(FIN | PONG, b"nobody asked"),
        frame(FIN | MORE, b"three"),
    ];
    scene.passes(&mut socket, "in writes of their own", &parts);
    scene.passes(&mut socket, "in one write", &[parts.concat()]);
    scene.passes(
        &mut socket,
        "an end without a beginning",
        &[frame(FIN | MORE, b"x")],
    );
    scene.passes(
        &mut socket,
        "a beginning without an end",
        &[frame(TEXT, b"x"), frame(FIN | TEXT, b"y")],
    );
    let pings: Vec<Vec<u8>> = (0..10).map(|at| frame(FIN | PING, &[at; 125])).collect();
    scene.passes(&mut socket, "ten pings", &pings);
    scene.passes(
        &mut socket,
        "a ping in fragments",
        &[frame(PING, b"no"), frame(FIN | MORE, b"t so")],
    );
    scene.passes(
        &mut socket,
        "a ping that is too long",
        &[frame(FIN | PING, &[1; 126])],
    );
}

#[test]
fn every_way_to_say_good_bye_passes_and_both_sides_learn_of_the_end() {
    let scene = Scene::new();
    let codes = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999, 0, 1005, 1006, 5000,
    ];
    for (at, code) in codes.into_iter().enumerate() {
        let mut socket = scene.open("/ws");
        scene.passes(&mut socket, "a code", &[close(code, "why")]);
        assert_eq!(
            scene.mirror.ended(),
            at,
            "the app is not cut for what it was told"
        );
        drop(socket);
        wait::until_true(SOON, "the app learns of the end", || {
            scene.mirror.ended() == at + 1
        });
    }
    for odd in [
        frame(FIN | CLOSE, b""),
        frame(FIN | CLOSE, b"\x03"),
        close(1000, &"x".repeat(123)),
    ] {
        let mut socket = scene.open("/ws");
        scene.passes(&mut socket, "an odd one", &[odd]);
    }
    let mut socket = scene.open("/bye");
    let answer = raw::read_all(&mut socket);
    assert!(answer.closed && answer.bytes == BYE, "{:?}", answer.bytes);
    // what comes after the other side said good bye is still the app's
    let mut socket = scene.open("/ws");
    scene.passes(
        &mut socket,
        "after the end",
        &[close(1000, ""), frame(FIN | TEXT, b"late")],
    );
}

/// An app that speaks in the same packet as its 101, and then gives back what comes. Below `/hinted` another answer
/// comes before, in that packet too.
fn eager() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let head = websocket::read_head(&mut stream).unwrap_or_default();
                if !head.to_lowercase().contains("upgrade: websocket") {
                    let plain =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    return stream.write_all(plain);
                }
                let accept = websocket::accept(websocket::KEY);
                let hint = match head.starts_with("GET /hinted") {
                    true => "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
                    false => "",
                };
                let head = format!(
                    "{hint}HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                stream.write_all(&[head.as_bytes(), FIRST].concat())?;
                let mut block = [0; 4096];
                loop {
                    let n = stream.read(&mut block)?;
                    if n == 0 {
                        return Ok(());
                    }
                    stream.write_all(&block[..n])?;
                }
            });
        }
    });
    url
}

#[test]
fn what_either_side_sends_right_behind_its_head_arrives() {
    let scene = Scene::before(Mirror::new(), &eager());
    let text = frame(FIN | TEXT, b"hello");
    let mut back = vec![0; FIRST.len() + text.len()];

    let converse = |socket: &mut Tls, back: &mut [u8]| {
        socket.read_exact(&mut back[..FIRST.len()]).unwrap();
        assert_eq!(&back[..FIRST.len()], FIRST);
        socket.write_all(&text).unwrap();
        socket.read_exact(&mut back[FIRST.len()..]).unwrap();
        assert_eq!(&back[FIRST.len()..], text);
    };

    converse(&mut scene.open("/ws"), &mut back);

    let name = host(&scene.gateway.facts.app);
    let connect = || {
        let tcp = TcpStream::connect(("127.0.0.1", scene.gateway.https_port())).unwrap();
        raw::tls_over(tcp, name, &scene.gateway.facts.ca_root, SOON)
    };
    let authority = format!("{name}:{}", scene.gateway.https_port());
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Origin: https://{authority}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\
         Cookie: {}\r\n\r\n",
        websocket::KEY,
        scene.cookie
    );
    // a client that does not wait for the 101
    let mut tls = connect();
    tls.write_all(&[head.as_bytes(), &text].concat()).unwrap();
    let answer = websocket::read_head(&mut tls).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    tls.read_exact(&mut back).unwrap();
    assert_eq!(back, [FIRST, &text].concat());

    // an app that says something before its 101
    let mut tls = connect();
    tls.write_all(head.replacen("/ws", "/hinted", 1).as_bytes())
        .unwrap();
    let heads: Vec<_> = (0..2)
        .map(|_| websocket::read_head(&mut tls).unwrap())
        .collect();
    assert!(heads[0].starts_with("HTTP/1.1 103"), "{heads:?}");
    assert!(heads[1].starts_with("HTTP/1.1 101"), "{heads:?}");
    converse(&mut tls, &mut back);
}

#[test]
fn a_person_has_so_much_open_at_once_and_others_have_theirs() {
    let mirror = Mirror::new();
    let mut gateway = Gateway::demo_before(&mirror.url());
    gateway.set_policy(&two_apps(&mirror.url(), ""));
    gateway.edit_config(|text| {
        let section = "[http]\n";
        assert!(text.contains(section), "{text}");
        *text = text.replace(section, "[http]\nmax-streams-per-person = 3\n");
    });
    gateway.stop();
    gateway.start_again();
    let name = host(&gateway.facts.app);
    let authority = format!("{name}:{}", gateway.https_port());
    let cookie_of = |person| {
        let client = Client::new(&gateway);
        assert_eq!(client.sign_in(&gateway.facts.app, person).status, 200);
        let cookie = client.cookie(name, "__Host-postern").unwrap();
        format!("__Host-postern={cookie}")
    };
    let open = |cookie: &str| {
        let tcp = TcpStream::connect(("127.0.0.1", gateway.https_port())).unwrap();
        let tls = raw::tls_over(tcp, name, &gateway.facts.ca_root, SOON);
        Socket::open(tls, &authority, "/ws", Some(cookie))
    };
    let (demo, guest) = (
        cookie_of(&gateway.facts.demo),
        cookie_of(&gateway.facts.guest),
    );
    let mut held: Vec<_> = (0..3).map(|_| open(&demo).unwrap()).collect();
    let refused = open(&demo).map(drop);
    assert_eq!(refused, Err("HTTP/1.1 429 Too Many Requests".to_owned()));
    assert!(open(&guest).is_ok());
    let limited = journal::wait_for(&gateway, "limited.1", |r| r["detail"] == "streams");
    assert_eq!(limited["user"], "demo");
    held.pop();
    wait::until_true(SOON, "the place is free", || open(&demo).is_ok());
    assert_eq!(held.len(), 2);
}
