//! The records that travel in one request, and the reasons why no request can be made of them.

use std::collections::HashMap;

use bytes::Bytes;

use super::HeldVersions;
use crate::{
    manifest::LoadSettings,
    record::{Packaging, Step, StepId, Stretch},
};

/// The records that travel in one request, as a target is asked to write it.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The settings of its load.
    pub settings: &'a LoadSettings,
    /// The packaging of its records; none for one by itself.
    pub packaging: Option<Packaging>,
    /// The steps of its records.
    pub steps: &'a [Step],
    /// The versions that updates replace, as far as they are known.
    pub replaces: &'a HeldVersions,
    /// The places of the bytes of records that are too large to be held, by the numbers of their steps: the body of
    /// each is empty then.
    pub stretches: &'a HashMap<StepId, Stretch>,
}

impl<'a> Parcel<'a> {
    /// Returns the record that travels by itself, with its bytes.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn single(
        &self,
        bodies: &mut dyn Iterator<Item = Bytes>,
    ) -> Result<(&'a Step, Bytes), Unbuilt> {
        let step = self.steps.first().ok_or(Unbuilt::NOTHING)?;
        Ok((step, bodies.next().ok_or(Unbuilt::NOTHING)?))
    }
}

/// The reason why no request could be made of a record: what it was to be made of is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbuilt {
    /// The number of the record's step; none where there is no record at all.
    pub record: Option<StepId>,
    /// The reason, in words that hold no content.
    pub why: &'static str,
}

impl Unbuilt {
    /// There is no record.
    const NOTHING: Self = Self {
        record: None,
        why: "there is nothing to send",
    };

    /// Returns the reason for a record whose bytes are not what was planned.
    pub fn changed(step: &Step) -> Self {
        Self {
            record: Some(step.number),
            why: "it is no longer what it was when it was planned",
        }
    }
}
