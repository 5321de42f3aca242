//! Watches whether the body of a request comes to its end: a peer that holds it back may not keep a
//! connection for ever.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use actix_http::HttpMessage as _;
use actix_http::error::PayloadError;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use bytes::Bytes;
use futures_util::Stream;

use super::Connection;

/// Pieces that are looked at for the end when nobody wants them.
const UNWANTED_PIECES: usize = 64;

struct Watched {
    body: Payload,
    connection: Rc<Connection>,
}

/// The body of this request is watched, if it has one. What comes after an upgrade is none.
pub(super) fn watch(request: &mut ServiceRequest, connection: &Rc<Connection>, now: Instant) {
    connection.body_since.set(None);
    let headers = request.headers();
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if !has_body || headers.contains_key(UPGRADE) {
        return;
    }
    connection.body_since.set(Some(now));
    let watched = Watched { body: request.take_payload(), connection: connection.clone() };
    request.set_payload(Payload::Stream { payload: Box::pin(watched) });
}

impl Stream for Watched {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = Pin::new(&mut self.body).poll_next(context);
        if matches!(piece, Poll::Ready(None)) {
            self.connection.body_since.set(None);
        }
        piece
    }
}

/// A body that nobody wants may be there all the same.
impl Drop for Watched {
    fn drop(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..UNWANTED_PIECES {
            match Pin::new(&mut *self).poll_next(&mut context) {
                Poll::Ready(Some(Ok(_))) => {}
                _ => return,
            }
        }
    }
}
