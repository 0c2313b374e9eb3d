//! What a user can write: references, imports, settings files, paths, addresses and units. All of
//! it is pure.

pub(crate) mod address;
pub(crate) mod env_file;
pub(crate) mod import;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod nearest;
pub(crate) mod path;
pub(crate) mod placed_file;
pub(crate) mod reference;
pub(crate) mod secrets_file;
pub(crate) mod selector;
pub(crate) mod sourced;
pub(crate) mod template;
pub(crate) mod units;
pub(crate) mod variable;
