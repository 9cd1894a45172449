//! Signatures that are not Meta's: every kind is refused and nothing of it is appended. The null
//! control signs the same bodies rightly, and all of them are.

use std::collections::BTreeMap;
use std::time::Instant;

use tickfold_core::signature::sign;
use tickfold_ingress::IngressOptions;

use crate::random::{Random, seed};
use crate::server::{KEY, OTHER_KEY, Server, body, post};
use crate::{append_to_soak_table, soak};

const FORGERIES: usize = 10_000;

/// The ways to forge. Those marked 400 are broken HTTP already.
const KINDS: [(&str, u16); 28] = [
    ("missing", 401),
    ("empty", 401),
    ("random digest", 401),
    ("random bytes", 401),
    ("by another secret", 401),
    ("by the other app's secret", 401),
    ("by an empty secret", 401),
    ("of another body", 401),
    ("of the body without its last byte", 401),
    ("body and secret swapped", 401),
    ("a bit flipped", 401),
    ("a digit replaced", 401),
    ("truncated", 401),
    ("longer", 401),
    ("upper case", 401),
    ("one letter in upper case", 401),
    ("prefix in upper case", 401),
    ("prefix missing", 401),
    ("prefix sha1", 401),
    ("as the SHA-1 header only", 401),
    ("space after the prefix", 401),
    ("space within", 401),
    ("quoted", 401),
    ("twice", 401),
    ("right, then wrong", 401),
    ("wrong, then right, with a comma", 401),
    ("folded", 400),
    ("with a NUL", 400),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_forged_signature_is_taken() {
    let began = Instant::now();
    let mut random = Random(seed());
    let count = if soak() { 10 * FORGERIES } else { FORGERIES };
    let server = Server::start(IngressOptions::default());
    let mut wire = server.connect().await;
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    let mut bodies = Vec::with_capacity(count);
    for n in 0..count {
        let text = body(format!("{n} {:x}", random.next()));
        let (kind, expected) = KINDS[n % KINDS.len()];
        let answer = wire.exchange(&forged(&mut random, kind, text.as_bytes())).await;
        let answer = answer.unwrap_or_else(|| panic!("{kind}, {n}: no answer"));
        assert_eq!(answer.status, expected, "{kind}, {n}");
        *refused.entry(kind).or_default() += 1;
        bodies.push(text.into_bytes());
        // What headers alone decided may end the connection, since the body was not read.
        wire = server.connect().await;
    }
    let broken = (0..count).filter(|n| KINDS[n % KINDS.len()].1 == 400).count();
    assert_eq!(server.signature_failures(), (count - broken) as u64, "each was seen as a forgery");
    let appended = server.stop().await.len();
    assert_eq!(appended, 0, "nothing forged is in raw");
    println!("{count} forgeries in {:?}: {refused:?}", began.elapsed());
    // What is broken HTTP was refused before anybody looked at its signature.
    append_to_soak_table("ingress: forged signatures", count, count - broken, appended, 0);

    let server = Server::start(IngressOptions::default());
    let mut wire = server.connect().await;
    for body in &bodies {
        let answer = wire.exchange(&post(body)).await.map(|answer| answer.status);
        assert_eq!(answer, Some(200), "the null control");
    }
    let mut raw: Vec<_> = server.stop().await.into_iter().filter_map(|r| r.value).collect();
    raw.sort();
    bodies.sort();
    assert!(raw == bodies, "rightly signed, the same bodies are appended byte for byte");
}

/// A POST of this body with a forged signature. Right in everything else.
pub(crate) fn forged(random: &mut Random, kind: &str, body: &[u8]) -> Vec<u8> {
    let name = "x-hub-signature-256";
    let right = sign(KEY, body);
    let hex = right.strip_prefix("sha256=").unwrap();
    let header = |value: &str| format!("{name}: {value}\r\n").into_bytes();
    let headers = match kind {
        "missing" => Vec::new(),
        "empty" => header(""),
        "random digest" => {
            let digest = random.bytes(32).into_iter().map(|byte| format!("{byte:02x}"));
            header(&format!("sha256={}", digest.collect::<String>()))
        }
        "random bytes" => {
            let bytes = random.bytes(40).into_iter().map(|byte| 0x80 | byte);
            [b"x-hub-signature-256: sha256=".to_vec(), bytes.collect(), b"\r\n".to_vec()].concat()
        }
        "by another secret" => header(&sign(&random.bytes(16), body)),
        "by the other app's secret" => header(&sign(OTHER_KEY, body)),
        "by an empty secret" => header(&sign(b"", body)),
        "of another body" => header(&sign(KEY, &random.bytes(20))),
        "of the body without its last byte" => header(&sign(KEY, &body[..body.len() - 1])),
        "body and secret swapped" => header(&sign(body, KEY)),
        "a bit flipped" | "a digit replaced" => {
            let mut digits = hex.as_bytes().to_vec();
            let at = random.below(digits.len());
            let digit = char::from(digits[at]).to_digit(16).unwrap();
            let flip = if kind == "a bit flipped" { 1 << random.below(4) } else { 15 };
            digits[at] = char::from_digit(digit ^ flip, 16).unwrap() as u8;
            header(&format!("sha256={}", String::from_utf8(digits).unwrap()))
        }
        "truncated" => header(&right[..random.below(right.len())]),
        "longer" => header(&format!("{right}{:x}", random.below(1 << 16))),
        "upper case" => header(&format!("sha256={}", upper(hex, hex.len()))),
        "one letter in upper case" => header(&format!("sha256={}", upper(hex, 1))),
        "prefix in upper case" => header(&format!("SHA256={hex}")),
        "prefix missing" => header(hex),
        "prefix sha1" => header(&format!("sha1={}", &hex[..40])),
        "as the SHA-1 header only" => format!("x-hub-signature: sha1={}\r\n", &hex[..40]).into(),
        "space after the prefix" => header(&format!("sha256= {hex}")),
        "space within" => header(&format!("{} {}", &right[..30], &right[30..])),
        "quoted" => header(&format!("\"{right}\"")),
        "twice" => [header(&right), header(&right)].concat(),
        "right, then wrong" => [header(&right), header(&sign(b"wrong", body))].concat(),
        "wrong, then right, with a comma" => header(&format!("{},{right}", sign(b"wrong", body))),
        "folded" => header(&format!("sha256=\r\n {hex}")),
        "with a NUL" => header(&format!("{right}\0")),
        other => panic!("no such kind: {other}"),
    };
    let head = "POST /webhook/main HTTP/1.1\r\nhost: x\r\n";
    let length = format!("content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &headers, length.as_bytes(), body].concat()
}

/// The first `count` letters in upper case; a digest without any letter becomes another one.
fn upper(hex: &str, count: usize) -> String {
    let mut left = count;
    let one = |digit: char| {
        let change = digit.is_ascii_lowercase() && left > 0;
        left -= usize::from(change);
        if change { digit.to_ascii_uppercase() } else { digit }
    };
    let changed: String = hex.chars().map(one).collect();
    if changed == hex { "A".repeat(hex.len()) } else { changed }
}

/// A forgery that only the signature check can refuse.
pub(crate) fn any_forged(random: &mut Random, body: &[u8]) -> Vec<u8> {
    loop {
        let (kind, status) = KINDS[random.below(KINDS.len())];
        if status == 401 {
            return forged(random, kind, body);
        }
    }
}
