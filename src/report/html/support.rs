//! The support of a container's system, as the page counts and colours it.

use plotters::style::RGBColor;

use crate::os::EolStatus;
use crate::report::ImageRecord;

/// What is known of a system's support; the order is that of its weight to an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Support {
    Ended,
    Extended,
    Ending,
    Supported,
    Rolling,
    /// A distribution that the table does not know.
    Unknown,
    /// No distribution is known: there is none, or the image could not be read.
    Untold,
}

impl Support {
    pub(super) const ALL: [Self; 7] = [
        Self::Ended,
        Self::Extended,
        Self::Ending,
        Self::Supported,
        Self::Rolling,
        Self::Unknown,
        Self::Untold,
    ];

    pub(super) fn of(image: &ImageRecord) -> Self {
        image.eol_status.into()
    }

    /// Whether somebody has to do something about it.
    pub(super) fn matters(self) -> bool {
        self <= Self::Ending
    }

    /// As a badge says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Extended => "extended only",
            Self::Ending => "ending",
            Self::Supported => "supported",
            Self::Rolling => "rolling",
            Self::Unknown => "unknown",
            Self::Untold => "no distribution known",
        }
    }

    /// The class of badges and keys.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Extended => "extended",
            Self::Ending => "ending",
            Self::Supported => "supported",
            Self::Rolling => "rolling",
            Self::Unknown => "unknown",
            Self::Untold => "untold",
        }
    }

    /// In charts. page.css names each of these again, and gives it another value in the dark.
    pub(super) fn colour(self) -> RGBColor {
        match self {
            Self::Ended => RGBColor(0xC2, 0x30, 0x4A),
            Self::Extended => RGBColor(0xD9, 0x66, 0x2B),
            Self::Ending => RGBColor(0xC7, 0x92, 0x0A),
            Self::Supported => RGBColor(0x2E, 0x8B, 0x6A),
            Self::Rolling => RGBColor(0x3B, 0x7D, 0xBD),
            Self::Unknown => RGBColor(0x6B, 0x72, 0x80),
            Self::Untold => RGBColor(0xA8, 0xAE, 0xBA),
        }
    }
}

impl From<Option<EolStatus>> for Support {
    fn from(status: Option<EolStatus>) -> Self {
        match status {
            Some(EolStatus::Eol) => Self::Ended,
            Some(EolStatus::Extended) => Self::Extended,
            Some(EolStatus::Ending) => Self::Ending,
            Some(EolStatus::Supported) => Self::Supported,
            Some(EolStatus::Rolling) => Self::Rolling,
            Some(EolStatus::Unknown) => Self::Unknown,
            None => Self::Untold,
        }
    }
}
