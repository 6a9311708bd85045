//! `strata record`: a program under Strata whose calls are written down.

use crate::choices::page_heap_pair;
use crate::launch::{Launch, OWN_FAILURE};
use clap::Args;
use std::ffi::OsString;
use std::path::{self, PathBuf};
use std::process::ExitCode;
use strata_replay::{PageHeapKind, PageSizeKind};

/// Record what COMMAND asks its allocator for
///
/// Each call with its thread, size, alignment, address and time goes to FILE, some five bytes a call, for `strata replay`.
/// COMMAND's own calls are recorded, not those of its children. A recorded heap has no caches: calls take some hundred
/// nanoseconds, one after another. A file of a program that was killed is readable, and ends within a second of its end.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where the trace goes
    #[arg(short, long, value_name = "FILE", default_value = "strata.trace")]
    output: PathBuf,

    /// Where spans of pages come from
    #[arg(long, value_name = "NAME", value_enum)]
    page_heap: Option<PageHeapKind>,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Becomes the program; comes back only if that failed.
pub(crate) fn perform(options: &Options) -> ExitCode {
    let pairs = match pairs(options) {
        Ok(pairs) => pairs,
        Err(error) => {
            eprintln!("strata: {}: {error}", options.output.display());
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let launch = Launch {
        command: &options.command,
        page_size: PageSizeKind::Eight,
        pairs,
        own_number: Some("STRATA_RECORD_PID"),
    };
    launch.perform()
}

fn pairs(options: &Options) -> Result<Vec<OsString>, String> {
    // The program may change its directory before its first block.
    let path = path::absolute(&options.output).map_err(|error| error.to_string())?;
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.contains(&b',') || bytes.trim_ascii() != bytes {
        return Err("STRATA_CONF cannot tell a path with a comma, or blanks at its end".to_owned());
    }
    if bytes.len() > 255 {
        return Err("STRATA_CONF cannot tell a path of more than 255 bytes".to_owned());
    }
    let mut pair = OsString::from("record_file:");
    pair.push(path);
    let page_heap = options.page_heap.map(|page_heap| page_heap_pair(page_heap).into());
    Ok(page_heap.into_iter().chain([pair]).collect())
}

#[cfg(test)]
mod tests;
