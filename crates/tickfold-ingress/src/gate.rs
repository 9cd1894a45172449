//! The stream that hyper reads from: it hands on one whole, unambiguous head at a time.
//!
//! Holding heads back until they are complete is what makes the rest of a connection simple: its
//! task knows when a head began and whether a request is under way, hyper never sees what `head`
//! refuses, and of the bytes behind a head hyper gets exactly the body, so the next head begins
//! where this file expects it. Behind a chunked body the next head cannot be found without reading
//! chunks a second time; such a request is the last of its connection. If it was sent before the
//! answer to another one, that answer closes the connection already, and its sender repeats it.
//!
//! A refused head is handed on as one that no parser takes. So hyper answers every broken request,
//! in order behind answers under way, whoever found the fault.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use crate::course::Course;
use crate::head::{self, Fault, Framing, Scan};

/// Read at once while a head is awaited; most heads fit.
const READ_BYTES: usize = 2 * 1024;

/// Handed on in place of a head that is refused.
const BROKEN_HEAD: &[u8] = b"\0\r\n\r\n";

/// Wraps the stream of a connection, below HTTP and above TLS.
#[derive(Debug)]
pub(crate) struct Gate<I> {
    stream: I,
    course: Arc<Course>,
    /// Read, and not handed on yet. Empty and without allocation while nothing arrives.
    input: BytesMut,
    /// Bytes that may be handed on: what is left of the present head and body.
    open: u64,
    scan: Scan,
    refused: bool,
}

impl<I> Gate<I> {
    pub(crate) fn new(stream: I, course: Arc<Course>) -> Self {
        Self {
            stream,
            course,
            input: BytesMut::new(),
            open: 0,
            scan: Scan::default(),
            refused: false,
        }
    }

    /// The stream, to be closed.
    pub(crate) fn into_stream(self) -> I {
        self.stream
    }

    /// Opens for the head that `input` begins with and for its body, once the head is complete.
    fn open_next(&mut self) {
        if self.input.is_empty() {
            return;
        }
        self.course.head_begins();
        match self.next_message() {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                self.open = bytes;
                self.scan = Scan::default();
            }
            Err(fault) => {
                debug!(%fault, "head refused");
                self.refused = true;
                self.input = BytesMut::from(BROKEN_HEAD);
                self.open = u64::MAX;
            }
        }
    }

    fn next_message(&mut self) -> Result<Option<u64>, Fault> {
        let Some(end) = self.scan.end(&self.input)? else { return Ok(None) };
        let framing = head::framing(self.input.get(..end).unwrap_or_default())?;
        Ok(Some(match framing {
            Framing::Length(body) => body.saturating_add(end as u64),
            Framing::Chunked => {
                self.course.set_last();
                u64::MAX
            }
        }))
    }

    /// What may be handed on into so much room.
    fn allowed(&self, room: usize) -> usize {
        usize::try_from(self.open).unwrap_or(usize::MAX).min(room)
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.allowed(buf.remaining().min(self.input.len()));
        buf.put_slice(self.input.get(..count).unwrap_or_default());
        self.input.advance(count);
        self.open -= count as u64;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gate<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.open == 0 {
            this.open_next();
            if this.open > 0 {
                break;
            }
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.input.extend_from_slice(read.filled());
        }
        if !this.input.is_empty() {
            this.hand_on(buf);
            return Poll::Ready(Ok(()));
        }
        if this.refused {
            // Nothing that follows is looked at; to hyper this is the end.
            return Poll::Ready(Ok(()));
        }
        let count = this.allowed(buf.remaining());
        let mut body = ReadBuf::new(buf.initialize_unfilled_to(count));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut body))?;
        let count = body.filled().len();
        buf.advance(count);
        this.open -= count as u64;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gate<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
