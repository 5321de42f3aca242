//! Bodies that are sent piece by piece. Between two pieces the thread goes on with other sockets, so a long
//! answer delays no frame of a call.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::ContentType;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::task::yield_now;

use super::problem::ApiError;
use super::worker::Parts;

/// Bytes of a piece: copied and written in some 10 µs.
const PIECE: usize = 16 << 10;

/// A body that is there in whole.
#[derive(Default)]
pub struct Pieces {
    pieces: VecDeque<Bytes>,
    length: usize,
    /// Others go on before the next piece.
    others: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Pieces {
    /// Encodes a value, without ever having the text in one piece.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn of_json(value: &impl Serialize) -> serde_json::Result<Self> {
        let mut writer = Writer::default();
        serde_json::to_writer(&mut writer, value)?;
        Ok(writer.finish())
    }

    /// As the answer to a request.
    pub fn into_json(self) -> HttpResponse {
        HttpResponse::Ok().insert_header(ContentType::json()).body(self)
    }
}

impl From<Bytes> for Pieces {
    fn from(whole: Bytes) -> Self {
        Self { length: whole.len(), pieces: cut(whole).collect(), others: None }
    }
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if let Some(others) = &mut self.others {
            std::task::ready!(others.as_mut().poll(context));
            self.others = None;
        }
        let piece = self.pieces.pop_front();
        if !self.pieces.is_empty() {
            self.others = Some(Box::pin(yield_now()));
        }
        Poll::Ready(piece.map(Ok))
    }
}

/// The parts of a streamed answer, in pieces. An answer that breaks off ends with an error, which cuts the
/// connection.
pub fn streamed(parts: Parts) -> impl Stream<Item = Result<Bytes, ApiError>> + 'static {
    stream::try_unfold((parts, VecDeque::new()), async |(mut parts, mut pieces)| {
        loop {
            if let Some(piece) = pieces.pop_front() {
                yield_now().await;
                return Ok::<_, ApiError>(Some((piece, (parts, pieces))));
            }
            let Some(part) = parts.next().await? else { return Ok(None) };
            pieces.extend(cut(part));
        }
    })
}

fn cut(mut whole: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = whole.split_to(whole.len().min(PIECE));
        (!piece.is_empty()).then_some(piece)
    })
}

/// Takes a text as it is written.
#[derive(Default)]
struct Writer {
    pieces: VecDeque<Bytes>,
    last: Vec<u8>,
    length: usize,
}

impl Writer {
    fn finish(mut self) -> Pieces {
        self.close();
        Pieces { pieces: self.pieces, length: self.length, others: None }
    }

    fn close(&mut self) {
        if !self.last.is_empty() {
            self.length += self.last.len();
            self.pieces.push_back(mem::take(&mut self.last).into());
        }
    }
}

impl io::Write for Writer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.last.len() == PIECE {
            self.close();
        }
        if self.last.capacity() == 0 {
            self.last.reserve_exact(PIECE);
        }
        let taken = text.len().min(PIECE - self.last.len());
        self.last.extend_from_slice(&text[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    fn next(body: &mut Pieces, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Pin::new(body).poll_next(context).map(|piece| piece.map(Result::unwrap))
    }

    async fn sizes(mut body: Pieces) -> Vec<usize> {
        let mut sizes = vec![];
        while let Some(piece) = poll_fn(|context| next(&mut body, context)).await {
            sizes.push(piece.len());
        }
        sizes
    }

    #[tokio::test]
    async fn a_long_text_is_sent_in_bounded_pieces_whose_sum_is_told_before() {
        let text = "é".repeat(20_000); // 40,000 bytes and two quotes
        let body = Pieces::of_json(&text).unwrap();
        assert_eq!(body.size(), BodySize::Sized(40_002));
        assert_eq!(sizes(body).await, [16_384, 16_384, 7_234]);
        assert_eq!(sizes(Pieces::from(Bytes::from(vec![0; 32_768]))).await, [16_384, 16_384]);
        assert_eq!(sizes(Pieces::of_json(&()).unwrap()).await, [4]);
        assert!(sizes(Pieces::from(Bytes::new())).await.is_empty());
    }

    #[tokio::test]
    async fn other_tasks_go_on_between_two_pieces() {
        let mut body = Pieces::from(Bytes::from(vec![0; 3 * PIECE]));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(next(&mut body, &mut context).is_ready());
            assert!(next(&mut body, &mut context).is_pending(), "others have their turn");
        }
        assert!(next(&mut body, &mut context).is_ready());
        assert_eq!(next(&mut body, &mut context), Poll::Ready(None), "nobody waits after the last one");
    }
}
