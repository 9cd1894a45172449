//! What the head of a request may look like, decided before the HTTP parser sees it.
//!
//! hyper reads heads generously: it takes a bare LF as a line end, and of a request with both
//! Transfer-Encoding and Content-Length it silently drops the length. A proxy in front may read
//! such a head otherwise and see another request begin where we see a body; that is how requests
//! are smuggled. So what can be read in two ways is refused here, as are heads above the limits.
//! All else about HTTP is left to hyper.

/// Request line, headers and line ends, in bytes; one of Meta's through two proxies has some 2 KiB.
/// Each connection may hold one for the header deadline, outside of the budget of bodies. Below
/// 64 KiB also means that no URI reaches the length at which hyper would answer 414.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Greatest Content-Length that is taken for a number; bodies are far smaller.
const LENGTH_MAX: u64 = u64::MAX / 2;

/// Headers of a request, in number; more is where hyper would answer 431.
pub(crate) const HEADERS_MAX: usize = 100;

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("head above 16 KiB")]
    TooLarge,
    #[error("more than 100 headers")]
    TooManyHeaders,
    #[error("a line ends in LF without CR, or CR without LF")]
    LineEnd,
    #[error("a control character")]
    ControlCharacter,
    #[error("Content-Length is not one plain number")]
    Length,
    #[error("Transfer-Encoding is not just chunked")]
    TransferEncoding,
    #[error("both Content-Length and Transfer-Encoding")]
    TwoLengths,
}

/// How long the body behind a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(u64),
    /// As many as its chunks say; they are read by hyper, not here.
    Chunked,
}

/// Finds the end of a head that arrives in pieces, looking at each byte once.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
    line_start: usize,
    lines: usize,
    last: u8,
}

impl Scan {
    /// The length of the head that `input` begins with, once all of it is there. `input` is what
    /// it was at the call before, and more.
    pub(crate) fn end(&mut self, input: &[u8]) -> Result<Option<usize>, Fault> {
        for &byte in input.get(self.seen..).unwrap_or_default() {
            self.seen += 1;
            if self.seen > HEAD_BYTES_MAX {
                return Err(Fault::TooLarge);
            }
            let before = std::mem::replace(&mut self.last, byte);
            match byte {
                b'\n' if before == b'\r' => {
                    let empty = self.seen - self.line_start == 2;
                    self.line_start = self.seen;
                    match (empty, self.lines) {
                        // Some clients send an empty line after a body.
                        (true, 0) => {}
                        (true, _) => return Ok(Some(self.seen)),
                        (false, _) => self.lines += 1,
                    }
                    // The request line is a line too.
                    if self.lines > HEADERS_MAX + 1 {
                        return Err(Fault::TooManyHeaders);
                    }
                }
                b'\n' => return Err(Fault::LineEnd),
                _ if before == b'\r' => return Err(Fault::LineEnd),
                b'\r' | b'\t' => {}
                byte if byte.is_ascii_control() => return Err(Fault::ControlCharacter),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// The framing that a complete head announces. Lines that are no headers are left to hyper, which
/// refuses them.
pub(crate) fn framing(head: &[u8]) -> Result<Framing, Fault> {
    let (mut length, mut chunked) = (None, false);
    // The request line has no part in it: a colon there follows a method and a space.
    for line in head.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = number(value).ok_or(Fault::Length)?;
            if length.replace(number).is_some() {
                return Err(Fault::Length);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::TransferEncoding);
            }
            chunked = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(Fault::TwoLengths),
        (None, true) => Ok(Framing::Chunked),
        (length, false) => Ok(Framing::Length(length.unwrap_or_default())),
    }
}

/// Digits only: no sign, no list, no space within. The greatest numbers are none: hyper keeps some of
/// them for itself, and answers them 431.
fn number(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(value).ok()?.parse().ok()?;
    (number <= LENGTH_MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(input: &[u8]) -> Result<Option<usize>, Fault> {
        let whole = Scan::default().end(input);
        let mut scan = Scan::default();
        let mut bytewise = Ok(None);
        for to in 1..=input.len() {
            bytewise = scan.end(&input[..to]);
            if bytewise != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, bytewise, "arriving at once or byte by byte");
        whole
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        assert_eq!(end(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nPOST"), Ok(Some(27)));
        assert_eq!(end(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Ok(Some(22)));
        assert_eq!(end(b"GET / HTTP/1.1\r\nhost: x\r\n"), Ok(None));
        assert_eq!(end(b"GET / HTTP/1.1\r\na: \tb\xc3\xa4\r\n\r\n"), Ok(Some(27)));
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        let table: &[(&[u8], Fault)] = &[
            (b"GET / HTTP/1.1\n\n", Fault::LineEnd),
            (b"GET / HTTP/1.1\r\na: b\ncontent-length: 5\r\n\r\n", Fault::LineEnd),
            (b"GET / HTTP/1.1\r\na: b\rcontent-length: 5\r\n\r\n", Fault::LineEnd),
            (b"\nGET / HTTP/1.1\r\n\r\n", Fault::LineEnd),
            (b"GET / HTTP/1.1\r\na: \0\r\n\r\n", Fault::ControlCharacter),
            (b"\x16\x03\x01", Fault::ControlCharacter),
        ];
        for (input, fault) in table {
            assert_eq!(end(input), Err(*fault), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn the_limits_hold_to_the_byte_and_to_the_header() {
        let of_bytes = |length: usize| {
            let rest = "GET / HTTP/1.1\r\na: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(length - rest))
        };
        let whole = |head: &str| Scan::default().end(head.as_bytes());
        assert_eq!(whole(&of_bytes(HEAD_BYTES_MAX)), Ok(Some(HEAD_BYTES_MAX)));
        assert_eq!(whole(&of_bytes(HEAD_BYTES_MAX + 1)), Err(Fault::TooLarge));
        let of_headers = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        let allowed = of_headers(HEADERS_MAX);
        assert_eq!(whole(&allowed), Ok(Some(allowed.len())));
        assert_eq!(whole(&of_headers(HEADERS_MAX + 1)), Err(Fault::TooManyHeaders));
    }

    #[test]
    fn framing_is_one_number_or_chunked() {
        let of = |headers: &str| framing(format!("POST / HTTP/1.1\r\n{headers}\r\n").as_bytes());
        let length = "Content-Length: 5\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n";
        assert_eq!(of("host: x\r\n"), Ok(Framing::Length(0)));
        assert_eq!(of(length), Ok(Framing::Length(5)));
        assert_eq!(of("CONTENT-LENGTH:\t5 \r\n"), Ok(Framing::Length(5)));
        assert_eq!(of("transfer-encoding:Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(of(&format!("{chunked}{length}")), Err(Fault::TwoLengths));
        assert_eq!(of(&format!("{length}{chunked}")), Err(Fault::TwoLengths));
        assert_eq!(of(&format!("{length}{length}")), Err(Fault::Length));
        assert_eq!(of(&format!("{chunked}{chunked}")), Err(Fault::TransferEncoding));
        for wrong in
            ["", "-1", "+5", "5, 5", "5 5", "0x5", "18446744073709551614", "9223372036854775808"]
        {
            assert_eq!(of(&format!("content-length: {wrong}\r\n")), Err(Fault::Length), "{wrong}");
        }
        for wrong in ["", "identity", "gzip, chunked", "chunked, chunked", "xchunked"] {
            let header = format!("transfer-encoding: {wrong}\r\n");
            assert_eq!(of(&header), Err(Fault::TransferEncoding), "{wrong}");
        }
    }
}
