use super::{Kind, Pace, WORKLOADS};
use crate::Scale;

#[test]
fn every_workload_runs_counts_its_operations_and_names_its_parts() {
    for workload in WORKLOADS {
        let figures = workload.measure(Scale::from_percent(0), Pace::Unwatched);
        let counted = figures.parts.iter().all(|part| part.operations > 0);
        assert!(counted && !figures.parts.is_empty(), "{}", workload.name);
        let named = figures.parts.iter().filter(|part| !part.name.is_empty()).count();
        let wanted = if figures.parts.len() > 1 { figures.parts.len() } else { 0 };
        assert_eq!(named, wanted, "{}", workload.name);
        assert!(workload.kind != Kind::Series || wanted > 1, "{}", workload.name);
        assert!(figures.latencies.is_none(), "{}", workload.name);
        assert!(figures.working.rss_kib > 0, "{}", workload.name);
    }
}

#[test]
fn every_workload_that_allocates_has_its_calls_timed_when_watched() {
    for workload in WORKLOADS.iter().filter(|workload| workload.kind != Kind::StartUp) {
        let figures = workload.measure(Scale::from_percent(0), Pace::Watched);
        let seen = figures.latencies.expect("it is watched");
        assert!(seen.calls > 0, "{}", workload.name);
        assert!(seen.p50 <= seen.p99 && seen.p99 <= seen.p999, "{}: {seen:?}", workload.name);
    }
}

#[test]
fn names_are_different() {
    for (place, workload) in WORKLOADS.iter().enumerate() {
        let others = WORKLOADS.iter().skip(place + 1);
        assert!(others.into_iter().all(|other| other.name != workload.name), "{}", workload.name);
    }
}
