//! The sections of this program, instruction by instruction.

use iced_x86::{Decoder, DecoderOptions, Instruction};

/// `struct rseq_cs` of `linux/rseq.h`.
#[repr(C, align(32))]
struct Descriptor {
    version: u32,
    flags: u32,
    start: u64,
    /// From the start to behind the commit.
    length: u64,
    abort: u64,
}

unsafe extern "C" {
    // The linker names the bounds of a section whose name is one of C's.
    static __start___rseq_cs: [Descriptor; 0];
    static __stop___rseq_cs: [Descriptor; 0];
}

/// A restartable sequence of this program.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) start: u64,
    /// Its abort handler.
    pub(crate) abort: u64,
    /// Where the instructions begin that lead into it: from the one to which its abort handler goes.
    pub(crate) way_in: Vec<u64>,
    /// Where its instructions begin, the commit included.
    pub(crate) instructions: Vec<u64>,
}

/// All sections, by address.
pub(crate) fn all() -> Vec<Section> {
    let start = (&raw const __start___rseq_cs).cast::<Descriptor>();
    let end = (&raw const __stop___rseq_cs).cast::<Descriptor>();
    let count = (end.addr() - start.addr()) / size_of::<Descriptor>();
    // SAFETY: the linker put the descriptors side by side between these bounds, and they never change.
    let descriptors = unsafe { core::slice::from_raw_parts(start, count) };
    let mut sections: Vec<_> = descriptors.iter().map(section).collect();
    sections.sort_by_key(|section| section.start);
    sections
}

fn section(descriptor: &Descriptor) -> Section {
    let &Descriptor { start, length, abort, .. } = descriptor;
    let again = decode(abort, 16).next().expect("a jump").near_branch_target();
    assert!(again < start && start - again < 64, "a handler that goes to {again:#x}");
    let addresses = |from: u64, to: u64| decode(from, to - from).map(|it| it.ip()).collect();
    let (way_in, instructions) = (addresses(again, start), addresses(start, start + length));
    Section { start, abort, way_in, instructions }
}

/// The instructions in so many bytes of this program's text.
fn decode(address: u64, length: u64) -> impl Iterator<Item = Instruction> {
    let text = core::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: text of this program, which stays as it is.
    let text = unsafe { core::slice::from_raw_parts(text, length as usize) };
    let mut decoder = Decoder::with_ip(64, text, address, DecoderOptions::NONE);
    core::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode()))
}
