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
pub(crate) struct Question<'a> {
    /// As the user wrote it.
    pub path: &'a Path,
    /// The length of the mount in front of it, where the user has told the mount.
    pub mount: Option<usize>,
}

impl Question<'_> {
    /// Returns the length of the mount: what the user has told, or else the first segment.
    pub(crate) fn likely_mount(self) -> usize {
        self.mount.unwrap_or_else(|| self.path.segments().next().map_or(0, str::len))
    }

    /// Whether it is a path of KV v2's API, which is read as it is written.
    pub(crate) fn is_as_written(self) -> bool {
        self.path.is_of_kv2_api(self.likely_mount())
    }
}
