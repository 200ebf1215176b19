//! Formats and colours. Text on a coloured ground keeps a contrast of at least 4.5 to 1 (WCAG 2).

use rust_xlsxwriter::{Color, Format, FormatAlign, FormatBorder};

use crate::report::ColumnType;

pub(super) const BLUE: u32 = 0x1F_4E_79;
pub(super) const AMBER: u32 = 0xB4_5F_06;
pub(super) const RED: u32 = 0x9C_00_06;
pub(super) const GREY: u32 = 0x59_59_59;
pub(super) const RULE: u32 = 0xD9_D9_D9;
pub(super) const WHITE: u32 = 0xFF_FF_FF;

/// Ink and ground of a cell that says something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colours {
    pub(super) ink: u32,
    pub(super) ground: u32,
}

const fn colours(ink: u32, ground: u32) -> Colours {
    Colours { ink, ground }
}

const BAD: Colours = colours(RED, 0xFF_C7_CE);
const WORRYING: Colours = colours(0x7A_3E_00, 0xFF_DD_B8);
const SOON: Colours = colours(0x6B_50_00, 0xFF_F0_B3);
const GOOD: Colours = colours(0x0B_5D_1E, 0xD9_EE_DC);
const MOVING: Colours = colours(BLUE, 0xDD_EB_F7);
const NOT_KNOWN: Colours = colours(0x40_40_40, 0xE7_E6_E6);

/// The names of closed lists that are coloured, wherever they stand.
pub(super) const MEANINGS: &[(&str, Colours)] = &[
    ("eol", BAD),
    ("extended", WORRYING),
    ("ending", SOON),
    ("supported", GOOD),
    ("rolling", MOVING),
    ("unknown", NOT_KNOWN),
    ("ok", GOOD),
    ("failed", BAD),
    ("partial", SOON),
    ("skipped", NOT_KNOWN),
    ("entered_eol", BAD),
    ("entered_extended", WORRYING),
    ("moved_tag", WORRYING),
    ("distribution_changed", SOON),
    ("registry_changed", SOON),
    ("reference_changed", MOVING),
    ("added", GOOD),
    ("removed", NOT_KNOWN),
    ("not_running", NOT_KNOWN),
    ("no_longer_inspectable", BAD),
    ("again_inspectable", GOOD),
];

/// The columns that hold such names.
pub(super) fn is_coloured(column: &str) -> bool {
    matches!(
        column,
        "eol_status" | "old_eol_statuses" | "new_eol_statuses" | "inspection_status" | "kind"
    )
}

/// The colours of a name.
pub(super) fn meaning(name: &str) -> Option<Colours> {
    let known = MEANINGS.iter().find(|(known, _)| *known == name);
    known.map(|(_, colours)| *colours)
}

/// The formats of the cells.
pub(super) struct Styles {
    pub(super) title: Format,
    pub(super) heading: Format,
    pub(super) label: Format,
    head: Format,
    pub(super) note: Format,
    /// A text of some lines.
    pub(super) lines: Format,
    text: Format,
    integer: Format,
    date: Format,
    time: Format,
    truth: Format,
}

impl Styles {
    pub(super) fn new() -> Self {
        let left = Format::new().set_align(FormatAlign::Left);
        Self {
            title: Format::new()
                .set_bold()
                .set_font_size(18)
                .set_font_color(BLUE),
            heading: Format::new()
                .set_bold()
                .set_font_size(13)
                .set_font_color(BLUE),
            label: Format::new()
                .set_font_color(GREY)
                .set_align(FormatAlign::Top),
            lines: left
                .clone()
                .set_num_format("@")
                .set_align(FormatAlign::Top)
                .set_text_wrap(),
            head: Format::new()
                .set_bold()
                .set_font_color(WHITE)
                .set_background_color(BLUE)
                .set_align(FormatAlign::VerticalCenter),
            note: Format::new().set_italic().set_font_color(GREY),
            // "@": what is typed into such a cell stays a text too, so that nobody makes a formula or a
            // number of a label or a tag by editing it.
            text: left.clone().set_num_format("@"),
            // The indent leaves room beside what stands in the next column.
            integer: Format::new()
                .set_num_format("#,##0")
                .set_align(FormatAlign::Right)
                .set_indent(1),
            date: left.clone().set_num_format("yyyy-mm-dd"),
            time: left.set_num_format("yyyy-mm-dd hh:mm:ss"),
            truth: Format::new().set_align(FormatAlign::Center),
        }
    }

    /// How the values of a column look.
    pub(super) fn of(&self, column: ColumnType) -> &Format {
        match column {
            ColumnType::String => &self.text,
            ColumnType::Integer => &self.integer,
            ColumnType::Date => &self.date,
            ColumnType::Datetime => &self.time,
            ColumnType::Boolean => &self.truth,
        }
    }
}

impl Styles {
    /// How the head of a column looks: above numbers it stands where they do.
    pub(super) fn head(&self, column: ColumnType) -> Format {
        match column {
            ColumnType::Integer => self
                .head
                .clone()
                .set_align(FormatAlign::Right)
                .set_indent(1),
            ColumnType::Boolean => self.head.clone().set_align(FormatAlign::Center),
            _ => self.head.clone(),
        }
    }

    /// How the values of a column look where the sheet has no grid.
    pub(super) fn ruled(&self, column: ColumnType) -> Format {
        let format = self.of(column).clone();
        format
            .set_border_bottom(FormatBorder::Thin)
            .set_border_bottom_color(RULE)
    }
}

/// The format that lays colours over a cell.
pub(super) fn coloured(colours: Colours) -> Format {
    Format::new()
        .set_font_color(Color::RGB(colours.ink))
        .set_background_color(Color::RGB(colours.ground))
}
