//! Reports that have to be whole: what is wrong with a text, and in which line.

use super::{Figure, Line, Report, parse};
use core::fmt;

const MIB: f64 = 1_048_576.0;

/// What is wrong with a report, and in which line, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportError {
    /// The line; where the text ends too early, the one that is missing.
    pub line: usize,
    /// What is wrong with it.
    pub fault: ReportFault,
}

/// What is wrong with a line of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReportFault {
    /// No line of a report looks like this.
    Unknown,
    /// A number is larger than any figure can be.
    TooLarge,
    /// The MiB are not those of the bytes beside them.
    OtherMebibytes,
    /// The lines of a sum do not add up to this one.
    OtherSum,
    /// Buckets without a histogram's title above them.
    Untitled,
    /// A line of the table of size classes is missing before this one, or stands twice.
    OtherClass,
    /// The text has no summary.
    NoSummary,
    /// The text ends before the report does.
    Truncated,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            ReportFault::Unknown => "no line of a report looks like this",
            ReportFault::TooLarge => "a number is too large",
            ReportFault::OtherMebibytes => "the MiB are not those of the bytes",
            ReportFault::OtherSum => "the lines above do not add up to this",
            ReportFault::Untitled => "buckets without a title",
            ReportFault::OtherClass => "not the next size class",
            ReportFault::NoSummary => "there is no summary before this",
            ReportFault::Truncated => "the report ends too early",
        };
        write!(f, "line {}: {what}", self.line)
    }
}

impl core::error::Error for ReportError {}

/// Reads a report that has to be whole, in either of the text forms.
///
/// # Errors
///
/// The first line that is wrong: see [`ReportFault`]. [`parse`] reads what it can of any text.
///
/// ```
/// use strata_stats::{ReportFault, parse_whole};
///
/// let error = parse_whole("MALLOC:        5244488 (    5.0 MiB) Bytes in use by appl").unwrap_err();
/// assert_eq!((error.line, error.fault), (1, ReportFault::Unknown));
/// ```
pub fn parse_whole(text: &str) -> Result<Report<'_>, ReportError> {
    let report = parse(text);
    let unknown = report.unknown().map(|(line, _)| error(line, ReportFault::Unknown));
    let first = unknown.chain(of_lines(&report)).chain(of_sums(&report)).min_by_key(|e| e.line);
    match first.or_else(|| of_all(&report)).or_else(|| of_end(text, &report)) {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

const fn error(line: usize, fault: ReportFault) -> ReportError {
    ReportError { line, fault }
}

/// What is wrong with single lines.
fn of_lines<'r>(report: &'r Report<'_>) -> impl Iterator<Item = ReportError> + 'r {
    let (mut before, mut next_class, mut last_bound) = ("", 1, 0);
    report.all().filter_map(move |line| {
        let titled = ["filler_histogram", "filler_histogram_of_more", "buckets", "buckets_ms"];
        let is_bucket = line.form.starts_with("buckets");
        // Bounds rise within a histogram, and equal each other where it has more buckets than a hugepage has pages.
        let bounds = || line.all().step_by(2).filter_map(|(_, bound)| bound.number());
        let falls = before.starts_with("buckets") && bounds().next() < Some(last_bound);
        let untitled = is_bucket && (falls || !titled.contains(&before));
        (before, last_bound) = (line.form, bounds().last().unwrap_or(0));
        let is_next = line.form != "class" || line.number("class") == Some(next_class);
        next_class += u64::from(line.form == "class" && is_next);
        let fault = if line.all().any(|(_, figure)| is_too_large(figure)) {
            ReportFault::TooLarge
        } else if untitled {
            ReportFault::Untitled
        } else if !is_next {
            ReportFault::OtherClass
        } else if has_other_mebibytes(line) {
            ReportFault::OtherMebibytes
        } else {
            return None;
        };
        Some(error(line.number_in_text, fault))
    })
}

/// A whole number that does not fit.
fn is_too_large(figure: Figure<'_>) -> bool {
    let digits = figure.text();
    let is_whole = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_whole && figure.number().is_none()
}

/// Whether bytes stand before MiB that are not theirs.
fn has_other_mebibytes(line: &Line<'_>) -> bool {
    let tells = ["in_use", "sum", "actual", "released", "virtual", "bytes", "process", "low_level"];
    let is_sum = tells.contains(&line.form) || line.form.starts_with("ledger");
    let (Some((_, bytes)), Some(mib)) = (line.all().next(), line.real("mib")) else { return false };
    is_sum && bytes.real().is_some_and(|bytes| (bytes / MIB - mib).abs() > 0.051)
}

/// What does not add up.
fn of_sums<'r>(report: &'r Report<'_>) -> impl Iterator<Item = ReportError> + 'r {
    let figure = |line: &Line<'_>| line.all().next().and_then(|(_, figure)| figure.number());
    let parts = report.lines("in_use").chain(report.lines("sum"));
    let sum = parts.filter_map(figure).fold(0u64, u64::wrapping_add);
    let released = report.number("unmapped").unwrap_or(0);
    let sums = [("actual", sum), ("virtual", sum.wrapping_add(released))];
    sums.into_iter().filter_map(move |(form, sum)| {
        let line = report.lines(form).next()?;
        (figure(line) != Some(sum)).then(|| error(line.number_in_text, ReportFault::OtherSum))
    })
}

/// What is missing.
fn of_all(report: &Report<'_>) -> Option<ReportError> {
    let behind = report.length + 1;
    if report.lines("actual").next().is_none() || report.lines("virtual").next().is_none() {
        return Some(error(behind, ReportFault::NoSummary));
    }
    let ends = report.number("mmap_sys_allocator").is_some();
    // Strata's own sections follow in its older form, which alone has this line.
    let wants_more = report.number("never_used").is_some()
        && report.lines("background").count() < BACKGROUND_LINES;
    (!ends || wants_more).then(|| error(behind, ReportFault::Truncated))
}

/// A last line that may go on.
fn of_end(text: &str, report: &Report<'_>) -> Option<ReportError> {
    (!text.ends_with('\n')).then(|| error(report.length, ReportFault::Truncated))
}

/// Lines of the last section of Strata's older form.
const BACKGROUND_LINES: usize = 8;
