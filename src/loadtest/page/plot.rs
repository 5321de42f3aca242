//! Plots as SVG: lines over time with levels across, and a distribution.
//!
//! Only the marks, the grid and the axes' figures are drawn here; titles and legends are the page's text.
//! Each ink is a colour of its own, by which the page's style sheet finds the marks: it gives them their
//! widths and dashes, and other colours in the dark. The inks differ in lightness too, so that nobody needs
//! to tell hues apart.

use std::io;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use crate::loadtest::figure::figure;
use crate::loadtest::result::{Bucket, Sample};

/// In the SVG's own units, which the page scales to its columns.
const SIZE: (u32, u32) = (640, 340);
/// 20 units: 10 px on a telephone of 390 px.
const TEXT: i32 = 25;
const TEXT_INK: RGBColor = RGBColor(0x22, 0x26, 0x2A);
const GRID_INK: RGBColor = RGBColor(0xD8, 0xD5, 0xCE);
/// A line is drawn through no more points, a distribution with no more bars.
const MOST_POINTS: usize = 400;
const MOST_BARS: usize = 60;
/// The lower end of a logarithmic axis.
const LEAST_MS: f64 = 0.001;

/// What a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// What the plot is about.
    Main,
    /// What is measured beside it.
    Second,
    /// What there is of it at most.
    Limit,
    Warning,
    Critical,
}

impl Ink {
    fn color(self) -> RGBColor {
        match self {
            Self::Main => RGBColor(0x00, 0x72, 0xB2),
            Self::Second => RGBColor(0x00, 0x9E, 0x73),
            Self::Limit => RGBColor(0x59, 0x59, 0x59),
            Self::Warning => RGBColor(0xB9, 0x7A, 0x00),
            Self::Critical => RGBColor(0xB5, 0x33, 0x1F),
        }
    }

    /// Its name in the style sheet.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Second => "second",
            Self::Limit => "limit",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A figure over time.
pub struct Line {
    pub ink: Ink,
    pub name: String,
    /// Seconds, and the figure where it is known: a line is interrupted where it is not.
    points: Vec<(f64, Option<f64>)>,
}

/// A figure that does not change: a line across the plot, or upright in a distribution.
pub struct Level {
    pub ink: Ink,
    pub name: String,
    pub at: f64,
}

impl Line {
    /// `value` of the samples. Where there are too many to draw, as many as [`apart`] says become one: the
    /// highest.
    pub fn of(
        ink: Ink,
        name: impl Into<String>,
        samples: &[Sample],
        value: impl Fn(&Sample) -> Option<f64>,
    ) -> Self {
        let points = samples.chunks(apart(samples)).map(|several| {
            let known = several.iter().filter_map(&value).filter(|value| value.is_finite());
            (several[0].at_seconds, known.reduce(f64::max))
        });
        Self { ink, name: name.into(), points: points.collect() }
    }

    pub fn highest(&self) -> Option<f64> {
        self.points.iter().filter_map(|(_, value)| *value).reduce(f64::max)
    }

