//! The JSON grammar: strict RFC 8259 and UTF-8, iterative, over whole texts and over pieces of streams.
//!
//! [`Machine`] knows only the grammar; what is made of the tokens is its visitor's affair. Everything that
//! reads records stands on it (the scan, envelopes and outlines of Bundles, paths), so that they cannot differ about
//! what is well-formed. A parser that builds values would lose what matters here: the bytes.
//!
//! Stricter than the RFC in one point that it leaves open: a `\u` escape of half a surrogate pair is refused, as
//! no store could keep it.

mod token;

use self::token::{Part, scalar, skip_space, string};

/// The greatest depth of objects and arrays in a record. FHIR's own resources stay below 30; Questionnaires and
/// `QuestionnaireResponses` nest items at will.
pub const MAX_DEPTH: usize = 256;

/// The greatest depth with a Bundle around the record, which adds three levels: the Bundle, `entry`, the entry.
pub const BUNDLE_DEPTH: usize = MAX_DEPTH + 3;

/// Bits for the kinds of the open containers.
const WORDS: usize = BUNDLE_DEPTH.div_ceil(64);

/// From how many bytes on a string that the end of a piece cuts is done with in parts: a text of one long string would be read
/// from its beginning with each piece, and held as a whole.
const LONG: usize = if cfg!(test) { 96 } else { 1 << 20 };

/// The text ends before its value does.
pub const ENDS_EARLY: &str = "the text ends too early";
/// Something stands after the value.
pub const EXPECTED_END: &str = "expected the end after the value";

/// A visitor of a text's parts, as they are read. Offsets count from the first byte of the piece given to
/// [`Machine::run`].
///
/// An error says what is wrong with the token; the machine adds the place.
pub trait Visit {
    /// The name of a member, between its quotes.
    fn key(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str>;
    /// A string value, between its quotes.
    fn string(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str>;
    /// A string value begins that is too long to be shown: the offset of its opening quote. There is none in a text that is
    /// given in one piece.
    fn long_string(&mut self, _at: usize) -> Result<(), &'static str> {
        Ok(())
    }
    /// The long string is over; `end` is the offset after its closing quote.
    fn long_string_end(&mut self, _end: usize) -> Result<(), &'static str> {
        Ok(())
    }
    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self, start: usize, end: usize) -> Result<(), &'static str>;
    /// An object (or else an array) opens at `at`.
    fn open(&mut self, object: bool, at: usize) -> Result<(), &'static str>;
    /// The innermost object or array closed; `end` is the offset after its bracket.
    fn close(&mut self, end: usize) -> Result<(), &'static str>;
}

/// The place and the reason for which a text is not well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonFault {
    /// Offset of the offending byte in the piece.
    pub offset: usize,
    /// The reason.
    pub what: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    FirstValue,
    /// Within a long string.
    Within,
    Key,
    FirstKey,
    Colon,
    After,
    Done,
}

/// The state of one text being read.
#[derive(Debug, Clone)]
pub struct Machine {
    state: State,
    depth: usize,
    limit: usize,
    objects: [u64; WORDS],
}

impl Machine {
    /// Starts a text in which containers may nest `limit` deep, at most [`BUNDLE_DEPTH`].
    pub fn new(limit: usize) -> Self {
        Self {
            state: State::Value,
            depth: 0,
            limit: if limit < BUNDLE_DEPTH {
                limit
            } else {
                BUNDLE_DEPTH
            },
            objects: [0; WORDS],
        }
    }

    /// Tells whether the value is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Tells whether a value comes next.
    pub fn expects_value(&self) -> bool {
        matches!(self.state, State::Value | State::FirstValue)
    }

