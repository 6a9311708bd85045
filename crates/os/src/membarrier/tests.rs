use super::{fence, fence_rseq, register, register_rseq, visit_cpu, visit_every_cpu};
use crate::{allowed_cpus, current_cpu, errno, possible_cpus, set_errno};
use std::vec::Vec;

#[test]
fn a_registered_process_may_fence_one_cpu_or_all() {
    if !register_rseq() {
        return;
    }
    set_errno(21);
    assert_eq!(fence_rseq(None), Ok(()));
    assert_eq!(fence_rseq(current_cpu()), Ok(()));
    assert_eq!(fence_rseq(Some(u32::MAX)), Err(libc::EINVAL));
    assert_eq!(errno(), 21);
}

#[test]
fn a_registered_process_may_fence_its_threads() {
    if !register() {
        return;
    }
    set_errno(21);
    assert_eq!(fence(), Ok(()));
    assert_eq!(errno(), 21);
}

#[test]
fn every_visit_happens_on_the_cpu_it_names_and_the_binding_is_put_back() {
    std::thread::spawn(|| {
        let before = allowed_cpus();
        let mut seen = Vec::new();
        let visited = visit_every_cpu(|cpu| {
            assert_eq!(current_cpu(), Some(cpu));
            seen.push(cpu);
        });
        assert_eq!(visited, Ok(u32::try_from(seen.len()).expect("few")));
        assert!(visited >= Ok(before));
        assert_eq!(allowed_cpus(), before);
    })
    .join()
    .expect("it ended well");
}

#[test]
fn a_cpu_that_is_not_there_is_not_visited() {
    assert_eq!(visit_cpu(possible_cpus() + 5000, || unreachable!()), Ok(false));
    assert_eq!(visit_cpu(u32::MAX, || unreachable!()), Ok(false));
}

#[test]
fn one_cpu_is_visited_alone() {
    std::thread::spawn(|| {
        let here = current_cpu().expect("Linux tells");
        let mut there = None;
        assert_eq!(visit_cpu(here, || there = current_cpu()), Ok(true));
        assert_eq!(there, Some(here));
    })
    .join()
    .expect("it ended well");
}
