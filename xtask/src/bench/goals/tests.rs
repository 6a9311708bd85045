use strata_workloads::Kind;

use super::{
    EVERY_ROW, FINAL, FLAT_SERIES, HOT_PATH, OVERALL, Outcome, PEAK, TAIL, answers, by_goal,
};
use crate::bench::machine::Machine;
use crate::bench::record::{Cell, Entry, Part, Record, Role, Row};

/// A record of one row, a pair, from the time and the memory of each contender.
pub(crate) fn record(figures: &[(&str, f64, f64)]) -> Record {
    let entry = |&(name, ..): &(&str, f64, f64)| Entry {
        name: name.to_owned(),
        base: "system".to_owned(),
        role: if name.starts_with("strata") { Role::Ours } else { Role::Peer },
        preloaded: false,
    };
    let cell = |&(name, ns, kib): &(&str, f64, f64)| Cell {
        allocator: name.to_owned(),
        parts: vec![Part { name: String::new(), ns: vec![ns], faults: vec![0.0] }],
        peak_rss_kib: vec![kib],
        final_rss_kib: vec![kib],
        p999: vec![ns * 10.0],
        ..Cell::default()
    };
    Record {
        command: "bench".to_owned(),
        machine: Machine::this_one(),
        revision: "1".to_owned(),
        rounds: 1,
        watched_rounds: 1,
        idle_seconds: 0,
        scale_percent: 100,
        minutes: 0.0,
        entries: figures.iter().map(entry).collect(),
        rows: vec![Row {
            workload: "pair".to_owned(),
            operation: String::new(),
            kind: Kind::HotPath,
            cells: figures.iter().map(cell).collect(),
        }],
        left_out: Vec::new(),
    }
}

fn result(record: &Record, goal: &str) -> Outcome {
    let answers = answers(record);
    let of_goal: Vec<_> = answers.iter().filter(|answer| answer.goal == goal).collect();
    assert_eq!(of_goal.len(), 1, "{goal}: {answers:?}");
    of_goal[0].result
}

fn of_program(mut record: Record) -> Record {
    record.rows[0].kind = Kind::Program;
    record
}

#[test]
fn the_hot_path_has_to_take_four_fifths_of_the_fastest_peers_time() {
    let pair = |ours| record(&[("system", 10.0, 1.0), ("peer", 5.0, 1.0), ("strata", ours, 1.0)]);
    assert_eq!(result(&pair(4.0), HOT_PATH), Outcome::Reached);
    assert_eq!(result(&pair(4.3), HOT_PATH), Outcome::WithinNoise);
    assert_eq!(result(&pair(4.5), HOT_PATH), Outcome::Missed);
}

#[test]
fn a_peer_that_pays_with_memory_does_not_count_in_other_rows() {
    let row = |memory| {
        of_program(record(&[
            ("system", 10.0, 100.0),
            ("peer", 1.0, memory),
            ("strata", 5.0, 100.0),
        ]))
    };
    assert_eq!(result(&row(131.0), EVERY_ROW), Outcome::Reached);
    assert_eq!(result(&row(130.0), EVERY_ROW), Outcome::Missed);
}

#[test]
fn an_allocator_that_is_only_shown_does_not_count() {
    let mut row =
        of_program(record(&[("system", 10.0, 1.0), ("odd", 1.0, 1.0), ("strata", 5.0, 1.0)]));
    row.entries[1].role = Role::Shown;
    assert_eq!(result(&row, EVERY_ROW), Outcome::Reached);
}

#[test]
fn the_mean_of_times_is_held_against_nine_tenths_of_the_best_peers() {
    let row = |ours| record(&[("system", 10.0, 1.0), ("strata", ours, 1.0)]);
    assert_eq!(result(&row(9.0), OVERALL), Outcome::Reached);
    assert_eq!(result(&row(10.0), OVERALL), Outcome::Missed);
}