    /// The stretches in which it is known.
    fn stretches(&self) -> impl Iterator<Item = Vec<(f64, f64)>> {
        self.points
            .split(|(_, value)| value.is_none())
            .map(|known| known.iter().filter_map(|(at, value)| Some((*at, (*value)?))).collect::<Vec<_>>())
            .filter(|stretch| !stretch.is_empty())
    }
}

/// So many samples become one point of a line.
pub fn apart(samples: &[Sample]) -> usize {
    samples.len().div_ceil(MOST_POINTS).max(1)
}

/// The lines, from 0 to `seconds` and from 0 to the highest of them, but not less than `least`.
pub fn over_time(lines: &[Line], levels: &[Level], seconds: f64, least: f64) -> String {
    svg(|svg| draw_over_time(svg, lines, levels, seconds.max(1.0), least))
}

fn draw_over_time(svg: &mut String, lines: &[Line], levels: &[Level], seconds: f64, least: f64) -> Drawn {
    let highest = lines.iter().filter_map(Line::highest).chain(levels.iter().map(|level| level.at));
    let top = highest.fold(least, f64::max) * 1.05;
    let (second, unit) = match seconds {
        long if long > 3.0 * 3_600.0 => (1.0 / 3_600.0, "h"),
        long if long > 180.0 => (1.0 / 60.0, "min"),
        _ => (1.0, "s"),
    };
    let end = seconds * second;
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = framed(&root).build_cartesian_2d(0.0..end, 0.0..top)?;
    axes(&mut chart, &|at| format!("{} {unit}", figure(*at)), &|value| figure(*value))?;
    chart.draw_series(levels.iter().map(|level| {
        PathElement::new(vec![(0.0, level.at), (end, level.at)], level.ink.color().stroke_width(2))
    }))?;
    for line in lines {
        let style = line.ink.color().stroke_width(2);
        for mut stretch in line.stretches() {
            stretch.iter_mut().for_each(|(at, _)| *at *= second);
            if let [alone] = stretch[..] {
                chart.draw_series([Circle::new(alone, 5, style.filled())])?;
            } else {
                chart.draw_series([PathElement::new(stretch, style)])?;
            }
        }
    }
    root.present()
}

/// The share of each bucket in percent, over a logarithmic axis of milliseconds; `None` if nothing was
/// counted.
pub fn distribution(buckets: &[Bucket], levels: &[Level]) -> Option<String> {
    let bars = bars(buckets);
    (!bars.is_empty()).then(|| svg(|svg| draw_distribution(svg, &bars, levels)))
}

struct Bar {
    from_ms: f64,
    to_ms: f64,
    percent: f64,
}

/// From the first bucket that counted something to the last.
fn bars(buckets: &[Bucket]) -> Vec<Bar> {
    let counted = |bucket: &Bucket| bucket.count > 0;
    let (Some(first), Some(last)) = (buckets.iter().position(counted), buckets.iter().rposition(counted))
    else {
        return Vec::new();
    };
    let upper = |bucket: &Bucket| bucket.up_to_ms.max(LEAST_MS);
    let all: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let mut from_ms = match (first.checked_sub(1), buckets.get(first + 1)) {
        (Some(before), _) => upper(&buckets[before]),
        // As far below as the next one is above, on a logarithmic axis.
        (None, Some(next)) => upper(&buckets[first]).powi(2) / upper(next),
        (None, None) => upper(&buckets[first]) / 2.0,
    };
    let shown = &buckets[first..=last];
    let bars = shown.chunks(shown.len().div_ceil(MOST_BARS)).map(|several| {
        let to_ms = upper(&several[several.len() - 1]);
        let count: u64 = several.iter().map(|bucket| bucket.count).sum();
        let percent = count as f64 / all as f64 * 100.0;
        Bar { from_ms: std::mem::replace(&mut from_ms, to_ms), to_ms, percent }
    });
    bars.collect()
}

fn draw_distribution(svg: &mut String, bars: &[Bar], levels: &[Level]) -> Drawn {
    let from = bars.iter().map(|bar| bar.from_ms).fold(f64::INFINITY, f64::min);
    let to = bars.iter().map(|bar| bar.to_ms).chain(levels.iter().map(|level| level.at)).fold(from, f64::max);
    let range = from..to.max(from * 1.1);
    let ticks = ticks(range.start, range.end);
    let top = bars.iter().map(|bar| bar.percent).fold(0.0, f64::max) * 1.05;
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = framed(&root).build_cartesian_2d(range.log_scale().with_key_points(ticks), 0.0..top)?;
    axes(&mut chart, &|at| format!("{} ms", figure(*at)), &|percent| format!("{} %", figure(*percent)))?;
    chart.draw_series(bars.iter().map(|bar| {
        Rectangle::new([(bar.from_ms, 0.0), (bar.to_ms, bar.percent)], Ink::Main.color().filled())
    }))?;
    chart.draw_series(levels.iter().map(|level| {
        PathElement::new(vec![(level.at, 0.0), (level.at, top)], level.ink.color().stroke_width(2))
    }))?;
    root.present()
}

/// 1, 2, 5, 10, … within the range; fewer to a power of ten where those would be too many, both ends where
/// too few.
fn ticks(from: f64, to: f64) -> Vec<f64> {
    let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let within = |steps: &[f64]| -> Vec<f64> {
        let all = decades.clone().flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|tick| (from..=to).contains(tick)).collect()
    };
    let choices = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].map(within);
    choices.into_iter().find(|ticks| (2..=6).contains(&ticks.len())).unwrap_or_else(|| vec![from, to])
}

/// With room for the axes' figures; the last one below stands half outside.
fn framed<'a, 'b>(root: &'a Root<'b>) -> ChartBuilder<'a, 'static, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(root);
    chart.margin_top(14).margin_right(52).x_label_area_size(48).y_label_area_size(80);
    chart
}

/// The grid, and the figures beside it as `across` and `up` write them.
fn axes<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    across: &dyn Fn(&f64) -> String,
    up: &dyn Fn(&f64) -> String,
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID_INK)
        .axis_style(GRID_INK)
        .label_style((FontFamily::SansSerif, TEXT, &TEXT_INK))
        .set_all_tick_mark_size(5)
        .set_tick_mark_size(LabelAreaPosition::Bottom, 10)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(across)
        .y_label_formatter(up)
        .draw()
}

type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

