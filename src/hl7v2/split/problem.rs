//! Problems that a file of messages may have, and their places.

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStretch {
    /// The first byte.
    pub start: u64,
    /// The number of bytes.
    pub length: u64,
    /// The line of the first byte, from 1; CR, LF and CRLF end lines.
    pub line: u64,
}

impl FileStretch {
    /// Returns the offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.start + self.length
    }

    pub(super) fn extend_to(&mut self, end: u64) {
        self.length = end.saturating_sub(self.start);
    }
}

/// Something in a file that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitProblem {
    /// The kind of the problem.
    pub kind: ProblemKind,
    /// The place of the problem.
    pub place: FileStretch,
}

/// The weight of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Worth a word; nothing is missing.
    Note,
    /// All bytes are in messages, but something does not add up.
    Warning,
    /// Bytes that are in no message.
    Loss,
}

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// A byte order mark of UTF-8.
    #[error("a byte order mark, which is left out")]
    ByteOrderMark,
    /// Lines without content, between segments of a message or outside of messages.
    #[error("{lines} blank {}{}", if *.lines == 1 { "line" } else { "lines" }, if *.is_inside { " inside of a message" } else { "" })]
    BlankLines {
        /// The number of the lines.
        lines: u64,
        /// The lines stand between the segments of one message.
        is_inside: bool,
    },
    /// White space before a message or a batch.
    #[error("white space before the first segment, which is left out")]
    Indented,
    /// Bytes outside of any message.
    #[error("{}", STRAY)]
    Stray,
    /// A line of a message that begins with no segment's name: a line end inside of a field, mostly.
    #[error("a line that is no segment; it is taken for a part of the field before it")]
    NotASegment,
    /// A message over the limit.
    #[error("a message larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The file is in UTF-16.
    #[error("the file is in UTF-16, which HL7v2 cannot be carried in; save it in UTF-8")]
    Utf16,
    /// 0x0B without 0x1C.
    #[error("an MLLP frame that does not end (0x0B without 0x1C 0x0D)")]
    FrameNotEnded,
    /// 0x1C 0x0D without 0x0B.
    #[error("the end of an MLLP frame that did not begin (0x1C without 0x0B)")]
    FrameNotBegun,
    /// 0x1C without 0x0D.
    #[error("the end of an MLLP frame without its 0x0D")]
    FrameEndWithoutCr,
    /// A frame with nothing in it.
    #[error("an empty MLLP frame")]
    EmptyFrame,
    /// BTS-1 does not say how many messages the batch has.
    #[error("the batch ends with a count of {said} and has {found} {}", if *.found == 1 { "message" } else { "messages" })]
    BatchCount {
        /// The count in BTS-1.
        said: u64,
        /// The number of messages that were found.
        found: u64,
    },
    /// FTS-1 does not say how many batches the file has.
    #[error("the file ends with a count of {said} and has {found} {}", if *.found == 1 { "batch" } else { "batches" })]
    FileCount {
        /// The count in FTS-1.
        said: u64,
        /// The number of batches that were found.
        found: u64,
    },
    /// BTS-1 or FTS-1 is no number.
    #[error("a count that is no number, in {0}-1")]
    CountUnreadable(&'static str),
    /// BHS without BTS.
    #[error("a batch without its end (BHS without BTS); the file may be cut off")]
    BatchNotEnded,
    /// FHS without FTS.
    #[error("a file of batches without its end (FHS without FTS); it may be cut off")]
    FileNotEnded,
    /// BTS without BHS, or FTS without FHS.
    #[error("{0}")]
    NotBegun(&'static str),
}

const STRAY: &str = "bytes that belong to no message";

impl ProblemKind {
    /// Puts it in its place.
    pub(super) fn at(self, place: FileStretch) -> SplitProblem {
        SplitProblem { kind: self, place }
    }

    /// Says how much it matters.
    pub fn weight(&self) -> Weight {
        match self {
            Self::ByteOrderMark
            | Self::BlankLines { .. }
            | Self::Indented
            | Self::EmptyFrame
            | Self::FrameEndWithoutCr => Weight::Note,
            Self::Stray | Self::TooLarge { .. } | Self::Utf16 => Weight::Loss,
            Self::NotASegment
            | Self::FrameNotEnded
            | Self::FrameNotBegun
            | Self::BatchCount { .. }
            | Self::FileCount { .. }
            | Self::CountUnreadable(_)
            | Self::BatchNotEnded
            | Self::FileNotEnded
            | Self::NotBegun(_) => Weight::Warning,
        }
    }
}
