//! The charts, as SVG by plotters.
//!
//! Each is drawn twice, for wide and for narrow screens; the style sheet shows one. Colours are those
//! of the light theme, and the style sheet gives them another value in the dark. Texts of others are
//! shortened here and escaped by plotters.

use chrono::{Datelike, Days, NaiveDate};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::facts::{Month, Tally};
use super::support::Support;
use super::words;

/// Widths in CSS pixels, at which the text has its size.
const WIDE: u32 = 600;
const NARROW: u32 = 340;

const TEXT_SIZE: f64 = 12.0;
/// plotters divides a font's size by this for SVG.
const PLOTTERS_SCALE: f64 = 1.24;
/// The width of a digit is a bit over half its height in every common font.
const DIGIT_WIDTH: f64 = 7.0;

/// Named again in page.css.
const INK: RGBColor = RGBColor(0x1F, 0x24, 0x30);
const QUIET: RGBColor = RGBColor(0x5C, 0x64, 0x73);
const GRID: RGBColor = RGBColor(0xE2, 0xE5, 0xEB);

/// A chart that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("could not draw a chart: {0}")]
pub struct ChartError(String);

/// A chart for both kinds of screens.
#[derive(Debug)]
pub(super) struct Svg {
    pub(super) wide: String,
    pub(super) narrow: String,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn both(
    height: u32,
    draw: impl Fn(&Area<'_>, i32, i32) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<Svg, ChartError> {
    let one = |width: u32| {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
            draw(&area, signed(width), signed(height))
                .map_err(|error| ChartError(error.to_string()))?;
            area.present()
                .map_err(|error| ChartError(error.to_string()))?;
        }
        Ok(svg)
    };
    Ok(Svg {
        wide: one(WIDE)?,
        narrow: one(NARROW)?,
    })
}

/// Horizontal bars of containers by support, the first on top.
pub(super) fn bars(rows: &[(String, Tally)]) -> Result<Svg, ChartError> {
    const ROW: i32 = 26;
    const BAR: i32 = 16;
    let height = ROW * signed(rows.len().max(1));
    let most = rows.iter().map(|(_, tally)| tally.total()).max();
    let most = most.unwrap_or_default().max(1);
    both(height.unsigned_abs(), |area, width, _| {
        let names = if width > signed(NARROW) { 190 } else { 126 };
        let figures = digits(most) + 10;
        let room = width - names - figures;
        for (number, (name, tally)) in rows.iter().enumerate() {
            let middle = ROW * signed(number) + ROW / 2;
            let (top, bottom) = (middle - BAR / 2, middle + BAR / 2);
            let name = words::shortened(name, fitting(names - 10));
            area.draw_text(
                &name,
                &style(INK, HPos::Right, VPos::Center),
                (names - 10, middle),
            )?;
            let mut from = 0;
            for support in Support::ALL {
                let containers = tally.of(support);
                if containers == 0 {
                    continue;
                }
                let (start, end) = (
                    names + scaled(from, most, room),
                    names + scaled(from + containers, most, room),
                );
                // What there is can be seen, however little.
                let corners = [(start, top), (end.max(start + 2), bottom)];
                area.draw(&Rectangle::new(corners, support.colour().filled()))?;
                from += containers;
            }
            let end = (names + scaled(from, most, room)).max(names + 2) + 6;
            let style = style(QUIET, HPos::Left, VPos::Center);
            area.draw_text(&words::number(from), &style, (end, middle))?;
        }
        Ok(())
    })
}

/// A column for each month.
pub(super) fn months(columns: &[(Month, usize)]) -> Result<Svg, ChartError> {
    let most = columns.iter().map(|(_, containers)| *containers).max();
    let frame = Frame::new(most.unwrap_or_default(), 220);
    both(frame.height.unsigned_abs(), |area, width, _| {
        frame.draw(area, width)?;
        let step = f64::from(width - frame.left) / f64::from(signed(columns.len().max(1)));
        for (number, ((year, month), containers)) in columns.iter().enumerate() {
            let left = f64::from(frame.left) + step * f64::from(signed(number));
            let (start, end) = (rounded(left + step * 0.15), rounded(left + step * 0.85));
            if *containers > 0 {
                let top = frame.top_of(*containers);
                let colour = Support::Ending.colour().filled();
                area.draw(&Rectangle::new([(start, top), (end, frame.bottom)], colour))?;
                let style = style(INK, HPos::Center, VPos::Bottom);
                // Neighbours' figures do not run into each other.
                if f64::from(digits(*containers)) < step + 6.0 {
                    area.draw_text(
                        &words::number(*containers),
                        &style,
                        (rounded(left + step / 2.0), top - 3),
                    )?;
                }
            }
            if number == 0 || *month == 1 || (*month == 7 && width > signed(NARROW)) {
                let name = NaiveDate::from_ymd_opt(*year, *month, 1)
                    .map(|date| date.format("%b %Y").to_string())
                    .unwrap_or_default();
                // A label that would run into the next one is left out.
                let to_january = (13 - *month) % 12;
                if number == 0 && to_january > 0 && f64::from(to_january.min(12)) * step < 62.0 {
                    continue;
                }
                let style = style(QUIET, HPos::Left, VPos::Top);
                let x = rounded(left).min(width - 58);
                area.draw_text(&name, &style, (x, frame.bottom + 7))?;
                area.draw(&PathElement::new(
                    [
                        (rounded(left), frame.bottom),
                        (rounded(left), frame.bottom + 5),
                    ],
                    GRID,
                ))?;
            }
        }
        Ok(())
    })
}

/// A column of containers by support for each night; a night without a run is a gap.
pub(super) fn nights(nights: &[(NaiveDate, Tally)]) -> Result<Svg, ChartError> {
    let most = nights.iter().map(|(_, tally)| tally.total()).max();
    let frame = Frame::new(most.unwrap_or_default(), 240);
    let (Some((first, _)), Some((last, _))) = (nights.first(), nights.last()) else {
        return Err(ChartError("there are no nights".into()));
    };
    // A store that was not written to for years still makes a chart of columns that can be seen.
    let days = last.signed_duration_since(*first).num_days() + 1;
    let by_day = (1..=90).contains(&days);
    let slots = if by_day {
        i32::try_from(days).unwrap_or(1)
    } else {
        signed(nights.len())
    };
    both(frame.height.unsigned_abs(), |area, width, _| {
        frame.draw(area, width)?;
        let step = (f64::from(width - frame.left) / f64::from(slots)).min(48.0);
        let labels = if width > signed(NARROW) { 5 } else { 3 };
        let every = (slots + labels - 1) / labels;
        for (number, (date, tally)) in nights.iter().enumerate() {
            let slot = if by_day {
                let days = date.signed_duration_since(*first).num_days();
                i32::try_from(days).unwrap_or_default()
            } else {
                signed(number)
            };
            let left = f64::from(frame.left) + step * f64::from(slot);
            let (start, end) = (rounded(left + step * 0.1), rounded(left + step * 0.9));
            let mut below = 0;
            for support in Support::ALL {
                let containers = tally.of(support);
                if containers > 0 {
                    let (bottom, top) = (frame.top_of(below), frame.top_of(below + containers));
                    let corners = [(start, top), (end.max(start + 1), bottom)];
                    area.draw(&Rectangle::new(corners, support.colour().filled()))?;
                    below += containers;
                }
            }
            if !by_day && slot % every == 0 {
                label_day(area, *date, rounded(left), &frame, width)?;
            }
        }
        if by_day {
            for slot in (0..slots).step_by(usize::try_from(every).unwrap_or(1)) {
                let left = rounded(f64::from(frame.left) + step * f64::from(slot));
                if let Some(date) =
                    first.checked_add_days(Days::new(u64::from(slot.unsigned_abs())))
                {
                    label_day(area, date, left, &frame, width)?;
                }
            }
        }
        Ok(())
    })
}

fn label_day(
    area: &Area<'_>,
    date: NaiveDate,
    left: i32,
    frame: &Frame,
    width: i32,
) -> Result<(), Box<dyn std::error::Error>> {
    let name = date.format("%-d %b").to_string();
    let style = style(QUIET, HPos::Left, VPos::Top);
    area.draw_text(&name, &style, (left.min(width - 46), frame.bottom + 7))?;
    let tick = [(left, frame.bottom), (left, frame.bottom + 5)];
    area.draw(&PathElement::new(tick, GRID))?;
    Ok(())
}

/// The room of columns: a scale of containers at the left, lines across, names below.
struct Frame {
    height: i32,
    left: i32,
    bottom: i32,
    top: i32,
    /// The scale's last figure, and its step.
    most: usize,
    step: usize,
}

impl Frame {
    fn new(most: usize, height: i32) -> Self {
        let step = round_step(most);
        let most = most.div_ceil(step).max(1) * step;
        Self {
            height,
            left: digits(most) + 10,
            bottom: height - 26,
            top: 20,
            most,
            step,
        }
    }

