//! How the filler was in the last five minutes, for reports.

use crate::time_series::{EpochValue, Extremes, TimeSeries};

const SECOND_NS: u64 = 1_000_000_000;

/// The filler over the last five minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FillerHistory {
    /// The fewest free pages at any moment, backed or not.
    pub least_free_pages: u64,
    /// The fewest free pages that were backed at any moment.
    pub least_free_backed_pages: u64,
    /// When most pages were in use, the last such moment.
    pub at_peak_demand: FillerMoment,
    /// When there were most hugepages, the last such moment.
    pub at_peak_hugepages: FillerMoment,
    /// Ten seconds each, the newest first; those in which nothing happened are left out.
    pub epochs: [FillerEpoch; Self::EPOCHS],
}

impl FillerHistory {
    /// Epochs that are remembered.
    pub const EPOCHS: usize = 30;
    /// How long each is, in milliseconds.
    pub const EPOCH_MS: u64 = 10_000;

    pub(crate) const NONE: Self = Self {
        least_free_pages: 0,
        least_free_backed_pages: 0,
        at_peak_demand: FillerMoment::NONE,
        at_peak_hugepages: FillerMoment::NONE,
        epochs: [FillerEpoch::NONE; Self::EPOCHS],
    };
}

/// Ten seconds of the filler.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FillerEpoch {
    /// Its number since the beginning of the heap's clock, plus one; 0: nothing was reported in it.
    pub number: u64,
    /// When fewest pages were in use, the first such moment.
    pub at_least_demand: SmallMoment,
    /// When most pages were in use, the last such moment.
    pub at_peak_demand: SmallMoment,
    /// When there were fewest hugepages, the first such moment.
    pub at_least_hugepages: SmallMoment,
    /// When there were most hugepages, the last such moment.
    pub at_peak_hugepages: SmallMoment,
}

impl FillerEpoch {
    const NONE: Self = Self {
        number: 0,
        at_least_demand: SmallMoment([0; 7]),
        at_peak_demand: SmallMoment([0; 7]),
        at_least_hugepages: SmallMoment([0; 7]),
        at_peak_hugepages: SmallMoment([0; 7]),
    };
}

/// The filler at one moment, in pages and hugepages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FillerMoment {
    /// Pages in use.
    pub used_pages: u64,
    /// Free pages that are backed.
    pub free_pages: u64,
    /// Free pages that were given back to the kernel.
    pub unmapped_pages: u64,
    /// Hugepages that are wholly backed and not donated.
    pub regular_hugepages: u64,
    /// Tails of large allocations that nobody has used.
    pub donated_hugepages: u64,
    /// Hugepages given back in part, with free pages that are backed.
    pub partial_hugepages: u64,
    /// Hugepages all whose free pages were given back.
    pub released_hugepages: u64,
}

impl FillerMoment {
    const NONE: Self = Self {
        used_pages: 0,
        free_pages: 0,
        unmapped_pages: 0,
        regular_hugepages: 0,
        donated_hugepages: 0,
        partial_hugepages: 0,
        released_hugepages: 0,
    };

    /// All hugepages.
    pub const fn hugepages(&self) -> u64 {
        self.regular_hugepages
            .saturating_add(self.donated_hugepages)
            .saturating_add(self.partial_hugepages)
            .saturating_add(self.released_hugepages)
    }
}

/// The filler at one moment, in half the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "[u32; 7]", into = "[u32; 7]"))]
pub struct SmallMoment([u32; 7]);

impl From<[u32; 7]> for SmallMoment {
    fn from(figures: [u32; 7]) -> Self {
        Self(figures)
    }
}

impl From<SmallMoment> for [u32; 7] {
    fn from(SmallMoment(figures): SmallMoment) -> Self {
        figures
    }
}

impl From<&FillerMoment> for SmallMoment {
    fn from(moment: &FillerMoment) -> Self {
        let figures = [
            moment.used_pages,
            moment.free_pages,
            moment.unmapped_pages,
            moment.regular_hugepages,
            moment.donated_hugepages,
            moment.partial_hugepages,
            moment.released_hugepages,
        ];
        // 2^32 pages of the smallest size are 16 TiB.
        Self(figures.map(|figure| u32::try_from(figure).unwrap_or(u32::MAX)))
    }
}

