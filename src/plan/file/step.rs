//! A step as one line of a plan.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    event::LoadId,
    plan::{Action, Link, Step, To},
    record::{Position, SourceId, Span, StepId},
};

#[derive(Serialize, Deserialize)]
pub(super) struct StepLine<'a>(
    SourceId,
    u64,
    u64,
    Option<u32>,
    u64,
    u64,
    u64,
    u64,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    Cow<'a, Action>,
    /// Links to steps: reference, step, reference, step …
    Vec<u64>,
    /// Links to resources that are there already; those to be searched for have no name.
    Vec<(u32, String)>,
    /// The references, of those to steps, that come with a second request.
    Vec<u32>,
    /// The two halves of the hash.
    (u64, u64),
    /// Links within a transaction that its store resolves: reference, step, reference, step …
    Vec<u64>,
);

/// Writes a step as it stands in a plan, without its line break, load and number.
pub(in crate::plan) fn write_step(out: &mut Vec<u8>, step: &Step) -> std::io::Result<()> {
    serde_json::to_writer(out, &StepLine::of(step)).map_err(std::io::Error::other)
}

/// Reads what [`write_step`] wrote.
pub(in crate::plan) fn read_step(line: &[u8]) -> std::io::Result<Step> {
    let line: StepLine<'_> = serde_json::from_slice(line).map_err(std::io::Error::other)?;
    line.owned(LoadId(0), StepId(0))
        .map_err(std::io::Error::other)
}

/// Reads links to steps: reference, step, reference, step …
fn read_links(
    links: &mut Vec<Link>,
    numbers: &[u64],
    native: bool,
    late: &[u32],
) -> Result<(), &'static str> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a link of a step leads nowhere");
    }
    for [reference, to] in pairs {
        let reference = u32::try_from(*reference);
        let reference = reference.map_err(|_| "a link of a step has a number that is none")?;
        links.push(Link {
            reference,
            to: To::Step(StepId(*to)),
            late: late.contains(&reference),
            native,
        });
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn halves(hash: u128) -> (u64, u64) {
    ((hash >> 64) as u64, hash as u64)
}

impl<'a> StepLine<'a> {
    pub(super) fn of(step: &'a Step) -> Self {
        let Position {
            source,
            index,
            line,
            entry,
            span,
        } = step.position;
        let (mut links, mut known, mut late) = (Vec::new(), Vec::new(), Vec::new());
        let mut native = Vec::new();
        for link in &step.links {
            late.extend(link.late.then_some(link.reference));
            match &link.to {
                To::Step(to) if link.native => native.extend([u64::from(link.reference), to.0]),
                To::Step(to) => links.extend([u64::from(link.reference), to.0]),
                To::Resource(to) => known.push((link.reference, to.clone())),
                To::Search => known.push((link.reference, String::new())),
            }
        }
        Self(
            source,
            index,
            line,
            entry,
            span.start,
            span.length,
            step.body.start,
            step.body.length,
            Cow::Borrowed(&step.kind),
            step.id.as_deref().map(Cow::Borrowed),
            step.full_url.as_deref().map(Cow::Borrowed),
            Cow::Borrowed(&step.action),
            links,
            known,
            late,
            halves(step.hash),
            native,
        )
    }

    pub(super) fn owned(self, load: LoadId, number: StepId) -> Result<Step, &'static str> {
        let Self(
            source,
            index,
            line,
            entry,
            start,
            length,
            body,
            body_length,
            kind,
            id,
            full_url,
            action,
            to_steps,
            known,
            late,
            (high, low),
            native,
        ) = self;
        let to_resources = known.into_iter().map(|(reference, to)| Link {
            reference,
            to: if to.is_empty() {
                To::Search
            } else {
                To::Resource(to)
            },
            late: false,
            native: false,
        });
        let count = to_steps.len() / 2 + native.len() / 2 + to_resources.len();
        let mut links = Vec::with_capacity(count);
        read_links(&mut links, &to_steps, false, &late)?;
        links.extend(to_resources);
        read_links(&mut links, &native, true, &[])?;
        Ok(Step {
            number,
            load,
            position: Position {
                source,
                index,
                line,
                entry,
                span: Span { start, length },
            },
            body: Span {
                start: body,
                length: body_length,
            },
            kind: kind.into_owned(),
            id: id.map(Cow::into_owned),
            full_url: full_url.map(Cow::into_owned),
            action: action.into_owned(),
            links,
            hash: u128::from(high) << 64 | u128::from(low),
            first: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_of_a_damaged_line_is_dropped() {
        let line = |links: &str| {
            let line = format!(
                r#"[0,0,1,null,0,9,0,9,"Patient",null,null,{{"send":"create"}},{links},[],[],[0,0],[]]"#
            );
            read_step(line.as_bytes()).map(|step| step.links.len())
        };
        assert_eq!(line("[3,7,4,8]").unwrap(), 2);
        for damaged in ["[3,7,4]", "[4294967296,7]"] {
            assert!(
                line(damaged)
                    .unwrap_err()
                    .to_string()
                    .contains("a link of a step")
            );
        }
    }
}
