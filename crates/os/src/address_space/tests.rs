use super::{address_bits, kernel_page_bytes, width_from_stack};
use crate::{AddressRange, PageSource, Purpose, ReserveRequest, SystemPages};

#[test]
fn the_page_size_is_what_sysconf_says() {
    // SAFETY: takes a number and gives one.
    let said = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    assert_eq!(i64::try_from(kernel_page_bytes()), Ok(said));
}

#[test]
fn every_mapping_lies_below_the_width() {
    let page = kernel_page_bytes();
    let wish = ReserveRequest { bytes: page, align: page, purpose: Purpose::Heap };
    let had = SystemPages::new().reserve(wish).expect("a page of address space");
    assert!(had.range.end() <= 1 << address_bits());
    // SAFETY: nobody else knows the range.
    unsafe { SystemPages::new().unreserve(had.range) }.expect("it is ours");
    let local = 0u8;
    assert!(AddressRange::new(0, 1 << address_bits()).contains((&raw const local).addr()));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_moved_stack_does_not_narrow_the_width() {
    assert_eq!(width_from_stack(0x1f_fefe_e000), 47);
    assert_eq!(width_from_stack(0x7fff_ffff_efe0), 47);
    assert_eq!(width_from_stack(0), 47);
}
