//! Lines that stop a program which gives back what it does not have.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{env, os::unix::process::ExitStatusExt, process::Command};
use strata_alloc::{Config, Heap};

const CHILD: &str = "STRATA_ALLOC_MISUSE";

/// Runs the test `name` again in a child, which dies, and returns what it wrote; in the child runs `misuse`.
fn line_of(name: &str, misuse: impl FnOnce(&Heap)) -> Option<String> {
    if env::var_os(CHILD).is_some() {
        misuse(&Heap::with(Config::DEFAULT));
        return None;
    }
    let child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{child:?}");
    Some(String::from_utf8(child.stderr).unwrap())
}

/// The line with every hexadecimal number made `0x_`.
fn without_addresses(line: &str) -> String {
    let mut parts = line.split("0x");
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        plain.push_str("0x_");
        plain.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()));
    }
    plain
}

#[test]
fn a_pointer_before_the_first_block() {
    let Some(line) = line_of("a_pointer_before_the_first_block", |heap| {
        let mut local = 0_u64;
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate((&raw mut local).cast()) };
    }) else {
        return;
    };
    assert_eq!(
        without_addresses(&line),
        "strata: free of a pointer that was never handed out: 0x_, in no span\n"
    );
}

#[test]
fn a_pointer_to_the_stack() {
    let Some(line) = line_of("a_pointer_to_the_stack", |heap| {
        heap.allocate(10);
        let mut local = 0_u64;
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate((&raw mut local).cast()) };
    }) else {
        return;
    };
    assert_eq!(
        without_addresses(&line),
        "strata: free of a pointer that was never handed out: 0x_, in no span\n"
    );
}

#[test]
fn a_pointer_beyond_all_addresses() {
    let Some(line) = line_of("a_pointer_beyond_all_addresses", |heap| {
        heap.allocate(10);
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate(core::ptr::without_provenance_mut(usize::MAX - 15)) };
    }) else {
        return;
    };
    assert_eq!(
        line,
        "strata: free of a pointer that was never handed out: 0xfffffffffffffff0, in no span\n"
    );
}

#[test]
fn a_large_block_freed_twice() {
    let Some(line) = line_of("a_large_block_freed_twice", |heap| {
        let block = heap.allocate(1 << 20);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate(block) };
    }) else {
        return;
    };
    let line = without_addresses(&line);
    let known = [
        "strata: double free: 0x_, in the free span of 128 pages at 0x_\n",
        "strata: free of a pointer that was never handed out: 0x_, in no span\n",
    ];
    assert!(known.contains(&line.as_str()), "{line}");
}

#[test]
fn a_small_block_freed_twice() {
    let Some(line) = line_of("a_small_block_freed_twice", |heap| {
        // Neighbours keep the span where it is.
        let neighbours = [heap.allocate(100), heap.allocate(100)];
        assert!(neighbours.iter().all(|neighbour| !neighbour.is_null()));
        let block = heap.allocate(100);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
        // SAFETY: none: this is the misuse, seen when the block leaves the caches.
        unsafe { heap.deallocate(block) };
        heap.release(usize::MAX);
    }) else {
        return;
    };
    assert!(line.starts_with("strata: double free"), "{line}");
    // By its size, or by its number where the thread's own cache sees it.
    assert!(line.contains("112") || line.contains("class 8,"), "names the class: {line}");
}

#[test]
fn a_pointer_into_a_small_block() {
    let Some(line) = line_of("a_pointer_into_a_small_block", |heap| {
        let block = heap.allocate(100);
        // SAFETY: none: this is the misuse, seen when the pointer leaves the caches.
        unsafe { heap.deallocate(block.wrapping_add(16)) };
        heap.release(usize::MAX);
    }) else {
        return;
    };
    assert!(line.starts_with("strata: free of a pointer"), "{line}");
}
