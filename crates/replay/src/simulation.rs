//! Heaps that no machine here could hold, and days that nobody waits for.
//!
//! [`growth`](growth()) asks what an operation on a page heap costs as the heap grows to a tebibyte;
//! [`days`](days()) has demand rise by day and fall by night over hundreds of CPUs. Pages and time are simulated;
//! only the heap's own books take memory, about 1 GiB for 1 TiB of spans.

mod days;
mod growth;
mod random;
mod steady;

pub use days::{Demand, Hour, days};
pub use growth::{Costs, Level, growth};
pub use steady::{Steady, SteadyEnds, steady};
