//! Each section is sent back at each of its instructions, by a tracer, and does afterwards what it would have done.
//!
//! A child does operations on a cache and compares what comes of them with a model. For each it stops first, and the tracer
//! plants a breakpoint on one instruction of one section. The child runs into it in the middle of the section; having been
//! stopped there, the kernel sends it to the abort handler, where a second breakpoint shows that it came. Both breakpoints
//! are gone then, and the section runs from its start.

#![cfg(all(target_arch = "x86_64", target_os = "linux", not(any(strata_loom, strata_no_rseq))))]
#![allow(clippy::panic, reason = "a test may fail, in what it calls too")]

#[path = "stepped/child.rs"]
mod child;
#[path = "caches/ground.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod ground;
#[path = "stepped/sections.rs"]
mod sections;
#[path = "caches/source.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod source;
#[path = "stepped/tracer.rs"]
mod tracer;

use child::Scene;
use sections::Section;
use std::collections::BTreeMap;
use strata_cpu_cache::{CpuCache, IdKind};
use tracer::{Child, Stop};

/// What was done to one instruction of a section.
#[derive(Default)]
struct Visits {
    /// Times that a child was stopped there.
    stopped: usize,
    /// Of these, times that it was sent to the abort handler.
    aborted: usize,
}

#[test]
fn a_section_that_is_sent_back_at_any_instruction_does_what_it_would_have_done() {
    let Some(cache) = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    let sections = sections::all();
    let breakpoints: Vec<(&Section, u64)> = sections
        .iter()
        .flat_map(|section| section.instructions.iter().map(move |&address| (section, address)))
        .collect();
    println!("{} instructions of {} sections", breakpoints.len(), sections.len());
    let mut visits: BTreeMap<u64, Visits> = BTreeMap::new();
    for scene in Scene::ALL {
        let mut child = match Child::begin(|| child::play(&cache, scene, breakpoints.len() + 1)) {
            Ok(child) => child,
            Err(errno) => {
                println!("left out: processes may not be traced (errno {errno})");
                return;
            }
        };
        assert!(matches!(child.go_on(), Stop::Ready), "before its first operation");
        for &(section, address) in &breakpoints {
            let visit = visits.entry(address).or_default();
            force_abort(&mut child, section, address, visit);
        }
        child.end(scene);
    }
    assert_all_were_sent_back(&sections, &visits);
}

/// Lets the child do one operation, and sends it back where it comes to `address`.
fn force_abort(child: &mut Child, section: &Section, address: u64, visit: &mut Visits) {
    let original = child.plant(address);
    loop {
        match child.go_on() {
            Stop::Ready => break,
            Stop::Breakpoint(at) if at == address => {
                child.restore(address, original);
                child.set_instruction(address);
                visit.stopped += 1;
                let handler = child.plant(section.abort);
                match child.go_on() {
                    Stop::Breakpoint(at) if at == section.abort => {
                        visit.aborted += 1;
                        child.restore(section.abort, handler);
                        child.set_instruction(section.abort);
                    }
                    Stop::Ready => {
                        child.restore(section.abort, handler);
                        return;
                    }
                    stop @ Stop::Breakpoint(_) => panic!("{stop:?} after {address:#x}"),
                }
            }
            stop @ Stop::Breakpoint(_) => panic!("{stop:?} with a breakpoint at {address:#x}"),
        }
    }
    child.restore(address, original);
}

fn assert_all_were_sent_back(sections: &[Section], visits: &BTreeMap<u64, Visits>) {
    let (mut covered, mut instructions) = (0, 0);
    for section in sections {
        let was_used = section.instructions.iter().any(|address| visits[address].stopped > 0);
        if !was_used {
            // A copy of push or pop in a function that no scene calls.
            continue;
        }
        covered += 1;
        for &address in &section.instructions {
            let Visits { stopped, aborted } = visits[&address];
            assert_eq!(stopped, aborted, "stopped in a section and not sent back: {address:#x}");
            let place = address - section.start;
            assert!(stopped > 0, "no scene came to instruction {place:#x} of {section:#x?}");
            instructions += 1;
        }
    }
    println!("{instructions} instructions of {covered} sections were sent back");
    assert!(covered >= 5, "push, pop, their batches, and the change of a header: {covered}");
}
