//! What a user can write: references, imports, files of settings, paths, addresses and units. All
//! of it is pure.

pub mod address;
pub mod env_file;
pub mod import;
pub mod mount;
pub mod namespace;
pub mod nearest;
pub mod path;
pub mod reference;
pub mod secrets_file;
pub mod selector;
pub mod sourced;
pub mod template;
pub mod units;
pub mod variable;