    fn top_of(&self, containers: usize) -> i32 {
        self.bottom - scaled(containers, self.most, self.bottom - self.top)
    }

    fn draw(&self, area: &Area<'_>, width: i32) -> Result<(), Box<dyn std::error::Error>> {
        for figure in (0..=self.most).step_by(self.step) {
            let y = self.top_of(figure);
            area.draw(&PathElement::new([(self.left, y), (width, y)], GRID))?;
            let style = style(QUIET, HPos::Right, VPos::Center);
            area.draw_text(&words::number(figure), &style, (self.left - 8, y))?;
        }
        Ok(())
    }
}

/// 1, 2 or 5 times a power of ten, so that a scale has three to five steps, or as many as there are.
fn round_step(most: usize) -> usize {
    let mut power = 1;
    loop {
        for step in [power, 2 * power, 5 * power] {
            if most <= 5 * step {
                return step;
            }
        }
        power *= 10;
    }
}

fn style<'a>(colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'a> {
    ("sans-serif", TEXT_SIZE * PLOTTERS_SCALE)
        .into_font()
        .color(&colour)
        .pos(Pos::new(horizontal, vertical))
}

/// Pixels of a number.
fn digits(number: usize) -> i32 {
    let length = words::number(number).len();
    rounded(f64::from(signed(length)) * DIGIT_WIDTH)
}

/// Characters that surely fit.
fn fitting(pixels: i32) -> usize {
    usize::try_from(rounded(f64::from(pixels) / DIGIT_WIDTH)).unwrap_or_default()
}

fn scaled(part: usize, whole: usize, pixels: i32) -> i32 {
    rounded(f64::from(signed(part)) / f64::from(signed(whole)) * f64::from(pixels))
}

/// Counts and sizes are far below the limit.
fn signed(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "pixels of a chart; a cast of a float ends at the limits"
)]
fn rounded(number: f64) -> i32 {
    number.round() as i32
}

