//! The pictures of a page: what each shows, in marks and in a table that says the same.

use std::collections::BTreeSet;

use super::{
    draw::{self, BLUE, Colour, GREEN, Mark, ORANGE, PURPLE, RED, Scale},
    numbers::{at, counted, tidy},
    timeline::{Axis, COLUMNS, POINTS, Placed},
};
use crate::{
    record::Outcome,
    samples::Sample,
    unit::{ByteSize, grouped},
};

/// A picture, and the table that says the same.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) title: String,
    /// The SVG, or why there is none.
    pub(super) svg: Result<String, String>,
    /// The meanings of the colours.
    pub(super) key: Vec<Key>,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The meaning of a colour.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// The colour's name in the style of the page.
    pub(super) colour: &'static str,
    pub(super) shape: Shape,
    pub(super) word: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Line,
    Box,
    /// A box that lets see through.
    Pale,
}

pub(super) fn key(colour: Colour, shape: Shape, word: &str) -> Key {
    let names = [
        (BLUE, "blue"),
        (ORANGE, "orange"),
        (RED, "red"),
        (GREEN, "green"),
        (PURPLE, "purple"),
    ];
    let name = names.iter().find(|(known, _)| *known == colour);
    Key {
        colour: name.map_or("grey", |(_, name)| name),
        shape,
        word: word.to_owned(),
    }
}

/// The value of a line at a sample; none where there is none.
pub(super) type Value<'a> = &'a dyn Fn(&Placed) -> Option<f64>;

/// A column of a table: its title, and the text for a sample.
pub(super) type Cell<'a> = (&'a str, &'a dyn Fn(&Placed) -> String);

/// A state of a target: its colour, its name, and for how many milliseconds of a sample it held.
type State = (Colour, &'static str, fn(&Sample) -> u64);

/// Draws the pictures of a target over time.
pub(super) fn over_time(axis: &Axis, samples: &[Sample], target: &str) -> Vec<Picture> {
    let scene = Scene {
        axis,
        points: axis.place(samples, target, POINTS),
        rows: axis.place(samples, target, COLUMNS),
    };
    vec![
        scene.speed(),
        scene.latency(),
        scene.heat(),
        scene.in_flight(),
        scene.refusals(),
        scene.bytes(),
    ]
}

pub(super) struct Scene<'a> {
    axis: &'a Axis,
    pub(super) points: Vec<Placed>,
    pub(super) rows: Vec<Placed>,
}

