//! The picture of outcomes by type.

use super::{
    draw::{self, BLUE, Bar, Colour, GREEN, GREY, ORANGE, PURPLE, RED},
    pictures::{Key, Picture, Shape, key},
};
use crate::{
    record::Outcome,
    report::{
        Report, Totals,
        figures::present,
        format::{kind, plain},
    },
    unit::grouped,
};

/// Bars of types: the rest is summed up.
const TYPES: usize = 12;

/// Draws the outcomes of the records, by type.
pub(super) fn outcomes(report: &Report) -> Picture {
    let mut types: Vec<(String, Totals)> = report
        .types
        .iter()
        .map(|(name, totals)| (plain(kind(name)), *totals))
        .collect();
    types.sort_by_key(|(_, totals)| {
        let ill = totals.sum() - totals.well();
        (std::cmp::Reverse(ill), std::cmp::Reverse(totals.sum()))
    });
    let present: Vec<Outcome> = present(report.outcomes);
    let parts = |totals: &Totals| {
        let of = present.iter().map(|o| (colour(*o), totals.of(*o)));
        of.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    let mut bars: Vec<Bar> = types
        .iter()
        .take(TYPES)
        .map(|(name, totals)| Bar {
            name: name.clone(),
            parts: parts(totals),
        })
        .collect();
    if let Some(more) = types.len().checked_sub(TYPES).filter(|more| *more > 0) {
        let mut sums: Vec<(Colour, u64)> = Vec::new();
        for (_, totals) in types.iter().skip(TYPES) {
            for (colour, count) in parts(totals) {
                match sums.iter_mut().find(|(known, _)| *known == colour) {
                    Some((_, sum)) => *sum += count,
                    None => sums.push((colour, count)),
                }
            }
        }
        bars.push(Bar {
            name: format!("{more} more types"),
            parts: sums,
        });
    }
    let mut keys: Vec<Key> = Vec::new();
    for outcome in &present {
        let new = key(colour(*outcome), Shape::Box, outcome.as_str());
        match keys.iter_mut().find(|known| known.colour == new.colour) {
            Some(known) => known.word = format!("{}, {}", known.word, new.word),
            None => keys.push(new),
        }
    }
    let head = ["type", "records"].into_iter().map(str::to_owned);
    Picture {
        title: "Outcomes by type (records)".to_owned(),
        svg: draw::bars(&bars, "records").map_err(|error| error.to_string()),
        key: keys,
        head: head
            .chain(present.iter().map(|o| o.as_str().to_owned()))
            .collect(),
        rows: types
            .iter()
            .map(|(name, totals)| {
                let sum = [name.clone(), grouped(totals.sum())].into_iter();
                sum.chain(present.iter().map(|o| grouped(totals.of(*o))))
                    .collect()
            })
            .collect(),
    }
}

/// Returns in which colour an outcome is drawn.
fn colour(outcome: Outcome) -> Colour {
    match outcome {
        Outcome::Created | Outcome::Updated => GREEN,
        Outcome::Unchanged | Outcome::Matched | Outcome::Duplicate => BLUE,
        Outcome::Rejected => RED,
        Outcome::Blocked => ORANGE,
        Outcome::Unknown => PURPLE,
        Outcome::Unsupported | Outcome::Pending => GREY,
    }
}