/// The months from this day's on.
pub(super) fn months_from(day: NaiveDate, count: u32) -> impl Iterator<Item = Month> {
    let first = day.month0();
    (first..first + count).map(move |month| {
        let years = i32::try_from(month / 12).unwrap_or_default();
        (day.year() + years, month % 12 + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_round_steps() {
        for (most, step) in [
            (0, 1),
            (5, 1),
            (6, 2),
            (11, 5),
            (50, 10),
            (51, 20),
            (4_800, 1_000),
        ] {
            assert_eq!(round_step(most), step, "{most}");
        }
    }

    #[test]
    fn months_go_on_over_the_years() -> Result<(), &'static str> {
        let day = NaiveDate::from_ymd_opt(2026, 11, 30).ok_or("no day")?;
        let months: Vec<_> = months_from(day, 24).collect();
        assert_eq!(months.first(), Some(&(2026, 11)));
        assert_eq!(months.get(2), Some(&(2027, 1)));
        assert_eq!(months.last(), Some(&(2028, 10)));
        Ok(())
    }

    #[test]
    fn names_in_a_chart_are_escaped_and_end() -> Result<(), ChartError> {
        let mut tally = Tally::default();
        tally.add(Support::Ended, 3);
        let name = "</text></svg><script>alert(1)</script>".repeat(20);
        let svg = bars(&[(name, tally)])?;
        for svg in [svg.wide, svg.narrow] {
            assert!(!svg.contains("<script"), "{svg}");
            assert!(svg.contains("&lt;/text&gt;"), "{svg}");
            assert!(svg.len() < 2_000, "{svg}");
            assert!(!svg.contains("style="), "{svg}");
        }
        Ok(())
    }
}
