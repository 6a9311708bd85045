//! Bytes into events.

use core::error::Error;
use core::fmt::{self, Display, Formatter};

use crate::event::{
    ADDRESS_SHIFT, ALLOCATE, ALLOCATE_ALIGNED, DEALLOCATE, END, Event, KIND_BITS, MAGIC,
    REALLOCATE, THREAD, TIME, VERSION,
};

/// Why bytes are no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not begin as traces do.
    NoTrace,
    /// They were written in a form that this reader does not know.
    Version {
        /// The form's number.
        found: u64,
    },
    /// What stands there cannot have been written.
    Corrupt {
        /// Where, in bytes from the beginning.
        at: usize,
    },
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTrace => f.write_str("no trace: it does not begin with STRATRCE"),
            Self::Version { found } => write!(f, "a trace of version {found}; {VERSION} is known"),
            Self::Corrupt { at } => write!(f, "corrupt at byte {at}"),
        }
    }
}

impl Error for DecodeError {}

/// The events of a trace, one after another.
///
/// A trace that was cut off ends where its last whole event does; one that is corrupt ends with the
/// error. Either way everything before is told.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    last: u64,
    started: u64,
    end: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    NotYet,
    Told,
    CutOff,
    Corrupt,
}

/// What a number can turn out to be.
enum Read {
    Number(u64),
    CutOff,
    TooLong,
}

impl<'a> Decoder<'a> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// Where there is none, or one of another version.
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err(DecodeError::NoTrace);
        }
        let mut decoder = Self { bytes, at: MAGIC.len(), last: 0, started: 0, end: Ending::NotYet };
        match decoder.read() {
            Read::Number(VERSION) => {}
            Read::Number(found) => return Err(DecodeError::Version { found }),
            Read::CutOff | Read::TooLong => return Err(DecodeError::NoTrace),
        }
        let Read::Number(started) = decoder.read() else { return Err(DecodeError::NoTrace) };
        decoder.started = started;
        Ok(decoder)
    }

    /// When the recording began: µs since 1970.
    pub const fn started_unix_microseconds(&self) -> u64 {
        self.started
    }

    /// How many bytes were read.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Whether the end of the recording was reached: false before, and for ever where the trace was cut off.
    pub fn is_complete(&self) -> bool {
        self.end == Ending::Told
    }

    /// The event at hand, or none where its bytes end in the middle.
    fn event(&mut self) -> Result<Option<Event>, DecodeError> {
        let start = self.at;
        let event = self.parts(start)?;
        if event.is_none() {
            self.at = start;
        }
        Ok(event)
    }

    fn parts(&mut self, start: usize) -> Result<Option<Event>, DecodeError> {
        let corrupt = DecodeError::Corrupt { at: start };
        let Some(first) = self.number(corrupt)? else { return Ok(None) };
        let value = first >> KIND_BITS;
        let event = match first & ((1 << KIND_BITS) - 1) {
            END if value == 0 => Event::End,
            TIME => Event::Time { microseconds: value },
            THREAD => Event::Thread { number: value },
            ALLOCATE => {
                let Some(address) = self.address(corrupt)? else { return Ok(None) };
                Event::Allocate { address, size: value, align: 1 }
            }
            ALLOCATE_ALIGNED => {
                let Some(logarithm) = self.number(corrupt)? else { return Ok(None) };
                let align = u32::try_from(logarithm).ok().and_then(|by| 1_u64.checked_shl(by));
                let align = align.ok_or(corrupt)?;
                let Some(address) = self.address(corrupt)? else { return Ok(None) };
                Event::Allocate { address, size: value, align }
            }
            DEALLOCATE => Event::Deallocate { address: self.moved_by(value) },
            REALLOCATE => {
                let Some(old) = self.address(corrupt)? else { return Ok(None) };
                let Some(address) = self.address(corrupt)? else { return Ok(None) };
                Event::Reallocate { old, address, size: value }
            }
            _ => return Err(corrupt),
        };
        Ok(Some(event))
    }

    fn address(&mut self, corrupt: DecodeError) -> Result<Option<u64>, DecodeError> {
        let distance = self.number(corrupt)?;
        Ok(distance.map(|distance| self.moved_by(distance)))
    }

    fn moved_by(&mut self, distance: u64) -> u64 {
        let signed = (distance >> 1) ^ 0_u64.wrapping_sub(distance & 1);
        self.last = self.last.wrapping_add(signed) & (u64::MAX >> ADDRESS_SHIFT);
        self.last << ADDRESS_SHIFT
    }

    fn number(&mut self, corrupt: DecodeError) -> Result<Option<u64>, DecodeError> {
        match self.read() {
            Read::Number(number) => Ok(Some(number)),
            Read::CutOff => Ok(None),
            Read::TooLong => Err(corrupt),
        }
    }

    fn read(&mut self) -> Read {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else { return Read::CutOff };
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Read::TooLong;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Read::Number(number);
            }
        }
        Read::TooLong
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Event, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.end != Ending::NotYet {
            return None;
        }
        match self.event() {
            Ok(Some(Event::End)) => {
                self.end = Ending::Told;
                None
            }
            Ok(Some(event)) => Some(Ok(event)),
            Ok(None) => {
                self.end = Ending::CutOff;
                None
            }
            Err(error) => {
                self.end = Ending::Corrupt;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
