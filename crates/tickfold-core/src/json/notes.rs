//! One pass over a text: it checks that the text is JSON, and notes where its values are. Without
//! recursion, since values may be as deep as a body is long.

/// A value of a text: an object or array, followed by the notes of all that is in it, or anything else.
/// The name of a member has a note too, as a text before its value. Small, since a body can be nothing
/// but brackets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    /// Where its text begins.
    at: u32,
    /// How long its text is.
    bytes: u32,
    /// How many notes there are of it and of what is in it; 0 of a string in which something is
    /// escaped. While it is open, the index of the one around it.
    count: u32,
}

impl Note {
    /// Its text.
    pub(super) fn raw<'a>(&self, text: &'a str) -> &'a str {
        let at = self.at as usize;
        text.get(at..at + self.bytes as usize).unwrap_or_default()
    }

    /// How many notes there are of it and of what is in it.
    pub(super) fn count(&self) -> usize {
        self.count.max(1) as usize
    }

    /// True of a string in which something is escaped.
    pub(super) fn is_escaped(&self) -> bool {
        self.count == 0
    }

    /// True of a string that is this text.
    pub(super) fn is_text(&self, text: &str, wanted: &str) -> bool {
        if self.is_escaped() {
            return super::unescaped(self.raw(text)).is_some_and(|text| text == wanted);
        }
        self.bytes as usize == wanted.len() + 2
            && self.raw(text).strip_prefix('"').is_some_and(|inner| inner.starts_with(wanted))
    }
}

/// The notes of a text, or the place from which on it is no JSON.
pub(super) fn notes(text: &str) -> Result<Vec<Note>, usize> {
    let (bytes, notes) = (text.as_bytes(), Vec::with_capacity(NOTES));
    let mut reader = Reader { bytes, at: 0, notes, around: NOTHING };
    match reader.whole() {
        Some(()) => Ok(reader.notes),
        None => Err(reader.at),
    }
}

/// Most bodies have fewer values.
const NOTES: usize = 64;

/// Index of what is around the whole text.
const NOTHING: u32 = u32::MAX;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    notes: Vec<Note>,
    /// Index of the innermost object or array that is open.
    around: u32,
}

impl Reader<'_> {
    fn whole(&mut self) -> Option<()> {
        // Places are noted in four bytes.
        u32::try_from(self.bytes.len()).ok()?;
        loop {
            // Where a value is to begin.
            let goes_inside = match self.peek()? {
                b'{' => {
                    self.open();
                    let has_members = self.peek()? != b'}';
                    if has_members {
                        self.name()?;
                    }
                    has_members
                }
                b'[' => {
                    self.open();
                    self.peek()? != b']'
                }
                _ => {
                    self.scalar()?;
                    false
                }
            };
            if !goes_inside && self.behind_value()? {
                return Some(());
            }
        }
    }

    /// Goes on behind a value: to the next one, or to the end of the whole text, which is true.
    fn behind_value(&mut self) -> Option<bool> {
        while self.around != NOTHING {
            let around = self.notes.get(self.around as usize)?;
            let is_object = self.bytes.get(around.at as usize) == Some(&b'{');
            match (self.peek()?, is_object) {
                (b',', true) => {
                    self.at += 1;
                    return self.name().map(|()| false);
                }
                (b',', false) => {
                    self.at += 1;
                    return Some(false);
                }
                (b'}', true) | (b']', false) => self.close()?,
                _ => return None,
            }
        }
        self.peek().is_none().then_some(true)
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn open(&mut self) {
        let (at, around) = (small(self.at), self.around);
        self.around = small(self.notes.len());
        self.notes.push(Note { at, bytes: 0, count: around });
        self.at += 1;
    }

    fn close(&mut self) -> Option<()> {
        self.at += 1;
        let count = small(self.notes.len()) - self.around;
        let closed = self.notes.get_mut(self.around as usize)?;
        self.around = closed.count;
        *closed = Note { bytes: small(self.at) - closed.at, count, ..*closed };
        Some(())
    }

    /// The name of a member, up to its value.
    fn name(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.scalar()?;
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// A value that is neither object nor array.
    fn scalar(&mut self) -> Option<()> {
        let from = self.at;
        let is_escaped = match self.bytes.get(from)? {
            b'"' => self.string()?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        };
        let (at, bytes) = (small(from), small(self.at - from));
        self.notes.push(Note { at, bytes, count: u32::from(!is_escaped) });
        Some(())
    }

    /// True if something in it is escaped.
    fn string(&mut self) -> Option<bool> {
        self.at += 1;
        let mut is_escaped = false;
        loop {
            let rest = self.bytes.get(self.at..)?;
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
            self.at += plain;
            match rest.get(plain..)? {
                [b'"', ..] => {
                    self.at += 1;
                    return Some(is_escaped);
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                [b'\\', b'u', a, b, c, d, ..]
                    if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) =>
                {
                    self.at += 6;
                }
                _ => return None,
            }
            is_escaped = true;
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<bool> {
        let found = self.bytes.get(self.at..)?.starts_with(word);
        self.at += word.len();
        found.then_some(false)
    }

    fn number(&mut self) -> Option<bool> {
        self.skip(b"-");
        if !self.skip(b"0") {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        Some(false)
    }

    /// Skips one of these bytes; true if there was one.
    fn skip(&mut self, any: &[u8]) -> bool {
        let found = self.bytes.get(self.at).is_some_and(|byte| any.contains(byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }
}

/// Of a place in a text whose length fits.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
