//! Snapshots in files.

use crate::{Extent, RenderPageHeap, report_json};
use core::fmt::{self, Write};
use strata_alloc::{Core, HeapConfig};
use strata_os::{NewFile, process_id};
use strata_page_heap::PageHeap;

/// Bytes of the longest path, with all that stands for something else replaced.
const LONGEST_PATH: usize = 480;

/// Writes a snapshot to a file that appears whole or not at all; `%p` in `path` stands for the process's number, `%%` for
/// a percent sign.
///
/// Any thread may call it at any time. It allocates nothing and needs some 32 KiB of stack, with the map some 50.
///
/// # Errors
///
/// The system's number: see [`NewFile::create`] and [`NewFile::commit`]. `EINVAL` for another letter behind `%`,
/// `ENOMEM` where there is no memory for the figures. What stood at the path then stays.
pub fn write_snapshot_file<C: HeapConfig>(
    core: &Core<C>,
    path: &[u8],
    extent: Extent,
) -> Result<(), i32>
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let path = Path::expand(path, process_id())?;
    let mut file = NewFile::create(path.as_bytes())?;
    let written = report_json(core, extent, &mut file);
    conclude(file, written)
}

/// Puts a file in its place if all of it was written.
fn conclude(mut file: NewFile, written: fmt::Result) -> Result<(), i32> {
    match written {
        Ok(()) => file.commit(),
        // What the file took fails for want of memory alone.
        Err(_) => Err(file.refusal().unwrap_or(NO_MEMORY)),
    }
}

/// A path on the stack.
struct Path {
    bytes: [u8; LONGEST_PATH],
    length: usize,
}

impl Path {
    fn expand(pattern: &[u8], process_id: u32) -> Result<Self, i32> {
        let mut path = Self { bytes: [0; LONGEST_PATH], length: 0 };
        let mut rest = pattern.iter();
        while let Some(byte) = rest.next() {
            let pushed = match byte {
                b'%' => match rest.next() {
                    Some(b'p') => write!(path, "{process_id}"),
                    Some(b'%') => path.push(b"%"),
                    _ => return Err(INVALID),
                },
                plain => path.push(core::slice::from_ref(plain)),
            };
            pushed.map_err(|_| TOO_LONG)?;
        }
        Ok(path)
    }

    fn push(&mut self, more: &[u8]) -> fmt::Result {
        let end = self.length.saturating_add(more.len());
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(more);
        self.length = end;
        Ok(())
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes())
    }
}

/// `ENOMEM`, `EINVAL` and `ENAMETOOLONG` of Linux, the same on all its machines that Strata runs on.
const NO_MEMORY: i32 = 12;
const INVALID: i32 = 22;
const TOO_LONG: i32 = 36;

#[cfg(test)]
mod tests;
