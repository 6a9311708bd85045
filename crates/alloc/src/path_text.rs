//! A path among the options.

use core::fmt;

/// A path that is copied with the options that it is part of: up to 255 bytes, none by default.
///
/// ```
/// use strata_alloc::{Config, PathText};
///
/// assert!(Config::snapshot_file(b"front_end:per_cpu").is_none());
/// assert_eq!(PathText::new(b"/run/strata.json").expect("it is short").as_bytes(), b"/run/strata.json");
/// assert!(PathText::new(&[b'x'; 300]).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PathText {
    length: u8,
    bytes: [u8; 255],
}

impl PathText {
    /// No path.
    pub const NONE: Self = Self { length: 0, bytes: [0; 255] };

    /// A copy of `path`; none if it is longer than 255 bytes.
    pub fn new(path: &[u8]) -> Option<Self> {
        let mut copy = Self::NONE;
        copy.length = u8::try_from(path.len()).ok()?;
        copy.bytes.get_mut(..path.len())?.copy_from_slice(path);
        Some(copy)
    }

    /// Its bytes; none, if there is no path.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Whether there is no path.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl fmt::Debug for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}
