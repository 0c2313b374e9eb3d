//! Resolves names to addresses, on threads that nobody waits for.
//!
//! `getaddrinfo` cannot be interrupted. On a thread of its own, a resolver that hangs delays
//! neither the end of the process nor the client's drop before exec.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, future, io, thread};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{mpsc, watch};

use crate::grammar::address::is_localhost;
use crate::process::names::{Family, NoAddress, addresses};
use crate::process::signals;

/// The addresses of `localhost` and the names below it. No name server is asked (RFC 6761, 6.3),
/// because it could send the token elsewhere. The port comes from the URL.
const LOOPBACK: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

/// How long a question may go unanswered before the next one is sent alongside it. A name server
/// answers in milliseconds; musl waits 5 s for each one that does not.
const STAGGER: Duration = Duration::from_secs(1);

/// The result for a name, once there is one.
type Said = Option<Result<Vec<SocketAddr>, Unresolved>>;

/// Why a name has no address here.
#[derive(Clone, Debug)]
pub(crate) enum Unresolved {
    /// There is no such name, or it has no address.
    Unknown(String),
    /// A name server has failed.
    Failed(String),
    /// The kernel provides no thread, descriptor or the like.
    System(i32),
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to lookup address information: ")?;
        match self {
            Unresolved::Unknown(words) | Unresolved::Failed(words) => f.write_str(words),
            Unresolved::System(number) => io::Error::from_raw_os_error(*number).fmt(f),
        }
    }
}

impl std::error::Error for Unresolved {}

impl From<NoAddress> for Unresolved {
    fn from(why: NoAddress) -> Unresolved {
        match why {
            NoAddress::Unknown(words) | NoAddress::Empty(words) => Unresolved::Unknown(words),
            NoAddress::Failed(words) => Unresolved::Failed(words),
            NoAddress::System(number) => Unresolved::System(number),
        }
    }
}

/// Resolves names with the C library. One name can stand for another: this is how
/// `VAULT_TLS_SERVER_NAME` gets into the handshake, which takes its name from the URL, while the
/// connection goes to the real address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolver {
    /// The name in the URL, and the name whose addresses are used.
    alias: Option<(String, String)>,
    last: Arc<Mutex<Option<Lookup>>>,
}

/// A lookup that is under way or has finished.
#[derive(Clone, Debug)]
struct Lookup {
    name: String,
    said: watch::Receiver<Said>,
}

impl Resolver {
    /// Returns a resolver for which the name `alias` in a URL stands for `real`.
    pub(crate) fn with_alias(alias: String, real: String) -> Resolver {
        Resolver { alias: Some((alias, real)), ..Resolver::default() }
    }

    /// Returns whether the C library has been asked and has not answered yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.last().as_ref().is_some_and(|lookup| lookup.said.borrow().is_none())
    }

    /// Drops the last lookup if it has finished, so that the next connection asks again. A result
    /// is kept until something fails.
    pub(crate) fn forget(&self) {
        self.last().take_if(|lookup| lookup.said.borrow().is_some());
    }

    fn last(&self) -> MutexGuard<'_, Option<Lookup>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current lookup, or starts a new one. One is enough for connections that are made
    /// together. A dead name server costs the C library as much time as one try has, so the next
    /// try must not start over either.
    fn look_up(&self, name: String) -> watch::Receiver<Said> {
        let mut last = self.last();
        if let Some(lookup) = last.as_ref().filter(|lookup| lookup.name == name) {
            return lookup.said.clone();
        }
        let (sender, said) = watch::channel(None);
        *last = Some(Lookup { name: name.clone(), said: said.clone() });
        tokio::spawn(async move {
            // Nobody is listening if the client is gone.
            let _ = sender.send(Some(find(&name).await));
        });
        said
    }
}

/// A name, as the C library is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    name: String,
    family: Family,
    /// Whether it skips the search domains, which the other questions try first.
    is_whole: bool,
}

