//! Numbers, days and others' texts, as the page says them.

use chrono::{DateTime, NaiveDate, Utc};

use crate::report::{ErrorKind, InspectionStatus, plain};

/// Characters of a text of others that the page shows; the CSV and the JSON have all of it.
const MAX_TEXT: usize = 300;

/// A text of others: no control characters, and not endless. The template engine escapes it.
pub(super) fn text(text: &str) -> String {
    shortened(text, MAX_TEXT)
}

/// The same with at most this many characters.
pub(super) fn shortened(text: &str, max: usize) -> String {
    let text = plain(text);
    match text.char_indices().nth(max) {
        None => text.into_owned(),
        Some(_) => {
            let kept: String = text.chars().take(max.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
    }
}

/// `12,345`
pub(super) fn number(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 image`, `12 images`
pub(super) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(count))
}

/// `3 %`, of a whole that is not empty; `< 1 %` where it is something.
pub(super) fn share(part: usize, whole: usize) -> String {
    match (part * 100 + whole / 2).checked_div(whole) {
        None => String::new(),
        Some(0) if part > 0 => "under 1 %".into(),
        Some(100) if part < whole => "over 99 %".into(),
        Some(percent) => format!("{percent} %"),
    }
}

/// `24 November 2026`
pub(super) fn day(date: NaiveDate) -> String {
    date.format("%-d %B %Y").to_string()
}

/// `24 Nov 2026`
pub(super) fn short_day(date: NaiveDate) -> String {
    date.format("%-d %b %Y").to_string()
}

/// `Tuesday 24 November 2026, 02:00 UTC`
pub(super) fn moment(time: DateTime<Utc>) -> String {
    time.format("%A %-d %B %Y, %H:%M UTC").to_string()
}

/// `rate limited`
pub(super) fn error(kind: ErrorKind) -> String {
    kind.name().replace('_', " ")
}

/// `ok`, `failed: rate limited`
pub(super) fn inspection(status: InspectionStatus, kind: Option<ErrorKind>) -> String {
    match kind {
        Some(kind) => format!("{}: {}", status.name(), error(kind)),
        None => status.name(),
    }
}

/// `a, b and c`
pub(super) fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_are_said_as_people_say_them() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(counted(1, "image"), "1 image");
        assert_eq!(counted(0, "image"), "0 images");
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!(share(1, 3), "33 %");
        assert_eq!(share(1, 1_000), "under 1 %");
        assert_eq!(share(999, 1_000), "over 99 %");
        assert_eq!(share(0, 0), "");
    }

    #[test]
    fn a_text_of_others_is_plain_and_ends() {
        assert_eq!(text("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(text(&"é".repeat(10_000)).chars().count(), MAX_TEXT);
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
    }
}
