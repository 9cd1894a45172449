//! Rows of the table in which something is odd or wrong about the request: its signature, its body,
//! or its HTTP.

use std::time::Duration;

use futures_util::future::FutureExt;
use tickfold_core::signature::sign;
use tickfold_ingress::IngressOptions;

use crate::server::{KEY, OTHER_KEY, Server, body, head, post, post_with};
use crate::table::{Case, row, sent};
use crate::wire::Wire;

const LIMIT: usize = 4 * 1024 * 1024;
const SIGNATURE: &str = "x-hub-signature-256";
const HANDSHAKE: &str = "/webhook/main?hub.mode=subscribe&hub.challenge=4711&hub.verify_token";

pub(crate) fn cases() -> Vec<Case> {
    [signature_cases(), body_cases(), http_cases()].into_iter().flatten().collect()
}

fn signature_cases() -> Vec<Case> {
    let text = body("x");
    let body = text.as_bytes();
    let good = sign(KEY, body);
    let other = sign(OTHER_KEY, body);
    let upper = good.replace(|_: char| false, "").to_uppercase().replace("SHA256", "sha256");
    let length = body.len().to_string();
    let twice = |first: &str, second: &str| {
        let headers = [(SIGNATURE, first), (SIGNATURE, second), ("content-length", &length)];
        [head(&headers), body.to_vec()].concat()
    };
    let missing = [head(&[("content-length", &length)]), body.to_vec()].concat();
    vec![
        sent("signature missing", 401, missing),
        sent("signature malformed", 401, post_with(&good[..40], body)),
        sent("signature in upper case", 401, post_with(&upper, body)),
        sent("signature wrong", 401, post_with(&sign(b"guess", body), body)),
        sent("signature of another app", 401, post_with(&other, body)),
        sent("signature twice", 401, twice(&good, &good)),
        sent("right and wrong signature", 401, twice(&good, &other)),
    ]
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut request = head(&[(SIGNATURE, &sign(KEY, body)), ("transfer-encoding", "chunked")]);
    for chunk in body.chunks(100_000) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

fn body_cases() -> Vec<Case> {
    let text = body("x");
    let (body, length) = (text.as_bytes(), text.len());
    let signature = sign(KEY, body);
    let with = |extra: &[(&str, &str)]| {
        let headers: Vec<_> = [(SIGNATURE, &*signature)].iter().chain(extra).copied().collect();
        [head(&headers), body.to_vec()].concat()
    };
    let lengths = |length: usize| with(&[("content-length", &length.to_string())]);
    let mut cut = lengths(length);
    cut.truncate(cut.len() - 9);
    let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
    let both = chunked(body)
        .strip_prefix(&*head(&[(SIGNATURE, &signature), both[1]]))
        .map(|rest| [head(&[(SIGNATURE, &signature), both[0], both[1]]), rest.to_vec()].concat());
    let promised = head(&[(SIGNATURE, &signature), ("content-length", &(LIMIT + 1).to_string())]);
    vec![
        sent("4 MiB", 200, post(&vec![b' '; LIMIT])),
        sent("4 MiB, chunked", 200, chunked(&vec![b' '; LIMIT])),
        sent("4 MiB and a byte, promised", 413, promised),
        sent("4 MiB and a byte, chunked", 413, chunked(&vec![b' '; LIMIT + 1])),
        ended("body cut", cut.clone()),
        silent("body stops", cut),
        ended("Content-Length too long", lengths(length + 10)),
        sent("Content-Length too short", 401, lengths(length - 10)),
        sent("two different Content-Length", 400, {
            with(&[("content-length", &length.to_string()), ("content-length", "1")])
        }),
        sent("Content-Length is no number", 400, with(&[("content-length", "-1")])),
        sent("Transfer-Encoding and Content-Length", 400, both.unwrap()),
        sent("chunk size is no number", 400, {
            let head = head(&[(SIGNATURE, &signature), ("transfer-encoding", "chunked")]);
            [head, b"zz\r\n\r\n".to_vec()].concat()
        }),
        sent("gzip", 415, {
            with(&[("content-length", &length.to_string()), ("content-encoding", "gzip")])
        }),
        sent("Expect: 100-continue", 200, {
            with(&[("content-length", &length.to_string()), ("expect", "100-continue")])
        }),
    ]
}

/// Bytes after which the client sends no more and says so.
fn ended(cause: &'static str, request: Vec<u8>) -> Case {
    async move {
        let server = Server::start(IngressOptions::default());
        let mut wire = server.connect().await;
        wire.send(&request).await;
        wire.finish().await;
        let answer = wire.answer().await;
        row(cause, 400, (0, 0), server, answer, "sending side ended".to_owned()).await
    }
    .boxed_local()
}

/// Bytes after which the client says nothing more.
fn silent(cause: &'static str, request: Vec<u8>) -> Case {
    async move {
        let body_deadline = Duration::from_secs(1);
        let server = Server::start(IngressOptions { body_deadline, ..IngressOptions::default() });
        let mut wire = server.connect().await;
        let answer = wire.exchange(&request).await;
        let took = answer.as_ref().map(|answer| answer.took).unwrap_or_default();
        assert!(took > body_deadline.mul_f64(0.9), "{took:?}");
        row(cause, 400, (0, 0), server, answer, "a deadline of 1 s".to_owned()).await
    }
    .boxed_local()
}

fn http_cases() -> Vec<Case> {
    let text = body("x");
    let good = post(text.as_bytes());
    let changed = |from: &str, to: &str| {
        let request = String::from_utf8(good.clone()).unwrap();
        assert!(request.contains(from));
        request.replacen(from, to, 1).into_bytes()
    };
    let line = |line: &str| format!("{line}\r\nhost: x\r\n\r\n").into_bytes();
    let get = |path: &str| line(&format!("GET {path} HTTP/1.1"));
    let flood: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let huge = "y".repeat(400_000);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n";
    vec![
        sent("handshake", 200, get(&format!("{HANDSHAKE}=token"))),
        sent("handshake, wrong token", 403, get(&format!("{HANDSHAKE}=tokem"))),
        sent("handshake, other app's path", 403, get("/webhook/other")),
        sent("unknown app", 404, changed("/webhook/main", "/webhook/nobody")),
        sent("unknown path", 404, changed("/webhook/main", "/")),
        sent("wrong method", 405, changed("POST", "PUT")),
        sent("HTTP/1.0", 200, changed("HTTP/1.1", "HTTP/1.0")),
        sent("HTTP/3.0", 400, changed("HTTP/1.1", "HTTP/3.0")),
        sent("lines end without CR", 400, {
            let end = good.len() - text.len();
            let head = String::from_utf8(good[..end].to_vec()).unwrap().replace("\r\n", "\n");
            [head.as_bytes(), text.as_bytes()].concat()
        }),
        sent("folded header", 400, changed("host: x\r\n", "host: x\r\n folded\r\n")),
        sent("space before the colon", 400, changed("host:", "host :")),
        sent("200 headers", 400, changed("host: x\r\n", &flood)),
        sent("a header of 400 KB", 400, changed("host: x", &format!("host: {huge}"))),
        sent("a URI of 400 KB", 400, get(&format!("/{huge}"))),
        sent("garbage", 400, b"\x00\xff\xfe garbage \r\n\r\n".to_vec()),
        sent("TLS on the plain port", 400, hello.to_vec()),
        sent("HTTP/2 preface", 400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        pipelined(),
    ]
}

/// Two webhooks in one write.
fn pipelined() -> Case {
    async {
        let server = Server::start(IngressOptions::default());
        let mut wire: Wire = server.connect().await;
        let two = [post(body(1).as_bytes()), post(body(2).as_bytes())].concat();
        let first = wire.exchange(&two).await;
        assert_eq!(first.map(|answer| answer.status), Some(200));
        let answer = wire.answer().await;
        row("two in one write", 200, (2, 2), server, answer, "the second answer".to_owned()).await
    }
    .boxed_local()
}
