//! The lines of a file, one after the other: what each begins, and what frames do between them.

use super::super::BOM;
use super::super::mllp::{END, START};
use super::super::segment::{is_blank, is_segment};
use super::super::separators::is_separator;
use super::{BatchEnvelope, Blanks, MessageSplitter, Piece, ProblemKind};

/// A beginning that a line makes: of a message, or a segment around batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hl7v2) enum Beginning {
    Message,
    Envelope(BatchEnvelope),
}

/// Tells what a line begins, if it is no part of what came before.
pub(in crate::hl7v2) fn beginning(line: &[u8]) -> Option<Beginning> {
    let (name, rest) = line.split_at_checked(3)?;
    let is_ended = rest.first().is_none_or(|byte| is_separator(*byte));
    let begins = match name {
        b"MSH" => Beginning::Message,
        b"FHS" => Beginning::Envelope(BatchEnvelope::FileHeader),
        b"BHS" => Beginning::Envelope(BatchEnvelope::BatchHeader),
        b"BTS" => Beginning::Envelope(BatchEnvelope::BatchTrailer),
        b"FTS" => Beginning::Envelope(BatchEnvelope::FileTrailer),
        _ => return None,
    };
    is_ended.then_some(begins)
}

/// Tells whether a file is in UTF-16: by its mark, or by a first segment whose letters have a zero byte each.
fn is_wide(beginning: &[u8]) -> bool {
    let is_name = |first, second| matches!((first, second), (b'M', b'S') | (b'F' | b'B', b'H'));
    match beginning {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [first, 0, second, 0, ..] | [0, first, 0, second, ..] => is_name(*first, *second),
        _ => false,
    }
}

