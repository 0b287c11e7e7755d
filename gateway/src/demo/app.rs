//! The built-in application of the trial: pages, an upload, a download, events and a WebSocket echo.

mod http;
mod page;
mod ws;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use http::{Body, Request};

/// The most bytes one download gives.
const DOWNLOAD_MAX: u64 = 64 << 30;

/// Starts the application on a thread of its own and returns its loopback address.
///
/// # Errors
/// If no socket or thread can be had.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("demo-app".to_owned())
        .spawn(move || runtime.block_on(serve(listener)))?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    connection(stream).await.ok();
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = http::read_head(&mut stream).await? {
        match request.path() {
            "/ws" if request.is_websocket() => return ws::echo(&mut stream, &request).await,
            "/download" => download(&mut stream, &request).await?,
            "/events" => return events(&mut stream, &request).await,
            _ => plain(&mut stream, &request).await?,
        }
        if request.closes() {
            break;
        }
    }
    Ok(())
}

async fn plain(stream: &mut BufReader<TcpStream>, request: &Request) -> io::Result<()> {
    let received = Body::new(request).drain(stream).await?;
    let answer = page::answer(request, received);
    let mut bytes = answer.head(request.closes()).into_bytes();
    if request.method != "HEAD" {
        bytes.extend_from_slice(answer.body.as_bytes());
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn download(stream: &mut BufReader<TcpStream>, request: &Request) -> io::Result<()> {
    Body::new(request).drain(stream).await?;
    let asked = request.query("bytes").and_then(|n| n.parse::<u64>().ok());
    let mut left = asked.unwrap_or(1 << 20).min(DOWNLOAD_MAX);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {left}\r\n\
         Cache-Control: no-store\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if request.method == "HEAD" {
        return stream.flush().await;
    }
    let block = vec![0x5a_u8; 64 << 10];
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        stream
            .write_all(block.get(..size).unwrap_or(&block))
            .await?;
        left = left.saturating_sub(u64::try_from(size).unwrap_or(left));
    }
    stream.flush().await
}

/// Sends an event at once and then each second, until the client goes.
async fn events(stream: &mut BufReader<TcpStream>, request: &Request) -> io::Result<()> {
    Body::new(request).drain(stream).await?;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                Connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut count: u64 = 0;
    let mut gone = [0_u8; 1];
    loop {
        tokio::select! {
            _ = second.tick() => {
                count = count.saturating_add(1);
                let event = format!("event: tick\nid: {count}\ndata: {count}\n\n");
                stream.write_all(event.as_bytes()).await?;
                stream.flush().await?;
            }
            read = stream.read(&mut gone) => {
                if read? == 0 {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
