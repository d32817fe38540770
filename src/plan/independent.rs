//! Loads whose records need no graph: their steps go into the plan in the order in which they were found.
//!
//! Nothing is kept of them in memory but these counts (design §3): where the ids are the file's, the store checks no
//! references and copies are sent like everything else, no record is anything to another.

use std::io;

use super::{Group, LoadSummary, Step, staging::StagingWriter};

/// The steps of such a load, as a stretch of the draft.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IndependentLoad {
    /// The offset of its first line.
    pub(crate) start: u64,
    /// One after its last byte.
    pub(crate) end: u64,
    /// The number of its steps.
    pub(crate) steps: u64,
    /// The groups among them, and the steps in these.
    groups: u64,
    grouped: u64,
    largest: u32,
}

impl IndependentLoad {
    /// Begins with nothing, at a place of the draft.
    pub(crate) fn at(start: u64) -> Self {
        Self {
            start,
            end: start,
            ..Self::default()
        }
    }

    /// Adds steps that travel together, in parts within a limit of entries and bytes where that is asked for.
    pub(crate) fn group(
        &mut self,
        draft: &mut StagingWriter,
        group: Group,
        parts: Option<(usize, u64)>,
        steps: &[Step],
    ) -> io::Result<()> {
        let (entries, room) = parts.unwrap_or((usize::MAX, u64::MAX));
        let mut rest = steps;
        while let Some((first, others)) = rest.split_first() {
            let mut bytes = first.position.span.length + 1;
            let fits = others.iter().take_while(|step| {
                bytes += step.position.span.length + 1;
                bytes <= room
            });
            let count = std::cmp::min(entries.max(1), 1 + fits.count());
            let (part, after) = rest.split_at(count);
            rest = after;
            let records = u32::try_from(part.len()).unwrap_or(u32::MAX);
            draft.push_group(&Group {
                records,
                bytes: part.iter().map(|step| step.position.span.length + 1).sum(),
                atomic: group.atomic && parts.is_none(),
                ..group
            })?;
            self.groups += 1;
            self.grouped += part.len() as u64;
            self.largest = std::cmp::max(self.largest, records);
            for step in part {
                self.step(draft, step)?;
            }
        }
        Ok(())
    }

    /// Adds a step.
    pub(crate) fn step(&mut self, draft: &mut StagingWriter, step: &Step) -> io::Result<()> {
        draft.push(step)?;
        self.steps += 1;
        self.end = draft.offset();
        Ok(())
    }

    /// Brings the totals of its load up to its groups; returns how many records travel by themselves.
    pub(crate) fn total(&self, load: &mut LoadSummary) -> u64 {
        load.groups += self.groups;
        load.largest_group = std::cmp::max(load.largest_group, self.largest);
        load.sent().saturating_sub(self.grouped)
    }
}
