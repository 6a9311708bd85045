//! A recording heap: every call is written to a file, as `strata-trace` has it.
//!
//! `STRATA_CONF=record_file:PATH` makes an observed heap whose calls are served as they always are behind the
//! caches, and written down: an allocation after it happened, a free before it does, so that in the file no address
//! comes again before it was freed. One lock keeps the events of all threads in their order; it is held for a few
//! stores, and once in 64 KiB of events for a write to the file.

use crate::{
    Config, Core, Heap, HeapConfig,
    observer::{BlockRequest, Said},
};
use core::ptr::NonNull;
use strata_os::{Clock, GrowingFile, environment, process_id, unix_time_seconds, warn_line};
use strata_size_classes::PageSize;
use strata_span::{Address, Function, MetadataKind, Platform};
use strata_sync::{Mutex, thread_block::Slot};
use strata_trace::{Encoded, Encoder, Event};

/// Bytes that are written at once: some ten thousand events.
const BUFFER_BYTES: usize = 64 << 10;

/// Time is told in steps of this: at a tenth, a program that allocates all the time has a fifth more bytes of trace.
const TICK_US: u64 = 1000;

/// After so long what there is goes to the file, so that a program that is killed loses little.
const FLUSH_US: u64 = 1_000_000;

/// Where a heap writes its calls. All zero bits are one that does not.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// Rank: with the list of threads; nothing is locked under it. Held across writes to the file.
    recording: Mutex<Recording>,
}

#[derive(Debug)]
struct Recording {
    file: Option<GrowingFile>,
    buffer: Option<NonNull<[u8; BUFFER_BYTES]>>,
    used: usize,
    encoder: Encoder,
    thread: u64,
    began_ns: u64,
    /// How far time was told, and when was last written, from the beginning.
    told_us: u64,
    flushed_us: u64,
}

// SAFETY: the buffer is the recording's own, and reached through its lock alone.
unsafe impl Send for Recording {}

/// Whether this process is the one to be recorded: `STRATA_RECORD_PID` names it, or nobody does. Children inherit the
/// environment, and would write over their parent's file.
#[unsafe(link_section = ".text_rarely")]
pub(crate) fn is_asked() -> bool {
    let Some(value) = environment(c"STRATA_RECORD_PID") else { return true };
    let number = core::str::from_utf8(value).ok().and_then(|text| text.parse::<u32>().ok());
    match number {
        Some(number) => number == process_id(),
        None => {
            warn_line!("STRATA_RECORD_PID: bad value '{}': ignored", value.escape_ascii());
            true
        }
    }
}

impl Recorder {
    pub(crate) fn acquire(&self) {
        self.recording.acquire();
    }

    /// # Safety
    ///
    /// This thread called [`Self::acquire`], or is the child of the thread that did.
    pub(crate) unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.recording.release() };
    }

    /// In the child of a fork: the file is the parent's, and so are the events that it did not get yet.
    pub(crate) fn forget(&self) {
        let mut recording = self.recording.lock();
        recording.used = 0;
        recording.file = None;
    }
}

impl Recording {
    fn note(&mut self, now_ns: u64, thread: u64, event: Event) {
        if self.file.is_none() {
            return;
        }
        // A clock that jumps back stands still here.
        let now_us = now_ns.saturating_sub(self.began_ns) / 1000;
        let passed_us = now_us.saturating_sub(self.told_us);
        if passed_us >= TICK_US {
            self.told_us = now_us;
            self.event(Event::Time { microseconds: passed_us });
        }
        if thread != self.thread {
            self.thread = thread;
            self.event(Event::Thread { number: thread });
        }
        self.event(event);
        if now_us.saturating_sub(self.flushed_us) >= FLUSH_US {
            self.flushed_us = now_us;
            self.flush();
        }
    }

    fn event(&mut self, event: Event) {
        let encoded = self.encoder.encode(event);
        self.push(&encoded);
    }

