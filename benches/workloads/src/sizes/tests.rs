use super::{FLEET, Sizes};
use crate::Random;

#[test]
fn the_fleets_shares_are_of_ten_thousand() {
    assert_eq!(FLEET.iter().map(|(share, _)| share).sum::<u32>(), 10_000);
}

#[test]
fn the_fleet_has_mostly_small_objects_and_half_of_its_bytes_in_large_ones() {
    let mut random = Random::new(1);
    let (mut small, mut small_bytes, mut large_bytes, mut bytes) = (0.0, 0.0, 0.0, 0.0);
    const DRAWN: u32 = 2_000_000;
    for _ in 0..DRAWN {
        let size = Sizes::Fleet.draw(&mut random);
        assert!((17..=1 << 20).contains(&size), "{size}");
        bytes += size as f64;
        if size <= 1 << 10 {
            small += 1.0;
            small_bytes += size as f64;
        }
        if size > 8 << 10 {
            large_bytes += size as f64;
        }
    }
    let share = small / f64::from(DRAWN);
    assert!((0.975..0.985).contains(&share), "{share}");
    assert!((0.25..0.35).contains(&(small_bytes / bytes)), "{}", small_bytes / bytes);
    assert!((0.45..0.55).contains(&(large_bytes / bytes)), "{}", large_bytes / bytes);
}
