//! Reports in TCMalloc's text forms, read back.

mod forms;
mod template;
mod whole;

use core::fmt;
use forms::Form;
use std::vec::Vec;

pub use whole::{ReportError, ReportFault, parse_whole};

/// A report, line by line.
///
/// Reads both text forms that [`Dialect`](crate::Dialect) has, whoever wrote them: Strata, or TCMalloc itself. How
/// many blanks there are between words and numbers does not matter.
///
/// Lines are known by their *form*, and the figures in them by name: the names of `docs/reading-the-report.md`,
/// which for single figures are those of the protobuf form.
///
/// ```
/// let report = strata_stats::parse(
///     "MALLOC:        5244488 (    5.0 MiB) Bytes in use by application\n\
///      class   1 [        8 bytes ] :   413460 objs;   3.2 MiB;   3.2 cum MiB\n",
/// );
/// assert_eq!(report.number("in_use_by_app"), Some(5_244_488));
/// let class = report.lines("class").next().expect("there is one");
/// assert_eq!(class.number("objects"), Some(413_460));
/// assert_eq!(report.unknown().count(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Lines of the text, those included that tell nothing.
    length: usize,
    lines: Vec<Line<'a>>,
    unknown: Vec<(usize, &'a str)>,
}

/// A line of a report.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Its number in the text, from 1 on.
    pub number_in_text: usize,
    /// Its form.
    pub form: &'static str,
    /// The page heap whose section it is in, where a report has several: `SAMPLED` or the like; else empty.
    pub page_heap: &'a str,
    figures: Vec<(&'static str, Figure<'a>)>,
}

/// A figure, as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figure<'a>(&'a str);

impl<'a> Figure<'a> {
    /// The number, if it is a whole one that is not below 0.
    pub fn number(self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// The number, with its decimals.
    pub fn real(self) -> Option<f64> {
        self.0.parse().ok()
    }

    /// What was written.
    pub const fn text(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Figure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl<'a> Line<'a> {
    /// All its figures with their names, as they stand.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Figure<'a>)> {
        self.figures.iter().copied()
    }

    /// The figure of that name; the first, where there are several.
    pub fn figure(&self, name: &str) -> Option<Figure<'a>> {
        self.figures(name).next()
    }

    /// All figures of that name, in a line that repeats itself.
    pub fn figures(&self, name: &str) -> impl Iterator<Item = Figure<'a>> {
        self.figures.iter().filter(move |(of, _)| *of == name).map(|(_, figure)| *figure)
    }

    /// The whole number of that name.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.figure(name)?.number()
    }

    /// The number of that name, with its decimals.
    pub fn real(&self, name: &str) -> Option<f64> {
        self.figure(name)?.real()
    }
}

impl<'a> Report<'a> {
    /// All lines that have a form.
    pub fn all(&self) -> impl Iterator<Item = &Line<'a>> {
        self.lines.iter()
    }

    /// The lines of one form.
    pub fn lines(&self, form: &str) -> impl Iterator<Item = &Line<'a>> {
        self.lines.iter().filter(move |line| line.form == form)
    }

    /// The first figure of that name.
    pub fn figure(&self, name: &str) -> Option<Figure<'a>> {
        self.lines.iter().find_map(|line| line.figure(name))
    }

    /// The first figure of that name, as a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.figure(name)?.number()
    }

    /// The first figure of that name, with its decimals.
    pub fn real(&self, name: &str) -> Option<f64> {
        self.figure(name)?.real()
    }

    /// The value of a `PARAMETER` line.
    pub fn parameter(&self, name: &str) -> Option<Figure<'a>> {
        let is_its = |line: &&Line<'a>| line.figure("name").is_some_and(|of| of.text() == name);
        self.lines("parameter").find(is_its)?.figure("value")
    }

    /// The buckets of the first histogram of the filler about these hugepages and this measure (`free pages`,
    /// `longest free range` or `allocations`), each with its lower bound.
    pub fn histogram(&self, kind: &str, measure: &str) -> Option<Vec<(u64, u64)>> {
        let begin = self.lines.iter().position(|line| {
            let says = |name, text| line.figure(name).is_some_and(|figure| figure.text() == text);
            line.form == "filler_histogram" && says("kind", kind) && says("measure", measure)
        })?;
        let rows = self.lines.iter().skip(begin + 1).take_while(|line| line.form == "buckets");
        let numbers = |line: &Line<'a>, name| {
            line.figures(name).filter_map(Figure::number).collect::<Vec<_>>()
        };
        let buckets = rows.flat_map(|row| {
            numbers(row, "lower_bound").into_iter().zip(numbers(row, "value")).collect::<Vec<_>>()
        });
        Some(buckets.collect())
    }

    /// Lines that have no form, with their numbers in the text.
    pub fn unknown(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.unknown.iter().copied()
    }
}

/// Reads a report. What it does not know is in [`Report::unknown`]; empty lines, rules and marks of omission are
/// passed over.
pub fn parse(text: &str) -> Report<'_> {
    let mut report = Report { length: 0, lines: Vec::new(), unknown: Vec::new() };
    // Some lists are told apart by their titles alone.
    let (mut title, mut page_heap) = ("", "");
    for (index, line) in text.lines().enumerate() {
        report.length = index + 1;
        let line = line.trim();
        if is_decoration(line) {
            continue;
        }
        let known = forms::all().find_map(|form| Some((form, read(form, title, line)?)));
        let Some((form, figures)) = known else {
            report.unknown.push((index + 1, line));
            continue;
        };
        let figure = |wanted| figures.iter().find(|(name, _)| *name == wanted);
        match form.name {
            "begin_page_heap" => page_heap = figure("tag").map_or("", |(_, tag)| tag.text()),
            "end_page_heap" => page_heap = "",
            name if name.starts_with("title_") => title = name,
            _ => {}
        }
        report.lines.push(Line { number_in_text: index + 1, form: form.name, page_heap, figures });
    }
    report
}

/// The figures of a line of that form; none if it has another one.
fn read<'a>(form: &Form, title: &str, line: &'a str) -> Option<Vec<(&'static str, Figure<'a>)>> {
    if form.under.is_some_and(|under| under != title) {
        return None;
    }
    let mut figures = Vec::new();
    form.template.read(line, &mut figures).then_some(figures)
}

/// Whether a line tells nothing.
fn is_decoration(line: &str) -> bool {
    line.chars().all(|letter| letter == '-')
        || ["...", "\u{2026}", "MALLOC:   ------------", "MALLOC:", "LEDGER:   ------------"]
            .contains(&line)
        || line == "\u{e2}\u{20ac}\u{a6}"
}

#[cfg(test)]
mod tests;
