//! The table of workloads, and the program that runs one.

use core::fmt::{self, Debug, Formatter};
use std::env;
use std::process::ExitCode;

use crate::batch::{Order, batches};
use crate::churn::{Population, churn, replace_and_read};
use crate::grow::{many_vectors, one_vector};
use crate::hand_over::hand_over;
use crate::large::large_blocks;
use crate::pair::pairs;
use crate::threads::short_lives;
use crate::{Figures, Memory, Scale};

/// Work with a name.
pub struct Workload {
    /// What the command line and the tables call it.
    pub name: &'static str,
    /// One operation, in words.
    pub operation: &'static str,
    run: fn(Scale) -> Figures,
}

impl Workload {
    /// Does the work once.
    pub fn measure(&self, scale: Scale) -> Figures {
        (self.run)(scale)
    }
}

impl Debug for Workload {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload").field("name", &self.name).finish_non_exhaustive()
    }
}

const PAIR: &str = "allocate, write a byte, free";
const REPLACE: &str = "replace a random live block";
const HAND: &str = "allocate in one thread, free in another";

/// Every workload. Lengths are chosen so that glibc takes a fraction of a second for each.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "pair-16", operation: PAIR, run: |s| pairs(s, 16, 20_000_000) },
    Workload { name: "pair-64", operation: PAIR, run: |s| pairs(s, 64, 20_000_000) },
    Workload { name: "pair-256", operation: PAIR, run: |s| pairs(s, 256, 20_000_000) },
    Workload { name: "pair-1024", operation: PAIR, run: |s| pairs(s, 1024, 20_000_000) },
    Workload { name: "pair-8192", operation: PAIR, run: |s| pairs(s, 8192, 10_000_000) },
    Workload {
        name: "batch-lifo-64",
        operation: PAIR,
        run: |s| batches(s, 64, Order::NewestFirst, 20_000),
    },
    Workload {
        name: "batch-fifo-64",
        operation: PAIR,
        run: |s| batches(s, 64, Order::OldestFirst, 20_000),
    },
    Workload {
        name: "batch-random-64",
        operation: PAIR,
        run: |s| batches(s, 64, Order::Random, 20_000),
    },
    Workload {
        name: "batch-fifo-1024",
        operation: PAIR,
        run: |s| batches(s, 1024, Order::OldestFirst, 1_500),
    },
    Workload {
        name: "batch-random-1024",
        operation: PAIR,
        run: |s| batches(s, 1024, Order::Random, 1_500),
    },
    Workload {
        name: "churn-1t",
        operation: REPLACE,
        run: |s| churn(s, Population::WARM, 1, 6_000_000),
    },
    Workload {
        name: "churn-2t",
        operation: REPLACE,
        run: |s| churn(s, Population::WARM, 2, 10_000_000),
    },
    Workload {
        name: "churn-8t",
        operation: REPLACE,
        run: |s| churn(s, Population::WARM, 8, 10_000_000),
    },
    Workload {
        name: "churn-cold-1t",
        operation: REPLACE,
        run: |s| churn(s, Population::COLD, 1, 2_000_000),
    },
    Workload {
        name: "hand-over-1-1-64",
        operation: HAND,
        run: |s| hand_over(s, 1, 64, 64, 8_000_000),
    },
    Workload {
        name: "hand-over-1-1-mixed",
        operation: HAND,
        run: |s| hand_over(s, 1, 16, 1024, 5_000_000),
    },
    Workload {
        name: "hand-over-4-4-mixed",
        operation: HAND,
        run: |s| hand_over(s, 4, 16, 1024, 8_000_000),
    },
    Workload {
        name: "threads",
        operation: "a thread is born, allocates 200 blocks and dies",
        run: |s| short_lives(s, 8_000),
    },
    Workload {
        name: "grow-64k",
        operation: "a vector grows to 64 KiB",
        run: |s| one_vector(s, 64 << 10, 20_000),
    },
    Workload {
        name: "grow-4m",
        operation: "a vector grows to 4 MiB",
        run: |s| one_vector(s, 4 << 20, 400),
    },
    Workload {
        name: "grow-many",
        operation: "a vector grows to 64 KiB among 64 others",
        run: |s| many_vectors(s, 64, 64 << 10, 60),
    },
    Workload {
        name: "large",
        operation: "replace a block of 256 KiB to 16 MiB and touch it",
        run: |s| large_blocks(s, 600),
    },
    Workload {
        name: "big-heap",
        operation: "replace or read a random block of 512 MiB",
        run: |s| replace_and_read(s, Population::BIG, 3_000_000),
    },
];

/// The program of a peer: does the workload named by the first argument and prints its figures as
/// one line of JSON. The second argument, if given, is the part of it to do, in percent.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    let percent = match arguments.get(1).map(|percent| percent.parse()) {
        None => Some(Scale::FULL),
        Some(percent) => percent.ok().map(Scale::from_percent),
    };
    let workload = WORKLOADS.iter().find(|workload| workload.name == name);
    let (Some(workload), Some(scale)) = (workload, percent) else {
        eprintln!("usage: WORKLOAD [PERCENT]\n");
        WORKLOADS.iter().for_each(|w| eprintln!("{:<20}{}", w.name, w.operation));
        return ExitCode::from(2);
    };
    let figures = workload.measure(scale);
    let memory = Memory::of_this_process();
    println!(
        "{{\"workload\":\"{name}\",{figures},\"peak_rss_kib\":{},\"rss_kib\":{},\"hugepages_kib\":{}}}",
        memory.peak_rss_kib, memory.rss_kib, memory.hugepages_kib
    );
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
