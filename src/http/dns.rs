//! Names to addresses, on a thread that nobody waits for.
//!
//! `getaddrinfo` cannot be interrupted. On a thread of its own, a resolver that hangs delays
//! neither the end of the process nor the client's drop before exec.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch;

use crate::grammar::address::is_loopback;
use crate::process::signals;

/// What `localhost` and the names below it are, without asking anybody (RFC 6761, 6.3): a name
/// server could send the token elsewhere. The port is the URL's.
const LOOPBACK: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

/// What the C library says of a name, once it has said something.
type Said = Option<Result<Vec<SocketAddr>, String>>;

/// Asks the C library. A name can stand for another one: so `VAULT_TLS_SERVER_NAME` gets into the
/// handshake, which takes its name from the URL, while the connection goes to the address.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    /// The name in the URL, and the name whose addresses are used.
    alias: Option<(String, String)>,
    last: Arc<Mutex<Option<Lookup>>>,
}

/// A lookup that is under way, or has found something.
#[derive(Clone, Debug)]
struct Lookup {
    name: String,
    said: watch::Receiver<Said>,
}

impl Resolver {
    /// One for which a name in a URL stands for another one.
    pub fn with_alias(alias: String, real: String) -> Resolver {
        Resolver { alias: Some((alias, real)), ..Resolver::default() }
    }

    /// Whether the C library has been asked and has not answered.
    pub fn is_waiting(&self) -> bool {
        self.last().as_ref().is_some_and(|lookup| lookup.said.borrow().is_none())
    }

    /// Asks anew for the next connection, if all has been said: what was found is good until
    /// something fails.
    pub fn forget(&self) {
        self.last().take_if(|lookup| lookup.said.borrow().is_some());
    }

    fn last(&self) -> MutexGuard<'_, Option<Lookup>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lookup that there is, or a new one: one is enough for connections that are made
    /// together. A name server that is dead costs glibc as much time as one try has, so the
    /// next try must not begin anew either.
    fn look_up(&self, name: String) -> io::Result<watch::Receiver<Said>> {
        let mut last = self.last();
        if let Some(lookup) = last.as_ref().filter(|lookup| lookup.name == name) {
            return Ok(lookup.said.clone());
        }
        let said = ask(name.clone())?;
        *last = Some(Lookup { name, said: said.clone() });
        Ok(said)
    }
}

fn ask(name: String) -> io::Result<watch::Receiver<Said>> {
    let (sender, receiver) = watch::channel(None);
    let look_up = move || {
        let found = (name.as_str(), 0).to_socket_addrs().map(Iterator::collect);
        // Nobody listens any more where the client is gone.
        let _ = sender.send(Some(found.map_err(|error| error.to_string())));
    };
    // It may be there yet when the process becomes the application.
    signals::kept_from(|| thread::Builder::new().spawn(look_up))?;
    Ok(receiver)
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = match &self.alias {
            Some((alias, real)) if alias.eq_ignore_ascii_case(name.as_str()) => real.clone(),
            _ => name.as_str().to_owned(),
        };
        if is_loopback(&name) {
            return Box::pin(std::future::ready(Ok(Box::new(LOOPBACK.into_iter()) as Addrs)));
        }
        let resolver = self.clone();
        Box::pin(async move {
            let mut said = resolver.look_up(name)?;
            let found = said.wait_for(Option::is_some).await?.clone();
            let addresses = found.unwrap_or(Ok(Vec::new())).map_err(io::Error::other)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
