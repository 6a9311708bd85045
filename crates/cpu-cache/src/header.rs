//! The word that stands for one class on one CPU.

/// Where the stack of a class on a CPU stands: 8 bytes, changed by one store.
///
/// | bits | what |
/// |---|---|
/// | 0–15 | *current*: index of the top object's slot; of the marker when there is no object |
/// | 16–31 | *room*: how many more objects may come |
/// | 32–63 | *pops*: objects popped so far, modulo 2³² |
///
/// Indices count slots of 8 bytes from the start of the CPU's region. All zero bits are a class that
/// has no slots here yet: its top is slot 0, which holds the header of class 0 and is always null, so that
/// a pop finds it empty; and there is no room, so that a push finds it full. Room is kept instead of an end because a push
/// has to know no more than whether there is any: one test of the loaded word.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header(u64);

static_assertions::assert_eq_size!(Header, [u8; 8]);

impl Header {
    /// The header with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The same count of pops for a class without objects and capacity on the marker `begin`.
    #[must_use]
    pub const fn begun_at(self, begin: u16) -> Self {
        Self(self.without_slots().0 | begin as u64)
    }

    /// The same count of pops for a class that has no slots.
    #[must_use]
    pub const fn without_slots(self) -> Self {
        Self(self.0 & !0xffff_ffff)
    }

    /// Whether the class has been given slots on this CPU.
    pub const fn is_set_up(self) -> bool {
        self.0 & 0xffff_ffff != 0
    }

    /// Index of the top object's slot, or of the marker.
    pub const fn current(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// Index of the last slot that may be used.
    pub const fn end(self) -> u16 {
        self.current().saturating_add(self.room())
    }

    /// Objects popped so far, modulo 2³².
    pub const fn pops(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The same objects with another end, not below the top.
    #[must_use]
    pub const fn with_end(self, end: u16) -> Self {
        let room = end.saturating_sub(self.current());
        Self(self.0 & !0xffff_0000 | (room as u64) << 16)
    }

    /// The header after `count` objects were popped, of which there are as many.
    #[must_use]
    pub const fn popped(self, count: u16) -> Self {
        Self(self.0.wrapping_add(Self::POP.wrapping_mul(count as u64)))
    }

    /// The header after `count` objects were pushed, for which there is room.
    #[must_use]
    pub const fn pushed(self, count: u16) -> Self {
        Self(self.0.wrapping_add(Self::PUSH.wrapping_mul(count as u64)))
    }

    /// What a pop adds: one object fewer, room for one more, one pop more.
    pub(crate) const POP: u64 = (1 << 32) + (1 << 16) - 1;
    /// What a push adds: one object more, room for one fewer. An immediate of 32 bits.
    pub(crate) const PUSH: u64 = 1_u64.wrapping_sub(1 << 16);

    /// The same capacity with so many objects fewer; their pops are not counted.
    #[must_use]
    pub const fn without_objects(self, count: u16) -> Self {
        Self(self.0.wrapping_sub(Self::PUSH.wrapping_mul(count as u64)))
    }

    /// The same objects and capacity above the marker `to` instead of `from`.
    #[must_use]
    pub const fn moved(self, from: u16, to: u16) -> Self {
        let current = to.saturating_add(self.objects(from));
        Self(self.0 & !0xffff | current as u64)
    }

    /// How many objects stand above the marker `begin`.
    pub const fn objects(self, begin: u16) -> u16 {
        self.current().saturating_sub(begin)
    }

    /// How many objects may stand above the marker `begin`.
    pub const fn capacity(self, begin: u16) -> u16 {
        self.end().saturating_sub(begin)
    }

    /// How many more objects may come.
    pub const fn room(self) -> u16 {
        (self.0 >> 16 & 0xffff) as u16
    }
}

#[cfg(test)]
mod tests;
