//! Each section is sent back at each of its instructions, by a tracer, and does afterwards what it would have done.
//!
//! A child does operations on a cache and compares what comes of them with a model. For each it stops first, and the tracer
//! plants a breakpoint on one instruction of one section. The child runs into it in the middle of the section; having been
//! stopped there, the kernel sends it to the abort handler, where a second breakpoint shows that it came. Both breakpoints
//! are gone then, and the section runs from its start.
//!
//! A second test stops the child on its way into a section first, and then at the section's start: it is sent back all the same. A
//! thread that was interrupted between the store that names the section and its start would run it without anybody who sends it back.

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
use std::collections::BTreeSet;
use strata_cpu_cache::{CpuCache, IdKind};
use tracer::{Child, Stop};

/// What came of the stops at one place.
#[derive(Default)]
struct Visits {
    /// Times that a child was stopped there.
    stopped: usize,
    /// Of these, times that it was sent to the abort handler.
    aborted: usize,
}

/// Where a child is stopped.
#[derive(Clone, Copy)]
struct Place<'a> {
    section: &'a Section,
    /// An instruction that leads into the section, to stop there first.
    before: Option<u64>,
    /// An instruction of the section.
    address: u64,
}

#[test]
fn a_section_that_is_sent_back_at_any_instruction_does_what_it_would_have_done() {
    let sections = sections::all();
    let places: Vec<_> = sections
        .iter()
        .flat_map(|section| {
            let place = |&address| Place { section, before: None, address };
            section.instructions.iter().map(place)
        })
        .collect();
    println!("{} instructions of {} sections", places.len(), sections.len());
    if let Some(visits) = visit_all(&places) {
        assert_all_were_sent_back(&places, &visits);
    }
}

#[test]
fn a_thread_that_was_stopped_on_its_way_into_a_section_is_sent_back_in_it() {
    let sections = sections::all();
    let places: Vec<_> = sections
        .iter()
        .flat_map(|section| {
            let place = |&before| Place { section, before: Some(before), address: section.start };
            section.way_in.iter().map(place)
        })
        .collect();
    println!("{} ways into {} sections", places.len(), sections.len());
    if let Some(visits) = visit_all(&places) {
        assert_all_were_sent_back(&places, &visits);
    }
}

/// Has a child stop at each of these places in each scene, and says for each what came of it; none where nobody may be traced, or there
/// are no sections.
fn visit_all(places: &[Place]) -> Option<Vec<Visits>> {
    let cache = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES)?;
    let mut visits: Vec<_> = places.iter().map(|_| Visits::default()).collect();
    for scene in Scene::ALL {
        let mut child = match Child::begin(|| child::play(&cache, scene, places.len() + 1)) {
            Ok(child) => child,
            Err(errno) => {
                println!("left out: processes may not be traced (errno {errno})");
                return None;
            }
        };
        assert!(matches!(child.go_on(), Stop::Ready), "before its first operation");
        for (&place, visit) in places.iter().zip(&mut visits) {
            force_abort(&mut child, place, visit);
        }
        child.end(scene);
    }
    Some(visits)
}

/// Lets the child do one operation, and sends it back at a place if it comes there.
fn force_abort(child: &mut Child, place: Place, visit: &mut Visits) {
    let Place { section, before, address } = place;
    if let Some(before) = before
        && !stop_at(child, before)
    {
        return;
    }
    if !stop_at(child, address) {
        return;
    }
    visit.stopped += 1;
    if stop_at(child, section.abort) {
        visit.aborted += 1;
        assert!(matches!(child.go_on(), Stop::Ready), "sent back from {address:#x}");
    }
}

/// Lets the child run until it comes to `address`, and leaves it there as if nobody had stopped it; false if it has done its operation
/// without.
fn stop_at(child: &mut Child, address: u64) -> bool {
    let original = child.plant(address);
    let stop = child.go_on();
    child.restore(address, original);
    match stop {
        Stop::Ready => false,
        Stop::Breakpoint(at) => {
            assert_eq!(at, address, "the one breakpoint");
            child.set_instruction(address);
            true
        }
    }
}

fn assert_all_were_sent_back(places: &[Place], visits: &[Visits]) {
    let visited = || places.iter().zip(visits);
    let (mut sections, mut sent_back) = (BTreeSet::new(), 0);
    for (place, visit) in visited().filter(|(_, visit)| visit.stopped > 0) {
        let (start, Visits { stopped, aborted }) = (place.section.start, visit);
        assert_eq!(
            stopped, aborted,
            "stopped at {:#x} of the section at {start:#x} and not sent back; before that at {:x?}",
            place.address, place.before
        );
        sections.insert(start);
        sent_back += 1;
    }
    // The others are copies of push or pop in functions that no scene calls.
    for (place, visit) in visited().filter(|(place, _)| sections.contains(&place.section.start)) {
        let offset = place.address - place.section.start;
        assert!(visit.stopped > 0, "no scene came to {offset:#x} of {:#x?}", place.section);
    }
    println!("{sent_back} times sent back, in {} sections", sections.len());
    assert!(sections.len() >= 5, "push, pop, their batches, and the change of a header");
}