/// Returns the questions to ask, one after the other, until an address is found. musl asks for both
/// families at once and fails if either answer is an error, but some name servers claim that a name
/// with an IPv4 address does not exist when asked for its IPv6 address, or refuse to answer. musl
/// also stops at the first search domain whose name server fails, while glibc goes on to the name
/// itself.
fn questions(name: &str) -> Vec<Question> {
    let ask = |family, is_whole| {
        let name = if is_whole { format!("{name}.") } else { name.to_owned() };
        Question { name, family, is_whole }
    };
    let is_whole_already = !name.contains('.') || name.ends_with('.');
    let all = [
        ask(Family::Any, false),
        ask(Family::Four, false),
        ask(Family::Any, true),
        ask(Family::Four, true),
        ask(Family::Six, false),
    ];
    all.into_iter().filter(|question| !(question.is_whole && is_whole_already)).collect()
}

/// Asks each question once the one before it has failed or has gone unanswered for a while.
async fn find(name: &str) -> Result<Vec<SocketAddr>, Unresolved> {
    let (sender, mut answers) = mpsc::unbounded_channel();
    let mut why: Option<NoAddress> = None;
    for question in questions(name) {
        // All search domains and the name itself were already tried without a server failure.
        if question.is_whole && matches!(why, Some(NoAddress::Unknown(_))) {
            continue;
        }
        if let Err(error) = ask(question, sender.clone()) {
            why.get_or_insert(NoAddress::System(error.raw_os_error().unwrap_or_default()));
            break;
        }
        match tokio::time::timeout(STAGGER, answers.recv()).await {
            Ok(Some(Ok(found))) => return Ok(found),
            Ok(Some(Err(error))) => _ = why.get_or_insert(error),
            Ok(None) | Err(_) => {}
        }
    }
    drop(sender);
    while let Some(answer) = answers.recv().await {
        match answer {
            Ok(found) => return Ok(found),
            Err(error) => _ = why.get_or_insert(error),
        }
    }
    Err(why.map_or(Unresolved::Unknown(String::new()), Unresolved::from))
}

type Answer = Result<Vec<SocketAddr>, NoAddress>;

fn ask(question: Question, to: mpsc::UnboundedSender<Answer>) -> io::Result<()> {
    let look_up = move || {
        // Nobody is listening once another answer has succeeded.
        let _ = to.send(addresses(&question.name, question.family));
    };
    // The thread may still exist when the process becomes the application.
    signals::kept_from(|| thread::Builder::new().spawn(look_up)).map(drop)
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = match &self.alias {
            Some((alias, real)) if alias.eq_ignore_ascii_case(name.as_str()) => real.clone(),
            _ => name.as_str().to_owned(),
        };
        if is_localhost(&name) {
            return Box::pin(future::ready(Ok(Box::new(LOOPBACK.into_iter()) as Addrs)));
        }
        let resolver = self.clone();
        Box::pin(async move {
            let mut said = resolver.look_up(name);
            let found = said.wait_for(Option::is_some).await?.clone();
            let addresses = found.unwrap_or(Ok(Vec::new()))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_by_family_and_without_search_domains() {
        let asked = |name| {
            let questions = questions(name).into_iter();
            questions.map(|question| (question.name, question.family)).collect::<Vec<_>>()
        };
        let whole = "vault.example.".to_owned();
        let name = "vault.example".to_owned();
        assert_eq!(
            asked("vault.example"),
            [
                (name.clone(), Family::Any),
                (name.clone(), Family::Four),
                (whole.clone(), Family::Any),
                (whole.clone(), Family::Four),
                (name, Family::Six),
            ]
        );
        for name in ["vault", "vault.example."] {
            let families = [Family::Any, Family::Four, Family::Six];
            assert_eq!(asked(name), families.map(|family| (name.to_owned(), family)));
        }
    }
}
