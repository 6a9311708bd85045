//! A program on Strata that prints its report at the end.
//!
//! `cargo run -p strata-stats --example report`

use strata_alloc::Heap;
use strata_stats::report_tcmalloc;

#[global_allocator]
static HEAP: Heap = Heap::new();

fn main() {
    let words: Vec<String> = (0..100_000u64).map(|number| number.to_string()).collect();
    let large = vec![1u8; 5 << 20];
    let short: usize = words.iter().map(String::len).sum();
    println!("{short} bytes of text, {} of ones", large.len());
    drop(words);
    if let Some(core) = HEAP.core() {
        let mut report = String::new();
        report_tcmalloc(core, &mut report).expect("strings take all that is written");
        println!("{report}");
    }
}
