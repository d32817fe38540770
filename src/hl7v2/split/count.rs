//! Holds batches to the counts that they say: FHS, BHS, BTS, FTS.
//!
//! All four are optional (`[FHS] { [BHS] { MSH … } [BTS] } [FTS]`), and so are the counts in BTS-1 (messages) and FTS-1 (batches).

use super::{BatchEnvelope, FileStretch, Piece, ProblemKind};

/// The counts of messages and batches so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Messages since the last segment around batches.
    messages: u64,
    /// Messages of the file of batches.
    all: u64,
    batches: u64,
    batch: Option<FileStretch>,
    file: Option<FileStretch>,
}

impl Counts {
    pub(super) fn message(&mut self) {
        self.messages += 1;
        self.all += 1;
    }

    pub(super) fn envelope(
        &mut self,
        envelope: BatchEnvelope,
        segment: &[u8],
        place: FileStretch,
        out: &mut impl FnMut(Piece<'_>),
    ) {
        match envelope {
            BatchEnvelope::FileHeader => {
                self.end(out);
                *self = Self {
                    file: Some(place),
                    ..Self::default()
                };
            }
            BatchEnvelope::BatchHeader => {
                self.end_batch(out);
                self.batch = Some(place);
                self.batches += 1;
                self.messages = 0;
            }
            BatchEnvelope::BatchTrailer => {
                if self.batch.take().is_none() {
                    self.batches += 1;
                    let kind = ProblemKind::NotBegun(
                        "the end of a batch that did not begin (BTS without BHS)",
                    );
                    out(Piece::Problem(kind.at(place)));
                }
                let found = self.messages;
                check("BTS", segment, found, place, out, |said| {
                    ProblemKind::BatchCount { said, found }
                });
                self.messages = 0;
            }
            BatchEnvelope::FileTrailer => {
                self.end_batch(out);
                if self.file.take().is_none() {
                    let kind = ProblemKind::NotBegun(
                        "the end of a file of batches that did not begin (FTS without FHS)",
                    );
                    out(Piece::Problem(kind.at(place)));
                }
                // Messages without any segment of a batch are one batch.
                let found = self.batches.max(u64::from(self.all > 0));
                check("FTS", segment, found, place, out, |said| {
                    ProblemKind::FileCount { said, found }
                });
                *self = Self::default();
            }
        }
    }

    /// Says what has not ended.
    pub(super) fn end(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        self.end_batch(out);
        if let Some(place) = self.file.take() {
            out(Piece::Problem(ProblemKind::FileNotEnded.at(place)));
        }
    }

    fn end_batch(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        if let Some(place) = self.batch.take() {
            out(Piece::Problem(ProblemKind::BatchNotEnded.at(place)));
        }
    }
}

/// Compares the first field of a trailer with what was found; an empty one says nothing.
fn check(
    name: &'static str,
    segment: &[u8],
    found: u64,
    place: FileStretch,
    out: &mut impl FnMut(Piece<'_>),
    differs: impl Fn(u64) -> ProblemKind,
) {
    let Some((separator, rest)) = segment.get(3..).and_then(<[u8]>::split_first) else {
        return;
    };
    let field = rest
        .split(|byte| byte == separator)
        .next()
        .unwrap_or_default();
    let field = field.trim_ascii();
    if field.is_empty() {
        return;
    }
    let said = std::str::from_utf8(field)
        .ok()
        .and_then(|text| text.parse().ok());
    match said {
        None => out(Piece::Problem(ProblemKind::CountUnreadable(name).at(place))),
        Some(said) if said != found => out(Piece::Problem(differs(said).at(place))),
        Some(_) => {}
    }
}
