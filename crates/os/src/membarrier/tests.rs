use super::{
    MOST_BINDINGS, arrive, fence, fence_rseq, register, register_rseq, visit_by, visit_cpu,
    visit_every_cpu,
};
use crate::{allowed_cpus, cpus::kernel_cpu, current_cpu, errno, possible_cpus, set_errno};
use core::cell::Cell;
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

#[test]
fn who_is_bound_elsewhere_before_it_ran_on_a_cpu_binds_itself_again() {
    let bindings = Cell::new(0);
    let bind = || {
        bindings.set(bindings.get() + 1);
        Ok(())
    };
    // It comes at the third, and is not moved when it is there at once.
    assert_eq!(arrive(2, bind, || Some(if bindings.get() < 3 { 1 } else { 2 })), Ok(()));
    assert_eq!(bindings.take(), 3);
    assert_eq!(arrive(2, bind, || Some(2)), Ok(()));
    assert_eq!(bindings.take(), 1);
    assert_eq!(arrive(2, bind, || None), Ok(()), "a kernel that does not tell");
    assert_eq!(bindings.take(), 1);
    assert_eq!(arrive(2, bind, || Some(1)), Err(libc::EAGAIN), "it never comes");
    assert_eq!(bindings.take(), MOST_BINDINGS);
    assert_eq!(arrive(2, || Err(libc::EINVAL), || Some(2)), Err(libc::EINVAL));
}

#[test]
fn a_cpu_that_was_not_visited_for_another_reason_than_that_it_is_forbidden_is_told() {
    let visits = |refusal: i32| {
        let mut seen = Vec::new();
        let bind = |cpu| if cpu == 1 { Err(refusal) } else { Ok(()) };
        (visit_by(3, bind, &mut |cpu| seen.push(cpu)), seen)
    };
    assert_eq!(visits(libc::EINVAL), (Ok(2), [0, 2].into()));
    for refusal in [libc::ENOMEM, libc::EPERM, libc::EAGAIN] {
        assert_eq!(visits(refusal).0, Err(refusal), "sections may run there");
    }
    assert_eq!(visit_by(3, |_| Err(libc::EINVAL), &mut |_| ()), Err(libc::EINVAL), "none at all");
}

#[test]
fn the_kernel_says_where_a_thread_runs() {
    std::thread::spawn(|| {
        set_errno(21);
        let visited = visit_every_cpu(|cpu| assert_eq!(kernel_cpu(), Some(cpu)));
        assert!(visited.is_ok());
        assert_eq!(errno(), 21);
    })
    .join()
    .expect("it ended well");
}
