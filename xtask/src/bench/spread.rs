//! The median of some runs, with the extremes.

use serde::Serialize;

/// The middle, the least and the largest of a set of figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Nothing where there are no figures.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = if sorted.len().is_multiple_of(2) { *sorted.get(middle - 1)? } else { upper };
        Some(Self {
            median: f64::midpoint(lower, upper),
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }

    /// Each of the three relative to `base`.
    pub(crate) fn relative_to(self, base: f64) -> Self {
        Self { median: self.median / base, min: self.min / base, max: self.max / base }
    }
}

/// The geometric mean; nothing where there are no figures.
pub(crate) fn geometric_mean(figures: &[f64]) -> Option<f64> {
    // A clock with coarse steps sees calls that take no time at all: they have no logarithm.
    let figures: Vec<f64> = figures.iter().copied().filter(|figure| *figure > 0.0).collect();
    let logarithms: f64 = figures.iter().map(|figure| figure.ln()).sum();
    let count = u32::try_from(figures.len()).ok().filter(|&count| count > 0)?;
    Some((logarithms / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::{Spread, geometric_mean};

    #[test]
    fn the_median_of_an_odd_number_of_figures_is_the_middle_one() {
        let spread = Spread::of([3.0, 1.0, 9.0]);
        assert_eq!(spread, Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn the_median_of_an_even_number_of_figures_lies_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]).map(|spread| spread.median), Some(3.0));
    }

    #[test]
    fn no_figures_have_no_spread_and_no_mean() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn figures_that_have_no_logarithm_are_in_no_mean() {
        let mean = geometric_mean(&[0.0, 2.0, 8.0, f64::NAN]);
        assert!(mean.is_some_and(|mean| (mean - 4.0).abs() < 1e-12), "{mean:?}");
        assert_eq!(geometric_mean(&[0.0]), None);
    }

    #[test]
    fn the_geometric_mean_of_a_half_and_a_double_is_one() {
        assert!(geometric_mean(&[0.5, 2.0]).is_some_and(|mean| (mean - 1.0).abs() < 1e-12));
    }
}
