//! The outline of a whole Bundle, taken piece by piece, so that a Bundle need not fit into memory.

use super::BundleKind;
use crate::fhir::{
    json::{BUNDLE_DEPTH, Machine, Visit},
    text,
};

/// The outline of a text that may be a Bundle: what it says of itself, and where its entries stand.
///
/// Feed it with [`read`](Self::read), piece by piece; offsets count from the beginning of the text.
#[derive(Debug)]
pub struct Outline {
    machine: Machine,
    visitor: OutlineVisitor,
}

impl Outline {
    /// Starts a text.
    pub fn new(entries: BundleEntries) -> Self {
        Self {
            machine: Machine::new(BUNDLE_DEPTH),
            visitor: OutlineVisitor {
                keep: entries == BundleEntries::Kept,
                ..OutlineVisitor::default()
            },
        }
    }

    /// Reads the piece that begins at offset `base` of the text and returns up to where the text is done with.
    ///
    /// The next piece must begin there.
    ///
    /// # Errors
    ///
    /// As [`Machine::run`], the offset counting from the beginning of the text.
    pub fn read(
        &mut self,
        piece: &[u8],
        base: u64,
        last: bool,
    ) -> Result<u64, (u64, &'static str)> {
        self.visitor.base = base;
        match self.machine.run(piece, last, &mut self.visitor) {
            Ok(consumed) => Ok(base + consumed as u64),
            Err(fault) => Err((base + fault.offset as u64, fault.what)),
        }
    }

    /// Tells whether the value is complete.
    pub fn is_done(&self) -> bool {
        self.machine.is_done()
    }

    /// Tells whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.visitor.is_object
    }

    /// Tells whether `resourceType` is `Bundle`.
    pub fn is_bundle(&self) -> bool {
        self.visitor.resource_type.as_deref() == Some("Bundle")
    }

    /// Tells whether there is a `resourceType`.
    pub fn has_type(&self) -> bool {
        self.visitor.resource_type.is_some()
    }

    /// Returns what `type` says.
    pub fn kind(&self) -> BundleKind {
        BundleKind::of(self.visitor.kind.as_deref())
    }

    /// Tells whether the text is a Bundle whose `entry` is not an array, and where.
    pub fn misshapen(&self) -> Option<u64> {
        self.visitor.misshapen.filter(|_| self.is_bundle())
    }

    /// Returns the length of the largest entry in bytes.
    pub fn largest(&self) -> u64 {
        self.visitor.largest
    }

    /// Returns how many entries have begun.
    pub fn count(&self) -> u32 {
        self.visitor.count
    }

    /// Takes the entries that are complete since the last call: offsets of the first byte and of the one after.
    pub fn entries(&mut self) -> std::vec::Drain<'_, (u64, u64)> {
        self.visitor.entries.drain(..)
    }

    /// Returns where the entry that is not yet complete began.
    pub fn begun(&self) -> Option<u64> {
        self.visitor.begun
    }

    /// Returns where the value began, once it has.
    pub fn start(&self) -> Option<u64> {
        self.visitor.start
    }

    /// Returns where the value ended, once it has.
    pub fn end(&self) -> Option<u64> {
        self.visitor.end
    }
}

/// Whether an [`Outline`] notes where the entries stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleEntries {
    /// They are only counted.
    Counted,
    /// They are noted, to be taken with [`Outline::entries`].
    Kept,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Top {
    #[default]
    Other,
    ResourceType,
    Type,
    Entry,
}

#[derive(Debug, Default)]
struct OutlineVisitor {
    base: u64,
    depth: usize,
    is_object: bool,
    start: Option<u64>,
    end: Option<u64>,
    member: Top,
    seen: u8,
    in_entries: bool,
    resource_type: Option<String>,
    kind: Option<String>,
    misshapen: Option<u64>,
    keep: bool,
    count: u32,
    begun: Option<u64>,
    largest: u64,
    entries: Vec<(u64, u64)>,
}

