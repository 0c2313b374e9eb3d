//! What a path says of the mount that it leads to (pure).

use crate::grammar::path::Path;

/// The version of a KV mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvVersion {
    /// Without versions.
    V1,
    /// With versions, and `data` in the path.
    V2,
}

/// A path to find out about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// As the user wrote it.
    pub path: &'a Path,
    /// The length of the mount in front of it, where the user has told the mount.
    pub mount: Option<usize>,
}

impl Question<'_> {
    /// Whether `data` may stand in the path already: a mount that was told comes without.
    pub fn is_as_written(self) -> bool {
        self.mount.is_none() && self.path.has_data_segment()
    }
}
