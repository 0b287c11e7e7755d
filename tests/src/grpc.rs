//! gRPC as far as an echo needs it: an app that speaks HTTP/2 and nothing else, and a client of it through the gateway.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::raw;

/// No step of a call takes longer.
const LIMIT: Duration = crate::wait::PATIENCE;

/// A request as it reached the app.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub method: String,
    pub scheme: String,
    pub authority: String,
    pub path: String,
    pub headers: HeaderMap,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Arrived>>,
    trailers: Mutex<Vec<HeaderMap>>,
    connections: AtomicUsize,
    /// Calls under way.
    open: AtomicUsize,
}

/// An app of four methods: `/echo.Echo/Say` answers one message by itself, `/echo.Echo/Count` by three, `/echo.Echo/Chat`
/// each message by itself as it comes, `/echo.Echo/Fail` by an error; `/late` never answers. Any other path is a page
/// with trailers.
#[derive(Debug)]
pub struct App {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl App {
    /// Listens on loopback without TLS.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        Self::start(None)
    }

    /// Listens on loopback with TLS, offering these protocols.
    #[must_use]
    pub fn tls(chain: &str, key: &str, alpn: &[&str]) -> Self {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.unwrap(), key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self::start(Some(Arc::new(config)))
    }

    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared::default());
        let for_all = Arc::clone(&shared);
        thread::spawn(move || runtime().block_on(accept(listener, tls, for_all)));
        Self { addr, shared }
    }

    /// Returns its address without a scheme.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns what has arrived so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Arrived> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Returns what came behind the bodies of requests.
    #[must_use]
    pub fn trailers(&self) -> Vec<HeaderMap> {
        self.shared.trailers.lock().unwrap().clone()
    }

    /// Returns how many connections it was opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of calls under way.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        match tls.clone() {
            None => drop(tokio::spawn(serve(stream, shared))),
            Some(config) => drop(tokio::spawn(async move {
                let acceptor = tokio_rustls::TlsAcceptor::from(config);
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, shared).await;
                }
            })),
        }
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let Ok(mut connection) = h2::server::handshake(io).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            shared.open.fetch_add(1, Ordering::SeqCst);
            let _ = answer(request, respond, &shared).await;
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: &Shared,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    shared.seen.lock().unwrap().push(Arrived {
        method: head.method.to_string(),
        scheme: head.uri.scheme_str().unwrap_or_default().to_owned(),
        authority: head
            .uri
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default(),
        path: path.clone(),
        headers: head.headers,
    });
    if path == "/late" {
        // until the other side gives up
        return match std::future::poll_fn(|cx| respond.poll_reset(cx)).await {
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        };
    }
    let Some(method) = path.strip_prefix("/echo.Echo/") else {
        return page(respond, &path);
    };
    if method == "Fail" {
        let mut head = grpc_head();
        head.headers_mut()
            .insert("grpc-status", HeaderValue::from_static("5"));
        return respond.send_response(head, true).map(drop);
    }
    let mut out = respond.send_response(grpc_head(), false)?;
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        let times = if method == "Count" { 3 } else { 1 };
        for _ in 0..times {
            out.send_data(part.clone(), false)?;
        }
    }
    if let Some(trailers) = body.trailers().await? {
        shared.trailers.lock().unwrap().push(trailers);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert(
        "set-cookie",
        HeaderValue::from_static("__Host-postern=evil; Path=/; Secure"),
    );
    out.send_trailers(trailers)
}

fn grpc_head() -> Response<()> {
    let mut head = Response::new(());
    let kind = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert("content-type", kind);
    head
}

fn page(mut respond: SendResponse<Bytes>, path: &str) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    head.headers_mut()
        .insert("content-type", HeaderValue::from_static("text/plain"));
    let mut out = respond.send_response(head, false)?;
    out.send_data(format!("by HTTP/2: {path}\n").repeat(200).into(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("7"));
    out.send_trailers(trailers)
}

/// What a call came to.
#[derive(Debug)]
pub struct Called {
    pub status: u16,
    pub headers: HeaderMap,
    pub messages: Vec<String>,
    pub trailers: HeaderMap,
}

