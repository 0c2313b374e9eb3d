//! `--supervise`: what the process that stays does for the application, and what it does not do.

pub(crate) mod callers;
pub(crate) mod exit_codes;
pub(crate) mod faults;
pub(crate) mod inits;
pub(crate) mod options;
pub(crate) mod orphans;
pub(crate) mod renewal;
pub(crate) mod resident;
pub(crate) mod signals;
pub(crate) mod terminal;
