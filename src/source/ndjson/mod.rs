//! NDJSON: one value a line (<https://hl7.org/fhir/R4/nd-json.html>). Blank lines, CRLF, a missing last line end and byte
//! order marks are borne, also where files that have one were put together. JSON that runs over several lines is told
//! once, and not once a line. Memory is bounded by the longest line.

mod line;

use self::line::{content, is_record, values};
use super::{
    Ceiling,
    chunks::{ChunkReader, TextChunk},
    emitter::{ItemEmitter, Start, Stop},
    json::refuse_foreign,
    text::End,
};
use crate::fhir::bundle::{BundleEntries, Outline};

/// The bytes that are kept of a value over several lines, so that its lines can be read one by one should it not be
/// one.
const KEPT: u64 = 16 << 20;

const OVER_LINES: &str = "the JSON runs over several lines, where NDJSON holds one value a line";
const TO_ONE_LINE: &str = "write each value on one line, such as with `jq -c .`; a single value may stand in a file that is named .json";

/// Reads all lines; of a text that is cut, all but the last if that has no end.
pub(super) fn read(
    feed: &mut dyn ChunkReader,
    end: End,
    ceiling: Ceiling,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    sink.ceiling = ceiling;
    if refuse_foreign(feed.piece(0)?.bytes, sink)? {
        return Ok(());
    }
    let mut lines = Lines {
        at: At {
            offset: 0,
            number: 1,
        },
        open: None,
        told: None,
        lost: false,
        ceiling,
    };
    // The number of bytes of the line that are known to hold no line end, and whether the line is too large to be kept.
    let (mut searched, mut skipping) = (0, false);
    loop {
        let kept = lines.open.as_ref().and_then(Open::kept);
        let piece = feed.piece(kept.unwrap_or(lines.at.offset))?;
        loop {
            let rest = from(&piece, lines.at.offset);
            let Some(newline) = memchr::memchr(b'\n', rest.get(searched..).unwrap_or_default())
            else {
                break;
            };
            let length = searched + newline + 1;
            searched = 0;
            if skipping {
                skipping = false;
                lines.at.pass(length);
            } else {
                lines.line(&piece, length, sink)?;
            }
        }
        let rest = from(&piece, lines.at.offset);
        if piece.last {
            if skipping {
                lines.at.pass(rest.len());
            } else if end == End::Whole && !rest.is_empty() {
                lines.line(&piece, rest.len(), sink)?;
                // Of a value over several lines that has no end, the lines are read again.
                searched = 0;
                continue;
            }
            if lines.open.is_some() {
                lines.give_up(&piece, sink)?;
                searched = 0;
                continue;
            }
            lines.tell(sink)?;
            return match end {
                End::Whole => Ok(()),
                End::Cut(damage) => {
                    let rest = from(&piece, lines.at.offset);
                    let start = lines.at.start(0);
                    let column = 1 + String::from_utf8_lossy(rest).chars().count() as u64;
                    damage.tell(start, rest.len() as u64, column, sink)
                }
            };
        }
        if !skipping && ceiling.refuses(rest) {
            if lines.open.is_some() {
                lines.give_up(&piece, sink)?;
                searched = 0;
                continue;
            }
            lines.too_large(rest, sink)?;
            skipping = true;
        }
        if skipping {
            lines.at.offset += rest.len() as u64;
            searched = 0;
        } else {
            searched = rest.len();
        }
    }
}

/// Returns what a piece holds from an offset of the text on.
fn from<'p>(piece: &TextChunk<'p>, offset: u64) -> &'p [u8] {
    let within = usize::try_from(offset.saturating_sub(piece.base)).unwrap_or(usize::MAX);
    piece.bytes.get(within..).unwrap_or_default()
}

/// The beginning of a line.
#[derive(Debug, Clone, Copy)]
struct At {
    offset: u64,
    number: u64,
}

impl At {
    /// Goes on to the next line.
    fn pass(&mut self, length: usize) {
        self.offset += length as u64;
        self.number += 1;
    }

    /// A place on the line, after `blanks`.
    fn start(self, blanks: usize) -> Start {
        Start {
            offset: self.offset + blanks as u64,
            line: self.number,
            column: 1 + blanks as u64,
        }
    }
}

/// A value that does not end on the line on which it begins: it may go on, or the line may be cut.
struct Open {
    outline: Outline,
    first: At,
    start: Start,
    second: At,
    /// The lines that it has so far.
    lines: u64,
    /// True if its lines can be read again.
    again: bool,
}

impl Open {
    /// Returns from where on the text is to be kept.
    fn kept(&self) -> Option<u64> {
        self.again.then_some(self.first.offset)
    }
}

/// Values over several lines that follow each other, to be told once.
struct Told {
    start: Start,
    end: u64,
}

