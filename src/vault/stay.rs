//! A stay at Vault: the time from a login until its client is dropped, and what was granted
//! meanwhile.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::vault::client::Client;
use crate::vault::document::Lease;
use crate::vault::session::Session;

/// The time from a login until its client is dropped.
pub(crate) struct Stay {
    /// The client, which is dropped with the stay.
    pub client: Client,
    /// The result of the login.
    pub session: Session,
    requests: Cell<u64>,
    granted: RefCell<Vec<Granted>>,
}

/// Something that expires if it is not renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The token or a lease.
    pub what: Held,
    /// When it was granted.
    pub since: Instant,
    /// How long it lasts from that time.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// Something that Vault has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The token of our own login.
    Token,
    /// A lease, by its name, which is not a secret.
    Lease(String),
}

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leased {
    /// Its name, which is not a secret.
    pub id: String,
    /// How long it lasts after it was granted.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

impl Stay {
    /// Begins a stay after a login.
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

    /// Adds this many requests to those that have used the token.
    pub(crate) fn count(&self, requests: u64) {
        self.requests.set(self.requests.get() + requests);
    }

    /// Returns how many requests have used the token.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Records a lease that was just granted.
    pub(crate) fn hold(&self, lease: &Lease) {
        self.granted.borrow_mut().push(Granted {
            what: Held::Lease(lease.id.clone()),
            since: Instant::now(),
            ttl: Duration::from_secs(lease.duration),
            renewable: lease.renewable,
        });
    }

    /// Returns what was granted, in the order in which it was granted.
    #[allow(dead_code, reason = "a process that goes on renews it")]
    pub(crate) fn granted(&self) -> Vec<Granted> {
        self.granted.borrow().clone()
    }

    /// Returns the leases that were granted.
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
