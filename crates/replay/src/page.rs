//! Replays as a page that needs nothing beside it.

mod plot;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{Averages, Layer, Moment, Replayed};
use plot::{Curve, curves};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;font-size:13px}td,th{padding:2px 8px;text-align:right;border-bottom:1px solid #8884}\
td:first-child,th:first-child{text-align:left}svg{display:block;width:860px}text{font-size:11px;fill:currentColor}\
.grid{stroke:#8883}polyline{fill:none;stroke-width:1.5}.key{margin-right:1em}.key::before{content:'\\25CF '}";

/// A page about replays of one trace, whose name is `title`: a table of averages, then for each replay what is live,
/// backed and on hugepages over time, in which layers the rest lies, what went back and came again, and calls.
pub fn render(title: &str, replays: &[Replayed]) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(plot::colours())) }
            }
            body {
                h1 { (title) }
                (table(replays))
                @for replay in replays { (one(replay)) }
            }
        }
    }
    .into_string()
}

fn table(replays: &[Replayed]) -> Markup {
    let averages: Vec<Averages> = replays.iter().map(Replayed::averages).collect();
    html! {
        table {
            tr { th {} @for name in FIGURES.map(|(name, _)| name) { th { (name) } } }
            @for (replay, averages) in replays.iter().zip(&averages) {
                tr {
                    td { (replay.settings.to_string()) }
                    @for figure in FIGURES.map(|(_, figure)| figure) { td { (figure(averages)) } }
                }
            }
        }
    }
}

type Shown = fn(&Averages) -> String;

/// What a replay comes to: a name and the figure, for tables. Bytes are means over the trace unless named otherwise.
pub const FIGURES: [(&str, Shown); 10] = [
    ("live MiB", |a| mib(a.live_bytes)),
    ("backed MiB", |a| mib(a.backed_bytes)),
    ("peak MiB", |a| mib(a.peak_backed_bytes as f64)),
    ("on hugepages", |a| percent(a.hugepage_coverage())),
    ("not on hugepages MiB", |a| mib(a.small_page_bytes)),
    ("page heap overhead", |a| percent(a.page_heap_overhead)),
    ("wanted again", |a| percent(a.wanted_again)),
    ("released MiB", |a| mib(a.released_bytes as f64)),
    ("refaulted MiB", |a| mib(a.refaulted_bytes as f64)),
    ("calls", |a| a.calls.to_string()),
];

fn mib(bytes: f64) -> String {
    format!("{:.1}", bytes / 1048576.0)
}

fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

fn one(replay: &Replayed) -> Markup {
    let moments = &replay.moments;
    let memory = |of: fn(&Moment) -> u64, name| in_mib(name, moments, of);
    let layers: Vec<Curve> = Layer::ALL
        .into_iter()
        .map(|layer| in_mib(layer.name(), moments, move |moment| moment.in_layer(layer)))
        .collect();
    html! {
        h2 { (replay.settings.to_string()) }
        p {
            (replay.events) " events, " (replay.allocations) " blocks"
            @if replay.unknown_frees > 0 {
                ", " (replay.unknown_frees) " frees of blocks from before the recording"
            }
            @if replay.lost_frees > 0 { ", " (replay.lost_frees) " frees that the trace lost" }
            @if replay.refused > 0 { ", " (replay.refused) " requests refused" }
            @if let Some(error) = replay.corrupt { "; " (error.to_string()) }
            @else if !replay.is_complete { "; the trace was cut off" }
        }
        h3 { "Memory, MiB" }
        (curves(&[
            memory(|moment| moment.live_bytes, "live"),
            memory(|moment| moment.in_use_bytes, "in spans"),
            memory(|moment| moment.backed_bytes, "backed"),
            memory(|moment| moment.hugepage_bytes, "on hugepages"),
        ]))
        h3 { "Backed and not live, by layer, MiB" }
        (curves(&layers))
        h3 { "Given back, and needed again, MiB in all" }
        (curves(&[
            memory(|moment| moment.released_bytes, "given back"),
            memory(|moment| moment.refaulted_bytes, "needed again"),
        ]))
        h3 { "System calls in all" }
        (curves(&[Curve::new("calls", moments, |moment| moment.calls as f64)]))
    }
}

fn in_mib(name: &'static str, moments: &[Moment], of: impl Fn(&Moment) -> u64) -> Curve {
    Curve::new(name, moments, |moment| of(moment) as f64 / 1048576.0)
}

#[cfg(test)]
mod tests;
