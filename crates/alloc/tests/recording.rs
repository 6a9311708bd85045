//! Heaps whose calls are written to a file.
//!
//! Options come from the environment, so that each test starts this program again for what it wants done.

use core::ptr::NonNull;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs, thread};

use strata_alloc::{FrontEnd, Heap};
use strata_trace::{Decoder, Event};

static HEAP: Heap = Heap::new();

/// A file of that name that is not there yet.
fn file(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("strata-recording-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// Runs a part of this program on a heap that is recorded to `file`.
fn run(part: &str, file: &Path, more: &str) -> Output {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", part, "--ignored", "--test-threads=1"]);
    command.env_remove("STRATA_RECORD_PID");
    command.env("STRATA_CONF", format!("record_file:{}{more}", file.display()));
    if part == "of_another_process" {
        command.env("STRATA_RECORD_PID", "1");
    }
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    output
}

fn events(file: &Path) -> (Vec<Event>, bool) {
    let trace = fs::read(file).expect("it was written");
    let _ = fs::remove_file(file);
    let mut decoder = Decoder::new(&trace).expect("a trace");
    let events = decoder.by_ref().map(|event| event.expect("not corrupt")).collect();
    (events, decoder.is_complete())
}

fn allocate(size: usize, align: usize) -> NonNull<u8> {
    NonNull::new(HEAP.allocate_aligned(size, align)).expect("memory")
}

/// Once the last thread has ended, the ledger adds up.
fn see_that_it_adds_up() {
    let core = HEAP.core().expect("it had blocks");
    let mut figures = core.figures();
    for _ in 0..1000 {
        if figures.adds_up() {
            break;
        }
        thread::sleep(core::time::Duration::from_millis(5));
        figures = core.figures();
    }
    assert!(figures.adds_up(), "{figures:#?}");
}

#[test]
#[ignore = "a part of the others"]
fn some_blocks() {
    let (small, aligned, large) = (allocate(100, 1), allocate(10, 4096), allocate(3 << 20, 1));
    // SAFETY: the block is ours.
    let grown = unsafe { HEAP.reallocate(small.as_ptr(), 1, 5000) };
    // SAFETY: the block is ours.
    let same = unsafe { HEAP.reallocate(grown, 1, 5001) };
    assert_eq!(same, grown);
    let zeroed = HEAP.allocate_zeroed(40, 1);
    for block in [grown, aligned.as_ptr(), large.as_ptr(), zeroed] {
        // SAFETY: the block is ours, and not used any more.
        unsafe { HEAP.deallocate(block) };
    }
    HEAP.core().expect("it had blocks").end_recording();
    see_that_it_adds_up();
    // What comes now is not recorded.
    allocate(1, 1);
}

#[test]
fn calls_are_written_as_they_were_made() {
    let file = file("calls");
    run("some_blocks", &file, "");
    let (events, is_complete) = events(&file);
    assert!(is_complete);
    let mut sizes = Vec::new();
    let mut live = HashMap::new();
    for event in &events {
        match *event {
            Event::Allocate { address, size, align } => {
                assert!(address.is_multiple_of(align));
                assert!(live.insert(address, size).is_none(), "{address:#x} twice");
                sizes.push((size, align));
            }
            Event::Reallocate { old, address, size } => {
                assert!(live.remove(&old).is_some(), "{old:#x} was not there");
                assert!(live.insert(address, size).is_none());
                sizes.push((size, 0));
            }
            Event::Deallocate { address } => assert!(live.remove(&address).is_some()),
            Event::Time { .. } | Event::Thread { .. } | Event::End => {}
        }
    }
    assert_eq!(sizes, [(100, 1), (10, 4096), (3 << 20, 1), (5000, 0), (5001, 0), (40, 1)]);
    assert!(live.is_empty());
}

#[test]
#[ignore = "a part of the others"]
fn four_threads() {
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                for round in 0..5000 {
                    let blocks = [(); 4].map(|()| allocate(16 + (round * 7 + number) % 900, 1));
                    // SAFETY: each block is ours, and not used any more.
                    blocks.iter().for_each(|block| unsafe { HEAP.deallocate(block.as_ptr()) });
                }
            });
        }
    });
    HEAP.core().expect("it had blocks").end_recording();
    see_that_it_adds_up();
}

