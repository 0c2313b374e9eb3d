//! What a platform knows of the container that it runs: metadata servers and token services.

pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod github;
pub(crate) mod metadata;
pub(crate) mod sigv4;

use crate::secret::{Secret, Variable};

/// The variables that a platform sets, wherever they come from.
pub(crate) trait Platform {
    /// A variable such as `AWS_REGION`; one that is empty, or is yet to be fetched, is not set.
    fn variable(&self, name: &str) -> Option<&Secret>;

    /// The environment of the process itself.
    fn environment(&self) -> &[Variable];

    /// A variable as text, without white space at its ends.
    fn text(&self, name: &str) -> Option<&str> {
        let text = self.variable(name)?.expose_text()?.trim();
        (!text.is_empty()).then_some(text)
    }
}
