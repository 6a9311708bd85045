//! Forks while other threads allocate.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::thread;
use strata_alloc::{Config, Heap};
use strata_cpu_cache::CpuCache;
use strata_size_classes::{ObjectSource, SizeClass};

/// A process has words in its threads for two heaps: this one is all tests' but for the one that counts the threads
/// of its own.
static SHARED: Heap = Heap::with(Config::DEFAULT);

/// What a child does: blocks of all kinds, a thread, and figures. No panic leaves it: it has a copy of the test's
/// threads' locks.
fn in_child(heap: &Heap, kept: &[*mut u8]) -> bool {
    let mut good = true;
    for size in [8, 100, 5000, 100_000, 1 << 20, 8 << 20] {
        for _ in 0..50 {
            let block = heap.allocate(size);
            good &= !block.is_null();
            // SAFETY: the block is ours and this long.
            unsafe { block.write_bytes(1, size.min(4096)) };
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
        }
    }
    for &block in kept {
        // SAFETY: the block was live when the process was copied, and this is its copy.
        unsafe { heap.deallocate(block) };
    }
    good && heap.core().is_some_and(|core| core.thread_stats().threads == 1)
}

/// Whether the child ended well within 20 seconds.
fn ended_well(child: libc::pid_t) -> bool {
    for _ in 0..20_000 {
        let mut status = 0;
        // SAFETY: a child of ours, and a place for its status.
        if unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == child {
            return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
        }
        thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: a child of ours that hangs.
    unsafe { libc::kill(child, libc::SIGKILL) };
    false
}

#[test]
fn a_child_works_whatever_other_threads_were_doing() {
    for options in ["page_heap:temeraire", "page_heap:legacy", "front_end:per_thread"] {
        let heap: Heap = Heap::with(Config::parse(options.as_bytes(), |_| ()));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 0..4_usize {
                let (heap, stop) = (&heap, &stop);
                scope.spawn(move || {
                    let mut live: Vec<*mut u8> = Vec::new();
                    let mut state = number;
                    while !stop.load(Ordering::Relaxed) {
                        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                        let size = [16, 300, 9000, 70_000, 600_000][(state >> 33) % 5];
                        live.push(heap.allocate(size));
                        if live.len() > 50 {
                            let block = live.swap_remove((state >> 40) % 50);
                            // SAFETY: the block is ours.
                            unsafe { heap.deallocate(block) };
                        }
                    }
                    for block in live {
                        // SAFETY: the block is ours.
                        unsafe { heap.deallocate(block) };
                    }
                });
            }
            let kept: Vec<*mut u8> = (0..100).map(|size| heap.allocate(size * 50)).collect();
            let forks = std::env::var("STRATA_FORKS").map_or(60, |forks| forks.parse().unwrap());
            let mut failed = 0;
            for _ in 0..forks {
                // SAFETY: the child calls nothing but the heap and `_exit`.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    let good = in_child(&heap, &kept);
                    // SAFETY: ends the child at once.
                    unsafe { libc::_exit(i32::from(!good)) };
                }
                failed += usize::from(!ended_well(child));
            }
            stop.store(true, Ordering::Relaxed);
            for block in kept {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
            assert_eq!(failed, 0, "{options}: children of {forks} forks");
        });
    }
}

/// Whether a child ended well that says of itself whether it did.
fn forked(in_child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls what it was given, and ends without destructors.
    match unsafe { libc::fork() } {
        // SAFETY: ends the child.
        0 => unsafe { libc::_exit(i32::from(!in_child())) },
        child => child > 0 && ended_well(child),
    }
}

#[test]
fn a_fork_waits_for_who_holds_it_off() {
    let heap = &SHARED;
    // SAFETY: a block of this heap.
    unsafe { heap.deallocate(heap.allocate(100)) };
    for _ in 0..20 {
        let (holds, is_through) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let held_off = strata_alloc::hold_off_forks();
                holds.store(true, Ordering::Release);
                thread::sleep(Duration::from_millis(1));
                is_through.store(true, Ordering::Release);
                drop(held_off);
            });
            while !holds.load(Ordering::Acquire) {
                thread::yield_now();
            }
            assert!(forked(|| is_through.load(Ordering::Acquire)));
        });
    }
}

#[test]
fn who_holds_forks_off_may_fork_and_hold_off_again() {
    let heap = &SHARED;
    // SAFETY: a block of this heap.
    unsafe { heap.deallocate(heap.allocate(100)) };
    let outer = strata_alloc::hold_off_forks();
    drop(strata_alloc::hold_off_forks());
    assert!(forked(|| {
        drop(strata_alloc::hold_off_forks());
        // SAFETY: a block of this heap.
        unsafe { heap.deallocate(heap.allocate(100)) };
        true
    }));
    drop(outer);
    assert!(forked(|| true));
}

#[test]
fn the_background_goes_on_in_a_child_although_a_thread_watched_it_that_is_not_there() {
    let heap = &SHARED;
    // SAFETY: a block of this heap.
    unsafe { heap.deallocate(heap.allocate(100)) };
    let (watches, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let hold = heap.core().unwrap().hold_background();
            watches.store(true, Ordering::Release);
            while !is_over.load(Ordering::Acquire) {
                thread::yield_now();
            }
            drop(hold);
        });
        while !watches.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let steps = || {
            let core = heap.core().unwrap();
            let before = core.background_figures().steps;
            let hour_ns = 3_600_000_000_000;
            (1..10).for_each(|hour| {
                core.background_step(strata_os::coarse_now_ns() + hour * hour_ns);
            });
            core.background_figures().steps - before
        };
        assert_eq!(steps(), 0, "somebody reads figures");
        let goes_on = forked(|| steps() > 0);
        is_over.store(true, Ordering::Release);
        assert!(goes_on);
    });
}

/// Nobody gives it anything: the limits of the test below are higher than what caches hold.
struct NoObjects;

// SAFETY: it hands nothing out, and takes nothing.
unsafe impl ObjectSource for NoObjects {
    fn take(&self, _: SizeClass, _: &mut [*mut u8]) -> usize {
        0
    }
    unsafe fn give(&self, _: SizeClass, _: &mut [*mut u8]) {}
}

/// Whether the limits of all CPUs add up to the usual one for each, but for less than a byte for each.
fn limits_add_up(cpu: &CpuCache) -> bool {
    let used = (0..cpu.ids()).filter(|&id| cpu.is_populated(id));
    let (count, limits) = used
        .fold((0, 0), |(count, limits), id| (count + 1, limits + cpu.cpu_stats(id).limit_bytes));
    let never_used = u64::from((cpu.ids() - count).max(1));
    let limits = limits + cpu.unused_limit_bytes() * never_used;
    limits.abs_diff(u64::from(cpu.ids()) * cpu.limit_bytes()) <= never_used
}

#[test]
fn limits_of_cpus_add_up_in_a_child_though_another_thread_was_about_to_change_them() {
    const FORKS: usize = 100;
    let heap = &SHARED;
    // SAFETY: a block of this heap.
    unsafe { heap.deallocate(heap.allocate(100)) };
    let cpu = heap.core().unwrap().cpu_cache();
    if !cpu.is_set_up() {
        return println!("left out: no caches of CPUs here");
    }
    let usual = usize::try_from(cpu.limit_bytes()).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                cpu.set_limit(&NoObjects, 2 * usual);
                cpu.set_limit(&NoObjects, usual);
            }
        });
        let good = (0..FORKS).filter(|_| forked(|| limits_add_up(cpu))).count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(good, FORKS);
    });
    assert!(limits_add_up(cpu));
}
