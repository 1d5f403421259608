//! Line charts as SVG; colors come from the page's style sheet.

use maud::{Markup, html};

/// Size of a chart in its own units, which are about pixels on a phone.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 220.0;
/// Room for the axes.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// Lines of the grid, about.
const TICKS: f64 = 4.0;

/// A line of a chart: its name and points.
pub(super) struct Series<'n> {
    pub(super) name: &'n str,
    pub(super) points: Vec<(f64, f64)>,
}

/// The ticks of an axis: what they are apart, the first and the last.
fn ticks(from: f64, to: f64) -> (f64, f64, f64) {
    let range = if to > from { to - from } else { to.abs().max(1.0) };
    let rough = range / TICKS;
    let power = 10.0f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|unit| unit * power).find(|&step| step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((from / step).floor() * step, (to / step).ceil() * step);
    (step, first, if last > first { last } else { first + step })
}

/// A chart of lines over a common x axis; `format` writes the y axis' values.
pub(super) fn lines(title: &str, x_name: &str, series: &[Series<'_>], format: impl Fn(f64) -> String) -> Markup {
    let points = || series.iter().flat_map(|series| &series.points).filter(|(_, y)| y.is_finite());
    let range = |of: fn(&(f64, f64)) -> f64| {
        let low = points().map(of).fold(f64::INFINITY, f64::min);
        let high = points().map(of).fold(f64::NEG_INFINITY, f64::max);
        if low <= high { (low, high) } else { (0.0, 1.0) }
    };
    let (x_from, x_to) = range(|point| point.0);
    let (low, high) = range(|point| point.1);
    let (step, y_from, y_to) = ticks(low, high);
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value - x_from) / (x_to - x_from).max(f64::MIN_POSITIVE);
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - y_from) / (y_to - y_from);
    let count = ((y_to - y_from) / step).round() as usize;
    let path = |series: &Series| {
        let points = series.points.iter().filter(|(_, y)| y.is_finite());
        points.map(|&(px, py)| format!("{:.1},{:.1}", x(px), y(py))).collect::<Vec<_>>().join(" ")
    };
    html! {
        figure class="chart" {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
                @for tick in 0..=count {
                    @let value = y_from + step * tick as f64;
                    line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(format!("{:.1}", y(value)))
                        y2=(format!("{:.1}", y(value))) {}
                    text class="tick" x=(LEFT - 6.0) y=(format!("{:.1}", y(value) + 3.5)) text-anchor="end" {
                        (format(value))
                    }
                }
                @for (value, anchor) in [(x_from, "start"), (x_to, "end")] {
                    text class="tick" x=(format!("{:.1}", x(value))) y=(HEIGHT - BOTTOM + 16.0) text-anchor=(anchor) {
                        (format!("{value:.0}"))
                    }
                }
                text class="tick" x=(LEFT + (WIDTH - LEFT - RIGHT) / 2.0) y=(HEIGHT - 6.0) text-anchor="middle" {
                    (x_name)
                }
                @for (index, series) in series.iter().enumerate() {
                    @match series.points.as_slice() {
                        [(px, py)] => circle class={ "dot s" (index) } cx=(format!("{:.1}", x(*px)))
                            cy=(format!("{:.1}", y(*py))) r="3" {},
                        _ => polyline class={ "line s" (index) } points=(path(series)) {},
                    }
                }
            }
            figcaption {
                strong { (title) }
                @for (index, series) in series.iter().enumerate() {
                    span class={ "key s" (index) } { (series.name) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(ticks(0.0, 1.0), (0.5, 0.0, 1.0));
        assert_eq!(ticks(12.0, 95.0), (50.0, 0.0, 100.0));
        for (from, to) in [(0.3, 0.3), (0.0, 0.0), (-1.5, 2.0), (1e-6, 3e-6), (7.0, 7e5)] {
            let (step, first, last) = ticks(from, to);
            assert!(step > 0.0 && first <= from && last >= to && last > first, "{from} {to}: {step} {first} {last}");
        }
    }

    #[test]
    fn points_lie_inside_the_chart_and_names_are_escaped() {
        let points = (0..9).map(|x| (f64::from(x), if x == 4 { f64::NAN } else { f64::from(x * x) })).collect();
        let chart = lines("a < b", "epoch", &[Series { name: "x & y", points }], |y| format!("{y:.0}")).into_string();
        assert!(chart.contains("a &lt; b") && chart.contains("x &amp; y") && !chart.contains("NaN"), "{chart}");
        let drawn = chart.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let inside = |pair: &str| {
            let (x, y) = pair.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            (LEFT..=WIDTH).contains(&x) && (0.0..=HEIGHT - BOTTOM).contains(&y)
        };
        assert_eq!(drawn.split(' ').filter(|pair| inside(pair)).count(), 8, "{drawn}");
        // An element that stays open hides all that follows.
        for element in ["line", "polyline", "text"] {
            let count = |tag: String| chart.matches(&tag).count();
            assert_eq!(count(format!("<{element} ")), count(format!("</{element}>")), "{element}: {chart}");
        }
    }
}
