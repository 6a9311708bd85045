//! What a program asked its allocator for, written compactly and read back.
//!
//! A trace is a header and a sequence of [`Event`]s, a few bytes each: most are one number of variable
//! length for the size, and one for the distance of the address from the last one's. Blocks are named by
//! their addresses. A file may end anywhere: what stands before is read.
//!
//! The format, byte by byte: eight bytes `STRATRCE`; then numbers of seven bits a byte, the lowest first, the top
//! bit set in all but the last (LEB128). The header has two, the version (1) and the time of the day in
//! microseconds since 1970. An event begins with a number whose low three bits are its kind:
//!
//! | kind | | the number's upper bits | numbers that follow |
//! |---|---|---|---|
//! | 0 | end | 0 | |
//! | 1 | time | µs since the last event of this kind, or the start | |
//! | 2 | thread | whose the events are that follow | |
//! | 3 | allocate | size | address |
//! | 4 | allocate aligned | size | alignment's logarithm, address |
//! | 5 | deallocate | address | |
//! | 6 | reallocate | new size | old address, new address |
//!
//! An address is its distance from the address before it in the trace, in units of eight bytes, with the sign in the
//! lowest bit (0, −1, 1, −2 … are 0, 1, 2, 3 …).
//!
//! This crate needs nothing, allocates nothing, and must not know who records or replays.
//!
//! ```
//! use strata_trace::{Decoder, Encoder, Event};
//!
//! let mut trace = Vec::new();
//! let mut encoder = Encoder::new();
//! trace.extend_from_slice(Encoder::header(0).as_slice());
//! let event = Event::Allocate { address: 0x7000, size: 100, align: 1 };
//! trace.extend_from_slice(encoder.encode(event).as_slice());
//! assert_eq!(trace.len(), 10 + 4);
//!
//! let mut decoder = Decoder::new(&trace)?;
//! assert_eq!(decoder.next(), Some(Ok(event)));
//! assert_eq!(decoder.next(), None);
//! assert!(!decoder.is_complete(), "the recorder did not come to its end");
//! # Ok::<(), strata_trace::DecodeError>(())
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod decoder;
mod encoder;
mod event;

pub use decoder::{DecodeError, Decoder};
pub use encoder::{Encoded, Encoder};
pub use event::Event;