    fn push(&mut self, encoded: &Encoded) {
        let bytes = encoded.as_slice();
        if self.used + bytes.len() > BUFFER_BYTES {
            self.flush();
        }
        let (used, end) = (self.used, self.used + bytes.len());
        if let Some(room) = self.buffer().and_then(|buffer| buffer.get_mut(used..end)) {
            room.copy_from_slice(bytes);
            self.used = end;
        }
    }

    /// Writes what there is. A file that takes no more ends the recording, and it is said once.
    #[unsafe(link_section = ".text_rarely")]
    fn flush(&mut self) {
        let used = core::mem::take(&mut self.used);
        let Some(file) = self.file.take() else { return };
        let wrote = self
            .buffer()
            .and_then(|buffer| buffer.get(..used))
            .map_or(Ok(()), |bytes| file.write_all(bytes));
        match wrote {
            Ok(()) => self.file = Some(file),
            Err(error) => {
                warn_line!("record_file: cannot be written (errno {error}): the recording ends")
            }
        }
    }

    fn buffer(&mut self) -> Option<&mut [u8; BUFFER_BYTES]> {
        // SAFETY: the buffer is the recording's own piece of metadata, which stays as long as the heap.
        self.buffer.map(|mut buffer| unsafe { buffer.as_mut() })
    }
}

