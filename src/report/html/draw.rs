//! Draws pictures as inline SVG, by `plotters`: the axes, their labels and the lines between them.
//!
//! Texts are drawn by the browser, in its own fonts. Colours are names: the page's style says what they look like in light, in
//! the dark and on paper.

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{
        Shift,
        cartesian::Cartesian2d,
        combinators::BindKeyPoints,
        ranged1d::{Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    drawing::{DrawingArea, IntoDrawingArea},
    element::{PathElement, Rectangle, Text},
    prelude::{IntoLogRange, SVGBackend},
    style::{
        Color, IntoFont, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{numbers::tidy, timeline::Axis};

/// The size of a picture in its own units: two of them are a pixel where two pictures stand side by side on a desk.
const WIDE: u32 = 960;
const HIGH: u32 = 480;

/// The height of the band of sessions below the axis.
const BAND: i32 = 34;

/// The size of letters (plotters asks for 1.24 times that): ten pixels on a phone.
const LETTERS: u32 = 32;

/// A colour by its name in the style of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour(RGBColor);

pub(super) const INK: Colour = Colour(RGBColor(0x1F, 0x23, 0x28));
const GRID: Colour = Colour(RGBColor(0xD0, 0xD7, 0xDE));
pub(super) const BLUE: Colour = Colour(RGBColor(0x05, 0x50, 0xAE));
pub(super) const ORANGE: Colour = Colour(RGBColor(0xBC, 0x4C, 0x00));
pub(super) const RED: Colour = Colour(RGBColor(0xB3, 0x26, 0x1E));
pub(super) const GREEN: Colour = Colour(RGBColor(0x1A, 0x7F, 0x37));
pub(super) const PURPLE: Colour = Colour(RGBColor(0x66, 0x39, 0xBA));
pub(super) const GREY: Colour = Colour(RGBColor(0x6E, 0x77, 0x81));

/// A mark between the axes, in milliseconds of the run's time and in units of the other axis.
#[derive(Debug)]
pub(super) enum Mark {
    /// A line that holds its value from one point to the next.
    Line(Colour, Vec<(f64, f64)>),
    /// A box: from, to; low, high; how strong.
    Box(Colour, (f64, f64), (f64, f64), f64),
    /// A stretch of time, over the whole height.
    Stretch(Colour, (f64, f64)),
}

/// The upright axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// The quantity, with its unit.
    pub(super) title: &'static str,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Equal distances are equal factors.
    pub(super) is_logarithmic: bool,
    /// The function that writes a value.
    pub(super) written: fn(f64) -> String,
}

/// The unit of time on the other axis.
#[derive(Debug, Clone, Copy)]
struct Clock {
    title: &'static str,
    /// The number of milliseconds in the unit.
    unit: f64,
}

impl Clock {
    fn of(axis: &Axis) -> Self {
        let (title, unit) = match axis.length() {
            0..=180_000 => ("time (s)", 1e3),
            180_001..=10_800_000 => ("time (min)", 6e4),
            _ => ("time (h)", 3.6e6),
        };
        Self { title, unit }
    }
}

type Failed = Box<dyn std::error::Error>;

/// Draws marks over time; below the axis stand the sessions, where there are several.
pub(super) fn over_time(axis: &Axis, scale: Scale, marks: &[Mark]) -> Result<String, Failed> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDE, HIGH)).into_drawing_area();
        let clock = Clock::of(axis);
        let has_band = axis.stretches.len() > 1;
        let (chart, _) =
            root.split_vertically(HIGH - if has_band { BAND.cast_unsigned() } else { 0 });
        let mut builder = ChartBuilder::on(&chart);
        builder
            .margin(20)
            .margin_right(24)
            .x_label_area_size(78)
            .y_label_area_size(166);
        let times = 0.0..axis.length() as f64 / clock.unit;
        let columns = if scale.is_logarithmic {
            let values = (scale.low..scale.high).log_scale();
            let values = values.with_key_points(ticks(scale.low, scale.high));
            fill(
                builder.build_cartesian_2d(times, values)?,
                clock,
                scale,
                marks,
            )?
        } else {
            let values = scale.low..scale.high;
            fill(
                builder.build_cartesian_2d(times, values)?,
                clock,
                scale,
                marks,
            )?
        };
        if has_band {
            band(&root, axis, columns)?;
        }
        root.present()?;
    }
    Ok(inline(&svg))
}

