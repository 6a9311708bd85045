//! What Strata is meant to reach beside its peers, row by row.

use serde::Serialize;
use strata_workloads::Kind;

use super::contender::{STRATA, STRATA_PRELOADED};
use super::record::{Cell, Entry, Record, Row};
use super::spread::geometric_mean;

/// Differences up to this are noise on a machine that others use too.
const NOISE: f64 = 1.1;

/// A peer that takes more than this many times Strata's memory has paid for its time.
const PAID: f64 = 1.3;

/// A peer that keeps more than this at its end is to be beaten by half.
const MUCH_KEPT_KIB: f64 = 64.0 * 1024.0;

/// Processors of AMD count their time stamps in steps of 10 ns, so that calls that differ by one
/// step may have taken the same time.
const CLOCK_STEP_NS: f64 = 10.5;

/// Parts of a series differ by no more.
const FLAT: f64 = 1.1;

/// One question, answered for one line of the tables.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) goal: &'static str,
    /// `strata` or `strata.so`.
    pub(crate) ours: String,
    /// A row, or a mean over all of them.
    pub(crate) line: String,
    /// Strata's figure and what it is held against, in words.
    pub(crate) figures: String,
    /// Strata's figure as a multiple of what it may be: up to 1 is reached.
    pub(crate) multiple: f64,
    pub(crate) result: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Outcome {
    Reached,
    /// Missed by less than runs differ by.
    WithinNoise,
    Missed,
}

impl Outcome {
    pub(crate) const fn shown(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::WithinNoise => "within noise",
            Self::Missed => "missed",
        }
    }

    const fn of(multiple: f64) -> Self {
        if multiple <= 1.0 {
            Self::Reached
        } else if multiple <= NOISE {
            Self::WithinNoise
        } else {
            Self::Missed
        }
    }
}

/// The goals, in words.
pub(crate) const HOT_PATH: &str = "pairs up to 1 KiB: at most 0.8 × the fastest peer's time";
pub(crate) const HOT_PATH_LINKER: &str =
    "pairs up to 1 KiB through the dynamic linker: at most the fastest preloaded peer's time";
pub(crate) const HOT_PATH_LINKER_ALL: &str = "pairs up to 1 KiB through the dynamic linker: at most the fastest peer's time, even if called directly";
pub(crate) const EVERY_ROW: &str = "every other row: at most the time of the fastest peer that takes no more than 1.3 × Strata's memory";
pub(crate) const OVERALL: &str = "geometric mean of times: at most 0.9 × the best single peer's";
pub(crate) const PEAK: &str =
    "geometric mean of peak RSS: at most that of the leanest peer within 1.2 × of the fastest";
pub(crate) const FINAL: &str =
    "final RSS: at most the best peer's, and half of it where that keeps more than 64 MiB";
pub(crate) const TAIL: &str = "p99.9 of single calls: at most the best peer's";
pub(crate) const FLAT_SERIES: &str = "the time of a cached pair is flat within 10 %";

/// Every answer that the record's figures allow, goal by goal.
pub(crate) fn answers(record: &Record) -> Vec<Answer> {
    let mut answers = Vec::new();
    for ours in record.ours() {
        let asked = Asked { record, ours };
        asked.hot_path(&mut answers);
        asked.other_rows(&mut answers);
        asked.overall(&mut answers);
        asked.peak(&mut answers);
        asked.kept(&mut answers);
        asked.tail(&mut answers);
        asked.flat(&mut answers);
    }
    answers
}

