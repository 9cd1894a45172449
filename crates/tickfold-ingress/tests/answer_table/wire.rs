//! A client of raw bytes: it sends what it is told, and reads answers strictly.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long any answer may take. The deadlines of ingress are shorter.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    last_byte: Instant,
}

/// An answer that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Since the last byte was sent.
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), last_byte: Instant::now() })
    }

    /// Sends; an error means that the other side has closed.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.stream.write_all(bytes).await;
        self.last_byte = Instant::now();
        sent
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    /// Ends the sending side.
    pub(crate) async fn finish(&mut self) {
        // It may be closed by the other side already.
        let _ = self.stream.shutdown().await;
        self.last_byte = Instant::now();
    }

    /// Ends both sides at once, by a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Option<Answer> {
        self.send(request).await;
        self.answer().await
    }

    /// The next answer; `None` if the connection ended before one began. Anything between is a
    /// failure of the test.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        loop {
            let answer = timeout(PATIENCE, self.read()).await.expect("an answer or an end");
            match answer {
                // An interim answer to `Expect`.
                Some(answer) if answer.status == 100 => {}
                answer => return answer,
            }
        }
    }

    async fn read(&mut self) -> Option<Answer> {
        let head = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break self.unread.drain(..end + 4).collect::<Vec<u8>>();
            }
            if !self.fill().await {
                assert!(self.unread.is_empty(), "an answer was cut: {:?}", self.unread);
                return None;
            }
        };
        let text = String::from_utf8(head).expect("an answer in ASCII");
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5));
        let status = status.unwrap_or_else(|| panic!("no status line: {text:?}")).parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let headers: Vec<_> = lines.filter(|line| !line.is_empty()).map(header).collect();
        let mut answer = Answer { status, headers, body: Vec::new(), took: Duration::ZERO };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            assert!(self.fill().await, "the body of an answer was cut");
        }
        answer.body = self.unread.drain(..length).collect();
        answer.took = self.last_byte.elapsed();
        Some(answer)
    }

    /// Reads something; false at the end.
    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.unread.extend_from_slice(&buffer[..read]);
                true
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
