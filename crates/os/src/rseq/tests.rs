use super::{
    AREA_BYTES, CPU_ID, LEAST_BYTES, MM_CID, feature_bytes, glibc_area, is_registered, register,
    unregister,
};
use crate::{current_cpu, possible_cpus};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

#[repr(C, align(32))]
struct Area([u8; 32]);

fn word(at: usize) -> u32 {
    let address = glibc_area().expect("asked before").of_this_thread() + at;
    let place = ptr::with_exposed_provenance::<AtomicU32>(address);
    // SAFETY: glibc's area of this thread, which lives as long as the thread.
    let word = unsafe { &*place };
    word.load(Ordering::Relaxed)
}

/// Whether the C library here is one that registers areas, and the kernel one that has them.
fn expected_here() -> bool {
    cfg!(target_env = "gnu") && super::auxiliary(super::AT_RSEQ_FEATURE_SIZE) != 0
}

#[test]
fn glibc_area_is_found_where_glibc_registered_one() {
    if expected_here() {
        assert!(glibc_area().is_some(), "glibc before 2.35, or rseq switched off by a tunable?");
    }
}

#[test]
fn the_area_holds_the_number_of_a_cpu() {
    let Some(area) = glibc_area() else { return };
    assert_eq!(area.of_this_thread() % 32, 0);
    assert!(word(CPU_ID) < possible_cpus());
    assert!(current_cpu().is_some_and(|cpu| cpu < possible_cpus()));
}

#[test]
fn the_concurrency_id_of_a_lone_thread_is_small() {
    if glibc_area().is_none() || feature_bytes() < 28 {
        return;
    }
    assert!(word(MM_CID) < possible_cpus());
}

#[test]
fn a_second_registration_is_refused_while_glibc_has_one() {
    assert!(feature_bytes() >= LEAST_BYTES);
    if glibc_area().is_none() {
        return;
    }
    let area = std::boxed::Box::leak(std::boxed::Box::new(Area([0; 32])));
    crate::set_errno(3);
    // SAFETY: long enough, aligned, zero, and never freed.
    let answer = unsafe { register(area.0.as_mut_ptr(), AREA_BYTES) };
    assert!(matches!(answer, Err(libc::EINVAL | libc::EBUSY | libc::EPERM)), "{answer:?}");
    assert_eq!(crate::errno(), 3);
}

#[test]
fn a_thread_that_nobody_registered_is_found_out_although_it_reads_0() {
    let Some(area) = glibc_area() else { return };
    let place: *mut u8 = ptr::with_exposed_provenance_mut(area.of_this_thread());
    // SAFETY: the area is this thread's.
    assert_eq!(unsafe { is_registered(place) }, Some(true));
    // As a thread of a bare `clone` has it: storage for an area that the kernel does not know.
    std::thread::spawn(|| {
        let Some(area) = glibc_area() else { return };
        let place: *mut u8 = ptr::with_exposed_provenance_mut(area.of_this_thread());
        // SAFETY: the area is this thread's; nothing in it uses sequences from here on.
        unsafe { unregister(place, AREA_BYTES) }.expect("glibc registered it with 32 bytes");
        // SAFETY: the area is this thread's; nothing in it uses sequences from here on.
        assert_eq!(unsafe { is_registered(place) }, Some(false));
        let mut other = Area([0; 32]);
        // SAFETY: the area stays until it is unregistered below.
        unsafe { register(other.0.as_mut_ptr(), AREA_BYTES) }.expect("a free place");
        // SAFETY: the area is this thread's, which has another one registered.
        assert_eq!(unsafe { is_registered(place) }, None);
        // SAFETY: registered above.
        unsafe { unregister(other.0.as_mut_ptr(), AREA_BYTES) }.expect("it was registered");
        // SAFETY: the thread's own area, as it was.
        unsafe { register(place, AREA_BYTES) }.expect("it was registered before");
    })
    .join()
    .expect("the thread ends well");
}
