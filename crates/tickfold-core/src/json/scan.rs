//! Where values end, in JSON text whose grammar was checked before. Of other text it may find wrong
//! ends or none, and nothing worse.

/// A place in an object or an array.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Nothing was taken yet, so no comma is in the way.
    first: bool,
}

impl<'a> Scan<'a> {
    /// Behind the opening bracket; `None` if the text begins with something else.
    pub(super) fn inside(text: &'a str, bracket: u8) -> Option<Self> {
        let opens = text.as_bytes().first() == Some(&bracket);
        opens.then_some(Self { text, at: 1, first: true })
    }

    /// The next element, or the next member's key; `Some(None)` behind the last.
    pub(super) fn next(&mut self) -> Option<Option<&'a str>> {
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
    pub(super) fn member(&mut self) -> Option<&'a str> {
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        self.peek()?;
        self.value()
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let skipped = rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))?;
        self.at += skipped;
        rest.get(skipped).copied()
    }

    /// The value that begins here.
    fn value(&mut self) -> Option<&'a str> {
        let (bytes, from) = (self.text.as_bytes(), self.at);
        let until = match bytes.get(from)? {
            b'"' => after_string(bytes, from)?,
            b'{' | b'[' => after_nested(bytes, from)?,
            _ => after_word(bytes, from)?,
        };
        self.at = until;
        self.text.get(from..until)
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

/// Behind the object or array that opens at `at`. Without recursion: it may be as deep as the body
/// is long.
fn after_nested(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut at, mut depth) = (at, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = after_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Behind the number or word that begins at `at`.
fn after_word(bytes: &[u8], at: usize) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    let length = bytes.get(at..)?.iter().position(ends)?;
    (length > 0).then(|| at + length)
}