impl Scene<'_> {
    fn speed(&self) -> Picture {
        let well = |placed: &Placed| Some(placed.a_second(of(&placed.sample, Outcome::is_well)));
        let ill = |placed: &Placed| Some(placed.a_second(of(&placed.sample, |o| !o.is_well())));
        let ceiling = |placed: &Placed| placed.sample.ceiling;
        let mut key = vec![
            key(BLUE, Shape::Line, "loaded"),
            key(RED, Shape::Line, "not loaded"),
        ];
        let has_ceiling = self.points.iter().any(|p| p.sample.ceiling.is_some());
        let mut lines: Vec<(Colour, Value<'_>)> = vec![(BLUE, &well), (RED, &ill)];
        if has_ceiling {
            lines.push((PURPLE, &ceiling));
            key.push(self::key(
                PURPLE,
                Shape::Line,
                "ceiling learned from refusals",
            ));
        }
        let outcomes: BTreeSet<Outcome> = self
            .points
            .iter()
            .flat_map(|placed| placed.sample.outcomes.keys().copied())
            .collect();
        let speed = |p: &Placed| tidy(p.a_second(p.sample.settled()));
        let counts: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                let count =
                    move |p: &Placed| grouped(p.sample.outcomes.get(outcome).copied().unwrap_or(0));
                (outcome.as_str(), count)
            })
            .collect();
        let mut cells: Vec<Cell<'_>> = vec![("records/s", &speed)];
        cells.extend(counts.iter().map(|(name, count)| (*name, count as _)));
        let learned = |p: &Placed| p.sample.ceiling.map_or("-".to_owned(), tidy);
        if has_ceiling {
            cells.push(("ceiling (records/s)", &learned));
        }
        self.picture("Records per second", "records/s", &lines, &[], key, &cells)
    }

    fn in_flight(&self) -> Picture {
        let in_flight = |p: &Placed| Some(f64::from(p.sample.in_flight));
        let slots = |p: &Placed| (p.sample.slots > 0).then(|| f64::from(p.sample.slots));
        self.picture(
            "In flight",
            "requests",
            &[(BLUE, &in_flight), (ORANGE, &slots)],
            &[],
            vec![
                key(BLUE, Shape::Line, "in flight, at the most"),
                key(ORANGE, Shape::Line, "as many as the target took well"),
            ],
            &[
                ("in flight", &|p| grouped(p.sample.in_flight.into())),
                ("allowed", &|p| match p.sample.slots {
                    0 => "-".to_owned(),
                    slots => grouped(slots.into()),
                }),
            ],
        )
    }

    fn refusals(&self) -> Picture {
        let refusals = |p: &Placed| Some(p.a_second(p.sample.refusals));
        let retries = |p: &Placed| Some(p.a_second(p.sample.retries));
        let least = self.axis.length() as f64 / 300.0;
        let mut behind = Vec::new();
        let mut key = vec![
            key(RED, Shape::Line, "refusals"),
            key(BLUE, Shape::Line, "retries"),
        ];
        let states: [State; 2] = [
            (ORANGE, "brake: the target asked to wait", |s| s.braked_ms),
            (PURPLE, "circuit open: the target was down", |s| s.down_ms),
        ];
        for (colour, words, time) in states {
            for placed in self.points.iter().filter(|p| time(&p.sample) > 0) {
                let from = placed.from as f64;
                let to = from + (time(&placed.sample) as f64).max(least);
                behind.push(Mark::Stretch(
                    colour,
                    (from, to.min(self.axis.length() as f64)),
                ));
            }
            key.push(self::key(colour, Shape::Pale, words));
        }
        self.picture(
            "Refusals and retries",
            "per second",
            &[(BLUE, &retries), (RED, &refusals)],
            &behind,
            key,
            &[
                ("refusals", &|p| grouped(p.sample.refusals)),
                ("retries", &|p| grouped(p.sample.retries)),
                ("brake (s)", &|p| tidy(p.sample.braked_ms as f64 / 1e3)),
                ("circuit open (s)", &|p| tidy(p.sample.down_ms as f64 / 1e3)),
            ],
        )
    }

    fn bytes(&self) -> Picture {
        let sent = |p: &Placed| Some(p.a_second(p.sample.bytes_sent));
        let received = |p: &Placed| Some(p.a_second(p.sample.bytes_received));
        self.picture(
            "Bytes per second",
            "bytes/s",
            &[(BLUE, &sent), (ORANGE, &received)],
            &[],
            vec![
                key(BLUE, Shape::Line, "sent"),
                key(ORANGE, Shape::Line, "received"),
            ],
            &[
                ("sent", &|p| ByteSize(p.sample.bytes_sent).to_string()),
                ("received", &|p| {
                    ByteSize(p.sample.bytes_received).to_string()
                }),
            ],
        )
    }

    /// Lines that begin at nothing.
    fn picture(
        &self,
        title: &str,
        unit: &'static str,
        lines: &[(Colour, Value<'_>)],
        behind: &[Mark],
        key: Vec<Key>,
        cells: &[Cell<'_>],
    ) -> Picture {
        let values = |value: &Value<'_>| self.points.iter().filter_map(*value).collect::<Vec<_>>();
        let all = lines.iter().flat_map(|(_, value)| values(value));
        let scale = Scale {
            title: unit,
            low: 0.0,
            high: (all.fold(0.0, f64::max) * 1.08).max(1.0),
            is_logarithmic: false,
            written: counted,
        };
        let behind = behind.iter().map(|mark| match mark {
            Mark::Stretch(colour, times) => Mark::Stretch(*colour, *times),
            Mark::Box(colour, times, values, strength) => {
                Mark::Box(*colour, *times, *values, *strength)
            }
            Mark::Line(colour, points) => Mark::Line(*colour, points.clone()),
        });
        let marks: Vec<_> = behind
            .chain(lines.iter().flat_map(|(colour, value)| {
                let steps = steps(&self.points, *value);
                steps
                    .into_iter()
                    .map(|points| Mark::Line(*colour, points))
                    .collect::<Vec<_>>()
            }))
            .collect();
        self.done(title, unit, scale, &marks, key, cells)
    }

    pub(super) fn done(
        &self,
        title: &str,
        unit: &str,
        scale: Scale,
        marks: &[Mark],
        key: Vec<Key>,
        cells: &[Cell<'_>],
    ) -> Picture {
        let head = std::iter::once("from").chain(cells.iter().map(|(name, _)| *name));
        let rows = self.rows.iter().map(|placed| {
            let time = std::iter::once(at(placed.from));
            time.chain(cells.iter().map(|(_, cell)| cell(placed)))
                .collect()
        });
        Picture {
            title: format!("{title} ({unit})"),
            svg: draw::over_time(self.axis, scale, marks).map_err(|error| error.to_string()),
            key,
            head: head.map(str::to_owned).collect(),
            rows: rows.collect(),
        }
    }
}

fn of(sample: &Sample, which: fn(Outcome) -> bool) -> u64 {
    let outcomes = sample.outcomes.iter();
    let those = outcomes.filter(|(outcome, _)| which(**outcome));
    those.map(|(_, count)| count).sum()
}

/// Returns the points of a line that holds each value for as long as it held; where there is none, the line is broken.
pub(super) fn steps(points: &[Placed], value: Value<'_>) -> Vec<Vec<(f64, f64)>> {
    let mut lines: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut is_broken = true;
    for placed in points {
        let Some(value) = value(placed) else {
            is_broken = true;
            continue;
        };
        if is_broken {
            lines.push(Vec::new());
            is_broken = false;
        }
        if let Some(line) = lines.last_mut() {
            line.push((placed.from as f64, value));
            line.push((placed.to as f64, value));
        }
    }
    lines
}