impl From<&SmallMoment> for FillerMoment {
    fn from(SmallMoment(figures): &SmallMoment) -> Self {
        let [used, free, unmapped, regular, donated, partial, released] = figures.map(u64::from);
        Self {
            used_pages: used,
            free_pages: free,
            unmapped_pages: unmapped,
            regular_hugepages: regular,
            donated_hugepages: donated,
            partial_hugepages: partial,
            released_hugepages: released,
        }
    }
}

/// The filler's recent history, in epochs of ten seconds.
#[derive(Debug)]
pub(crate) struct History(
    TimeSeries<
        HistoryEpoch,
        { FillerHistory::EPOCHS },
        { FillerHistory::EPOCH_MS * (SECOND_NS / 1000) },
    >,
);

#[derive(Clone, Copy, Debug)]
struct HistoryEpoch {
    reported: bool,
    free_pages: Extremes,
    backed_pages: Extremes,
    at_least_demand: FillerMoment,
    at_peak_demand: FillerMoment,
    at_least_hugepages: FillerMoment,
    at_peak_hugepages: FillerMoment,
}

impl EpochValue for HistoryEpoch {
    const NOTHING: Self = Self {
        reported: false,
        free_pages: Extremes::NOTHING,
        backed_pages: Extremes::NOTHING,
        at_least_demand: FillerMoment::NONE,
        at_least_hugepages: FillerMoment::NONE,
        at_peak_demand: FillerMoment::NONE,
        at_peak_hugepages: FillerMoment::NONE,
    };
}

impl HistoryEpoch {
    fn told(&self, number: u64) -> FillerEpoch {
        FillerEpoch {
            number,
            at_least_demand: (&self.at_least_demand).into(),
            at_peak_demand: (&self.at_peak_demand).into(),
            at_least_hugepages: (&self.at_least_hugepages).into(),
            at_peak_hugepages: (&self.at_peak_hugepages).into(),
        }
    }
}

impl History {
    pub(crate) const EMPTY: Self = Self(TimeSeries::EMPTY);
    /// How far it goes back.
    pub(crate) const SPAN_NS: u64 = 300 * SECOND_NS;

    /// Takes in how the filler is.
    #[inline]
    pub(crate) fn report(&mut self, now_ns: u64, moment: &FillerMoment) {
        let Some(epoch) = self.0.at(now_ns) else { return };
        let is_first = !core::mem::replace(&mut epoch.reported, true);
        epoch.free_pages.report((moment.free_pages + moment.unmapped_pages) as usize);
        epoch.backed_pages.report(moment.free_pages as usize);
        if moment.used_pages >= epoch.at_peak_demand.used_pages {
            epoch.at_peak_demand = *moment;
        }
        if moment.hugepages() >= epoch.at_peak_hugepages.hugepages() {
            epoch.at_peak_hugepages = *moment;
        }
        if is_first || moment.used_pages < epoch.at_least_demand.used_pages {
            epoch.at_least_demand = *moment;
        }
        if is_first || moment.hugepages() < epoch.at_least_hugepages.hugepages() {
            epoch.at_least_hugepages = *moment;
        }
    }

    /// Fills the last five minutes in, where nothing is told yet.
    pub(crate) fn fill_in(&self, summary: &mut FillerHistory, now_ns: u64) {
        let (mut free, mut backed) = (None::<usize>, None::<usize>);
        // From the newest on, so that only a greater peak takes the place of a later one.
        let mut places = summary.epochs.iter_mut();
        let recent = self.0.numbered(now_ns, Self::SPAN_NS);
        for (number, epoch) in recent.filter(|(_, epoch)| epoch.reported) {
            if let Some(place) = places.next() {
                *place = epoch.told(number);
            }
            free = free.into_iter().chain(epoch.free_pages.least()).min();
            backed = backed.into_iter().chain(epoch.backed_pages.least()).min();
            if epoch.at_peak_demand.used_pages > summary.at_peak_demand.used_pages {
                summary.at_peak_demand = epoch.at_peak_demand;
            }
            if epoch.at_peak_hugepages.hugepages() > summary.at_peak_hugepages.hugepages() {
                summary.at_peak_hugepages = epoch.at_peak_hugepages;
            }
        }
        summary.least_free_pages = free.unwrap_or(0) as u64;
        summary.least_free_backed_pages = backed.unwrap_or(0) as u64;
    }
}

#[cfg(test)]
mod tests;
