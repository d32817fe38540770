//! The messages of a file: one, many, batches, MLLP's frames.
//!
//! A [`MessageSplitter`] takes a file in chunks and gives its pieces in the order of the file: messages, the segments of batches, and
//! [problems](SplitProblem), each with its place. Every byte of the file lies in a piece, or is a line end or a framing byte:
//! nothing is lost silently. Memory holds one message of limited size and one chunk.
//!
//! A message begins with a line that begins with `MSH` and a separator, and ends before the next such line, before a
//! segment of a batch, or with its frame. Lines inside of it that are no segments are its own (see
//! [`segment`](super::segment)). The meaning of the bytes is left to [`header`](super::header).

mod count;
mod lines;
mod problem;
#[cfg(test)]
mod tests;

use self::count::Counts;
pub(super) use self::lines::{Beginning, beginning};
pub use self::problem::{FileStretch, ProblemKind, SplitProblem, Weight};

/// The largest message that is kept, unless told otherwise: 64 MiB, far beyond what any store takes (Google: 10 MB).
pub const MAX_MESSAGE: usize = 64 << 20;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A message.
    Message(Message<'a>),
    /// A segment that begins or ends a batch or a file of batches.
    Envelope(BatchEnvelope, FileStretch),
    /// Something that is not as it should be.
    Problem(SplitProblem),
}

/// A message as it stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its place: from the `M` of `MSH` to the end of the last segment, with the line end.
    pub place: FileStretch,
    /// Its number among the file's messages, from 0; those that are too large are counted.
    pub index: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The message stands in MLLP's frame.
    pub is_framed: bool,
}

/// The segments around batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchEnvelope {
    /// FHS: a file of batches begins.
    FileHeader,
    /// BHS: a batch begins.
    BatchHeader,
    /// BTS: a batch ends, and may say how many messages it has.
    BatchTrailer,
    /// FTS: a file of batches ends, and may say how many batches it has.
    FileTrailer,
}

/// A message whose end has not come yet.
#[derive(Debug)]
struct Open {
    /// From its first byte to the end of its last segment so far.
    place: FileStretch,
    field: u8,
    is_framed: bool,
    /// It is over the limit: its bytes are gone, and only its place is kept.
    is_too_large: bool,
}

/// Blank lines of which it is not known yet whether they stand inside of a message.
#[derive(Debug)]
struct Blanks {
    place: FileStretch,
    lines: u64,
}

/// Finds the messages of a file; see the [module](self).
#[derive(Debug)]
pub struct MessageSplitter {
    limit: usize,
    /// The bytes kept of the file: from the begin of the open message, or else of the line.
    kept: Vec<u8>,
    /// The offset of these bytes in the file.
    offset: u64,
    /// The offset in `kept` of the line, and the one up to which the line has been searched for its end.
    line_start: usize,
    searched: usize,
    line: u64,
    /// The first part of the line has been let go already: what comes begins nothing.
    is_mid_line: bool,
    has_begun: bool,
    /// The file is in UTF-16; nothing of it is read.
    is_wide: bool,
    index: u64,
    open: Option<Open>,
    stray: Option<FileStretch>,
    blanks: Option<Blanks>,
    /// The place at which the frame began, and whether anything stood in it.
    frame: Option<(FileStretch, bool)>,
    counts: Counts,
}

impl Default for MessageSplitter {
    fn default() -> Self {
        Self::new(MAX_MESSAGE)
    }
}

