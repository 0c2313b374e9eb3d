//! What a platform knows about the container that it runs: metadata servers and token services.

pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod github;
pub(crate) mod metadata;
pub(crate) mod sigv4;

use crate::secret::{Secret, Variable};

/// Access to the variables that a platform sets, wherever they come from.
pub(crate) trait Platform {
    /// Returns a variable such as `AWS_REGION`. A variable that is empty, or still has to be
    /// fetched, counts as unset.
    fn variable(&self, name: &str) -> Option<&Secret>;

    /// Returns the environment of the process itself.
    fn environment(&self) -> &[Variable];

    /// Returns a variable as text, without white space at its ends.
    fn text(&self, name: &str) -> Option<&str> {
        let text = self.variable(name)?.expose_text()?.trim();
        (!text.is_empty()).then_some(text)
    }
}
