//! Kernels that refuse restartable sequences, or the means to stop them; threads that are not registered; CPUs that
//! are taken away.
//!
//! Each scene is a process of its own: this program again, under a seccomp filter that is there before its first
//! instruction.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::panic, reason = "a test may fail, in what it calls too")]

use core::{
    ffi::c_long,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    time::Duration,
};
use std::{os::unix::process::CommandExt, process::Command, sync::Barrier, thread};
use strata_alloc::{Config, CpuIdChoice, FrontEnd, Heap, WhyPerThread};
use strata_cpu_cache::{CpuCache, Fences, IdKind};
use strata_os::{for_each_allowed_cpu, refuse_calls, rseq, thread_id};

static HEAP: Heap = Heap::with(Config::DEFAULT);

/// Runs the scene `name` of this program with these system calls refused. False if filters are not to be had.
fn play(name: &str, refused: &'static [c_long], errno: i32) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    // SAFETY: what runs in the child before its program are three system calls, which allocate nothing.
    unsafe { command.pre_exec(move || refuse_calls(refused, errno)) };
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            println!("{name} left out: no seccomp filters: {error}");
            return false;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{name} was not played: {text}");
    true
}

/// Whether restartable sequences are to be had here at all.
fn has_rseq() -> bool {
    CpuCache::IS_SUPPORTED && rseq::glibc_area().is_some()
}

/// Blocks of many sizes, written to, checked and freed.
fn work(heap: &Heap) {
    let fill = |number: usize| (number * 7) as u8;
    for round in 0..20 {
        let blocks: Vec<_> = (1..300)
            .map(|number| {
                let size = number * (1 + round * 3);
                let block = heap.allocate(size);
                assert!(!block.is_null());
                // SAFETY: the block is ours and so long.
                unsafe { block.write_bytes(fill(number), size) };
                (block, size, number)
            })
            .collect();
        for (block, size, number) in blocks {
            // SAFETY: the block is ours and so long.
            let content = unsafe { core::slice::from_raw_parts(block, size) };
            assert!(content.iter().all(|&byte| byte == fill(number)));
            // SAFETY: the block is ours and so long.
            unsafe { heap.deallocate_sized(block, size, 1) };
        }
    }
}

/// The process's heap. What is idle stays where it is: on a machine that is busy a scene takes as long as it takes
/// caches to be idle, and whoever misses then would empty them in its midst.
fn heap_that_keeps_what_is_idle() -> &'static Heap {
    assert!(HEAP.set_background_enabled(false));
    &HEAP
}

/// More threads than CPUs work.
fn work_in_threads(heap: &Heap) {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| work(heap))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

fn assert_in_order(heap: &Heap) {
    let figures = heap.core().expect("blocks were had").figures();
    assert_eq!((figures.in_use_bytes(), figures.in_use_bytes_by_threads()), (0, 0));
    assert_eq!(figures.unexplained_bytes(), 0);
}

#[test]
fn without_restartable_sequences_caches_are_per_thread_and_the_reason_is_known() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        if !play("scene_without_rseq", &[libc::SYS_rseq], errno) {
            return;
        }
    }
}

#[test]
#[ignore = "a scene of another test"]
fn scene_without_rseq() {
    let heap = heap_that_keeps_what_is_idle();
    work_in_threads(heap);
    let core = heap.core().expect("blocks were had");
    assert_eq!(core.front_end(), FrontEnd::PerThread(WhyPerThread::NoRseq));
    assert_eq!(WhyPerThread::NoRseq.as_str(), "no restartable sequences");
    work(heap);
    assert_eq!(core.figures().thread_caches.caches, 1, "this thread's");
    assert_in_order(heap);
}

#[test]
fn without_membarrier_cpus_are_visited_to_drain_their_caches() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        play("scene_without_membarrier", &[libc::SYS_membarrier], errno);
    }
}

#[test]
#[ignore = "a scene of another test"]
fn scene_without_membarrier() {
    let heap = heap_that_keeps_what_is_idle();
    work_in_threads(heap);
    let core = heap.core().expect("blocks were had");
    if !has_rseq() {
        return;
    }
    assert!(matches!(core.front_end(), FrontEnd::PerCpu(_)), "{:?}", core.front_end());
    assert!(core.figures().cpu.held_bytes > 0);
    heap.release(usize::MAX);
    let cpu = core.figures().cpu;
    assert_eq!(cpu.held_bytes, 0);
    assert!(cpu.drains > 0);
    assert_eq!(core.figures().fences, Fences::Pinning);
    work_in_threads(heap);
    assert_in_order(heap);
}

#[test]
fn without_any_means_to_stop_a_cpu_its_cache_stays_and_all_else_goes_on() {
    play(
        "scene_without_a_fence",
        &[libc::SYS_membarrier, libc::SYS_sched_setaffinity],
        libc::EPERM,
    );
}

