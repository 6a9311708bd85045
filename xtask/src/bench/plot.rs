//! Plots as SVG inside a page.

use maud::{Markup, html};

use super::spread::Spread;

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 26.0;

/// What a strip of ratios spans, to both sides of 1: five doublings.
const DOUBLINGS: f64 = 5.0;

/// One line of dots on a logarithmic axis from 1/32 to 32: a dot for each contender at its median,
/// over a stroke from its least to its largest. The number picks its colour.
pub(crate) fn strip(figures: &[(usize, Spread)]) -> Markup {
    let middle = HEIGHT / 2.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) class="strip" {
            @for power in [-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5] {
                @let x = short(place(f64::from(power)));
                line x1=(x) x2=(x) y1="0" y2=(HEIGHT) class=(if power == 0 { "one" } else { "grid" }) {}
            }
            @for (colour, Spread { min, max, .. }) in figures {
                line x1=(short(place(min.log2()))) x2=(short(place(max.log2()))) y1=(middle)
                    y2=(middle) class={ "range s" (colour) } {}
            }
            @for (colour, Spread { median, .. }) in figures {
                circle cx=(short(place(median.log2()))) cy=(middle) r="4" class={ "c" (colour) } {}
            }
        }
    }
}

/// Where the logarithm of a ratio lies; what is off the axis lies at its end.
fn place(logarithm: f64) -> f64 {
    let part = (logarithm / DOUBLINGS).clamp(-1.0, 1.0);
    6.0 + (WIDTH - 12.0) * (part + 1.0) / 2.0
}

/// A line for each contender over named points, from 0 up to the largest figure.
pub(crate) fn lines(points: &[&str], figures: &[(usize, Vec<Option<f64>>)]) -> Markup {
    const TALL: f64 = 220.0;
    const LEFT: f64 = 50.0;
    let all = figures.iter().flat_map(|(_, values)| values.iter().flatten());
    let most = all.copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let steps = (points.len().max(2) - 1) as f64;
    let x = |at: usize| LEFT + (WIDTH - LEFT - 30.0) * at as f64 / steps;
    let y = |value: f64| 10.0 + (TALL - 40.0) * (1.0 - value / most);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {TALL}")) class="lines" {
            @for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
                @let height = short(y(most * part));
                line x1=(LEFT) x2=(WIDTH) y1=(height) y2=(height) class="grid" {}
                text x=(LEFT - 6.0) y=(height) text-anchor="end" { (format!("{:.1}", most * part)) }
            }
            @for (at, name) in points.iter().enumerate() {
                text x=(short(x(at))) y=(TALL - 8.0) text-anchor="middle" { (name) }
            }
            @for (colour, values) in figures {
                @let known = values.iter().enumerate().filter_map(|(at, v)| v.map(|v| (at, v)));
                @let points: Vec<String> =
                    known.map(|(at, value)| format!("{},{}", short(x(at)), short(y(value)))).collect();
                polyline points=(points.join(" ")) class={ "line s" (colour) } {}
            }
        }
    }
}

/// One digit behind the point: a tenth of a pixel.
fn short(number: f64) -> String {
    format!("{number:.1}")
}
