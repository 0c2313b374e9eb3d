//! Counts connections, to tell a request that waited for its answer from one that waited for its
//! connection: the HTTP library reports both only as a timeout.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

/// The connections of a client: TCP, plus TLS if it is used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    made: AtomicUsize,
}

/// The number of connections at one point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    begun: usize,
    made: usize,
}

impl Connections {
    /// Returns the current count.
    pub(crate) fn count(&self) -> Count {
        Count {
            begun: self.0.begun.load(Ordering::Relaxed),
            made: self.0.made.load(Ordering::Relaxed),
        }
    }

    /// Returns whether a connection was begun since then and none was made. With parallel requests
    /// it may belong to another request.
    pub(crate) fn is_awaited_since(&self, then: Count) -> bool {
        let now = self.count();
        now.begun > then.begun && now.made == then.made
    }
}

impl<S> Layer<S> for Connections {
    type Service = Counted<S>;

    fn layer(&self, service: S) -> Counted<S> {
        Counted { service, connections: self.clone() }
    }
}

/// A service that makes connections and counts them.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    service: S,
    connections: Connections,
}

impl<S, R> Service<R> for Counted<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let Connections(counts) = self.connections.clone();
        counts.begun.fetch_add(1, Ordering::Relaxed);
        let connection = self.service.call(request);
        Box::pin(async move {
            let connection = connection.await?;
            counts.made.fetch_add(1, Ordering::Relaxed);
            Ok(connection)
        })
    }
}
