//! A connection that can be taken away from HTTP: to reset it, to close it, or to put something
//! else on it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// How a connection ends early.
#[derive(Debug)]
pub(crate) enum Ending {
    Close,
    Reset,
    Raw(Vec<u8>),
    RawReset(Vec<u8>),
    RawDrip(Vec<u8>, Duration),
}

/// TCP, TLS over TCP, or a Unix domain socket.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn options(&self) -> SockRef<'_>;
}

impl Socket for TcpStream {
    fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

impl Socket for UnixStream {
    fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

impl Socket for TlsStream<TcpStream> {
    fn options(&self) -> SockRef<'_> {
        SockRef::from(self.get_ref().0)
    }
}

/// One half of a connection: HTTP reads and writes it while the other half waits to end it.
pub(crate) struct Wire<S>(Arc<Mutex<S>>);

impl<S> Clone for Wire<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Socket> Wire<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self(Arc::new(Mutex::new(socket)))
    }

    fn socket(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection. HTTP must have let go of its half.
    pub(crate) async fn end(mut self, ending: Ending) -> io::Result<()> {
        match ending {
            Ending::Close => Ok(()),
            Ending::Reset => self.reset(),
            Ending::Raw(bytes) => {
                self.write_all(&bytes).await?;
                self.shutdown().await
            }
            Ending::RawReset(bytes) => {
                self.write_all(&bytes).await?;
                self.flush().await?;
                self.reset()
            }
            Ending::RawDrip(bytes, pause) => {
                for byte in bytes {
                    self.write_all(&[byte]).await?;
                    self.flush().await?;
                    tokio::time::sleep(pause).await;
                }
                self.shutdown().await
            }
        }
    }

    /// Makes the end of the connection, which follows soon, an RST.
    fn reset(&self) -> io::Result<()> {
        self.socket().options().set_linger(Some(Duration::ZERO))
    }
}

impl<S: Socket> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket()).poll_read(context, buffer)
    }
}

impl<S: Socket> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket()).poll_shutdown(context)
    }
}
