//! Goes through JSON text once, in order, without a tree of values and without recursion of its own.
//!
//! The host hands over compact JSON of its own making. So this looks no closer than it must: what is skipped needs
//! only closed brackets and texts. Text that is no JSON cannot harm, it is merely called so later.

use crate::contract::{Diagnostic, Error};
use crate::scan;

/// No more than these: the same oddity in each of a thousand elements tells nothing new.
const ODD: usize = 16;

/// What can be read from JSON leniently.
pub trait Read<'a>: Default {
    /// Reads the value at which the reader stands. What is of another type is skipped and noted.
    fn read(&mut self, reader: &mut Reader<'a>);
}

/// A place in JSON text. After an error it stands at the end, where there is nothing more to read: whoever reads
/// need not ask for errors.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    place: usize,
    /// Where the text stopped being JSON.
    wrong: Option<usize>,
    odd: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    /// Stands at the beginning of the text.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self {
            text,
            place: 0,
            wrong: None,
            odd: Vec::new(),
        }
    }

    /// What was odd, once the only value of the text is read.
    ///
    /// # Errors
    /// [`Error::Subject`] if the text is no JSON.
    pub fn finish(mut self) -> Result<Vec<Diagnostic>, Error> {
        if self.peek() != 0 || self.place < self.text.len() {
            self.fail();
        }
        match self.wrong {
            None => Ok(self.odd),
            Some(place) => Err(Error::Subject(Diagnostic {
                pointer: String::new(),
                message: ["no JSON from byte ", &place.to_string(), " on"].concat(),
            })),
        }
    }

    /// The first byte of what comes next; 0 at the end.
    #[inline]
    pub fn peek(&mut self) -> u8 {
        match self.text.as_bytes().get(self.place) {
            Some(byte) if *byte > b' ' => *byte,
            _ => self.peek_after_space(),
        }
    }

    #[cold]
    fn peek_after_space(&mut self) -> u8 {
        while let Some(byte) = self.text.as_bytes().get(self.place) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return *byte;
            }
            self.place += 1;
        }
        0
    }

    /// Enters a list or an object, by its opening bracket. Where something else is, it is skipped, and noted unless it
    /// is null.
    pub fn enter(&mut self, bracket: u8, expected: &str) -> bool {
        let next = self.peek();
        if next == bracket {
            self.place += 1;
            return true;
        }
        self.other(next, expected);
        false
    }

    /// Goes to the next member of an object and gives its key; none at the end of the object.
    pub fn key(&mut self, is_first: &mut bool) -> Option<&'a str> {
        if !self.next(b'}', is_first) {
            return None;
        }
        let key = self.text()?;
        if self.peek() != b':' {
            self.fail();
            return None;
        }
        self.place += 1;
        Some(key)
    }

    /// Goes to the next member of an object if it is this one: its key in quotes, and a colon. Stays where it is if not.
    #[inline(always)]
    pub fn member(&mut self, key: &[u8], is_first: &mut bool) -> bool {
        let start = self.place + usize::from(!*is_first);
        let bytes = self.text.as_bytes();
        let is_next = bytes
            .get(start..)
            .is_some_and(|rest| starts_with(rest, key));
        if !is_next || (!*is_first && bytes.get(self.place) != Some(&b',')) {
            return false;
        }
        *is_first = false;
        self.place = start + key.len();
        true
    }

    /// Goes to the next element of a list; false at its end.
    pub fn element(&mut self, is_first: &mut bool) -> bool {
        self.next(b']', is_first)
    }

    fn next(&mut self, bracket: u8, is_first: &mut bool) -> bool {
        let next = self.peek();
        let was_first = std::mem::replace(is_first, false);
        if next == bracket {
            self.place += 1;
            return false;
        }
        if next == b',' && !was_first {
            self.place += 1;
            return true;
        }
        if !was_first || next == 0 {
            self.fail();
            return false;
        }
        true
    }

    /// Reads the value of a member or element; what is odd in it is at this key.
    #[inline]
    pub fn value<T: Read<'a>>(&mut self, key: &str, value: &mut T) {
        let noted = self.odd.len();
        value.read(self);
        if self.odd.len() != noted {
            self.prefix(noted, key);
        }
    }

    /// The text at which the reader stands.
    #[inline(never)]
    pub fn text(&mut self) -> Option<&'a str> {
        if self.peek() != b'"' {
            self.fail();
            return None;
        }
        let start = self.place + 1;
        let end = self.end_of_plain(start);
        match self.text.as_bytes().get(end) {
            Some(b'"') => {
                self.place = end + 1;
                self.text.get(start..end)
            }
            Some(b'\\') => self.text_with_escapes(start, end),
            _ => {
                self.fail();
                None
            }
        }
    }

    /// Where the next quote or backslash is; beyond the text if there is none.
    #[inline]
    fn end_of_plain(&self, start: usize) -> usize {
        scan::find(self.text.as_bytes(), start, [b'"', b'\\'])
    }

    /// A text that cannot be borrowed as it is. It is kept for ever, that is, until the call is over.
    #[cold]
    fn text_with_escapes(&mut self, start: usize, first: usize) -> Option<&'a str> {
        let mut text = String::new();
        let (mut start, mut end) = (start, first);
        loop {
            text.push_str(self.text.get(start..end).unwrap_or_default());
            match self.text.as_bytes().get(end) {
                Some(b'"') => {
                    self.place = end + 1;
                    return Some(text.leak());
                }
                Some(b'\\') => {}
                _ => break,
            }
            let Some((character, after)) = escaped(self.text, end + 1) else {
                break;
            };
            text.push(character);
            start = after;
            end = self.end_of_plain(start);
        }
        self.fail();
        None
    }

    /// Skips a text; whether it was one without escapes is not asked.
    fn skip_text(&mut self) {
        let mut at = self.end_of_plain(self.place + 1);
        while self.text.as_bytes().get(at) == Some(&b'\\') {
            at = self.end_of_plain(at + 2);
        }
        if self.text.as_bytes().get(at) == Some(&b'"') {
            self.place = at + 1;
        } else {
            self.fail();
        }
    }

    /// A text without escapes; one with escapes, or something else, is skipped.
    pub fn plain_text(&mut self) -> Option<&'a str> {
        if self.peek() == b'"' {
            let start = self.place + 1;
            let end = self.end_of_plain(start);
            if self.text.as_bytes().get(end) == Some(&b'"') {
                self.place = end + 1;
                return self.text.get(start..end);
            }
        }
        self.skip();
        None
    }

    /// A whole number of 64 bits. Something else is skipped and noted.
    pub fn integer(&mut self) -> Option<i64> {
        const EXPECTED: &str = "a whole number";
        let next = self.peek();
        if next != b'-' && !next.is_ascii_digit() {
            self.other(next, EXPECTED);
            return None;
        }
        let start = self.place;
        self.skip();
        let digits = self.text.get(start..self.place).unwrap_or_default();
        let number = digits.parse().ok();
        if number.is_none() {
            if digits.parse::<u64>().is_ok() {
                self.note("a whole number of 64 bits");
            } else if digits.parse::<f64>().is_ok() {
                self.note(EXPECTED);
            } else {
                self.fail();
            }
        }
        number
    }

    /// True or false. Something else is skipped and noted.
    pub fn boolean(&mut self) -> Option<bool> {
        match self.peek() {
            b't' => self.word("true").then_some(true),
            b'f' => self.word("false").then_some(false),
            next => {
                self.other(next, "true or false");
                None
            }
        }
    }

    /// Skips what begins with this byte instead of what was expected; null is a missing value, and nothing odd.
    #[cold]
    pub fn other(&mut self, next: u8, expected: &str) {
        self.skip();
        if next != b'n' && self.wrong.is_none() {
            self.note(expected);
        }
    }

    /// Skips a value.
    pub fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                b'"' => self.skip_text(),
                b'{' | b'[' => {
                    self.place += 1;
                    depth += 1;
                }
                b'}' | b']' if depth > 0 => {
                    self.place += 1;
                    depth -= 1;
                }
                b',' | b':' if depth > 0 => self.place += 1,
                b't' => _ = self.word("true"),
                b'f' => _ = self.word("false"),
                b'n' => _ = self.word("null"),
                b'-' | b'0'..=b'9' => self.skip_number(),
                _ => return self.fail(),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_number(&mut self) {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        while self.text.as_bytes().get(self.place).is_some_and(is_part) {
            self.place += 1;
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let rest = self.text.as_bytes().get(self.place..).unwrap_or_default();
        let is_there = rest.starts_with(word.as_bytes());
        if is_there {
            self.place += word.len();
        } else {
            self.fail();
        }
        is_there
    }

    #[cold]
    fn fail(&mut self) {
        self.wrong.get_or_insert(self.place);
        self.place = self.text.len();
    }

    /// Notes that there is something else here than expected. Its place is not known yet: each level on the way out
    /// puts its own key in front.
    #[cold]
    pub fn note(&mut self, expected: &str) {
        if self.odd.len() < ODD {
            self.odd.push(Diagnostic {
                pointer: String::new(),
                message: ["not ", expected].concat(),
            });
        }
    }

    /// How many oddities are noted.
    pub(super) fn noted(&self) -> usize {
        self.odd.len()
    }

    /// Puts a key in front of the pointers of all that was noted after the first so many.
    #[cold]
    pub(super) fn prefix(&mut self, noted: usize, key: &str) {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        for diagnostic in self.odd.iter_mut().skip(noted) {
            diagnostic.pointer = ["/", &escaped, &diagnostic.pointer].concat();
        }
    }
}

