//! A page about a snapshot: one file, which needs nothing from anywhere.

use crate::{Category, Document, Part, explain, render_brief};
use core::fmt::{self, Display, Formatter, Write};
use std::string::String;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// The page about a snapshot; with an `earlier` one of the same heap also what changed.
///
/// The ledger as areas, down to each size class; the heap, hugepage by hugepage and page by page, if the snapshot has the
/// map; histograms; the findings. Tables and findings are text, the pictures are drawn by a script in the page from the
/// figures in the page: nothing is loaded.
pub fn render_html(document: &Document, earlier: Option<&Document>) -> String {
    let mut page = String::new();
    // Strings take all that is written.
    let _ = write_page(document, earlier, &mut page);
    page
}

fn write_page(document: &Document, earlier: Option<&Document>, page: &mut String) -> fmt::Result {
    let title = Escaped(&document.process_name);
    let process_id = document.process_id;
    writeln!(page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(page, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    writeln!(page, "<title>Strata: {title}, process {process_id}</title>")?;
    writeln!(page, "<style>\n{STYLE}</style>\n</head>\n<body>")?;
    writeln!(
        page,
        "<h1>{title} <small>process {process_id}, {} UTC</small></h1>",
        Moment(document.unix_seconds)
    )?;
    let before = earlier.map(|earlier| &*earlier.snapshot);
    let mut brief = String::new();
    render_brief(document.figures(), before, &mut brief)?;
    writeln!(page, "<section><h2>Summary</h2><pre>{}</pre></section>", Escaped(&brief))?;
    findings(document, earlier, page)?;
    page.push_str(PICTURES);
    ledger(document, page)?;
    page.push_str("<script type=\"application/json\" id=\"snapshot\">");
    let mut data = String::new();
    document.write(&mut data)?;
    // Whatever stands in a string of the data, it does not end the script.
    page.push_str(&data.replace("</", "<\\/").replace("<!--", "<\\u0021--"));
    writeln!(page, "</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>")
}

/// What the script draws into.
const PICTURES: &str = r#"<section><h2>Where the bytes are</h2>
<p class="hint">Areas are bytes. Click an area to see its parts, and the path to go back.</p>
<nav id="area-path"></nav><svg id="areas" role="img" aria-label="The ledger as areas"></svg><p id="area-figures" class="figures"></p></section>
<section id="map-section"><h2>The heap, hugepage by hugepage</h2>
<p class="hint">A cell is a hugepage of 2 MiB, by address. Point at one for its figures, click it for its pages.</p>
<p id="map-sums"></p><div id="map-choice"></div><div id="map-legend"></div><canvas id="map"></canvas><p id="map-figures" class="figures"></p>
<div id="zoom"></div></section>
<section><h2>Size classes</h2><div id="classes"></div></section>
<section id="histogram-section"><h2>Histograms of the page heap</h2><div id="histograms"></div></section>
<noscript><p>The pictures need scripts, which this page brings along.</p></noscript>
"#;

fn findings(document: &Document, earlier: Option<&Document>, page: &mut String) -> fmt::Result {
    let before = earlier.map(|earlier| &*earlier.snapshot);
    let findings = explain(document.figures(), before);
    writeln!(page, "<section id=\"findings\"><h2>What stands out</h2>")?;
    if findings.iter().next().is_none() {
        let mut words = String::new();
        write!(words, "{findings}")?;
        return writeln!(page, "<p>{}</p></section>", Escaped(words.trim_end()));
    }
    writeln!(page, "<ol>")?;
    for finding in findings.iter() {
        let mut words = String::new();
        write!(words, "{finding}")?;
        let mut lines = words.lines();
        let headline = lines.next().unwrap_or_default();
        write!(page, "<li><b>{}</b>", Escaped(headline))?;
        for line in lines {
            write!(page, "<p>{}</p>", Escaped(line.trim()))?;
        }
        writeln!(page, "</li>")?;
    }
    writeln!(page, "</ol></section>")
}

fn ledger(document: &Document, page: &mut String) -> fmt::Result {
    let ledger = document.figures().ledger();
    writeln!(page, "<section><h2>Every mapped byte</h2><table id=\"ledger\">")?;
    for part in [Part::InUse, Part::Free, Part::Metadata, Part::Released, Part::NeverUsed] {
        let bytes = ledger.part_bytes(part);
        let name = part.name().replace('_', " ");
        writeln!(page, "<tr class=\"part {}\"><th>{name}</th><td>{bytes}</td></tr>", part.name())?;
        for category in Category::all().filter(|category| category.part() == part) {
            let bytes = ledger.bytes(category);
            if bytes != 0 {
                writeln!(page, "<tr><th>{}</th><td>{bytes}</td></tr>", category.name())?;
            }
        }
    }
    let unexplained = ledger.unexplained();
    writeln!(page, "<tr><th>unexplained</th><td>{unexplained}</td></tr>")?;
    writeln!(page, "<tr class=\"part\"><th>mapped</th><td>{}</td></tr>", ledger.mapped_bytes)?;
    let by_threads = ledger.in_use_by_threads_bytes;
    writeln!(
        page,
        "<tr><th>in use, as the threads count it</th><td>{by_threads}</td></tr></table></section>"
    )
}

/// Text that stands for itself in a page.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            plain => f.write_char(plain),
        })
    }
}

/// A moment as `2026-11-22 09:41:10`, from seconds since 1970.
pub(crate) struct Moment(pub(crate) u64);

impl Display for Moment {
    /// Days to dates: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0 / 86_400, self.0 % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests;
