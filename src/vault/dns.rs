//! Names to addresses, on a thread that nobody waits for.
//!
//! `getaddrinfo` cannot be interrupted. On a thread of its own, a resolver that hangs delays neither the end of the process
//! nor the client's drop before exec.

use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

/// Asks the C library. A name can stand for another one: so `VAULT_TLS_SERVER_NAME` gets into the handshake, which takes
/// its name from the URL, while the connection goes to the address.
#[derive(Debug, Default)]
pub struct Resolver {
    /// The name in the URL, and the name whose addresses are used.
    pub alias: Option<(String, String)>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = match &self.alias {
            Some((alias, real)) if alias.eq_ignore_ascii_case(name.as_str()) => real.clone(),
            _ => name.as_str().to_owned(),
        };
        let (sender, receiver) = oneshot::channel();
        let started = thread::Builder::new().spawn(move || {
            // Nobody listens any more where the try was given up.
            let _ = sender.send((name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>));
        });
        Box::pin(async move {
            started?;
            let addresses = receiver.await??;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
