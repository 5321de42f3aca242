//! A TCP connection as the HTTP server sees it. A media stream passes through: it costs a branch.

use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

use super::{Connection, State};

/// After our end the peer is read on for so long: what it still sends would make the system cut off what we
/// said last.
const LINGER: Duration = Duration::from_secs(1);
/// What is read at once: a few requests, after which other connections have their turn.
const MOST_AT_ONCE: usize = 4 << 10;
/// What a request may come with until it is answered: its head and its body. The server would read on without
/// a pause where its own buffer of 128 KiB is full.
const MOST_UNANSWERED: usize = 112 << 10;
/// Connections that linger past the server's own end of them, at most.
const MOST_LINGERING: usize = 32;

pub(super) struct Stream {
    /// Until the drop.
    io: Option<TcpStream>,
    pub(super) connection: Rc<Connection>,
    /// Of what may be read at once.
    read: usize,
    /// What is read goes through TLS, which says when it has [paused](Self::has_paused).
    pub(super) is_below_tls: bool,
    linger: Option<Pin<Box<Sleep>>>,
    /// Nobody has to linger any more.
    is_over: bool,
}

impl Stream {
    pub(super) fn new(io: TcpStream, connection: Rc<Connection>) -> Self {
        Self { io: Some(io), connection, read: 0, is_below_tls: false, linger: None, is_over: false }
    }

    /// Waits until the peer says something.
    ///
    /// # Errors
    /// The connection has ended before.
    pub(super) async fn speaks(&mut self) -> io::Result<()> {
        self.readable().await?;
        self.is_used();
        Ok(())
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// The connection has ended before.
    pub(super) async fn readable(&mut self) -> io::Result<()> {
        let connection = self.connection.clone();
        let readable = poll_fn(|context| {
            if connection.has_ended() {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            connection.watch(context);
            self.io().poll_read_ready(context)
        });
        readable.await
    }

    /// The peer has said something.
    pub(super) fn is_used(&self) {
        if !self.connection.has_ended() {
            self.connection.state.set(State::Used);
        }
    }

    /// Others have their turn: as much may be read again.
    pub(super) fn has_paused(&mut self) {
        self.read = 0;
    }

    fn io(&mut self) -> &mut TcpStream {
        self.io.as_mut().expect("it is there until the drop")
    }

    fn pinned(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.io())
    }

    /// Reads a piece; the server asks for more until there is none now.
    fn read_piece(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = self.connection.clone();
        if connection.has_ended() {
            return Poll::Ready(Ok(()));
        }
        connection.watch(context);
        if connection.waits.get() || connection.is_blocked() || connection.is_answering() {
            connection.is_held.set(true);
            return Poll::Pending;
        }
        if self.read >= MOST_AT_ONCE {
            if !self.is_below_tls {
                self.read = 0;
            }
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if connection.requests.get() > 0 && connection.unanswered.get() >= MOST_UNANSWERED {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        let mut piece = [0; MOST_AT_ONCE];
        let room = MOST_AT_ONCE.min(buffer.remaining());
        let mut piece = ReadBuf::new(&mut piece[..room]);
        let read = self.pinned().poll_read(context, &mut piece);
        let count = piece.filled().len();
        match read {
            Poll::Ready(Ok(())) if count > 0 => {
                self.read += count;
                connection.unanswered.set(connection.unanswered.get() + count);
                connection.has_news.set(true);
                buffer.put_slice(piece.filled());
            }
            Poll::Ready(_) => self.is_over = true,
            Poll::Pending => self.read = 0,
        }
        read
    }

    fn written(&self, context: &Context<'_>, written: &Poll<io::Result<usize>>) {
        let connection = &self.connection;
        let now = Instant::now();
        if written.is_pending() {
            connection.watch(context);
            connection.blocked_since.set(connection.blocked_since.get().or(Some(now)));
        } else {
            connection.idle_since.set(now);
            if connection.blocked_since.take().is_some() {
                connection.wake(); // requests wait for it
            }
        }
    }

    /// Reads what the peer still sends, until its end or for long enough.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; MOST_AT_ONCE];
        for _ in 0..16 {
            if self.connection.has_ended() {
                return Poll::Ready(());
            }
            let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
            if linger.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            self.connection.watch(context);
            let mut piece = ReadBuf::new(&mut piece);
            match ready!(self.pinned().poll_read(context, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.is_call() {
            return self.pinned().poll_read(context, buffer);
        }
        self.read_piece(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.connection.is_call() {
            return self.pinned().poll_write(context, bytes);
        }
        if self.connection.has_ended() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let written = self.pinned().poll_write(context, bytes);
        self.written(context, &written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_flush(context)
    }

    /// Tells the peer that nothing more comes, and lingers.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() && !self.connection.has_ended() {
            ready!(self.pinned().poll_shutdown(context))?;
            if !self.connection.is_call() {
                self.connection.state.set(State::Closing);
            }
        }
        ready!(self.poll_linger(context));
        self.is_over = true;
        Poll::Ready(Ok(()))
    }
}

/// The server drops a connection without a word after some errors; what it said before is to arrive.
impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.leave();
        let (Some(io), false) = (self.io.take(), self.is_over || self.connection.has_ended()) else { return };
        static LINGERING: AtomicUsize = AtomicUsize::new(0);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if LINGERING.fetch_add(1, Ordering::Relaxed) >= MOST_LINGERING {
            LINGERING.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        runtime.spawn(async move {
            let _ = timeout(LINGER, linger(io)).await;
            LINGERING.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn linger(mut io: TcpStream) -> io::Result<()> {
    io.shutdown().await?;
    let mut piece = vec![0; MOST_AT_ONCE];
    while io.read(&mut piece).await? > 0 {}
    Ok(())
}
