//! Heaps in processes that are at a limit of the kernel's: they get null, and what they have freed serves others.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{env, process::Command};
use strata_alloc::{Config, Heap, PageHeapChoice, Standard};

static TEMERAIRE: Heap<Standard> = Heap::with(Config::DEFAULT);
static LEGACY: Heap<Standard> = Heap::with({
    let mut config = Config::DEFAULT;
    config.page_heap = PageHeapChoice::Legacy;
    config
});

const MIB: usize = 1 << 20;
/// What the child may have more than it has at its start.
const ROOM: usize = 320 * MIB;
const CHILD: &str = "STRATA_LIMITED_CHILD";

/// Runs the test `name` again in a process of its own, as the child.
fn run_child(name: &str) {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name}: {status}");
}

/// What has a limit, as the C library's `setrlimit` takes it.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Limits what `line` of /proc/self/status counts to `ROOM` more.
fn limit(resource: Resource, line: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let now = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    let kibibytes: usize = now.trim().trim_end_matches(" kB").parse().unwrap();
    let bytes = (kibibytes << 10) + ROOM;
    let limit = libc::rlimit { rlim_cur: bytes as u64, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a limit of this process's own.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// Has all that `heap` gives in blocks of 3 MiB, frees them, and maps memory beside it.
fn fill_and_free(heap: &Heap<Standard>) {
    for _ in 0..3 {
        let mut blocks = Vec::new();
        loop {
            let block = heap.allocate(3 * MIB);
            if block.is_null() {
                break;
            }
            // SAFETY: the block is ours and this long.
            unsafe { block.write_bytes(1, 3 * MIB) };
            blocks.push(block);
        }
        assert!(blocks.len() * 3 * MIB > ROOM / 2, "{} blocks", blocks.len());
        assert!(blocks.len() * 3 * MIB <= ROOM);
        for block in blocks {
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
        }
        heap.release(usize::MAX);
        let (length, access) = (ROOM / 2, libc::PROT_READ | libc::PROT_WRITE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the kernel chooses a place that nobody uses.
        let mapped = unsafe { libc::mmap(core::ptr::null_mut(), length, access, flags, -1, 0) };
        assert_ne!(mapped, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        // SAFETY: mapped above, and nobody knows it.
        unsafe { libc::munmap(mapped, length) };
    }
    assert!(heap.core().is_some_and(|core| core.figures().adds_up()));
}

#[test]
fn a_heap_at_the_limit_of_address_space_gives_what_it_freed_to_the_program() {
    if env::var_os(CHILD).is_none() {
        return run_child(
            "a_heap_at_the_limit_of_address_space_gives_what_it_freed_to_the_program",
        );
    }
    limit(libc::RLIMIT_AS, "VmSize:");
    fill_and_free(&TEMERAIRE);
    fill_and_free(&LEGACY);
}

#[test]
fn a_heap_at_the_limit_of_data_gives_what_it_freed_to_the_program() {
    if env::var_os(CHILD).is_none() {
        return run_child("a_heap_at_the_limit_of_data_gives_what_it_freed_to_the_program");
    }
    limit(libc::RLIMIT_DATA, "VmData:");
    fill_and_free(&TEMERAIRE);
    fill_and_free(&LEGACY);
}
