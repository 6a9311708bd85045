//! Events into bytes.

use crate::event::{
    ADDRESS_SHIFT, ALLOCATE, ALLOCATE_ALIGNED, DEALLOCATE, END, Event, KIND_BITS, MAGIC,
    REALLOCATE, THREAD, TIME, VERSION,
};

/// The longest event: three numbers of ten bytes.
const LONGEST: usize = 32;

/// Turns events into bytes, one after another.
///
/// It keeps the last address, and nothing else; where the bytes go is its caller's to say.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    last: u64,
}

/// The bytes of one event, or of the header.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Encoder {
    /// An encoder for a trace that has no event yet.
    pub const fn new() -> Self {
        Self { last: 0 }
    }

    /// What a trace begins with; `unix_microseconds` is the time of the day.
    pub fn header(unix_microseconds: u64) -> Encoded {
        let mut encoded = Encoded::EMPTY;
        MAGIC.iter().for_each(|&byte| encoded.push(byte));
        encoded.number(VERSION);
        encoded.number(unix_microseconds);
        encoded
    }

    /// The bytes of `event`, which follow those of the one before it. Sizes and times above 2^61 − 1 are told as that.
    #[unsafe(link_section = ".text_rarely")]
    pub fn encode(&mut self, event: Event) -> Encoded {
        let mut encoded = Encoded::EMPTY;
        match event {
            Event::End => encoded.kind(END, 0),
            Event::Time { microseconds } => encoded.kind(TIME, microseconds),
            Event::Thread { number } => encoded.kind(THREAD, number),
            Event::Allocate { address, size, align: 0 | 1 } => {
                encoded.kind(ALLOCATE, size);
                encoded.number(self.distance(address));
            }
            Event::Allocate { address, size, align } => {
                encoded.kind(ALLOCATE_ALIGNED, size);
                encoded.number(u64::from(align.ilog2()));
                encoded.number(self.distance(address));
            }
            Event::Deallocate { address } => {
                let distance = self.distance(address);
                encoded.kind(DEALLOCATE, distance);
            }
            Event::Reallocate { old, address, size } => {
                encoded.kind(REALLOCATE, size);
                encoded.number(self.distance(old));
                encoded.number(self.distance(address));
            }
        }
        encoded
    }

    /// From the last address to this one, the sign in the lowest bit.
    fn distance(&mut self, address: u64) -> u64 {
        let units = address >> ADDRESS_SHIFT;
        let distance = units.wrapping_sub(self.last).cast_signed();
        self.last = units;
        (distance.wrapping_shl(1) ^ (distance >> 63)).cast_unsigned()
    }
}

impl Encoded {
    const EMPTY: Self = Self { bytes: [0; LONGEST], length: 0 };

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn kind(&mut self, kind: u64, value: u64) {
        self.number(value.min(u64::MAX >> KIND_BITS) << KIND_BITS | kind);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }
}

#[cfg(test)]
mod tests;
