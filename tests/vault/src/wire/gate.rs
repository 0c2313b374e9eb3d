//! A gate in front of a server: it lets a number of connections through, and none after those.
//!
//! It does not look at the data, so it is the same for http and https.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::wire::late::forward;

/// What happens to a connection that is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// Nobody listens: RST in reply to SYN.
    Refused,
    /// No reply to SYN: the queue of the listening socket is full, and the kernel drops everything
    /// else that arrives.
    Dropped,
    /// The kernel completes the connection, and nobody ever accepts it.
    Silent,
    /// It is closed once something has been read from it.
    Closed,
    /// It is reset once something has been read from it.
    Reset,
    /// It gets these bytes in reply to what was read from it, and is closed.
    Answered(&'static [u8]),
}

/// A port of this machine, open for some connections.
pub struct Gate {
    /// Keeps the port for this gate while nobody listens on it.
    holder: Socket,
    to: SocketAddr,
}

impl Gate {
    /// Makes a gate whose first `passes` connections go on to the server at `to`.
    pub fn new(to: SocketAddr, passes: usize, then: Shut) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), to, passes, then)
    }

    /// The same at this address.
    pub fn at(address: SocketAddr, to: SocketAddr, passes: usize, then: Shut) -> Self {
        let holder = bound(address);
        let gate = Self { holder, to };
        let listener = gate.listen();
        if passes == 0 {
            shut(listener, then);
        } else {
            thread::spawn(move || pass(listener, to, passes, then));
        }
        gate
    }

    /// Returns its address.
    pub fn socket_addr(&self) -> SocketAddr {
        address_of(&self.holder)
    }

    /// Lets everything through, for good: for use after [`Shut::Refused`].
    pub fn open(&self) {
        let (listener, to) = (self.listen(), self.to);
        thread::spawn(move || pass(listener, to, usize::MAX, Shut::Refused));
    }

    fn listen(&self) -> Socket {
        let listener = bound(self.socket_addr());
        listener.listen(16).expect("it listens");
        listener
    }
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an option of sockets");
    socket.bind(&address.into()).expect("a free port");
    socket
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().expect("bound").as_socket().expect("an address of IP")
}

/// Passes connections on. The gate shuts before the last connection that passes is answered:
/// whatever comes after that answer finds it shut.
fn pass(listener: Socket, to: SocketAddr, passes: usize, then: Shut) {
    for _ in 1..passes {
        connect(&accept(&listener), to);
    }
    let last = accept(&listener);
    shut(listener, then);
    connect(&last, to);
}

fn accept(listener: &Socket) -> TcpStream {
    listener.accept().expect("a connection").0.into()
}

/// Connects to the server; if it is gone, the client sees that it is gone.
fn connect(near: &TcpStream, to: SocketAddr) {
    if let Ok(far) = TcpStream::connect(to) {
        forward(near, &far);
        forward(&far, near);
    }
}

fn shut(listener: Socket, then: Shut) {
    match then {
        Shut::Refused => drop(listener),
        Shut::Dropped => fill(listener),
        // The descriptor stays open for as long as the tests run.
        Shut::Silent => std::mem::forget(listener),
        Shut::Closed | Shut::Reset | Shut::Answered(_) => {
            thread::spawn(move || {
                TcpListener::from(listener).incoming().for_each(|stream| turn_away(stream, then));
            });
        }
    }
}

/// Fills the queue, for good.
fn fill(listener: Socket) {
    listener.listen(0).expect("it listens");
    let address = address_of(&listener);
    while let Ok(place) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        std::mem::forget(place);
    }
    std::mem::forget(listener);
}

fn turn_away(stream: std::io::Result<TcpStream>, then: Shut) {
    let mut stream = stream.expect("a connection");
    // A client that has gone already is turned away.
    let _ = stream.read(&mut [0; 16 << 10]);
    match then {
        Shut::Reset => {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option of sockets");
        }
        Shut::Answered(bytes) => drop(stream.write_all(bytes)),
        _ => {}
    }
}
