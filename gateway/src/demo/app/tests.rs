use std::io::{Read, Write};
use std::net::TcpStream;

use super::start;

fn ask(request: &str) -> String {
    let mut stream = TcpStream::connect(start().unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn get(path: &str, fields: &str) -> String {
    ask(&format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"
    ))
}

#[test]
fn the_front_page_greets_and_escapes() {
    let answer = get("/", "X-Postern-User: <b>ann</b>\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(answer.contains("Hello &lt;b&gt;ann"), "{answer}");
}

#[test]
fn every_cookie_has_the_host_prefix() {
    let answer = get("/", "Cookie: a=b; __Host-demo-visits=4\r\n");
    assert!(
        answer.contains("Set-Cookie: __Host-demo-visits=5; Path=/; Secure"),
        "{answer}"
    );
}

#[test]
fn a_download_has_as_many_bytes_as_asked() {
    let answer = get("/download?bytes=100000", "");
    assert_eq!(answer.split("\r\n\r\n").nth(1).unwrap().len(), 100_000);
}

#[test]
fn an_upload_is_counted_sized_and_chunked() {
    let sized = ask("POST /upload HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    assert!(sized.contains("\"received\":5"), "{sized}");
    let chunked = ask(
        "POST /upload HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    );
    assert!(chunked.contains("\"received\":7"), "{chunked}");
}

#[test]
fn two_requests_share_a_connection() {
    let answer = ask(
        "GET /vault HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(
        answer.contains("200 OK") && answer.contains("404 Not Found"),
        "{answer}"
    );
}

#[test]
fn a_websocket_sends_back_what_it_gets() {
    let mut stream = TcpStream::connect(start().unwrap()).unwrap();
    stream
        .write_all(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .unwrap();
    // a masked text "Hello", then a masked close with code 1000
    stream
        .write_all(&[
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ])
        .unwrap();
    stream
        .write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
    assert!(answer.ends_with(b"\x81\x05Hello\x88\x02\x03\xe8"), "{text}");
}

#[test]
fn the_first_event_comes_at_once() {
    let mut stream = TcpStream::connect(start().unwrap()).unwrap();
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    let mut block = [0; 1024];
    while !answer.contains("data: 1\n") {
        let read = stream.read(&mut block).unwrap();
        assert_ne!(read, 0);
        answer.push_str(std::str::from_utf8(&block[..read]).unwrap());
    }
}