/// The state of reading lines.
struct Lines {
    at: At,
    open: Option<Open>,
    told: Option<Told>,
    /// A value over several lines was wrong, and its next lines are still part of it.
    lost: bool,
    ceiling: Ceiling,
}

impl Lines {
    /// Reads the line of `length` bytes that comes next; it may also go back to an earlier one.
    fn line(
        &mut self,
        piece: &TextChunk<'_>,
        length: usize,
        sink: &mut ItemEmitter<'_>,
    ) -> Result<(), Stop> {
        let text = from(piece, self.at.offset);
        let text = text.get(..length).unwrap_or(text);
        let end = self.at.offset + text.len() as u64;
        if let Some(open) = &mut self.open {
            return match open.outline.read(text, self.at.offset, false) {
                Ok(done) if done == end => {
                    open.lines += 1;
                    if open.outline.is_done() {
                        let start = open.start;
                        self.open = None;
                        self.cover(start, end);
                    } else if end - open.start.offset > KEPT {
                        open.again = false;
                    }
                    self.at.pass(length);
                    Ok(())
                }
                _ => self.give_up(piece, sink),
            };
        }
        let (blanks, value) = content(text);
        if value.is_empty() {
            self.at.pass(length);
            return Ok(());
        }
        if self.lost {
            if !matches!(text.first(), Some(b'{' | b'[')) && !is_record(value) {
                let start = self.at.start(blanks);
                self.cover(start, end);
                self.at.pass(length);
                return Ok(());
            }
            self.lost = false;
        }
        if self.opens(text, value, blanks) {
            return Ok(());
        }
        self.tell(sink)?;
        if self.ceiling.refuses(value) {
            self.too_large(text, sink)?;
        } else {
            values(value, self.at.start(blanks), sink)?;
        }
        self.at.pass(length);
        Ok(())
    }

    /// Tells whether the value of a line goes on after it, and if so takes note of it.
    fn opens(&mut self, text: &[u8], value: &[u8], blanks: usize) -> bool {
        // A line that ends as a record does is read as one at once.
        let first = value.first();
        if !text.ends_with(b"\n")
            || !matches!(first, Some(b'{' | b'['))
            || (first == Some(&b'{') && value.last() == Some(&b'}'))
        {
            return false;
        }
        let mut outline = Outline::new(BundleEntries::Counted);
        let start = self.at.start(blanks);
        let end = start.offset + value.len() as u64;
        // The line end comes with it, so that no number or word seems to go on.
        let with_end = text.get(blanks..).unwrap_or(value);
        let is_open = outline
            .read(with_end, start.offset, false)
            .is_ok_and(|done| done >= end && !outline.is_done());
        if is_open {
            let first = self.at;
            self.at.pass(text.len());
            self.open = Some(Open {
                outline,
                first,
                start,
                second: self.at,
                lines: 1,
                again: true,
            });
        }
        is_open
    }

    /// Takes what seemed to be a value over several lines for what it is: a cut line with others after it, which are read
    /// again, or such a value with something wrong in it.
    fn give_up(&mut self, piece: &TextChunk<'_>, sink: &mut ItemEmitter<'_>) -> Result<(), Stop> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let between = |from_at: u64, to: u64| {
            let text = from(piece, from_at);
            let length = usize::try_from(to - from_at).unwrap_or(usize::MAX);
            text.get(..length).unwrap_or(text)
        };
        let is_cut = open.again
            && (open.lines == 1
                || between(open.second.offset, self.at.offset)
                    .split(|byte| *byte == b'\n')
                    .any(|line| is_record(content(line).1)));
        if is_cut {
            self.tell(sink)?;
            let first = between(open.first.offset, open.second.offset);
            let (blanks, value) = content(first);
            values(value, open.first.start(blanks), sink)?;
            self.at = open.second;
        } else {
            self.cover(open.start, self.at.offset);
            self.lost = true;
        }
        Ok(())
    }

    /// Takes note of lines that are told together.
    fn cover(&mut self, start: Start, end: u64) {
        self.told.get_or_insert(Told { start, end }).end = end;
    }

    /// Tells of the values over several lines that have been passed.
    fn tell(&mut self, sink: &mut ItemEmitter<'_>) -> Result<(), Stop> {
        match self.told.take() {
            Some(Told { start, end }) => {
                let length = end - start.offset;
                sink.refuse(start, length, None, OVER_LINES, Some(TO_ONE_LINE))
            }
            None => Ok(()),
        }
    }

    fn too_large(&mut self, text: &[u8], sink: &mut ItemEmitter<'_>) -> Result<(), Stop> {
        self.tell(sink)?;
        let start = self.at.start(0);
        sink.refuse(start, text.len() as u64, None, self.ceiling.words(), None)
    }
}
