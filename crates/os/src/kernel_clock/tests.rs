use super::*;

fn ns(now: libc::timespec) -> i64 {
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn of_c_library(clock: libc::clockid_t) -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut now) }, 0);
    ns(now)
}

fn by(ask: impl FnOnce(*mut libc::timespec)) -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    ask(&raw mut now);
    ns(now)
}

#[test]
fn each_clock_shows_what_the_c_library_shows() {
    // Not that of the day, which an administrator may set in between.
    for clock in
        [libc::CLOCK_MONOTONIC, libc::CLOCK_MONOTONIC_COARSE, libc::CLOCK_THREAD_CPUTIME_ID]
    {
        let before = of_c_library(clock);
        // SAFETY: the place is ours.
        let ours = by(|now| unsafe { clock_gettime(clock, now) });
        // SAFETY: the place is ours.
        let called = by(|now| assert_eq!(unsafe { by_system_call(clock, now) }, 0));
        let after = of_c_library(clock);
        assert!(
            before <= ours && ours <= called && called <= after,
            "{clock}: {before} {ours} {called} {after}"
        );
    }
}

/// Where the kernel has such a library (not under valgrind), the function is in it.
#[test]
fn the_kernels_function_is_found_and_others_are_not() {
    let start = usize::try_from(auxiliary(libc::AT_SYSINFO_EHDR)).expect("an address");
    if start == 0 {
        return;
    }
    let library = KernelLibrary::at(start);
    let address = library.function(NAME).expect("every kernel has it");
    assert!((start..start + (1 << 20)).contains(&address), "{start:#x} {address:#x}");
    for name in [c"", c"clock", c"__vdso_clock_gettime_", c"malloc"] {
        assert_eq!(library.function(name), None, "{name:?}");
    }
}

#[test]
fn a_clock_that_there_is_not_leaves_the_place_as_it_was() {
    let _keep = crate::KeepErrno::new();
    // SAFETY: the place is ours.
    assert_eq!(by(|now| unsafe { clock_gettime(1000, now) }), 0);
}