impl Called {
    /// Returns the status of gRPC, wherever it stands.
    #[must_use]
    pub fn grpc_status(&self) -> Option<&str> {
        let found = self.trailers.get("grpc-status");
        let found = found.or_else(|| self.headers.get("grpc-status"));
        found.and_then(|value| value.to_str().ok())
    }
}

/// A client's HTTP/2 connection to the gateway.
pub struct Channel {
    runtime: Runtime,
    send: h2::client::SendRequest<Bytes>,
    authority: String,
    cookie: Option<String>,
    trailers: Option<HeaderMap>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Channel {
    /// Opens one; `name` is both the name asked for in TLS and the host.
    #[must_use]
    pub fn open(addr: SocketAddr, name: &str, root: &Path, cookie: Option<&str>) -> Self {
        let runtime = runtime();
        let send = runtime.block_on(async {
            let stream = TcpStream::connect(addr).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(raw::client_config(root, &["h2"]));
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let stream = connector.connect(name, stream).await.unwrap();
            let (send, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            send
        });
        Self {
            runtime,
            send,
            authority: format!("{name}:{}", addr.port()),
            cookie: cookie.map(str::to_owned),
            trailers: None,
        }
    }

    /// Opens one to an app itself, without TLS.
    #[must_use]
    pub fn direct(addr: SocketAddr) -> Self {
        let runtime = runtime();
        let send = runtime.block_on(async {
            let stream = TcpStream::connect(addr).await.unwrap();
            let (send, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            send
        });
        Self {
            runtime,
            send,
            authority: addr.to_string(),
            cookie: None,
            trailers: None,
        }
    }

    /// Ends each call by these fields.
    #[must_use]
    pub fn ending(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    /// Calls a method with messages; each is sent when the answers to the one before are there, `answers` of them.
    ///
    /// # Errors
    /// What broke, as text.
    pub fn call(&self, path: &str, messages: &[&str], answers: usize) -> Result<Called, String> {
        let done = self.runtime.block_on(async {
            tokio::time::timeout(LIMIT, self.exchange(path, messages, answers)).await
        });
        done.map_err(|_| "no end in 30 s".to_owned())?
            .map_err(|e| e.to_string())
    }

    async fn exchange(
        &self,
        path: &str,
        messages: &[&str],
        answers: usize,
    ) -> Result<Called, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let (answer, mut out) = send.send_request(self.request(path), messages.is_empty())?;
        let mut rest = messages.iter();
        if let Some(first) = rest.next() {
            self.say(&mut out, first, rest.len() == 0)?;
        }
        let (head, mut body) = answer.await?.into_parts();
        let mut called = Called {
            status: head.status.as_u16(),
            headers: head.headers,
            messages: Vec::new(),
            trailers: HeaderMap::new(),
        };
        let mut bytes = BytesMut::new();
        let mut due = answers;
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
            bytes.extend_from_slice(&part);
            while let Some(message) = take(&mut bytes) {
                called.messages.push(message);
                due = due.saturating_sub(1);
            }
            if due == 0
                && let Some(next) = rest.next()
            {
                self.say(&mut out, next, rest.len() == 0)?;
                due = answers;
            }
        }
        called.trailers = body.trailers().await?.unwrap_or_default();
        Ok(called)
    }

    /// Sends one message, and what ends the call behind the last.
    fn say(&self, out: &mut SendStream<Bytes>, text: &str, last: bool) -> Result<(), h2::Error> {
        let trailers = self.trailers.as_ref().filter(|_| last);
        say(out, text, last && trailers.is_none())?;
        trailers.map_or(Ok(()), |trailers| out.send_trailers(trailers.clone()))
    }

    fn request(&self, path: &str) -> Request<()> {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("https://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        request.body(()).unwrap()
    }
}

/// Sends one message. Source: the gRPC over HTTP/2 protocol, "Length-Prefixed-Message".
fn say(out: &mut SendStream<Bytes>, text: &str, last: bool) -> Result<(), h2::Error> {
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    message.extend_from_slice(text.as_bytes());
    out.send_data(message.into(), last)
}

fn take(bytes: &mut BytesMut) -> Option<String> {
    let length = bytes.get(1..5)?;
    let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
    bytes.get(..5 + length)?;
    let message = bytes.split_to(5 + length);
    Some(String::from_utf8_lossy(&message[5..]).into_owned())
}