/// Returns where a logarithmic axis is labelled: at 1, 2 and 5 times the powers of ten, or at the powers alone where these are
/// many.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (high / low).log10();
    let steps: &[f64] = match decades {
        d if d < 2.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let powers = (0..10).map(|power| 10_f64.powi(power));
    let all = powers.flat_map(|power| steps.iter().map(move |step| power * step));
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

/// Draws marks into a chart; returns from which column to which it reaches.
fn fill<Y: Ranged<ValueType = f64> + ValueFormatter<f64>>(
    mut chart: ChartContext<'_, SVGBackend<'_>, Cartesian2d<RangedCoordf64, Y>>,
    clock: Clock,
    scale: Scale,
    marks: &[Mark],
) -> Result<(i32, i32), Failed> {
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(GRID.0.mix(0.0))
        .bold_line_style(GRID.0)
        .axis_style(INK.0)
        .label_style(letters(INK))
        .axis_desc_style(letters(INK))
        .x_labels(6)
        .y_labels(5)
        .x_desc(clock.title)
        .y_desc(scale.title)
        .x_label_formatter(&|value| tidy(*value))
        .y_label_formatter(&|value| (scale.written)(*value))
        .draw()?;
    let place = |time: f64| time / clock.unit;
    for mark in marks {
        match mark {
            Mark::Line(colour, points) => {
                let points: Vec<_> = points
                    .iter()
                    .map(|(time, value)| (place(*time), value.clamp(scale.low, scale.high)))
                    .collect();
                chart.draw_series([PathElement::new(points, colour.0.stroke_width(3))])?;
            }
            Mark::Box(colour, (from, to), (low, high), strength) => {
                let corners = [(place(*from), *high), (place(*to), *low)];
                let style = colour.0.mix(*strength).filled();
                chart.draw_series([Rectangle::new(corners, style)])?;
            }
            Mark::Stretch(colour, (from, to)) => {
                let corners = [(place(*from), scale.high), (place(*to), scale.low)];
                let style = colour.0.mix(0.25).filled();
                chart.draw_series([Rectangle::new(corners, style)])?;
            }
        }
    }
    let (columns, _) = chart.plotting_area().get_pixel_range();
    Ok((columns.start, columns.end))
}

/// Draws the sessions below the axis.
fn band(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    axis: &Axis,
    (first, last): (i32, i32),
) -> Result<(), Failed> {
    let bottom = HIGH.cast_signed() - 2;
    let top = bottom - BAND + 4;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is a place in the picture"
    )]
    let column = |time: u64| {
        first + (f64::from(last - first) * time as f64 / axis.length() as f64).round() as i32
    };
    for (index, stretch) in axis.stretches.iter().enumerate() {
        let (from, to) = (column(stretch.from), column(stretch.from + stretch.length));
        let strength = if index % 2 == 0 { 0.2 } else { 0.45 };
        let to = std::cmp::max(to, from + 2);
        let style = PURPLE.0.mix(strength).filled();
        root.draw(&Rectangle::new([(from, top), (to, bottom)], style))?;
        // A number that does not fit is left out; the table of sessions has them all.
        let words = [
            format!("session {}", stretch.session),
            stretch.session.to_string(),
        ];
        let fits = |word: &&String| i32::try_from(word.len() * 16).is_ok_and(|w| w < to - from);
        if let Some(word) = words.iter().find(fits) {
            let style = letters(INK).pos(Pos::new(HPos::Center, VPos::Center));
            let middle = (i32::midpoint(from, to), i32::midpoint(top, bottom));
            root.draw(&Text::new(word.clone(), middle, style))?;
        }
    }
    Ok(())
}

/// A bar: its name, and its parts.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) parts: Vec<(Colour, u64)>,
}

/// Draws bars that lie one below the other, each of parts.
pub(super) fn bars(bars: &[Bar], title: &str) -> Result<String, Failed> {
    const ROW: i32 = 46;
    /// The column at which the bars begin: their names stand before it.
    const NAMES: i32 = 330;
    const END: i32 = WIDE.cast_signed() - 150;
    let rows = i32::try_from(bars.len())?;
    let high = rows * ROW + 50;
    let of = |bar: &Bar| bar.parts.iter().map(|(_, count)| *count).sum::<u64>();
    let most = bars.iter().map(of).max().unwrap_or(0).max(1);
    let mut svg = String::new();
    {
        let size = (WIDE, u32::try_from(high)?);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is a place in the picture"
        )]
        let column = |count: u64| {
            NAMES + (f64::from(END - NAMES) * count as f64 / most as f64).round() as i32
        };
        for (row, bar) in (0..).zip(bars) {
            let top = row * ROW;
            let middle = top + ROW / 2;
            let style = letters(INK).pos(Pos::new(HPos::Right, VPos::Center));
            root.draw(&Text::new(short(&bar.name), (NAMES - 12, middle), style))?;
            let mut sum = 0;
            for (colour, count) in &bar.parts {
                let from = column(sum);
                sum += count;
                // A part with any records is wide enough to be seen.
                let to = std::cmp::max(column(sum), from + 2);
                let corners = [(from, top + 6), (to, top + ROW - 6)];
                root.draw(&Rectangle::new(corners, colour.0.filled()))?;
            }
            let style = letters(INK).pos(Pos::new(HPos::Left, VPos::Center));
            let count = crate::unit::grouped(sum);
            root.draw(&Text::new(count, (column(sum) + 10, middle), style))?;
        }
        let bottom = rows * ROW;
        let line = vec![(NAMES, 0), (NAMES, bottom)];
        root.draw(&PathElement::new(line, INK.0.stroke_width(2)))?;
        let style = letters(INK).pos(Pos::new(HPos::Center, VPos::Center));
        let middle = (i32::midpoint(NAMES, END), bottom + 26);
        root.draw(&Text::new(title.to_owned(), middle, style))?;
        root.present()?;
    }
    Ok(inline(&svg))
}

/// Cuts a name to what fits before its bar.
fn short(name: &str) -> String {
    const MOST: usize = 20;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    let begin: String = name.chars().take(MOST - 1).collect();
    format!("{begin}…")
}

fn letters(colour: Colour) -> TextStyle<'static> {
    ("sans-serif", LETTERS).into_font().color(&colour.0)
}

/// Makes an SVG document a part of a page: what its text is follows from its place, and its size from the page.
fn inline(svg: &str) -> String {
    let body = svg.find('>').and_then(|at| svg.get(at + 1..));
    let size = svg
        .find("viewBox")
        .and_then(|at| svg.get(at..)?.split('"').nth(1));
    format!(
        "<svg viewBox=\"{}\" role=\"img\" LABEL>{}",
        size.unwrap_or_default(),
        body.unwrap_or_default().replace(">\n", ">")
    )
}
