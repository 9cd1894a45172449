//! Where values end, in JSON text whose grammar was checked before. Of other text it may find wrong
//! ends or none, and nothing worse.

use super::Json;

/// An object or array of a text. Small, since a body can be nothing but brackets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nested {
    /// Its bytes, brackets included; while it is open, where it begins.
    bytes: u32,
    /// How many objects and arrays it has below it, and itself; while it is open, the index of the
    /// one around it.
    count: u32,
}

/// All objects and arrays of a text, in the order in which they open. Without recursion: they may be
/// as deep as the body is long. Of a text beyond 4 GiB some are missing and none can be opened.
pub(super) fn nested(bytes: &[u8]) -> Vec<Nested> {
    let Ok(end) = u32::try_from(bytes.len()) else { return Vec::new() };
    let small = |number: usize| u32::try_from(number).unwrap_or(end);
    let mut all = Vec::with_capacity(NESTED);
    // The innermost one that is open; behind the last if none is.
    let mut open = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let Some(until) = after_string(bytes, at) else { break };
                at = until;
                continue;
            }
            b'{' | b'[' => {
                all.push(Nested { bytes: small(at), count: small(open) });
                open = all.len() - 1;
            }
            b'}' | b']' => {
                let count = small(all.len().saturating_sub(open));
                let Some(closed) = all.get_mut(open) else { break };
                let around = closed.count;
                let bytes = small(at + 1).saturating_sub(closed.bytes);
                *closed = Nested { bytes, count };
                open = around as usize;
            }
            _ => {}
        }
        at += 1;
    }
    all
}

/// Most bodies have fewer objects and arrays.
const NESTED: usize = 16;

/// A place in an object or an array.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Objects and arrays that open behind this place.
    nested: &'a [Nested],
    /// Nothing was taken yet, so no comma is in the way.
    first: bool,
}

impl<'a> Scan<'a> {
    /// Behind the opening bracket; `None` if the value begins with something else.
    pub(super) fn inside(json: Json<'a>, bracket: u8) -> Option<Self> {
        let opens = json.text.as_bytes().first() == Some(&bracket);
        let nested = json.nested.get(1..).unwrap_or_default();
        opens.then_some(Self { text: json.text, at: 1, nested, first: true })
    }

    /// The next element, or the next member's key; `Some(None)` behind the last.
    pub(super) fn next(&mut self) -> Option<Option<Json<'a>>> {
        match self.peek()? {
            b'}' | b']' => return Some(None),
            b',' if !self.first => {
                self.at += 1;
                self.peek()?;
            }
            _ => {}
        }
        self.first = false;
        self.value().map(Some)
    }

    /// The value of the key that was just taken.
    pub(super) fn member(&mut self) -> Option<Json<'a>> {
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        self.peek()?;
        self.value()
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// The value that begins here.
    fn value(&mut self) -> Option<Json<'a>> {
        let (bytes, from) = (self.text.as_bytes(), self.at);
        let mut nested: &[Nested] = &[];
        let until = match bytes.get(from)? {
            b'"' => after_string(bytes, from)?,
            b'{' | b'[' => {
                let this = self.nested.first()?;
                (nested, self.nested) = self.nested.split_at_checked(this.count as usize)?;
                from + this.bytes as usize
            }
            _ => after_word(bytes, from)?,
        };
        self.at = until;
        Some(Json { text: self.text.get(from..until)?, nested })
    }
}

/// Behind the string whose opening quote stands at `at`.
fn after_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let rest = bytes.get(at..)?;
        let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        at += found + 1;
        if rest.get(found) == Some(&b'"') {
            return Some(at);
        }
        // Whatever is escaped; of \uXXXX the digits are text like any other.
        at += 1;
    }
}

/// Behind the number or word that begins at `at`.
fn after_word(bytes: &[u8], at: usize) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    let length = bytes.get(at..)?.iter().position(ends)?;
    (length > 0).then(|| at + length)
}
