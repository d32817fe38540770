//! The visitor of the scan: what members mean, by their name and depth.

use memchr::memmem;

use super::{Identifier, Reference, Scanned};
use crate::fhir::{
    TextRange,
    json::{MAX_DEPTH, Visit},
    reference::LINKS,
};

/// The kind of the value that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Root,
    Other,
    Extension,
    Reference,
    ResourceType,
    Id,
    Url,
    Identifier,
    System,
    Value,
    Contained,
    ContainedId,
    Text,
    Div,
    Link,
}

/// The role of an open object or array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Root,
    Object,
    Array,
    Extensions,
    Extension,
    Identifiers,
    Identifier,
    ContainedList,
    Contained,
    Text,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    role: Role,
    start: usize,
    in_extension: bool,
    in_contained: bool,
    /// The interesting members seen, one bit a [`Slot`].
    seen: u16,
}

/// The findings so far, and where the scan is.
pub(super) struct Collector {
    frames: Vec<Frame>,
    slot: Slot,
    pub(super) found: Scanned,
    href: memmem::Finder<'static>,
    src: memmem::Finder<'static>,
}

impl Collector {
    pub(super) fn new() -> Self {
        Self {
            frames: Vec::with_capacity(MAX_DEPTH),
            slot: Slot::Root,
            found: Scanned::default(),
            href: memmem::Finder::new(b"href="),
            src: memmem::Finder::new(b"src="),
        }
    }

    /// Forgets the last record.
    pub(super) fn start(&mut self) {
        self.frames.clear();
        self.slot = Slot::Root;
        self.found.clear();
    }

    /// Returns the kind of a value: named by its member, or by the array that it is an element of.
    fn slot(&self) -> Slot {
        match self.frames.last().map(|frame| frame.role) {
            Some(Role::Array) => Slot::Other,
            Some(Role::Extensions) => Slot::Extension,
            Some(Role::Identifiers) => Slot::Identifier,
            Some(Role::ContainedList) => Slot::Contained,
            _ => self.slot,
        }
    }
}

/// Tells whether a member of this name is one of [`LINKS`]. Its length is looked at first: most members have another name.
fn is_link(name: &[u8]) -> bool {
    matches!(name.len(), 3 | 6..=10 | 13 | 15) && LINKS.iter().any(|link| link.as_bytes() == name)
}

fn twice(slot: Slot) -> &'static str {
    match slot {
        Slot::Reference => "`reference` occurs twice",
        Slot::ResourceType => "`resourceType` occurs twice",
        Slot::Id | Slot::ContainedId => "`id` occurs twice",
        Slot::Identifier => "`identifier` occurs twice",
        Slot::System => "`system` occurs twice",
        Slot::Value => "`value` occurs twice",
        Slot::Contained => "`contained` occurs twice",
        Slot::Text => "`text` occurs twice",
        Slot::Div => "`div` occurs twice",
        Slot::Root | Slot::Other | Slot::Url | Slot::Extension | Slot::Link => {
            "a member occurs twice"
        }
    }
}

impl Visit for Collector {
    fn key(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let raw = TextRange { start, end };
        let name = raw.of(bytes);
        // The longest escape of one character has 12 bytes, the longest name of interest 17 characters.
        let resolved;
        let name = if name.len() <= 17 * 12 && memchr::memchr(b'\\', name).is_some() {
            resolved = raw.text(bytes);
            resolved.as_bytes()
        } else {
            name
        };
        let slot = match (name, frame.role) {
            (b"reference", _) => Slot::Reference,
            (b"extension" | b"modifierExtension", _) => Slot::Extension,
            (b"resourceType", Role::Root) => Slot::ResourceType,
            (b"id", Role::Root) => Slot::Id,
            (b"identifier", Role::Root) => Slot::Identifier,
            (b"contained", Role::Root) => Slot::Contained,
            (b"text", Role::Root) => Slot::Text,
            (b"div", Role::Text) => Slot::Div,
            (b"id", Role::Contained) => Slot::ContainedId,
            (b"system", Role::Identifier) => Slot::System,
            (b"value", Role::Identifier) => Slot::Value,
            // The most frequent by far, and it leads to no record.
            (b"url", Role::Extension | Role::Contained) => Slot::Other,
            (b"url", Role::Root) => Slot::Url,
            (name, _) if is_link(name) => Slot::Link,
            _ => Slot::Other,
        };
        self.slot = slot;
        if !matches!(slot, Slot::Other | Slot::Url | Slot::Extension | Slot::Link) {
            let bit = 1 << slot as u16;
            if frame.seen & bit != 0 {
                return Err(twice(slot));
            }
            frame.seen |= bit;
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        let part = TextRange { start, end };
        match self.slot() {
            Slot::Reference => {
                if let Some(frame) = self.frames.last() {
                    self.found.references.push(Reference {
                        part,
                        in_extension: frame.in_extension,
                        in_contained: frame.in_contained,
                    });
                }
            }
            Slot::ResourceType => self.found.resource_type = Some(part),
            Slot::Id => self.found.id = Some(part),
            Slot::Url => self.found.url = Some(part),
            Slot::System => {
                if let Some(identifier) = self.found.identifiers.last_mut() {
                    identifier.system = Some(part);
                }
            }
            Slot::Value => {
                if let Some(identifier) = self.found.identifiers.last_mut() {
                    identifier.value = Some(part);
                }
            }
            Slot::Link => self.found.links.push(part),
            Slot::ContainedId => self.found.contained.push(part),
            Slot::Div => {
                let div = part.of(bytes);
                self.found.div = Some(part);
                self.found.div_links =
                    self.href.find(div).is_some() || self.src.find(div).is_some();
            }
            Slot::Root
            | Slot::Other
            | Slot::Extension
            | Slot::Identifier
            | Slot::Contained
            | Slot::Text => {}
        }
        Ok(())
    }

    fn scalar(&mut self, _start: usize, _end: usize) -> Result<(), &'static str> {
        Ok(())
    }

    fn open(&mut self, object: bool, at: usize) -> Result<(), &'static str> {
        let slot = self.slot();
        let parent = self.frames.last();
        let role = match (slot, object) {
            (Slot::Root, true) => Role::Root,
            (Slot::Identifier, true) => {
                self.found.identifiers.push(Identifier::default());
                Role::Identifier
            }
            (Slot::Contained, true) => Role::Contained,
            (Slot::Text, true) => Role::Text,
            (Slot::Extension, true) => Role::Extension,
            (Slot::Extension, false) if parent.is_none_or(|f| f.role != Role::Extensions) => {
                Role::Extensions
            }
            // An array in such an array is none of FHIR's; nothing is looked for in it.
            (Slot::Identifier, false) if parent.is_some_and(|f| f.role == Role::Root) => {
                Role::Identifiers
            }
            (Slot::Contained, false) if parent.is_some_and(|f| f.role == Role::Root) => {
                Role::ContainedList
            }
            (_, true) => Role::Object,
            (_, false) => Role::Array,
        };
        let frame = Frame {
            role,
            start: at,
            in_extension: parent.is_some_and(|f| f.in_extension) || slot == Slot::Extension,
            in_contained: parent.is_some_and(|f| f.in_contained) || slot == Slot::Contained,
            seen: 0,
        };
        self.frames.push(frame);
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), &'static str> {
        if let Some(frame) = self.frames.pop()
            && frame.role == Role::Root
        {
            self.found.whole = TextRange {
                start: frame.start,
                end,
            };
        }
        Ok(())
    }
}