impl<C: HeapConfig> Core<C> {
    /// Opens the file before the first block. False when there is no memory for the buffer; a file that cannot be
    /// written is complained of, and nothing is recorded.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn prepare_recorder(&self) -> bool {
        let path = environment(c"STRATA_CONF").and_then(Config::record_file);
        let Some(path) = path else {
            warn_line!("record_file: STRATA_CONF names no file: nothing is recorded");
            return true;
        };
        let file = match GrowingFile::create(path.as_bytes()) {
            Ok(file) => file,
            Err(error) => {
                let path = path.as_bytes().escape_ascii();
                warn_line!(
                    "record_file: cannot write '{path}' (errno {error}): nothing is recorded"
                );
                return true;
            }
        };
        let align = align_of::<u64>();
        let piece =
            self.arena().allocate(self.metadata(), BUFFER_BYTES, align, MetadataKind::Other);
        let Some(piece) = piece else { return false };
        let mut recording = self.recorder.recording.lock();
        recording.buffer = Some(piece.cast());
        recording.file = Some(file);
        recording.began_ns = self.clock().now_ns();
        recording.push(&Encoder::header(unix_time_seconds().saturating_mul(1_000_000)));
        // A program that leaves without its destructors leaves a trace that can be read all the same.
        recording.flush();
        true
    }

    /// Ends the recording of this heap, if it has one: what was not written goes to the file, and with it the mark
    /// that tells a whole recording from one that was cut off. `libstrata.so` does it when the program ends.
    pub fn end_recording(&self) {
        let mut recording = self.recorder.recording.lock();
        recording.event(Event::End);
        recording.flush();
        recording.file = None;
    }

    /// A block, or null when memory is exhausted or the request impossible.
    pub(crate) fn allocate_recorded(&self, slot: Slot, request: BlockRequest) -> *mut u8 {
        let block = self.allocate_unrecorded(slot, request);
        if !block.is_null() {
            let (address, size) = (address_of(block), request.size as u64);
            let align = if request.align <= 16 { 1 } else { request.align as u64 };
            self.note(slot, Event::Allocate { address, size, align });
        }
        block
    }

    /// Takes a block back. The pointer is not null.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap that nobody uses any more, or else the program ends here.
    pub(crate) unsafe fn deallocate_recorded(&self, slot: Slot, pointer: *mut u8, said: Said) {
        self.note(slot, Event::Deallocate { address: address_of(pointer) });
        // SAFETY: its owner gave the block up, and the record of that is written.
        unsafe { self.deallocate_unrecorded(slot, pointer, said) };
    }

    /// The block with another size, the same or another one; null if memory is exhausted, and then the old block
    /// stays. It stays where it is as in a heap that is not observed, and moves without room to spare.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap of which nobody else knows, or else the program ends here.
    pub(crate) unsafe fn reallocate_recorded(
        &self,
        slot: Slot,
        pointer: *mut u8,
        request: BlockRequest,
    ) -> *mut u8 {
        let old_size = self.usable_size_recorded(pointer);
        if old_size == 0 {
            self.report_no_block(Function::Realloc, Address::of(pointer));
            return core::ptr::null_mut();
        }
        let BlockRequest { size, .. } = request;
        if self.stays(slot, Address::of(pointer), old_size, request) {
            self.note_reallocation(slot, pointer, pointer, size);
            return pointer;
        }
        let block = self.allocate_unrecorded(slot, request);
        if !block.is_null() {
            // SAFETY: both blocks are at least this long, and the new one is nobody else's.
            unsafe { block.copy_from_nonoverlapping(pointer, old_size.min(size)) };
            self.note_reallocation(slot, pointer, block, size);
            // SAFETY: the caller's promise: nobody uses the old block any more.
            unsafe { self.deallocate_unrecorded(slot, pointer, Said::NOTHING) };
        }
        block
    }

    /// Whether a block of `old_size` bytes serves the request where it is; a large one is made longer if it can be.
    fn stays(&self, slot: Slot, address: Address, old_size: usize, request: BlockRequest) -> bool {
        let is_large = self.map().class_at(address.value()).is_none();
        match Heap::<C>::entry(request.size, request.align) {
            Some(entry) => !is_large && entry.size() == old_size,
            None if !is_large => false,
            None if request.size <= old_size => request.size > old_size / 2,
            None => self.extend_large(slot, address, request.size),
        }
    }

    /// Notes that a block became longer or shorter: before what it was is freed.
    fn note_reallocation(&self, slot: Slot, old: *mut u8, new: *mut u8, size: usize) {
        let (old, address) = (address_of(old), address_of(new));
        self.note(slot, Event::Reallocate { old, address, size: size as u64 });
    }

    /// What [`Self::allocate_recorded`] does, without a note.
    #[unsafe(link_section = ".text_rarely")]
    fn allocate_unrecorded(&self, slot: Slot, request: BlockRequest) -> *mut u8 {
        let BlockRequest { size, align, zeroed } = request;
        match Heap::<C>::entry(size, align) {
            // Who asked for zeroes writes them into what has a class.
            Some(entry) => self.allocate_uncounted(slot, entry.class()),
            None if zeroed => self.allocate_large_zeroed(slot, size, align),
            None => self.allocate_large(slot, size, align),
        }
    }

    /// What [`Self::deallocate_recorded`] does, without a note.
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn deallocate_unrecorded(&self, slot: Slot, pointer: *mut u8, said: Said) {
        let class = self.map().class_at(Address::of(pointer).value());
        if class.is_none() {
            // SAFETY: no class is known for the block, and its owner gave it up; its span is looked up there.
            return unsafe { self.deallocate_unlisted(slot, pointer, said) };
        }
        // SAFETY: the caller gives the block up; the page map knows its class.
        unsafe { self.deallocate_uncounted(slot, class, pointer) };
    }

    /// How many bytes of a block may be used; 0 for what is none.
    pub(crate) fn usable_size_recorded(&self, pointer: *mut u8) -> usize {
        let address = Address::of(pointer);
        let class = self.map().class_at(address.value());
        if class.is_none() {
            self.large_span(address).map_or(0, |span| span.bytes::<C::Pages>())
        } else {
            C::Pages::TABLE.size(class)
        }
    }

    #[unsafe(link_section = ".text_rarely")]
    fn note(&self, slot: Slot, event: Event) {
        let (now_ns, thread) = (self.clock().now_ns(), u64::from(self.thread_number(slot)));
        self.recorder.recording.lock().note(now_ns, thread, event);
    }
}

/// How many bytes a block of such a request has; none if there can be no such block.
pub(crate) fn rounded_size<C: HeapConfig>(size: usize, align: usize) -> Option<usize> {
    match Heap::<C>::entry(size, align) {
        Some(entry) => Some(entry.size()),
        None => crate::large::rounded_size::<C::Pages>(size, align),
    }
}

fn address_of(block: *mut u8) -> u64 {
    Address::of(block).value() as u64
}