#[test]
fn memory_is_held_against_the_leanest_of_the_fast_peers() {
    let row = |ours| {
        record(&[
            ("system", 20.0, 1.0),
            ("lean", 12.0, 200.0),
            ("fast", 10.0, 300.0),
            ("strata", 10.0, ours),
        ])
    };
    assert_eq!(result(&row(200.0), PEAK), Outcome::Reached);
    assert_eq!(result(&row(300.0), PEAK), Outcome::Missed);
}

#[test]
fn of_much_that_the_best_peer_keeps_half_has_to_go() {
    let row = |theirs, ours| record(&[("system", 1.0, theirs), ("strata", 1.0, ours)]);
    assert_eq!(result(&row(60_000.0, 60_000.0), FINAL), Outcome::Reached);
    assert_eq!(result(&row(80_000.0, 60_000.0), FINAL), Outcome::Missed);
    assert_eq!(result(&row(80_000.0, 40_000.0), FINAL), Outcome::Reached);
}

#[test]
fn the_tail_is_held_against_the_shortest() {
    let row = |ours| record(&[("system", 9.0, 1.0), ("peer", 20.0, 1.0), ("strata", ours, 1.0)]);
    assert_eq!(result(&row(9.0), TAIL), Outcome::Reached);
    assert_eq!(result(&row(10.0), TAIL), Outcome::WithinNoise);
    assert_eq!(result(&row(12.0), TAIL), Outcome::Missed);
}

#[test]
fn a_tail_that_one_round_reached_is_within_noise() {
    let mut row = record(&[("system", 9.0, 1.0), ("strata", 12.0, 1.0)]);
    for (rounds, wanted) in [
        ([120.0, 130.0, 115.0], Outcome::Missed),
        ([120.0, 130.0, 95.0], Outcome::WithinNoise),
        ([90.0, 130.0, 80.0], Outcome::Reached),
    ] {
        row.rows[0].cells[1].p999 = rounds.to_vec();
        assert_eq!(result(&row, TAIL), wanted, "{rounds:?}");
    }
}

#[test]
fn a_series_is_flat_if_its_parts_differ_by_a_tenth() {
    let mut row = record(&[("system", 1.0, 1.0), ("strata", 10.0, 1.0)]);
    row.rows[0].kind = Kind::Series;
    row.rows[0].cells[1].parts[0].name = "a".to_owned();
    row.rows[0].cells[0].parts[0].name = "a".to_owned();
    let mut part = row.rows[0].cells[1].parts[0].clone();
    part.name = "b".to_owned();
    for (ns, wanted) in [(10.9, Outcome::Reached), (13.0, Outcome::Missed)] {
        part.ns = vec![ns];
        row.rows[0].cells[0].parts.truncate(1);
        row.rows[0].cells[1].parts.truncate(1);
        row.rows[0].cells.iter_mut().for_each(|cell| cell.parts.push(part.clone()));
        assert_eq!(result(&row, FLAT_SERIES), wanted);
    }
}

#[test]
fn answers_are_gathered_goal_by_goal() {
    let mut record = record(&[("system", 1.0, 1.0), ("strata", 1.0, 1.0)]);
    let mut second = record.rows.remove(0);
    second.workload = "second".to_owned();
    let mut first = self::record(&[("system", 1.0, 1.0), ("strata", 1.0, 1.0)]).rows.remove(0);
    first.workload = "first".to_owned();
    record.rows = vec![first, second];
    let answers = answers(&record);
    let goals = by_goal(&answers);
    let of_goal = |name| goals.iter().filter(|(goal, ..)| *goal == name).count();
    assert_eq!((of_goal(HOT_PATH), of_goal(TAIL)), (1, 1));
    assert!(goals.iter().any(|(goal, _, rows)| *goal == HOT_PATH && rows.len() == 2));
}

#[test]
fn where_a_run_failed_nothing_is_asked() {
    let mut row = record(&[("system", 1.0, 1.0), ("strata", 1.0, 1.0)]);
    row.rows[0].cells[1].failures.push("signal: 6".to_owned());
    assert!(answers(&row).is_empty());
}