#[test]
#[ignore = "a scene of another test"]
fn scene_without_a_fence() {
    let heap = heap_that_keeps_what_is_idle();
    work_in_threads(heap);
    let core = heap.core().expect("blocks were had");
    if !has_rseq() {
        return;
    }
    assert!(matches!(core.front_end(), FrontEnd::PerCpu(_)), "{:?}", core.front_end());
    let held = core.figures().cpu.held_bytes;
    assert!(held > 0);
    heap.release(usize::MAX);
    let cpu = core.figures().cpu;
    assert_eq!((cpu.held_bytes, cpu.drains, cpu.region_resizes), (held, 0, 0));
    assert_eq!(core.figures().fences, Fences::Refused);
    work_in_threads(heap);
    assert_in_order(heap);
}

#[test]
fn a_process_may_lose_cpus_while_it_runs() {
    // A binding is the process's own; so it is a process of its own.
    play("scene_of_cpus_that_go", &[], 0);
}

#[test]
#[ignore = "a scene of another test"]
fn scene_of_cpus_that_go() {
    let mut cpus = Vec::new();
    for_each_allowed_cpu(|cpu| cpus.push(cpu as usize));
    let mut config = Config::DEFAULT;
    config.cpu_id = CpuIdChoice::Cpu;
    let heap: Heap = Heap::with(config);
    let workers: Vec<_> = (0..6).map(|_| AtomicI32::new(0)).collect();
    let (begun, over) = (Barrier::new(workers.len() + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        for worker in &workers {
            let (heap, begun, over) = (&heap, &begun, &over);
            scope.spawn(move || {
                worker.store(thread_id().cast_signed(), Ordering::Relaxed);
                begun.wait();
                while !over.load(Ordering::Relaxed) {
                    work(heap);
                }
            });
        }
        begun.wait();
        // From all CPUs down to one and up again, while caches are emptied.
        for count in (1..=cpus.len()).rev().chain(1..=cpus.len()) {
            for worker in &workers {
                bind(worker.load(Ordering::Relaxed), &cpus[..count]);
            }
            bind(0, &cpus[..count]);
            thread::sleep(Duration::from_millis(10));
            heap.release(usize::MAX);
        }
        bind(0, &cpus[..1]);
        over.store(true, Ordering::Relaxed);
    });
    let core = heap.core().expect("blocks were had");
    if has_rseq() {
        assert_eq!(core.front_end(), FrontEnd::PerCpu(IdKind::Cpu));
        // From the one CPU that is left, those that are gone are emptied too.
        heap.release(usize::MAX);
        assert_eq!(core.figures().cpu.held_bytes, 0);
    }
    assert_in_order(&heap);
}

fn bind(thread: libc::pid_t, cpus: &[usize]) {
    // SAFETY: a set of CPUs is an array of integers.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: the numbers are those of CPUs, and checked against the set's size there.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set is as long as said.
    let refused = unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &raw const set) };
    assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_thread_that_is_not_registered_touches_no_cpus_cache() {
    play("scene_of_a_thread_that_is_not_registered", &[], 0);
}

#[test]
#[ignore = "a scene of another test"]
fn scene_of_a_thread_that_is_not_registered() {
    let heap = heap_that_keeps_what_is_idle();
    if !has_rseq() {
        return;
    }
    // CPU 0's cache has objects: a thread without a number reads 0.
    work_in_threads(heap);
    let core = heap.core().expect("blocks were had");
    let area = rseq::glibc_area().expect("asked above");
    thread::spawn(move || {
        let words: *mut u8 = core::ptr::with_exposed_provenance_mut(area.of_this_thread());
        // SAFETY: nobody in this thread has a section underway, and the heap does not know the thread yet.
        let gone = unsafe { rseq::unregister(words, rseq::AREA_BYTES) };
        assert_eq!(gone, Ok(()), "as long as glibc registered it");
        let everything = || {
            let cpu = core.figures().cpu;
            (cpu.held_bytes, cpu.underflows, cpu.overflows, cpu.refilled_objects)
        };
        let pops = || -> u64 {
            let class = |index| strata_size_classes::SizeClass::from_index(index).expect("a class");
            let cache = core.cpu_cache();
            let of = |id| (1..70).map(move |index| u64::from(cache.pops(id, class(index))));
            (0..cache.used_ids()).flat_map(of).sum()
        };
        let (before, pops_before) = (everything(), pops());
        work(heap);
        assert_eq!(everything(), before, "nothing of it went through a CPU's cache");
        assert_eq!(pops(), pops_before);
    })
    .join()
    .expect("no panic");
    assert_in_order(heap);
}
