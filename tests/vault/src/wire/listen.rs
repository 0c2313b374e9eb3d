//! Accepts connections and speaks HTTP on them.

use std::net::{self, IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::wire::connection::{Ending, Socket, Wire};
use crate::wire::service::{Service, Visit};

/// What it listens on.
pub(crate) enum Listener {
    Tcp(net::TcpListener),
    Socket(std::os::unix::net::UnixListener),
}

impl Listener {
    /// Listens on a port of this machine only; 0 picks a free one.
    pub(crate) fn on_port(ip: IpAddr, port: u16) -> (Self, SocketAddr) {
        let listener = net::TcpListener::bind((ip, port)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket's address");
        (Self::Tcp(listener), address)
    }
}

/// A server in its own thread, which ends when this is dropped.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts it; it accepts connections when this returns.
    pub(crate) fn start(
        listener: Listener,
        tls: Option<TlsAcceptor>,
        service: Arc<Service>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || run(listener, tls, service, stopped));
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // If nobody receives this, it has stopped already; a panic in its thread has been printed.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(
    listener: Listener,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    stop: oneshot::Receiver<()>,
) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(listen(listener, tls, service, stop));
}

/// What a client presents, as DER.
type Chain = Arc<Vec<Vec<u8>>>;

/// Serves until `stop`; what is still running then ends with the runtime.
async fn listen(
    listener: Listener,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    stop: oneshot::Receiver<()>,
) {
    let accept = async {
        match listener {
            Listener::Tcp(listener) => accept(listener, tls, service).await,
            Listener::Socket(listener) => accept_on_socket(listener, service).await,
        }
    };
    tokio::select! {
        () = accept => {}
        _ = stop => {}
    }
}

async fn accept(listener: net::TcpListener, tls: Option<TlsAcceptor>, service: Arc<Service>) {
    listener.set_nonblocking(true).expect("a socket that can be polled");
    let listener = TcpListener::from_std(listener).expect("a listening socket");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let number = service.log.connected();
        tokio::spawn(connection(stream, tls.clone(), Arc::clone(&service), number));
    }
}

async fn accept_on_socket(listener: std::os::unix::net::UnixListener, service: Arc<Service>) {
    listener.set_nonblocking(true).expect("a socket that can be polled");
    let listener = UnixListener::from_std(listener).expect("a listening socket");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let number = service.log.connected();
        tokio::spawn(serve(stream, false, Arc::clone(&service), number, Chain::default()));
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    number: usize,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Some(acceptor) = tls else {
        return serve(stream, false, service, number, Arc::default()).await;
    };
    // A failure here is the client's choice, and the client is what the test checks.
    if let Ok(stream) = acceptor.accept(stream).await {
        let session = stream.get_ref().1;
        service.log.named(session.server_name().map(str::to_owned));
        let http2 = session.alpn_protocol() == Some(b"h2");
        let shown = session.peer_certificates().unwrap_or_default();
        let certificates = Arc::new(shown.iter().map(|certificate| certificate.to_vec()).collect());
        serve(stream, http2, service, number, certificates).await;
    }
}

async fn serve<S: Socket>(
    socket: S,
    http2: bool,
    service: Arc<Service>,
    number: usize,
    certificates: Chain,
) {
    let wire = Wire::new(socket);
    let (end, mut ended) = mpsc::unbounded_channel();
    let visit = Visit { connection: number, end, certificates };
    let ending = tokio::select! {
        () = speak(wire.clone(), http2, service, visit) => Ending::Close,
        Some(ending) = ended.recv() => ending,
    };
    // A connection that the client has closed meanwhile has ended as well.
    let _ = wire.end(ending).await;
}

async fn speak<S: Socket>(wire: Wire<S>, http2: bool, service: Arc<Service>, visit: Visit) {
    let streams = service.streams;
    let respond = service_fn(move |request: hyper::Request<Incoming>| {
        Arc::clone(&service).respond(request, visit.clone())
    });
    // As above: an error here is an abandoned connection.
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        if streams.is_some() {
            builder.max_concurrent_streams(streams);
        }
        let _ = builder.serve_connection(TokioIo::new(wire), respond).await;
    } else {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(wire), respond).await;
    }
}
