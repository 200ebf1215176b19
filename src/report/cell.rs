//! Texts of others, made safe for a cell of a spreadsheet and for a line of a terminal.

use std::borrow::Cow;

/// A cell holds at most this many bytes; a spreadsheet's limit is 32,767 characters.
const MAX_CELL_BYTES: usize = 4_096;
/// Ends a text that was cut.
const CUT: &str = "…";

/// A text as a CSV cell: plain, and never a formula. OWASP ("CSV Injection") names the first
/// characters that spreadsheets take for one.
pub fn cell(text: &str) -> Cow<'_, str> {
    let text = plain(text);
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}").into()
    } else {
        text
    }
}

/// A text without characters that steer a terminal, reorder a line or break it, or that XML forbids:
/// each becomes U+FFFD. A text that is too long ends in a mark.
pub fn plain(text: &str) -> Cow<'_, str> {
    let long = text.len() > MAX_CELL_BYTES;
    let kept = if long {
        &text[..text.floor_char_boundary(MAX_CELL_BYTES - CUT.len())]
    } else {
        text
    };
    match (kept.contains(is_unsafe), long) {
        (false, false) => kept.into(),
        (true, false) => kept.replace(is_unsafe, "\u{fffd}").into(),
        (_, true) => (kept.replace(is_unsafe, "\u{fffd}") + CUT).into(),
    }
}

/// C0, C1, line and paragraph separators, the bidirectional controls of Unicode's UAX 9, and the two
/// that no XML document may hold, a workbook's among them.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_steers_nothing() {
        for (text, expected) in [
            ("nginx:1.27", "nginx:1.27"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\u{fffd}=1"),
            ("a\u{1b}[31mb\r\n", "a\u{fffd}[31mb\u{fffd}\u{fffd}"),
            ("a\u{202e}b\u{2028}c\u{85}", "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("a\u{fffe}b\u{ffff}c", "a\u{fffd}b\u{fffd}c"),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
        assert_eq!(cell(&"é".repeat(2_048)), "é".repeat(2_048));
        assert_eq!(cell(&"é".repeat(4_000)), "é".repeat(2_046) + "…");
    }
}
