//! The four page sizes that Strata is built for.

use clap::ValueEnum;

/// A page size in KiB, by the name that file names, cells and `--cfg strata_page_size` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PageSizeName {
    #[value(name = "4k")]
    Four,
    #[value(name = "8k")]
    Eight,
    #[value(name = "32k")]
    ThirtyTwo,
    #[value(name = "256k")]
    TwoFiftySix,
}

impl PageSizeName {
    pub(crate) const ALL: [Self; 4] = [Self::Four, Self::Eight, Self::ThirtyTwo, Self::TwoFiftySix];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Four => "4k",
            Self::Eight => "8k",
            Self::ThirtyTwo => "32k",
            Self::TwoFiftySix => "256k",
        }
    }

    /// The library's name without its extension: 8 KiB pages are what `libstrata` means.
    pub(crate) fn library(self) -> String {
        match self {
            Self::Eight => "libstrata".to_owned(),
            other => format!("libstrata-{}", other.name()),
        }
    }
}
