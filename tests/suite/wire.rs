//! What happens on the network, and what is said where it goes wrong.

pub(crate) mod addresses;
pub(crate) mod certificates;
pub(crate) mod faults;
pub(crate) mod load;
pub(crate) mod messages;
pub(crate) mod middleboxes;
pub(crate) mod network;
pub(crate) mod proxies;
pub(crate) mod requests;
pub(crate) mod retries;
pub(crate) mod round_trips;
pub(crate) mod tls;