#[test]
fn no_address_comes_again_before_it_was_freed_whichever_thread_had_it() {
    let file = file("threads");
    run("four_threads", &file, "");
    let (events, is_complete) = events(&file);
    assert!(is_complete);
    let mut live = HashMap::new();
    let mut threads = std::collections::HashSet::new();
    let mut counts = [0, 0];
    for event in events {
        match event {
            Event::Allocate { address, size, .. } => {
                assert!(live.insert(address, size).is_none(), "{address:#x} twice");
                counts[0] += 1;
            }
            Event::Deallocate { address } => {
                assert!(live.remove(&address).is_some(), "{address:#x} was not there");
                counts[1] += 1;
            }
            Event::Thread { number } => drop(threads.insert(number)),
            Event::Reallocate { .. } | Event::Time { .. } | Event::End => {}
        }
    }
    assert_eq!(counts, [80_000, 80_000]);
    assert_eq!(threads.len(), 4);
}

#[test]
#[ignore = "a part of the others"]
fn ends_in_the_middle() {
    // More than is kept back.
    for _ in 0..50_000 {
        let block = allocate(64, 1);
        // SAFETY: the block is ours, and not used any more.
        unsafe { HEAP.deallocate(block.as_ptr()) };
    }
}

#[test]
fn a_program_that_just_ends_leaves_a_trace_that_was_cut_off() {
    let file = file("cut");
    run("ends_in_the_middle", &file, "");
    let (events, is_complete) = events(&file);
    assert!(!is_complete && events.len() > 50_000, "{}", events.len());
}

#[test]
#[ignore = "a part of the others"]
fn a_fork_in_between() {
    allocate(100, 1);
    // SAFETY: the child allocates and leaves at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        for _ in 0..100_000 {
            allocate(200, 1);
        }
        // SAFETY: nothing is left to be done.
        unsafe { libc::_exit(0) };
    }
    let mut status = 1;
    // SAFETY: the status is ours to write.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0);
    allocate(300, 1);
    HEAP.core().expect("it had blocks").end_recording();
    see_that_it_adds_up();
}

#[test]
fn the_child_of_a_fork_is_not_recorded() {
    let file = file("fork");
    run("a_fork_in_between", &file, "");
    let (events, is_complete) = events(&file);
    assert!(is_complete);
    let sizes = events.iter().filter_map(|event| match event {
        Event::Allocate { size, .. } => Some(*size),
        _ => None,
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [100, 300]);
}

#[test]
#[ignore = "a part of the others"]
fn of_another_process() {
    allocate(1, 1);
    let front_end = HEAP.core().expect("it had a block").front_end();
    assert!(!matches!(front_end, FrontEnd::Observed(_)), "{front_end:?}");
}

#[test]
fn a_process_that_is_not_named_is_not_recorded_and_has_its_caches() {
    let file = file("other");
    run("of_another_process", &file, "");
    assert!(!file.exists());
}

#[test]
fn a_file_that_cannot_be_written_costs_a_line_and_the_program_runs() {
    let output = run("some_blocks", Path::new("/nowhere/at/all"), "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = "strata: record_file: cannot write '/nowhere/at/all' (errno 2): nothing is recorded";
    assert!(said.lines().any(|said| said == line), "{said}");
}

#[test]
fn a_hardened_heap_is_not_recorded_and_says_so() {
    let file = file("hardened");
    let output = run("some_blocks", &file, ",hardened:true");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = "strata: record_file: a hardened heap is not recorded: ignored";
    assert!(said.lines().any(|said| said == line), "{said}");
    assert!(!file.exists());
}