/// The answers goal by goal, for each form of Strata that was asked.
pub(crate) fn by_goal(answers: &[Answer]) -> Vec<(&'static str, &str, Vec<&Answer>)> {
    let mut goals: Vec<(&'static str, &str, Vec<&Answer>)> = Vec::new();
    for answer in answers {
        let known =
            goals.iter_mut().find(|(goal, ours, _)| (*goal, *ours) == (answer.goal, &answer.ours));
        match known {
            Some((_, _, of_goal)) => of_goal.push(answer),
            None => goals.push((answer.goal, &answer.ours, vec![answer])),
        }
    }
    goals
}

/// Rows whose times are compared between allocators, with their parts.
pub(crate) fn timed_lines(record: &Record) -> impl Iterator<Item = (&Row, &str)> {
    let rows = record.rows.iter().filter(|row| row.kind != Kind::Series);
    rows.flat_map(|row| row.parts().into_iter().map(move |part| (row, part)))
}

/// The geometric mean of an allocator's times relative to the first entry's, over lines that both
/// and all of `needed` have.
pub(crate) fn mean_time(record: &Record, name: &str) -> Option<f64> {
    let first = record.entries.first()?;
    let ratios: Vec<f64> = timed_lines(record)
        .filter_map(|(row, part)| {
            let base = row.cell(&first.name)?.time(part)?;
            Some(row.cell(name)?.time(part)?.median / base.median)
        })
        .collect();
    geometric_mean(&ratios)
}

/// The same of a figure that a row has but once.
pub(crate) fn mean_of_rows(
    record: &Record,
    name: &str,
    figure: fn(&Cell) -> Option<super::spread::Spread>,
) -> Option<f64> {
    let first = record.entries.first()?;
    let rows = record.rows.iter().filter(|row| row.kind != Kind::Series);
    let ratios: Vec<f64> = rows
        .filter_map(|row| {
            let base = figure(row.cell(&first.name)?)?;
            Some(figure(row.cell(name)?)?.median / base.median)
        })
        .filter(|ratio| ratio.is_finite())
        .collect();
    geometric_mean(&ratios)
}

struct Asked<'a> {
    record: &'a Record,
    ours: &'a Entry,
}

/// A peer and its figure.
struct Best<'a> {
    peer: &'a Entry,
    figure: f64,
}