/// Whether a text starts with another one, of a length that is known when this is compiled: eight bytes are compared at a time.
#[inline(always)]
fn starts_with(text: &[u8], start: &[u8]) -> bool {
    let Some(text) = text.get(..start.len()) else {
        return false;
    };
    let (words, rest) = text.as_chunks::<8>();
    let (start_words, start_rest) = start.as_chunks::<8>();
    let mut words = words.iter().zip(start_words);
    let mut rest = rest.iter().zip(start_rest);
    words.all(|(word, start)| u64::from_le_bytes(*word) == u64::from_le_bytes(*start))
        && rest.all(|(byte, start)| byte == start)
}

/// The character that is escaped here, after its backslash, and what follows it.
fn escaped(text: &str, place: usize) -> Option<(char, usize)> {
    let character = match text.as_bytes().get(place)? {
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return escaped_unit(text, place + 1),
        _ => return None,
    };
    Some((character, place + 1))
}

/// A character by its number, or by two where UTF-16 needs two.
fn escaped_unit(text: &str, place: usize) -> Option<(char, usize)> {
    let unit = |place: usize| {
        let digits = text.get(place..place + 4)?;
        let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16)
            .ok()
            .filter(|_| is_hexadecimal)
    };
    let first = unit(place)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Some((character, place + 4));
    }
    let second = unit(place + 6).filter(|_| text.get(place + 4..place + 6) == Some("\\u"))?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, place + 10))
}
