//! The single thread on which everything asynchronous runs.

use tokio::runtime::Builder;

use crate::error::{Code, Error, LIMITED};

/// Waits until `work` is done. When this returns, the connections and buffers that it leaves behind
/// are gone.
///
/// # Errors
/// 69 if the kernel provides no descriptor.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| {
        Error::new(Code::Unavailable, format!("the HTTP client: {error}")).hint(LIMITED)
    })?;
    // The future is on the heap, where what it held is wiped: it is large, and would otherwise be
    // moved from frame to frame.
    Ok(runtime.block_on(Box::pin(work)))
}
