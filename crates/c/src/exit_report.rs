//! The report and the snapshot at the end of a program: `STRATA_CONF=exit_report:tcmalloc,snapshot_file:PATH`.
//!
//! What is asked for is read by the library's constructor, before main; the report is written by its destructor, after the
//! program's own exit handlers. Nothing is registered for that, and nothing allocated.
//!
//! Children inherit the environment. Whoever wants the report of one process alone names its number in
//! `STRATA_REPORT_PID`: a process keeps it through exec, and its children have another one.
//!
//! A program that ends by `_exit`, as some shells do, or by a signal, runs no destructors and prints no report.

use crate::{heap::HEAP, snapshots};
use strata_alloc::{Config, ExitReport};
use strata_os::{KeptStderr, environment, process_id, warn_line};
use strata_stats::{Dialect, report};
use strata_sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Whether a report is to be written. Set by the constructor, read by the destructor.
static WANTED: AtomicBool = AtomicBool::new(false);

/// The number of the only process that writes one; 0 if each does. Written and read as [`WANTED`] is.
static ONLY: AtomicU32 = AtomicU32::new(0);

/// For programs that close standard error before they end.
static STDERR: KeptStderr = KeptStderr::new();

/// The destructor: the C library calls what stands in this section when the program ends.
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = at_the_end;

/// Finds out whether a report is wanted, and if so sets the heap up, so that a program without a block has one too.
pub(crate) fn prepare() {
    // What is wrong with the options is said when the heap is set up.
    let Some(text) = environment(c"STRATA_CONF") else { return };
    let has_file = snapshots::prepare(text);
    if Config::parse(text, |_| ()).exit_report == ExitReport::None && !has_file {
        return;
    }
    let block = HEAP.allocate(1);
    // SAFETY: null, or a block that nobody else knows.
    unsafe { HEAP.deallocate(block) };
    ONLY.store(only_process(), Ordering::Relaxed);
    WANTED.store(true, Ordering::Relaxed);
    STDERR.keep();
    snapshots::begin();
}

/// What `STRATA_REPORT_PID` says; 0 if nothing.
fn only_process() -> u32 {
    let Some(value) = environment(c"STRATA_REPORT_PID") else { return 0 };
    let number = core::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| {
        warn_line!("STRATA_REPORT_PID: bad value '{}': ignored", value.escape_ascii());
        0
    })
}

/// Whether this process writes reports and snapshots.
pub(crate) fn is_asked() -> bool {
    let only = ONLY.load(Ordering::Relaxed);
    WANTED.load(Ordering::Relaxed) && (only == 0 || only == process_id())
}

extern "C" fn at_the_end() {
    if let Some(core) = HEAP.core().filter(|core| core.observer().is_some()) {
        core.end_recording();
    }
    if is_asked() {
        write();
    }
}

/// Not a part of its caller, whose frame would grow to the renderers' twenty kilobytes in every program.
#[cold]
#[inline(never)]
fn write() {
    let Some(core) = HEAP.core() else { return };
    snapshots::write(core);
    let form = core.config().exit_report;
    if form == ExitReport::None {
        return;
    }
    let Some(mut out) = STDERR.open() else { return };
    // What standard error does not take is lost: nobody is left to be told.
    let _ = match form {
        ExitReport::None => Ok(()),
        ExitReport::Tcmalloc => report(core, Dialect::TcmallocText, &mut out),
        ExitReport::TcmallocToday => report(core, Dialect::TcmallocTextToday, &mut out),
        ExitReport::Pbtxt => report(core, Dialect::TcmallocPbtxt, &mut out),
        ExitReport::PbtxtToday => report(core, Dialect::TcmallocPbtxtToday, &mut out),
        ExitReport::Brief => report(core, Dialect::Brief, &mut out),
        ExitReport::Explain => report(core, Dialect::Explain, &mut out),
        ExitReport::Json => report(core, Dialect::Json, &mut out),
    };
}
