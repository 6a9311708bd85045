//! Curves over time as SVG inside a page.

use maud::{Markup, html};

use crate::Moment;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 22.0;

/// Colours that are told apart on white and on black.
const COLOURS: [&str; 5] = ["#1f77b4", "#2ca02c", "#d62728", "#ff7f0e", "#9467bd"];

/// A figure over time.
pub(super) struct Curve {
    name: &'static str,
    /// Seconds, and the figure.
    points: Vec<(f64, f64)>,
}

impl Curve {
    pub(super) fn new(name: &'static str, moments: &[Moment], of: impl Fn(&Moment) -> f64) -> Self {
        let point = |moment: &Moment| (moment.at_us as f64 / 1e6, of(moment));
        Self { name, points: moments.iter().map(point).collect() }
    }
}

/// Rules for the colours.
pub(super) fn colours() -> String {
    let rule = |(number, colour): (usize, &&str)| {
        format!(".c{number}{{stroke:{colour}}}.k{number}::before{{color:{colour}}}")
    };
    COLOURS.iter().enumerate().map(rule).collect()
}

/// All curves in one plot, from 0 up to the largest figure, with a legend.
pub(super) fn curves(curves: &[Curve]) -> Markup {
    let largest = |of: fn(&(f64, f64)) -> f64| {
        let all = curves.iter().flat_map(|curve| &curve.points).map(of);
        all.fold(0.0, f64::max).max(f64::MIN_POSITIVE)
    };
    let (seconds, most) = (largest(|point| point.0), largest(|point| point.1));
    let x = |at: f64| LEFT + (WIDTH - LEFT - 10.0) * at / seconds;
    let y = |value: f64| 6.0 + (HEIGHT - BOTTOM - 6.0) * (1.0 - value / most);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) {
            @for part in [0.0, 0.5, 1.0] {
                @let height = format!("{:.0}", y(most * part));
                line x1=(LEFT) x2=(WIDTH) y1=(height) y2=(height) class="grid" {}
                text x=(LEFT - 6.0) y=(height) text-anchor="end" { (format!("{:.1}", most * part)) }
                text x=(format!("{:.0}", x(seconds * part))) y=(HEIGHT - 6.0) text-anchor="end" {
                    (time(seconds * part))
                }
            }
            @for (number, curve) in curves.iter().enumerate() {
                @let points = curve.points.iter().map(|&(at, value)| format!("{:.1},{:.1}", x(at), y(value)));
                polyline points=(points.collect::<Vec<_>>().join(" ")) class={ "c" (number % COLOURS.len()) } {}
            }
        }
        p {
            @for (number, curve) in curves.iter().enumerate() {
                span class={ "key k" (number % COLOURS.len()) } { (curve.name) }
            }
        }
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        0.0..120.0 => format!("{seconds:.1} s"),
        120.0..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
