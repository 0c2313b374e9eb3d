//! What a path tells about the mount that it leads to (pure).

use crate::grammar::path::Path;

/// The version of a KV mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvVersion {
    /// Without versions.
    V1,
    /// With versions, and `data` in the path.
    V2,
}

/// A path whose mount is to be found out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The path as the user wrote it.
    pub path: &'a Path,
    /// The length of the mount at its beginning, if the user named the mount.
    pub mount: Option<usize>,
}

impl Question<'_> {
    /// Returns the length of the mount: what the user said, or else the first segment.
    pub(crate) fn likely_mount(self) -> usize {
        self.mount.unwrap_or_else(|| self.path.segments().next().map_or(0, str::len))
    }

    /// Returns whether the path belongs to KV v2's API. Such a path is read as it is written.
    pub(crate) fn is_as_written(self) -> bool {
        self.path.is_of_kv2_api(self.likely_mount())
    }
}
