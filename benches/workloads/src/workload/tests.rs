use super::WORKLOADS;
use crate::Scale;

#[test]
fn every_workload_runs_and_counts_its_operations() {
    for workload in WORKLOADS {
        assert!(workload.measure(Scale::from_percent(0)).operations > 0, "{}", workload.name);
    }
}

#[test]
fn names_are_different() {
    for (place, workload) in WORKLOADS.iter().enumerate() {
        let others = WORKLOADS.iter().skip(place + 1);
        assert!(others.into_iter().all(|other| other.name != workload.name), "{}", workload.name);
    }
}