impl MessageSplitter {
    /// A splitter that keeps messages of at most `limit` bytes; larger ones are a problem with a place.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Vec::new(),
            offset: 0,
            line_start: 0,
            searched: 0,
            line: 1,
            is_mid_line: false,
            has_begun: false,
            is_wide: false,
            index: 0,
            open: None,
            stray: None,
            blanks: None,
            frame: None,
            counts: Counts::default(),
        }
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, chunk: &[u8], out: &mut impl FnMut(Piece<'_>)) {
        self.kept.extend_from_slice(chunk);
        self.go(false, out);
        self.let_go();
    }

    /// Takes the end of the file.
    pub fn finish(mut self, out: &mut impl FnMut(Piece<'_>)) {
        self.go(true, out);
        self.close_message(out);
        self.close_frame(ProblemKind::FrameNotEnded, out);
        self.flush(out);
        self.counts.end(out);
        if self.is_wide {
            let length = self.offset + self.kept.len() as u64;
            let place = FileStretch {
                start: 0,
                length,
                line: 1,
            };
            out(Piece::Problem(ProblemKind::Utf16.at(place)));
        }
    }

    /// Splits the whole of a file that is in memory.
    pub fn whole(file: &[u8], out: &mut impl FnMut(Piece<'_>)) {
        let mut splitter = Self::new(usize::MAX);
        splitter.feed(file, out);
        splitter.finish(out);
    }

    /// Forgets what has been dealt with, and of what is too large everything.
    fn let_go(&mut self) {
        if self.is_wide {
            self.offset += self.kept.len() as u64;
            self.kept.clear();
            return;
        }
        let line_start = self.offset + self.line_start as u64;
        let begin = match &mut self.open {
            Some(open) if !open.is_too_large => {
                let size = self.offset + self.kept.len() as u64 - open.place.start;
                open.is_too_large = size > self.limit as u64;
                if open.is_too_large {
                    line_start
                } else {
                    open.place.start
                }
            }
            _ => line_start,
        };
        let mut gone = usize::try_from(begin - self.offset).unwrap_or(usize::MAX);
        if self.kept.len() - gone > self.limit {
            // A line without an end: its part that has come is dealt with as what it is, and the rest begins nothing.
            let end = self.searched;
            if !self.is_mid_line && self.open.is_none() {
                let line = self.kept.get(self.line_start..end).unwrap_or_default();
                if beginning(line) == Some(Beginning::Message) {
                    let mut open = self.message_at(self.line_start, end, 0);
                    open.is_too_large = true;
                    self.index += 1;
                    self.open = Some(open);
                }
            }
            let place = self.place(self.line_start, end);
            match &mut self.open {
                Some(open) => open.place.extend_to(place.end()),
                None => self.add_stray(place),
            }
            self.line_start = end;
            self.is_mid_line = true;
            gone = end;
        }
        self.kept.drain(..gone);
        self.offset += gone as u64;
        self.line_start -= gone;
        self.searched -= gone;
    }

    fn place(&self, from: usize, to: usize) -> FileStretch {
        FileStretch {
            start: self.offset + from as u64,
            length: (to - from) as u64,
            line: self.line,
        }
    }

    fn message_at(&self, start: usize, end: usize, ending: usize) -> Open {
        Open {
            place: self.place(start, end + ending),
            field: self.kept.get(start + 3).copied().unwrap_or(b'|'),
            is_framed: self.frame.is_some(),
            is_too_large: false,
        }
    }

    fn add_stray(&mut self, place: FileStretch) {
        // Blank lines beside stray ones are stray as well.
        let blanks = self.blanks.take().map(|blanks| blanks.place);
        let stray = self.stray.get_or_insert(blanks.unwrap_or(place));
        stray.extend_to(place.end());
    }

    fn close_message(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        let Some(open) = self.open.take() else {
            return;
        };
        if open.is_too_large || open.place.length > self.limit as u64 {
            let limit = self.limit as u64;
            out(Piece::Problem(
                ProblemKind::TooLarge { limit }.at(open.place),
            ));
            return;
        }
        let from = usize::try_from(open.place.start - self.offset).unwrap_or(usize::MAX);
        let to = usize::try_from(open.place.end() - self.offset).unwrap_or(usize::MAX);
        out(Piece::Message(Message {
            place: open.place,
            index: self.index - 1,
            bytes: self.kept.get(from..to).unwrap_or_default(),
            is_framed: open.is_framed,
        }));
    }

    /// Says what has been held back, as it belongs to no message.
    fn flush(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        if let Some(stray) = self.stray.take() {
            out(Piece::Problem(ProblemKind::Stray.at(stray)));
        }
        if let Some(blanks) = self.blanks.take() {
            out(Piece::Problem(blanks.problem(false)));
        }
    }
}

impl Blanks {
    fn problem(&self, is_inside: bool) -> SplitProblem {
        let lines = self.lines;
        ProblemKind::BlankLines { lines, is_inside }.at(self.place)
    }
}
