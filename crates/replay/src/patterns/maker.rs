//! Writes the trace of a program that does not exist.

use strata_trace::{Encoder, Event};

/// A program under way: what it asks for is written down.
#[derive(Debug)]
pub struct Maker {
    trace: Vec<u8>,
    encoder: Encoder,
    /// Addresses are handed out upwards and never again, so that each names one block.
    next: u64,
    state: u64,
    thread: u64,
}

/// A block of such a program.
#[derive(Debug)]
pub struct Made(u64);

impl Made {
    /// Nothing, where a block is about to be put.
    pub(crate) const NONE: Self = Self(0);
}

impl Maker {
    /// A program that has not begun.
    pub fn new() -> Self {
        Self::with_draws(0)
    }

    /// The same, that draws other numbers for each `variant`.
    pub fn with_draws(variant: u64) -> Self {
        let trace = Encoder::header(0).as_slice().to_vec();
        Self {
            trace,
            encoder: Encoder::new(),
            next: 0x1000,
            // Never 0, which would stay 0: the number is odd, and the product even.
            state: 0x9E37_79B9_7F4A_7C15 ^ variant.wrapping_mul(2_000_006),
            thread: 0,
        }
    }

    /// Allocates.
    pub fn allocate(&mut self, size: u64) -> Made {
        let address = self.place(size);
        self.write(Event::Allocate { address, size, align: 1 });
        Made(address)
    }

    /// Allocates at a multiple of `align`.
    pub fn allocate_aligned(&mut self, size: u64, align: u64) -> Made {
        self.next = self.next.next_multiple_of(align);
        let address = self.place(size);
        self.write(Event::Allocate { address, size, align });
        Made(address)
    }

    /// Frees.
    pub fn free(&mut self, block: Made) {
        self.write(Event::Deallocate { address: block.0 });
    }

    /// Frees all of them, in order.
    pub fn free_all(&mut self, blocks: impl IntoIterator<Item = Made>) {
        blocks.into_iter().for_each(|block| self.free(block));
    }

    /// Makes a block longer or shorter.
    pub fn resize(&mut self, block: Made, size: u64) -> Made {
        let address = self.place(size);
        self.write(Event::Reallocate { old: block.0, address, size });
        Made(address)
    }

    /// Goes on in another thread.
    pub fn go_to_thread(&mut self, number: u64) {
        if number != self.thread {
            self.thread = number;
            self.write(Event::Thread { number });
        }
    }

    /// Lets time pass.
    pub fn wait_ms(&mut self, milliseconds: u64) {
        self.write(Event::Time { microseconds: milliseconds * 1000 });
    }

    /// A number below `bound`, the same in every run (xorshift64*, Vigna 2016).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D);
        ((u128::from(number) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` up to and including `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A size from `least` on, each of `doublings` powers of two as likely as the others.
    pub fn size(&mut self, least: u64, doublings: u64) -> u64 {
        let least = least << self.below(doublings);
        self.between(least, 2 * least)
    }

    /// One of the places of a list.
    pub fn place_in<T>(&mut self, list: &[T]) -> usize {
        usize::try_from(self.below(list.len() as u64)).unwrap_or(0)
    }

    /// The whole trace.
    pub fn end(mut self) -> Vec<u8> {
        self.write(Event::End);
        self.trace
    }

    fn place(&mut self, size: u64) -> u64 {
        let address = self.next;
        self.next += size.next_multiple_of(16).max(16);
        address
    }

    fn write(&mut self, event: Event) {
        self.trace.extend_from_slice(self.encoder.encode(event).as_slice());
    }
}

impl Default for Maker {
    fn default() -> Self {
        Self::new()
    }
}
