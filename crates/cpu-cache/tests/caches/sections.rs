//! The descriptors of the sections, as the kernel reads them.

use crate::ground;
use strata_cpu_cache::{CpuCache, IdKind};
use strata_os::rseq::SIGNATURE;

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

fn descriptors() -> &'static [Descriptor] {
    let start = (&raw const __start___rseq_cs).cast::<Descriptor>();
    let end = (&raw const __stop___rseq_cs).cast::<Descriptor>();
    let bytes = end.addr() - start.addr();
    assert_eq!(
        (start.addr() % 32, bytes % size_of::<Descriptor>()),
        (0, 0),
        "nothing between them"
    );
    // SAFETY: the linker put the descriptors side by side between these bounds, and they never change.
    unsafe { core::slice::from_raw_parts(start, bytes / size_of::<Descriptor>()) }
}

#[test]
fn every_section_has_a_descriptor_that_the_kernel_accepts() {
    // What is not used is not linked.
    if let Some(cache) = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) {
        let class = ground::class(48);
        // SAFETY: the cache is set up, glibc registered this thread.
        assert!(unsafe { cache.pop(class) }.is_null());
        // SAFETY: the cache is set up, glibc registered this thread; nothing is given to a cache without room.
        assert!(!unsafe { cache.push(class, core::ptr::null_mut()) });
        // SAFETY: the cache is set up, glibc registered this thread.
        assert_eq!(unsafe { cache.pop_batch(class, &mut [core::ptr::null_mut()]) }, 0);
        // SAFETY: the cache is set up, glibc registered this thread.
        assert_eq!(unsafe { cache.push_batch(class, &[core::ptr::null_mut()]) }, 0);
    }
    let descriptors = descriptors();
    assert!(descriptors.len() >= 4, "push, pop and their batches: {}", descriptors.len());
    for descriptor in descriptors {
        let Descriptor { version, flags, start, length, abort } = *descriptor;
        assert_eq!((version, flags), (0, 0));
        assert!(start != 0 && length > 0 && length < 256, "{length} bytes at {start:#x}");
        let section = start..start + length;
        assert!(!section.contains(&abort), "the abort handler stands outside of the section");
        let before = usize::try_from(abort).expect("an address") - size_of::<u32>();
        let signature = core::ptr::with_exposed_provenance::<u32>(before);
        // SAFETY: four bytes of the program's text.
        let signature = unsafe { signature.read_unaligned() };
        assert_eq!(signature, SIGNATURE, "before the abort handler at {abort:#x}");
    }
}

#[test]
fn each_section_has_a_place_of_its_own() {
    let mut places: Vec<_> = descriptors().iter().map(|it| (it.start, it.length)).collect();
    places.sort_unstable();
    for pair in places.windows(2) {
        let ((start, length), (next, _)) = (pair[0], pair[1]);
        assert!(start + length <= next, "{start:#x}+{length} reaches into {next:#x}");
    }
}
