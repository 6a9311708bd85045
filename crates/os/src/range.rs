//! A stretch of address space.

use core::fmt;

/// A stretch of address space: a start address and a length, both in bytes.
///
/// Plain numbers, not pointers: a simulated address space has ranges too, and nothing
/// stands at them.
///
/// ```
/// use strata_os::AddressRange;
/// let range = AddressRange::new(0x1000, 0x3000);
/// assert_eq!(range.end(), 0x4000);
/// assert!(range.contains(0x3fff) && range.covers(AddressRange::new(0x2000, 0x2000)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressRange {
    /// The first address.
    pub start: usize,
    /// How many bytes.
    pub bytes: usize,
}

impl AddressRange {
    /// The range of `bytes` bytes from `start`.
    pub const fn new(start: usize, bytes: usize) -> Self {
        Self { start, bytes }
    }

    /// The first address behind the range.
    pub const fn end(self) -> usize {
        self.start.wrapping_add(self.bytes)
    }

    /// Whether no byte is in it.
    pub const fn is_empty(self) -> bool {
        self.bytes == 0
    }

    /// Whether `address` lies in it.
    pub const fn contains(self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.bytes
    }

    /// Whether all of `other` lies in it.
    pub const fn covers(self, other: Self) -> bool {
        match other.start.checked_sub(self.start) {
            Some(offset) => offset <= self.bytes && other.bytes <= self.bytes - offset,
            None => false,
        }
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end())
    }
}

#[cfg(test)]
mod tests;