fn svg(draw: impl FnOnce(&mut String) -> Drawn) -> String {
    let mut svg = String::new();
    draw(&mut svg).expect("writing to a string does not fail");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: impl IntoIterator<Item = Option<f64>>) -> Vec<Sample> {
        let sample =
            |(at, value)| Sample { at_seconds: at as f64, response_p95_ms: value, ..Sample::default() };
        values.into_iter().enumerate().map(sample).collect()
    }

    fn line(samples: &[Sample]) -> Line {
        Line::of(Ink::Main, "latency", samples, |sample| sample.response_p95_ms)
    }

    #[test]
    fn a_line_is_interrupted_where_nothing_is_known() {
        let samples = samples([None, Some(1.0), Some(2.0), None, Some(3.0), Some(f64::NAN)]);
        let stretches: Vec<_> = line(&samples).stretches().collect();
        assert_eq!(stretches, [vec![(1.0, 1.0), (2.0, 2.0)], vec![(4.0, 3.0)]]);
        let svg = over_time(&[line(&samples)], &[], 6.0, 1.0);
        assert_eq!(svg.matches("stroke=\"#0072B2\"").count(), 1, "one line: {svg}");
        assert_eq!(svg.matches("<circle").count(), 1, "and a point alone: {svg}");
    }

    #[test]
    fn a_peak_of_one_second_is_seen_in_a_day() {
        let mut day = samples((0..86_400).map(|_| Some(1.0)));
        day[50_001].response_p95_ms = Some(900.0);
        let line = line(&day);
        assert!(line.points.len() <= 400, "{}", line.points.len());
        assert_eq!(line.highest(), Some(900.0));
        assert_eq!(line.points.iter().filter(|(_, value)| *value == Some(900.0)).count(), 1);
    }

    #[test]
    fn an_axis_says_its_unit_of_time() {
        let labels = |seconds| over_time(&[line(&samples([Some(1.0)]))], &[], seconds, 1.0);
        assert!(labels(60.0).contains("\n60 s\n"), "{}", labels(60.0));
        assert!(labels(300.0).contains("\n5 min\n"), "{}", labels(300.0));
        assert!(labels(4.0 * 3_600.0).contains("\n4 h\n"), "{}", labels(4.0 * 3_600.0));
    }

    #[test]
    fn a_level_is_drawn_across_and_within_the_plot() {
        let level = Level { ink: Ink::Warning, name: "warning".to_owned(), at: 40.0 };
        let svg = over_time(&[line(&samples([Some(10.0), Some(20.0)]))], &[level], 2.0, 1.0);
        assert!(svg.contains("stroke=\"#B97A00\""), "{svg}");
        assert!(svg.contains("\n40\n"), "the axis reaches it: {svg}");
    }

    #[test]
    fn a_bar_is_the_share_of_its_bucket() {
        let bucket = |up_to_ms, count| Bucket { up_to_ms, count };
        let bars = bars(&[bucket(1.0, 0), bucket(2.0, 30), bucket(4.0, 70), bucket(8.0, 0)]);
        let bars: Vec<_> = bars.iter().map(|bar| (bar.from_ms, bar.to_ms, bar.percent)).collect();
        assert_eq!(bars, [(1.0, 2.0, 30.0), (2.0, 4.0, 70.0)]);
    }

    #[test]
    fn many_buckets_become_few_bars_of_the_same_sum() {
        let buckets: Vec<_> = (1..=5_000).map(|at| Bucket { up_to_ms: f64::from(at), count: 2 }).collect();
        let bars = bars(&buckets);
        assert!(bars.len() <= 60, "{}", bars.len());
        assert!((bars.iter().map(|bar| bar.percent).sum::<f64>() - 100.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_counted_is_no_distribution() {
        assert_eq!(distribution(&[], &[]), None);
        assert_eq!(distribution(&[Bucket { up_to_ms: 1.0, count: 0 }], &[]), None);
        assert!(distribution(&[Bucket { up_to_ms: 0.0, count: 1 }], &[]).is_some());
    }

    #[test]
    fn the_style_sheet_knows_every_ink() {
        let inks = [Ink::Main, Ink::Second, Ink::Limit, Ink::Warning, Ink::Critical];
        for RGBColor(red, green, blue) in inks.into_iter().map(Ink::color).chain([GRID_INK]) {
            let rule = format!("svg [stroke=\"#{red:02X}{green:02X}{blue:02X}\"]");
            assert!(super::super::STYLE.contains(&rule), "{rule}");
        }
    }

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(ticks(0.9, 12.0), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(ticks(20.0, 6_000.0), [30.0, 100.0, 300.0, 1_000.0, 3_000.0]);
        assert_eq!(ticks(0.5, 6_000.0), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(ticks(3.0, 3.3), [3.0, 3.3]);
    }
}