impl OutlineVisitor {
    fn begin(&mut self, at: usize, array: bool) -> Result<(), &'static str> {
        let at = self.base + at as u64;
        match self.depth {
            0 => self.start = Some(at),
            1 if self.member == Top::Entry => {
                if array {
                    self.in_entries = true;
                } else {
                    self.misshapen = Some(at);
                }
            }
            2 if self.in_entries => {
                self.begun = Some(at);
                self.count = self
                    .count
                    .checked_add(1)
                    .ok_or("more than 4,294,967,295 entries")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, end: usize) {
        let end = self.base + end as u64;
        match self.depth {
            0 => self.end = Some(end),
            1 => self.in_entries = false,
            2 if self.in_entries => {
                if let Some(start) = self.begun.take() {
                    self.largest = self.largest.max(end - start);
                    if self.keep {
                        self.entries.push((start, end));
                    }
                }
            }
            _ => {}
        }
    }
}

impl Visit for OutlineVisitor {
    fn key(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        if self.depth != 1 {
            return Ok(());
        }
        let (member, twice) = match &*text(bytes.get(start..end).unwrap_or_default()) {
            "resourceType" => (Top::ResourceType, "`resourceType` occurs twice"),
            "type" => (Top::Type, "`type` occurs twice"),
            "entry" => (Top::Entry, "`entry` occurs twice"),
            _ => (Top::Other, ""),
        };
        self.member = member;
        if member != Top::Other {
            let bit = 1 << member as u8;
            if self.seen & bit != 0 {
                return Err(twice);
            }
            self.seen |= bit;
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        self.begin(start - 1, false)?;
        // No code of FHIR is longer than 64 bytes; what is, equals none.
        if self.depth == 1 && matches!(self.member, Top::ResourceType | Top::Type) {
            let short = end.min(start + 64);
            let value = text(bytes.get(start..short).unwrap_or_default()).into_owned();
            match self.member {
                Top::ResourceType => self.resource_type = Some(value),
                _ => self.kind = Some(value),
            }
        }
        self.finish(end + 1);
        Ok(())
    }

    fn long_string(&mut self, at: usize) -> Result<(), &'static str> {
        self.begin(at, false)
    }

    fn long_string_end(&mut self, end: usize) -> Result<(), &'static str> {
        // It is no code.
        match self.member {
            Top::ResourceType if self.depth == 1 => self.resource_type = Some(String::new()),
            Top::Type if self.depth == 1 => self.kind = Some(String::new()),
            _ => {}
        }
        self.finish(end);
        Ok(())
    }

    fn scalar(&mut self, start: usize, end: usize) -> Result<(), &'static str> {
        self.begin(start, false)?;
        self.finish(end);
        Ok(())
    }

    fn open(&mut self, object: bool, at: usize) -> Result<(), &'static str> {
        self.begin(at, !object)?;
        if self.depth == 0 {
            self.is_object = object;
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), &'static str> {
        self.depth -= 1;
        self.finish(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_is_the_same_in_pieces_of_any_size() {
        let text = br#"{"type":"batch","total":3,"entry":[{"a":[1,2]},null , {"b":"\u00e9"}],"entries":[{}],
            "resourceType":"Bundle","link":[{"entry":[1]}]}"#;
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let parts = [r#"{"a":[1,2]}"#, "null", r#"{"b":"\u00e9"}"#];
        for size in 1..=text.len() {
            let mut outline = Outline::new(BundleEntries::Kept);
            let (mut done, mut end, mut entries) = (0_usize, 0, Vec::new());
            while end < text.len() {
                end = (end + size).min(text.len());
                let last = end == text.len();
                done = at(outline.read(&text[done..end], done as u64, last).unwrap());
                entries.extend(outline.entries().map(|(start, end)| {
                    String::from_utf8_lossy(&text[at(start)..at(end)]).into_owned()
                }));
            }
            assert!(outline.is_done() && outline.is_bundle());
            assert_eq!((outline.kind(), outline.count()), (BundleKind::Batch, 3));
            assert_eq!(outline.largest(), 14);
            assert_eq!(entries, parts);
        }
    }

    #[test]
    fn an_outline_tells_what_is_wrong_with_a_bundle() {
        let read = |text: &str| {
            let mut outline = Outline::new(BundleEntries::Counted);
            outline.read(text.as_bytes(), 0, true).map(|_| outline)
        };
        let misshapen = read(r#"{"resourceType":"Bundle","entry":{}}"#).unwrap();
        assert_eq!(misshapen.misshapen(), Some(33));
        assert_eq!(misshapen.kind(), BundleKind::Missing);
        assert_eq!(read(r#"{"entry":{}}"#).unwrap().misshapen(), None);
        assert_eq!(
            read(r#"{"entry":[],"entry":[]}"#).unwrap_err(),
            (12, "`entry` occurs twice")
        );
        assert!(read(r#"{"entry":[{]}"#).is_err());
    }
}
