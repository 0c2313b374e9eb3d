//! A server that comes up late: a port that is reserved, and closed until it is opened.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use socket2::{Domain, Socket, Type};

/// A port of this machine that nobody else gets meanwhile, and that refuses connections.
pub struct LatePort(Socket);

impl Default for LatePort {
    fn default() -> Self {
        Self::new()
    }
}

impl LatePort {
    /// Reserves a free port.
    pub fn new() -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Reserves this port.
    pub fn on(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&address.into()).expect("a free port");
        Self(socket)
    }

    /// Returns host and port.
    pub fn host(&self) -> String {
        let address = self.0.local_addr().expect("bound").as_socket().expect("an address of IP");
        address.to_string()
    }

    /// Opens it for good: connections go on to the server at this host and port.
    pub fn open(self, to: &str) {
        self.0.listen(16).expect("it listens");
        let (listener, to) = (TcpListener::from(self.0), to.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (near, far) =
                    (stream.expect("a connection"), TcpStream::connect(&to).expect("the server"));
                forward(&near, &far);
                forward(&far, &near);
            }
        });
    }
}

/// Forwards the data, and then its end; a side that has gone away ends it.
pub(crate) fn forward(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) =
        (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
    thread::spawn(move || io::copy(&mut from, &mut to).and_then(|_| to.shutdown(Shutdown::Write)));
}
