//! Accepts connections and speaks HTTP on them.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::service::{Service, Visit};
use crate::wire::{Ending, Socket, Wire};

/// What is listened on.
pub(crate) enum Listener {
    Tcp(std::net::TcpListener),
    Socket(std::os::unix::net::UnixListener),
}

/// Serves until `stop`; what still runs then ends with the runtime.
pub(crate) async fn listen(
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

async fn accept(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, service: Arc<Service>) {
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
        tokio::spawn(serve(stream, false, Arc::clone(&service), number));
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, service: Arc<Service>, number: usize) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Some(acceptor) = tls else {
        return serve(stream, false, service, number).await;
    };
    // What fails here is the client's choice, and the client is what the test looks at.
    if let Ok(stream) = acceptor.accept(stream).await {
        let session = stream.get_ref().1;
        service.log.named(session.server_name().map(str::to_owned));
        let http2 = session.alpn_protocol() == Some(b"h2");
        serve(stream, http2, service, number).await;
    }
}

async fn serve<S: Socket>(socket: S, http2: bool, service: Arc<Service>, number: usize) {
    let wire = Wire::new(socket);
    let (end, mut ended) = mpsc::unbounded_channel();
    let ending = tokio::select! {
        () = speak(wire.clone(), http2, service, number, end) => Ending::Close,
        Some(ending) = ended.recv() => ending,
    };
    // A connection that the client has closed meanwhile has ended as well.
    let _ = wire.end(ending).await;
}

async fn speak<S: Socket>(
    wire: Wire<S>,
    http2: bool,
    service: Arc<Service>,
    connection: usize,
    end: mpsc::UnboundedSender<Ending>,
) {
    let respond = service_fn(move |request: hyper::Request<Incoming>| {
        let visit = Visit { connection, end: end.clone() };
        Arc::clone(&service).respond(request, visit)
    });
    // As above: an error here is an abandoned connection.
    if http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(wire), respond).await;
    } else {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(wire), respond).await;
    }
}
