//! A stay at Vault: from a login to the end of its client, and what was granted meanwhile.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::vault::client::Client;
use crate::vault::document::Lease;
use crate::vault::session::Session;

/// The time from a login to the end of its client.
pub(crate) struct Stay {
    /// The client, which goes with the stay.
    pub client: Client,
    /// What the login gave.
    pub session: Session,
    requests: Cell<u64>,
    granted: RefCell<Vec<Granted>>,
}

/// Something that ends if it is not renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The token or a lease.
    pub what: Held,
    /// When it was granted.
    pub since: Instant,
    /// How long it lasts from then on.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// What is held of Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The token of our own login.
    Token,
    /// A lease, by its name, which is no secret.
    Lease(String),
}

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leased {
    /// Its name, which is no secret.
    pub id: String,
    /// How long it lasts from its grant on.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

impl Stay {
    /// Begins with a login that was just made.
    pub(crate) fn begin(client: Client, session: Session) -> Stay {
        let token = session.ttl.filter(|_| session.is_own).map(|ttl| Granted {
            what: Held::Token,
            since: Instant::now(),
            ttl,
            renewable: session.renewable,
        });
        let granted = RefCell::new(token.into_iter().collect());
        Stay { client, session, requests: Cell::new(0), granted }
    }

    /// Counts so many requests that use the token.
    pub(crate) fn count(&self, requests: u64) {
        self.requests.set(self.requests.get() + requests);
    }

    /// How many requests have used the token.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Takes in a lease that was just granted.
    pub(crate) fn hold(&self, lease: &Lease) {
        self.granted.borrow_mut().push(Granted {
            what: Held::Lease(lease.id.clone()),
            since: Instant::now(),
            ttl: Duration::from_secs(lease.duration),
            renewable: lease.renewable,
        });
    }

    /// What was granted, in the order in which it came.
    #[allow(dead_code, reason = "a process that goes on renews it")]
    pub(crate) fn granted(&self) -> Vec<Granted> {
        self.granted.borrow().clone()
    }

    /// The leases that were granted.
    pub(crate) fn leases(&self) -> Vec<Leased> {
        let granted = self.granted.borrow();
        let leases = granted.iter().filter_map(|granted| match &granted.what {
            Held::Lease(id) => {
                let Granted { ttl, renewable, .. } = *granted;
                Some(Leased { id: id.clone(), ttl, renewable })
            }
            Held::Token => None,
        });
        leases.collect()
    }
}
