//! What becomes of a good request when it is mutated: strange ones, which have one right answer, and
//! broken ones.

use tickfold_core::signature::sign;

use crate::forgeries::any_forged;
use crate::random::Random;
use crate::server::{KEY, head, post};

/// A request and what may become of it.
pub(crate) struct Case {
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
    /// Whether the connection is good for more.
    pub(crate) reuse: bool,
}

pub(crate) enum Expected {
    /// This status.
    Status(u16),
    /// Any of the table, or none; the client ends its side, so that nobody waits for more.
    Any,
    /// The client goes away at once.
    Unread,
}

impl Case {
    pub(crate) fn draw(random: &mut Random, text: &str) -> Self {
        let body = text.as_bytes();
        let good = post(body);
        let strange = |kind, status, bytes| Self {
            kind,
            bytes,
            expected: Expected::Status(status),
            reuse: status == 200,
        };
        let broken = |kind, bytes| Self { kind, bytes, expected: Expected::Any, reuse: false };
        let header = |line: &str| replaced(&good, "host: x\r\n", &format!("host: x\r\n{line}\r\n"));
        match random.below(40) {
            0..=11 => strange("good", 200, good),
            12..=14 => strange("chunked", 200, chunked(random, body)),
            15 => strange("headers", 200, strange_headers(random, body)),
            16 => {
                let paths = ["/webhook/main?x=y", "/webhook/%6Dain", "http://x/webhook/main"];
                strange("path", 200, replaced(&good, "/webhook/main", random.pick(&paths)))
            }
            17 => {
                let paths = [
                    "/",
                    "/webhook",
                    "/webhook/",
                    "/webhook/Main",
                    "/webhook/main/",
                    "/x",
                    "/webhook/main/x",
                    "//webhook/main",
                    "/webhook/main%00",
                    "/webhook/../main",
                    "*",
                    "/webhook/%zz",
                    "/webhook/ma%69",
                    "/metrics",
                    "/webhook/%FF",
                ];
                let path = random.pick(&paths);
                strange("unknown path", 404, replaced(&good, "/webhook/main", path)).unless(
                    path == "/webhook/ma%69",
                    "/webhook/mai%6E",
                    &good,
                )
            }
            18 => {
                let methods = ["PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "post", "FOO", "P0ST"];
                strange("method", 405, replaced(&good, "POST", random.pick(&methods)))
            }
            19 => {
                let all = ["gzip", "br", "identity, gzip", "x", ""];
                let line = format!("content-encoding: {}", random.pick(&all));
                strange("encoding", 415, header(&line))
            }
            20 => {
                let right = random.once_in(2);
                let token = if right { "token" } else { "t0ken" };
                let line = format!(
                    "GET /webhook/main?hub.challenge=4711&hub.verify_token={token}&hub.mode=subscribe"
                );
                let bytes = format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes();
                strange("handshake", if right { 200 } else { 403 }, bytes)
            }
            21..=23 => strange("forged", 401, any_forged(random, body)),
            24 => {
                let mut bytes = good.clone();
                let at = bytes.len() - 1 - random.below(body.len());
                bytes[at] ^= 1 << random.below(8);
                Self { reuse: true, ..strange("body changed", 401, bytes) }
            }
            25 if random.once_in(20) => {
                let length = (4 * 1024 * 1024 + 1 + random.below(1 << 40)).to_string();
                let signature = sign(KEY, body);
                let headers = [("x-hub-signature-256", &*signature), ("content-length", &length)];
                strange("too large", 413, head(&headers))
            }
            25 if random.once_in(10) => {
                let long = format!("/{}", "y".repeat(60_000 + random.below(20_000)));
                broken("long path", replaced(&good, "/webhook/main", &long))
            }
            25 if random.once_in(5) => {
                let lines = (0..101 + random.below(200)).map(|n| format!("x-{n}: y\r\n"));
                let lines: String = lines.collect();
                strange("many headers", 400, replaced(&good, "host: x\r\n", &lines))
            }
            25..=28 => broken("framing", broken_framing(random, body)),
            29..=32 => broken("bytes changed", damaged(random, good)),
            33 => {
                let garbage = random.below(200);
                broken("garbage", random.bytes(garbage))
            }
            34 | 35 => {
                let cut = random.below(good.len());
                broken("cut", good[..cut].to_vec())
            }
            36 => {
                let cut = random.below(good.len() + 1);
                let expected = Expected::Unread;
                Self { kind: "left", bytes: good[..cut].to_vec(), expected, reuse: false }
            }
            _ => Self { kind: "left whole", bytes: good, expected: Expected::Unread, reuse: false },
        }
    }

    /// Another path that decodes to the app's after all.
    fn unless(self, same: bool, path: &str, good: &[u8]) -> Self {
        if !same {
            return self;
        }
        let bytes = replaced(good, "/webhook/main", path);
        Self { kind: "path", bytes, expected: Expected::Status(200), reuse: true }
    }
}

/// The first `from` replaced. The head is text, the body too.
fn replaced(request: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(request).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

fn chunked(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let signature = sign(KEY, body);
    let mut bytes = head(&[("x-hub-signature-256", &signature), ("transfer-encoding", "chunked")]);
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((1 + random.below(200)).min(rest.len()));
        let extension = if random.once_in(5) { ";x=y" } else { "" };
        bytes.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = after;
    }
    let trailer = if random.once_in(5) { "x-trailer: y\r\n" } else { "" };
    bytes.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    bytes
}

/// Good headers as nobody writes them: any order, any case, odd spaces, and many others.
fn strange_headers(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let signature = sign(KEY, body);
    let length = body.len().to_string();
    let mut lines: Vec<(String, String)> = vec![
        ("x-hub-signature-256".to_owned(), signature),
        ("content-length".to_owned(), length),
        ("x-hub-signature".to_owned(), "sha1=00".to_owned()),
        ("content-encoding".to_owned(), "identity".to_owned()),
    ];
    for n in 0..random.below(80) {
        lines.push((format!("x-{n}"), "y".repeat(random.below(60))));
    }
    for at in 0..lines.len() {
        let other = random.below(lines.len());
        lines.swap(at, other);
    }
    let mut bytes = b"POST /webhook/main HTTP/1.1\r\nHost: x\r\n".to_vec();
    for (name, value) in lines {
        let name = if random.once_in(2) { name.to_ascii_uppercase() } else { name };
        let space = " ".repeat(random.below(4));
        bytes.extend_from_slice(format!("{name}:{space}{value}{space}\r\n").as_bytes());
    }
    [&bytes, &b"\r\n"[..], body].concat()
}

/// Lengths and encodings that lie, contradict each other, or are none.
fn broken_framing(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let (signature, length) = (sign(KEY, body), body.len());
    let signature = ("x-hub-signature-256", &*signature);
    let near = (length + random.below(20)).saturating_sub(10).to_string();
    let right = length.to_string();
    let plus = format!("+{length}");
    let huge = "9".repeat(1 + random.below(40));
    let cl = "content-length";
    let te = "transfer-encoding";
    let whole: &[&[(&str, &str)]] = &[
        &[(cl, &near)],
        &[(cl, &right), (cl, &near)],
        &[(cl, &right), (cl, &right)],
        &[(cl, &plus)],
        &[(cl, "-1")],
        &[(cl, "0x10")],
        &[(cl, "")],
        &[(cl, &huge)],
        &[(te, "gzip, chunked")],
        &[(te, "chunked, gzip")],
        &[(te, "chunked"), (te, "chunked")],
        &[(te, "chunked"), (cl, &right)],
        &[(cl, &right), (te, "identity")],
        &[(te, " chunked ")],
        &[(te, "x")],
        &[],
    ];
    let headers = [&[signature][..], random.pick(whole)].concat();
    let chunks = chunked(random, body);
    let at = chunks.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let rest =
        if random.once_in(2) { body.to_vec() } else { damaged(random, chunks[at..].to_vec()) };
    [head(&headers), rest].concat()
}

/// Some bytes flipped, removed, repeated or put in.
fn damaged(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len().max(1));
        match random.below(4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => {
                let end = (at + 1 + random.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => bytes.insert(at.min(bytes.len()), b"\r\n\0:; \t,\xff0"[random.below(10)]),
            _ => {
                let end = (at + random.below(40)).min(bytes.len());
                let piece = bytes[at.min(end)..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}
