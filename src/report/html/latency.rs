//! The pictures of latency: its quantiles over time, and its heat map.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    draw::{BLUE, Colour, Mark, ORANGE, RED, Scale},
    numbers::{counted, latency, micros_of},
    pictures::{Cell, Picture, Scene, Shape, key, steps},
    timeline::Placed,
};
use crate::{
    samples::{BUCKETS, upper},
    unit::grouped,
};

impl Scene<'_> {
    pub(super) fn latency(&self) -> Picture {
        const SHARES: [(Colour, &str, f64); 3] = [
            (BLUE, "p50", 0.5),
            (ORANGE, "p95", 0.95),
            (RED, "p99", 0.99),
        ];
        let micros = |placed: &Placed, share| {
            let time: Option<Duration> = placed.sample.quantile(share);
            time.map(|time| time.as_secs_f64() * 1e6)
        };
        let all = SHARES.iter().flat_map(|(_, _, share)| {
            let values = self.points.iter();
            values.filter_map(|p| micros(p, *share))
        });
        let (low, high) = all.fold((f64::MAX, 0.0), |(low, high), value| {
            (value.min(low), value.max(high))
        });
        let marks: Vec<_> = SHARES
            .iter()
            .flat_map(|(colour, _, share)| {
                let steps = steps(&self.points, &|placed| micros(placed, *share));
                steps.into_iter().map(|points| Mark::Line(*colour, points))
            })
            .collect();
        let keys = SHARES.map(|(colour, name, share)| {
            let words = format!("{name}: {} in a hundred took no longer", share * 100.0);
            key(colour, Shape::Line, &words)
        });
        let written = |placed: &Placed, share| {
            let time = placed.sample.quantile(share);
            time.map_or("-".to_owned(), |time| latency(micros_of(time)))
        };
        self.done(
            "Latency of attempts",
            "on the wire",
            logarithmic("latency", low, high),
            &marks,
            keys.to_vec(),
            &[
                ("answers", &|p| {
                    grouped(p.sample.latency.iter().map(|(_, count)| count).sum())
                }),
                ("p50", &|p| written(p, 0.5)),
                ("p95", &|p| written(p, 0.95)),
                ("p99", &|p| written(p, 0.99)),
            ],
        )
    }

    pub(super) fn heat(&self) -> Picture {
        /// Buckets in a row: the limits are 1.4 times apart.
        const TOGETHER: u8 = 2;
        let cells = |placed: &Placed| {
            let mut rows: BTreeMap<u8, u64> = BTreeMap::new();
            for (bucket, count) in &placed.sample.latency {
                *rows.entry(bucket / TOGETHER).or_default() += count;
            }
            rows
        };
        let columns: Vec<_> = self.rows.iter().map(|p| (p, cells(p))).collect();
        let shares = columns.iter().flat_map(|(placed, rows)| {
            let counts = rows.values();
            counts.map(|count| placed.a_second(*count))
        });
        let most = shares.fold(0.0, f64::max);
        let row = |row: u8| {
            let limit = |bucket: u8| upper(bucket).as_secs_f64() * 1e6;
            let first = row * TOGETHER;
            let low = if first == 0 {
                limit(0) / 2.0
            } else {
                limit(first - 1)
            };
            (low, limit(std::cmp::min(first + TOGETHER - 1, BUCKETS - 1)))
        };
        let present: BTreeSet<u8> = columns
            .iter()
            .flat_map(|(_, r)| r.keys().copied())
            .collect();
        let mut marks = Vec::new();
        for (placed, rows) in &columns {
            for (number, count) in rows {
                // The root makes what is rare visible beside what is usual.
                let strength = (placed.a_second(*count) / most).sqrt().clamp(0.08, 1.0);
                let times = (placed.from as f64, placed.to as f64);
                marks.push(Mark::Box(BLUE, times, row(*number), strength));
            }
        }
        let low = present.first().map_or(f64::MAX, |first| row(*first).0);
        let high = present.last().map_or(0.0, |last| row(*last).1);
        let head: Vec<_> = present
            .iter()
            .map(|number| format!("to {}", latency(row(*number).1)))
            .collect();
        let counts: Vec<_> = present
            .iter()
            .map(|number| {
                move |p: &Placed| match cells(p).get(number) {
                    Some(count) => grouped(*count),
                    None => "-".to_owned(),
                }
            })
            .collect();
        let table: Vec<Cell<'_>> = head
            .iter()
            .zip(&counts)
            .map(|(head, count)| (head.as_str(), count as _))
            .collect();
        self.done(
            "Heat map of latency",
            "attempts by how long they took",
            logarithmic("latency", low, high),
            &marks,
            vec![
                key(BLUE, Shape::Pale, "few attempts a second"),
                key(
                    BLUE,
                    Shape::Box,
                    &format!("many (up to {} a second)", counted(most)),
                ),
            ],
            &table,
        )
    }
}

/// The scale of latencies between two, in microseconds.
fn logarithmic(title: &'static str, low: f64, high: f64) -> Scale {
    let (low, high) = if low > high { (1e3, 1e6) } else { (low, high) };
    Scale {
        title,
        low: low / 1.3,
        high: high.max(low * 3.0) * 1.3,
        is_logarithmic: true,
        written: latency,
    }
}
