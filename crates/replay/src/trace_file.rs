//! Traces from files, compressed or not.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// What gzip's files begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads a trace; one that `gzip` made smaller is made whole again. Of a file that was cut off, what there is.
///
/// # Errors
///
/// Where the file cannot be read, or gzip's form is broken from its beginning.
pub fn read_trace(file: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(file)?;
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes);
    }
    let mut trace = Vec::new();
    match MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut trace) {
        Err(error) if trace.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok(trace),
    }
}
