//! Traces that are made, not recorded: after programs of a dozen kinds.
//!
//! Each is the same whenever it is made. They are small (some tens of thousands of events) and meant to differ: in
//! how long blocks live, in their sizes, in whether memory is wanted again, and in how many threads there are.

mod maker;
mod programs;

pub use maker::Maker;
use programs as of;

/// A trace that can be made.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// Its name in tables.
    pub name: &'static str,
    /// What the program does that it is after.
    pub about: &'static str,
    make: fn(&mut Maker),
}

impl Pattern {
    /// Makes it.
    pub fn trace(&self) -> Vec<u8> {
        self.variant(0)
    }

    /// Makes the trace of the same program with other draws of what it draws at random; [`trace`](Self::trace) is
    /// number 0. How a heap does on one of them may hang on where single blocks came to lie.
    pub fn variant(&self, number: u64) -> Vec<u8> {
        let mut maker = Maker::with_draws(number);
        (self.make)(&mut maker);
        maker.end()
    }
}

const fn pattern(name: &'static str, about: &'static str, make: fn(&mut Maker)) -> Pattern {
    Pattern { name, about, make }
}

/// All of them.
pub const PATTERNS: [Pattern; 12] = [
    pattern(
        "compiler",
        "units of small nodes, each freed whole; a table of types stays",
        of::compiler,
    ),
    pattern("linker", "inputs read whole, symbols by the thousand, one output", of::linker),
    pattern("key-value", "values replaced at random, then expiring in waves", of::key_value),
    pattern("interpreter", "objects that die young among dictionaries that grow", of::interpreter),
    pattern("web-server", "requests of 16 threads, many by day and few by night", of::web_server),
    pattern("json", "documents parsed into trees and dropped", of::json),
    pattern("database", "pages of 16 KiB in a pool, and sorts that spill", of::database),
    pattern("browser", "tabs that open, grow and close, in shifting sizes", of::browser),
    pattern("video", "frames of megabytes in a ring, metadata beside", of::video),
    pattern("queue", "a backlog that one thread fills and another empties", of::queue),
    pattern("build", "short processes' worth of threads, one after another", of::build),
    pattern("graph", "edge lists that grow by realloc, then shrink to fit", of::graph),
];

#[cfg(test)]
mod tests;
