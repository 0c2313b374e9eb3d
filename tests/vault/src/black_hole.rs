//! A server behind a firewall that drops what comes.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A port of this machine on which no connection is refused and none comes about.
pub struct BlackHole {
    socket: Socket,
    /// What fills the queue of those that wait to be accepted: the kernel drops the rest.
    _waiting: Vec<TcpStream>,
}

impl Default for BlackHole {
    fn default() -> Self {
        Self::new()
    }
}

impl BlackHole {
    /// On a free port.
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        socket.listen(0).expect("it listens");
        let address = address(&socket);
        let fill = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok());
        Self { _waiting: fill.collect(), socket }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        address(&self.socket)
    }
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().expect("bound").as_socket().expect("an address of IP")
}