impl<'a> Asked<'a> {
    fn hot_path(&self, answers: &mut Vec<Answer>) {
        for (row, part) in timed_lines(self.record).filter(|(row, _)| row.kind == Kind::HotPath) {
            let Some(own) = self.own(row).and_then(|cell| cell.time(part)) else { continue };
            let mut ask = |goal, best: Option<Best<'_>>, factor| {
                let Some(best) = best else { return };
                answers.push(self.answer(goal, row.line(part), own.median, &best, factor, ns));
            };
            let time = |cell: &Cell| cell.time(part).map(|time| time.median);
            let fastest = self.best(row, |_| true, time);
            match self.ours.name.as_str() {
                STRATA => ask(HOT_PATH, fastest, 0.8),
                STRATA_PRELOADED => {
                    let preloaded = |peer: &Entry| peer.preloaded || peer.name == peer.base;
                    ask(HOT_PATH_LINKER, self.best(row, preloaded, time), 1.0);
                    ask(HOT_PATH_LINKER_ALL, fastest, 1.0);
                }
                _ => {}
            }
        }
    }

    fn other_rows(&self, answers: &mut Vec<Answer>) {
        for (row, part) in timed_lines(self.record).filter(|(row, _)| row.kind != Kind::HotPath) {
            let Some(cell) = self.own(row) else { continue };
            let (Some(time), Some(memory)) = (cell.time(part), cell.peak_rss()) else { continue };
            let lean = |peer: &Entry| {
                let theirs = row.cell(&peer.name).and_then(Cell::peak_rss);
                theirs.is_some_and(|theirs| theirs.median <= PAID * memory.median)
            };
            let best = self.best(row, lean, |cell| cell.time(part).map(|time| time.median));
            let Some(best) = best else { continue };
            let line = row.line(part);
            answers.push(self.answer(EVERY_ROW, line, time.median, &best, 1.0, ns));
        }
    }

    fn overall(&self, answers: &mut Vec<Answer>) {
        let own = mean_time(self.record, &self.ours.name);
        let Some((own, best)) = own.zip(self.best_mean(|_| true, mean_time)) else { return };
        let mean = "geometric mean".to_owned();
        answers.push(self.answer(OVERALL, mean, own, &best, 0.9, of_base));
    }

    fn peak(&self, answers: &mut Vec<Answer>) {
        let memory = |record: &Record, name: &str| mean_of_rows(record, name, Cell::peak_rss);
        let Some(fastest) = self.best_mean(|_| true, mean_time) else { return };
        let fast = |peer: &Entry| {
            let time = mean_time(self.record, &peer.name);
            time.is_some_and(|time| time <= 1.2 * fastest.figure)
        };
        let own = memory(self.record, &self.ours.name);
        let Some((own, leanest)) = own.zip(self.best_mean(fast, memory)) else { return };
        let mean = "geometric mean".to_owned();
        answers.push(self.answer(PEAK, mean, own, &leanest, 1.0, of_base));
    }

    fn kept(&self, answers: &mut Vec<Answer>) {
        for row in self.record.rows.iter() {
            let figure = |cell: &Cell| cell.final_rss().map(|rss| rss.median);
            let own = self.own(row).and_then(figure);
            let Some((own, best)) = own.zip(self.best(row, |_| true, figure)) else { continue };
            let factor = if best.figure > MUCH_KEPT_KIB { 0.5 } else { 1.0 };
            answers.push(self.answer(FINAL, row.line(""), own, &best, factor, mib));
        }
    }

    fn tail(&self, answers: &mut Vec<Answer>) {
        for row in self.record.rows.iter().filter(|row| row.kind != Kind::StartUp) {
            let figure = |cell: &Cell| cell.p999().map(|time| time.median);
            let spread = self.own(row).and_then(Cell::p999);
            let Some((own, best)) = spread.zip(self.best(row, |_| true, figure)) else { continue };
            let mut answer = self.answer(TAIL, row.line(""), own.median, &best, 1.0, ns);
            // One call in a thousand is where interruptions of the machine are: a round without
            // them that reached it is what the program does.
            let quietest = own.min - best.figure;
            if answer.result == Outcome::Missed && quietest <= CLOCK_STEP_NS {
                answer.result = Outcome::WithinNoise;
            }
            answers.push(answer);
        }
    }

    fn flat(&self, answers: &mut Vec<Answer>) {
        for row in self.record.rows.iter().filter(|row| row.kind == Kind::Series) {
            let Some(cell) = self.own(row) else { continue };
            let times =
                row.parts().into_iter().filter_map(|part| Some((part, cell.time(part)?.median)));
            let times: Vec<(&str, f64)> = times.collect();
            let least = times.iter().min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((least, most)) = least.zip(times.iter().max_by(|a, b| a.1.total_cmp(&b.1)))
            else {
                continue;
            };
            let multiple = most.1 / least.1 / FLAT;
            answers.push(Answer {
                goal: FLAT_SERIES,
                ours: self.ours.name.clone(),
                line: row.line(""),
                figures: format!("{} at {}, {} at {}", ns(least.1), least.0, ns(most.1), most.0),
                multiple,
                result: Outcome::of(multiple),
            });
        }
    }

    fn own<'r>(&self, row: &'r Row) -> Option<&'r Cell> {
        row.cell(&self.ours.name)
    }

    /// The peer with the least figure among those that may be counted.
    fn best(
        &self,
        row: &Row,
        counts: impl Fn(&Entry) -> bool,
        figure: impl Fn(&Cell) -> Option<f64>,
    ) -> Option<Best<'a>> {
        let peers = self.record.peers().filter(|peer| counts(peer));
        let figures =
            peers.filter_map(|peer| Some(Best { peer, figure: figure(row.cell(&peer.name)?)? }));
        figures.min_by(|a, b| a.figure.total_cmp(&b.figure))
    }

    fn best_mean(
        &self,
        counts: impl Fn(&Entry) -> bool,
        mean: impl Fn(&Record, &str) -> Option<f64>,
    ) -> Option<Best<'a>> {
        let peers = self.record.peers().filter(|peer| counts(peer));
        let means =
            peers.filter_map(|peer| Some(Best { peer, figure: mean(self.record, &peer.name)? }));
        means.min_by(|a, b| a.figure.total_cmp(&b.figure))
    }

    fn answer(
        &self,
        goal: &'static str,
        line: String,
        own: f64,
        best: &Best<'_>,
        factor: f64,
        shown: fn(f64) -> String,
    ) -> Answer {
        let multiple = own / (factor * best.figure);
        let (own, theirs) = (shown(own), shown(best.figure));
        let bound = if factor < 1.0 { format!("{factor} × ") } else { String::new() };
        Answer {
            goal,
            ours: self.ours.name.clone(),
            line,
            figures: format!("{own}, {bound}{theirs} ({})", best.peer.name),
            multiple,
            result: Outcome::of(multiple),
        }
    }
}

pub(crate) fn ns(ns: f64) -> String {
    if ns < 10_000.0 { format!("{ns:.1} ns") } else { format!("{:.1} µs", ns / 1000.0) }
}

pub(crate) fn mib(kib: f64) -> String {
    format!("{:.1} MiB", kib / 1024.0)
}

fn of_base(ratio: f64) -> String {
    format!("{ratio:.2}")
}

#[cfg(test)]
pub(crate) mod tests;
