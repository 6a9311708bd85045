use super::{
    CpuMask, MASK_WORDS, USUAL_MASK_WORDS, allowed_cpus, current_cpu, for_each_allowed_cpu,
    from_sysfs, highest_of_list, mask_width,
};
use crate::possible_cpus;

#[test]
fn lists_may_have_holes() {
    assert_eq!(highest_of_list(b"0-3\n"), Some(3));
    assert_eq!(highest_of_list(b"0\n"), Some(0));
    assert_eq!(highest_of_list(b"0-3,8-11,1023\n"), Some(1023));
    assert_eq!(highest_of_list(b"\n"), None);
    assert_eq!(highest_of_list(b"0-x"), None);
}

#[test]
fn the_fallback_is_never_smaller_than_what_sysfs_says() {
    let wide = mask_width().expect("the kernel knows its mask");
    assert!(from_sysfs().is_none_or(|possible| possible <= wide));
}

#[test]
fn this_cpu_is_a_possible_one() {
    assert!(current_cpu().expect("Linux tells") < possible_cpus());
}

#[test]
fn a_bound_thread_is_allowed_one_cpu() {
    std::thread::spawn(|| {
        let cpu = current_cpu().expect("Linux tells");
        CpuMask::<MASK_WORDS>::only(cpu)
            .expect("a CPU that exists")
            .bind_this_thread()
            .expect("it ran there");
        assert_eq!(allowed_cpus(), 1);
        assert_eq!(current_cpu(), Some(cpu));
        let mut allowed = std::vec::Vec::new();
        for_each_allowed_cpu(|cpu| allowed.push(cpu));
        assert_eq!(allowed, [cpu]);
    })
    .join()
    .expect("it ended well");
    assert!(CpuMask::<MASK_WORDS>::only(8192).is_none());
    assert!(CpuMask::<USUAL_MASK_WORDS>::only(1024).is_none());
}