    /// Reads a piece and returns how many of its bytes are done with.
    ///
    /// A token that the end of the piece cuts is not begun: give it again, with more. (A long string is begun all the same, and
    /// goes on in the next piece.) In the `last` piece a
    /// cut token is a fault, and all bytes are done with on success.
    pub fn run<V: Visit>(
        &mut self,
        bytes: &[u8],
        last: bool,
        visit: &mut V,
    ) -> Result<usize, JsonFault> {
        let mut at = 0;
        let mut state = self.state;
        let consumed = loop {
            if state == State::Within {
                match string(bytes, at, last)? {
                    Part::Ended(end) => {
                        at = end + 1;
                        let fault = |what| JsonFault { offset: end, what };
                        visit.long_string_end(at).map_err(fault)?;
                        state = self.after();
                    }
                    Part::Cut(upto) => break upto,
                }
            }
            at = skip_space(bytes, at);
            let Some(&byte) = bytes.get(at) else {
                if last && state != State::Done {
                    return Err(JsonFault {
                        offset: at,
                        what: ENDS_EARLY,
                    });
                }
                break at;
            };
            let fault = |what| JsonFault { offset: at, what };
            match state {
                State::Value | State::FirstValue => match byte {
                    b'"' => {
                        let end = match string(bytes, at + 1, last)? {
                            Part::Ended(end) => end,
                            Part::Cut(upto) if upto - at > LONG => {
                                visit.long_string(at).map_err(fault)?;
                                state = State::Within;
                                break upto;
                            }
                            Part::Cut(_) => break at,
                        };
                        visit.string(bytes, at + 1, end).map_err(fault)?;
                        at = end + 1;
                        state = self.after();
                    }
                    b'{' | b'[' => {
                        let object = byte == b'{';
                        self.push(object).map_err(fault)?;
                        visit.open(object, at).map_err(fault)?;
                        at += 1;
                        state = if object {
                            State::FirstKey
                        } else {
                            State::FirstValue
                        };
                    }
                    b']' if state == State::FirstValue => {
                        visit.close(at + 1).map_err(fault)?;
                        at += 1;
                        self.depth -= 1;
                        state = self.after();
                    }
                    _ => {
                        let Some(end) = scalar(bytes, at, byte, last)? else {
                            break at;
                        };
                        visit.scalar(at, end).map_err(fault)?;
                        at = end;
                        state = self.after();
                    }
                },
                State::After => match (byte, self.in_object()) {
                    (b',', true) => {
                        at += 1;
                        state = State::Key;
                    }
                    (b',', false) => {
                        at += 1;
                        state = State::Value;
                    }
                    (b'}', true) | (b']', false) => {
                        visit.close(at + 1).map_err(fault)?;
                        at += 1;
                        self.depth -= 1;
                        state = self.after();
                    }
                    (_, true) => return Err(fault("expected `,` or `}`")),
                    (_, false) => return Err(fault("expected `,` or `]`")),
                },
                State::Key | State::FirstKey => match byte {
                    b'"' => {
                        let Part::Ended(end) = string(bytes, at + 1, last)? else {
                            break at;
                        };
                        visit.key(bytes, at + 1, end).map_err(fault)?;
                        at = end + 1;
                        state = State::Colon;
                        if bytes.get(at) == Some(&b':') {
                            at += 1;
                            state = State::Value;
                        }
                    }
                    b'}' if state == State::FirstKey => {
                        visit.close(at + 1).map_err(fault)?;
                        at += 1;
                        self.depth -= 1;
                        state = self.after();
                    }
                    _ if state == State::FirstKey => {
                        return Err(fault("expected a member name in quotes or `}`"));
                    }
                    _ => return Err(fault("expected a member name in quotes")),
                },
                State::Colon => {
                    if byte != b':' {
                        return Err(fault("expected `:`"));
                    }
                    at += 1;
                    state = State::Value;
                }
                // Left above, before white space could be taken away.
                State::Within => break at,
                State::Done => return Err(fault(EXPECTED_END)),
            }
        };
        self.state = state;
        Ok(consumed)
    }

    fn after(&self) -> State {
        if self.depth == 0 {
            State::Done
        } else {
            State::After
        }
    }

    fn push(&mut self, object: bool) -> Result<(), &'static str> {
        if self.depth >= self.limit {
            return Err("nested deeper than 256 levels");
        }
        let bit = 1 << (self.depth % 64);
        if let Some(word) = self.objects.get_mut(self.depth / 64) {
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        Ok(())
    }

    fn in_object(&self) -> bool {
        let top = self.depth.wrapping_sub(1);
        self.objects
            .get(top / 64)
            .is_some_and(|word| word >> (top % 64) & 1 == 1)
    }
}
