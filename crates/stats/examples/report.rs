//! A program on Strata that prints its report at the end, in the form that its user asks for.
//!
//! `STRATA_CONF=exit_report:brief cargo run -p strata-stats --example report`

use strata_alloc::Heap;
use strata_stats::report_as_asked;

#[global_allocator]
static HEAP: Heap = Heap::new();

fn main() {
    report_as_asked(&HEAP);
    let words: Vec<String> = (0..100_000u64).map(|number| number.to_string()).collect();
    let large = vec![1u8; 5 << 20];
    let short: usize = words.iter().map(String::len).sum();
    println!("{short} bytes of text, {} of ones", large.len());
}
