//! A socket that is read much at a time, into memory that all sockets of a thread share.
//!
//! The websocket zeroes its own buffer before each read, so that buffer is small. A message is longer.
//! Reading it in small parts would take several system calls, and one of them costs more than copying the
//! message. So a read takes all that has come into one buffer of the thread. The thread uses it often, so it
//! is in the processor's cache. What the reader does not take at once is kept apart.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read at once: several events with audio.
const AT_ONCE: usize = 16 << 10;

thread_local!(static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; AT_ONCE].into()));

/// A socket that is read ahead. Writes go straight to it.
#[derive(Debug)]
pub struct ReadAhead<S> {
    io: S,
    /// Read, and not yet taken: at most [`AT_ONCE`].
    kept: Box<[u8]>,
    /// What of it is taken.
    taken: usize,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(io: S) -> Self {
        Self { io, kept: Box::default(), taken: 0 }
    }

    /// Hands out what is kept.
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) {
        let kept = &self.kept[self.taken..];
        let count = kept.len().min(buffer.remaining());
        buffer.put_slice(&kept[..count]);
        self.taken += count;
        if self.taken == self.kept.len() {
            (self.kept, self.taken) = (Box::default(), 0);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.kept.is_empty() {
            self.hand_out(buffer);
            return Poll::Ready(Ok(()));
        }
        BUFFER.with_borrow_mut(|shared| {
            let mut shared = ReadBuf::new(shared);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut shared))?;
            let (now, later) = shared.filled().split_at(shared.filled().len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.kept = later.into();
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_taken_at_a_time_everything_comes_in_its_order_and_then_the_end(
            written: Vec<u8>,
            times in 1usize..400,
            reads in prop::collection::vec(1usize..3_000, 1..8),
        ) {
            let written = written.repeat(times);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(async {
                let (mut peer, io) = tokio::io::duplex(5_000);
                let mut ahead = ReadAhead::new(io);
                let write = async {
                    peer.write_all(&written).await.unwrap();
                    drop(peer);
                };
                let read = async {
                    let (mut whole, mut sizes) = (vec![], reads.iter().cycle());
                    loop {
                        let mut part = vec![0; *sizes.next().unwrap()];
                        match ahead.read(&mut part).await.unwrap() {
                            0 => return whole,
                            count => whole.extend_from_slice(&part[..count]),
                        }
                    }
                };
                tokio::join!(write, read).1
            });
            prop_assert!(read == written, "{} bytes of {}", read.len(), written.len());
        }
    }

    #[tokio::test]
    async fn a_small_read_takes_all_that_has_come_from_the_socket() {
        let (mut peer, io) = tokio::io::duplex(64 << 10);
        peer.write_all(&[7; 5_000]).await.unwrap();
        let mut ahead = ReadAhead::new(io);
        let mut part = [0; 100];
        assert_eq!(ahead.read(&mut part).await.unwrap(), 100);
        assert_eq!(ahead.kept.len() - ahead.taken, 4_900);
        let mut rest = [0; 8_192];
        assert_eq!(ahead.read(&mut rest).await.unwrap(), 4_900);
        assert_eq!(ahead.kept.len(), 0, "an idle socket keeps no memory");
    }
}