impl MessageSplitter {
    fn begin(&mut self, is_final: bool, out: &mut impl FnMut(Piece<'_>)) -> bool {
        if self.has_begun || (self.kept.len() < 4 && !is_final) {
            return self.has_begun;
        }
        self.has_begun = true;
        self.is_wide = is_wide(&self.kept);
        if self.kept.starts_with(BOM) {
            let place = self.place(0, BOM.len());
            out(Piece::Problem(ProblemKind::ByteOrderMark.at(place)));
            self.line_start = BOM.len();
            self.searched = BOM.len();
        }
        true
    }

    /// Deals with all lines whose end has come.
    pub(super) fn go(&mut self, is_final: bool, out: &mut impl FnMut(Piece<'_>)) {
        if !self.begin(is_final, out) || self.is_wide {
            return;
        }
        loop {
            let Some(at) = self.find() else {
                self.searched = self.kept.len();
                if is_final && self.line_start < self.kept.len() {
                    self.end_line(self.kept.len(), self.kept.len(), out);
                }
                return;
            };
            let behind = |ahead: usize| self.kept.get(at + ahead).copied();
            match self.kept.get(at).copied() {
                Some(b'\r') => {
                    let next = behind(1);
                    if next.is_none() && !is_final {
                        self.searched = at;
                        return;
                    }
                    let length = if next == Some(b'\n') { 2 } else { 1 };
                    self.end_line(at, at + length, out);
                }
                Some(b'\n') => self.end_line(at, at + 1, out),
                Some(START) => {
                    let is_inside = at > self.line_start || self.is_mid_line;
                    if is_inside && self.frame.is_none() {
                        self.searched = at + 1;
                        continue;
                    }
                    if is_inside {
                        self.end_line(at, at, out);
                    }
                    self.begin_frame(at, out);
                }
                _ => {
                    let (first, second) = (behind(1), behind(2));
                    let waits = first.is_none() || (first == Some(b'\r') && second.is_none());
                    if waits && !is_final {
                        self.searched = at;
                        return;
                    }
                    let is_end = match first {
                        Some(b'\r') => true,
                        None | Some(b'\n' | START) => self.frame.is_some(),
                        _ => false,
                    };
                    if !is_end {
                        self.searched = at + 1;
                        continue;
                    }
                    if at > self.line_start {
                        self.end_line(at, at, out);
                    }
                    let end = match (first, second) {
                        (Some(b'\r'), Some(b'\n')) => at + 3,
                        (Some(b'\r' | b'\n'), _) => at + 2,
                        _ => at + 1,
                    };
                    self.end_frame(at, end, first == Some(b'\r'), out);
                }
            }
        }
    }

    /// Finds the next byte that may end the line.
    fn find(&self) -> Option<usize> {
        let rest = self.kept.get(self.searched..)?;
        let end = memchr::memchr3(b'\r', b'\n', END, rest);
        let begin = memchr::memchr(
            START,
            rest.get(..end.unwrap_or(rest.len())).unwrap_or_default(),
        );
        begin.or(end).map(|at| self.searched + at)
    }

    /// Deals with a line: `end` is where it ends, `next` where the next one begins.
    fn end_line(&mut self, end: usize, next: usize, out: &mut impl FnMut(Piece<'_>)) {
        let mut start = self.line_start;
        let text = |splitter: &Self, start: usize| -> (bool, Option<Beginning>, usize) {
            let line = splitter.kept.get(start..end).unwrap_or_default();
            let space = line.iter().take_while(|byte| b" \t".contains(byte)).count();
            let rest = line.get(space..).unwrap_or_default();
            (is_blank(line), beginning(rest), space)
        };
        let line = self.kept.get(start..end).unwrap_or_default();
        let is_marked =
            !self.is_mid_line && line.starts_with(BOM) && text(self, start + BOM.len()).1.is_some();
        if is_marked {
            // Files that were put together have marks inside.
            start += BOM.len();
        }
        let (is_blank, begins, space) = text(self, start);
        let begins = begins.filter(|_| !self.is_mid_line);
        if let Some(begins) = begins {
            self.close_message(out);
            self.flush(out);
            if is_marked {
                let mark = self.place(self.line_start, start);
                out(Piece::Problem(ProblemKind::ByteOrderMark.at(mark)));
            }
            if space > 0 {
                let indent = self.place(start, start + space);
                out(Piece::Problem(ProblemKind::Indented.at(indent)));
            }
            let start = start + space;
            if let Some((_, is_filled)) = &mut self.frame {
                *is_filled = true;
            }
            match begins {
                Beginning::Message => {
                    self.open = Some(self.message_at(start, end, next - end));
                    self.index += 1;
                    self.counts.message();
                }
                Beginning::Envelope(envelope) => {
                    let place = self.place(start, end);
                    out(Piece::Envelope(envelope, place));
                    let segment = self.kept.get(start..end).unwrap_or_default();
                    self.counts.envelope(envelope, segment, place, out);
                }
            }
        } else if is_blank && !self.is_mid_line {
            if next > self.line_start {
                let place = self.place(self.line_start, next);
                match &mut self.blanks {
                    Some(blanks) => {
                        blanks.place.extend_to(place.end());
                        blanks.lines += 1;
                    }
                    None => self.blanks = Some(Blanks { place, lines: 1 }),
                }
            }
        } else {
            let place = self.place(self.line_start, next);
            if let Some((_, is_filled)) = &mut self.frame {
                *is_filled = true;
            }
            match &mut self.open {
                Some(open) => {
                    open.place.extend_to(place.end());
                    let line = self.kept.get(start..end).unwrap_or_default();
                    let is_strange = !self.is_mid_line && !is_segment(line, open.field);
                    if let Some(blanks) = self.blanks.take() {
                        out(Piece::Problem(blanks.problem(true)));
                    }
                    if is_strange {
                        let place = self.place(self.line_start, end);
                        out(Piece::Problem(ProblemKind::NotASegment.at(place)));
                    }
                }
                None => self.add_stray(place),
            }
        }
        if next > end {
            self.line += 1;
            self.is_mid_line = false;
        }
        self.line_start = next;
        self.searched = next;
    }

    fn begin_frame(&mut self, at: usize, out: &mut impl FnMut(Piece<'_>)) {
        self.close_message(out);
        self.close_frame(ProblemKind::FrameNotEnded, out);
        self.flush(out);
        self.frame = Some((self.place(at, at + 1), false));
        self.line_start = at + 1;
        self.searched = at + 1;
        self.is_mid_line = false;
    }

    fn end_frame(
        &mut self,
        at: usize,
        end: usize,
        is_whole: bool,
        out: &mut impl FnMut(Piece<'_>),
    ) {
        self.close_message(out);
        self.flush(out);
        let place = self.place(at, end);
        match self.frame.take() {
            None => out(Piece::Problem(ProblemKind::FrameNotBegun.at(place))),
            Some((start, false)) => out(Piece::Problem(ProblemKind::EmptyFrame.at(start))),
            Some(_) => {}
        }
        if !is_whole {
            out(Piece::Problem(ProblemKind::FrameEndWithoutCr.at(place)));
        }
        if end > at + 1 {
            self.line += 1;
        }
        self.line_start = end;
        self.searched = end;
        self.is_mid_line = false;
    }

    pub(super) fn close_frame(&mut self, kind: ProblemKind, out: &mut impl FnMut(Piece<'_>)) {
        if let Some((place, _)) = self.frame.take() {
            out(Piece::Problem(kind.at(place)));
        }
    }
}
