//! Connections: what listens, speaks and misbehaves on them, and the network below.

pub(crate) mod connection;
pub(crate) mod delayed_network;
pub(crate) mod fault;
pub(crate) mod gate;
pub(crate) mod late;
pub(crate) mod listen;
pub(crate) mod name_server;
pub(crate) mod service;
pub(crate) mod tls;
