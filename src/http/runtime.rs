//! The one thread that everything asynchronous happens on.

use tokio::runtime::Builder;

use crate::error::{Code, Error, LIMITED};

/// Waits until `work` is done. What it leaves behind of connections and their buffers is gone when
/// this returns.
///
/// # Errors
/// 69 if the kernel gives no descriptor.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| {
        Error::new(Code::Unavailable, format!("the HTTP client: {error}")).hint(LIMITED)
    })?;
    // On the heap, where what it held is wiped: it is large, and would be moved from frame to frame.
    Ok(runtime.block_on(Box::pin(work)))
}
