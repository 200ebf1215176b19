//! Reads os-release files (os-release(5) of systemd 258) and others of the same form, such as
//! lsb-release.
//!
//! In: text, which the image's author wrote. Out: values by key, made harmless and short. It
//! supplies no defaults: os-release(5) says `ID=linux` for a missing ID, which would be an invention
//! here.

use std::collections::BTreeMap;

/// Longest value, in characters: beyond every real one, and a cell that a person can still read.
const MAX_VALUE_CHARS: usize = 256;

/// Keys kept of one file; real files have under thirty.
const MAX_KEYS: usize = 256;

/// Values of an os-release file by key. Empty values are no values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    values: BTreeMap<String, String>,
}

impl OsRelease {
    /// Reads a file. Lines that are no assignment are passed over; of equal keys the last counts.
    pub fn parse(text: &str) -> Self {
        let mut values = BTreeMap::new();
        for line in text.trim_start_matches('\u{FEFF}').split(['\n', '\r']) {
            let line = line.trim_start();
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            if !is_key(key) {
                continue;
            }
            let value = clean_value(&unquote(value));
            if value.is_empty() {
                values.remove(key);
            } else if values.len() < MAX_KEYS || values.contains_key(key) {
                values.insert(key.to_owned(), value);
            }
        }
        Self { values }
    }

    /// The value of a key, never empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
}

/// Keys of a shell variable's form; comments have none.
fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 64
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !key.starts_with(|first: char| first.is_ascii_digit())
}

/// A value with the shell's quoting undone.
///
/// Unlike in a shell a value without quotes may have spaces, as systemd reads it; ` #` begins a
/// comment there. A quote that is not closed ends with the line.
fn unquote(value: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = value.chars().peekable();
    while let Some(next) = chars.next() {
        match (quote, next) {
            (None, '\'' | '"') => quote = Some(next),
            (None, '\\') => out.extend(chars.next()),
            (None, '#') if out.ends_with(char::is_whitespace) => break,
            (Some(open), close) if open == close => quote = None,
            (Some('"'), '\\') => match chars.peek() {
                // In double quotes a backslash escapes these alone (POSIX shell, 2.2.3).
                Some('"' | '\\' | '$' | '`') => out.extend(chars.next()),
                _ => out.push('\\'),
            },
            (_, other) => out.push(other),
        }
    }
    out
}

/// A value without characters that could disturb a terminal or a table, and not too long.
pub(super) fn clean_value(value: &str) -> String {
    let harmless: String = value
        .chars()
        .filter(|c| !is_harmful(*c))
        .take(MAX_VALUE_CHARS)
        .collect();
    harmless.trim().to_owned()
}

/// Controls, line separators, and the marks that change the direction of text (Unicode 17, 23.2).
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_specification_says() {
        for (line, value) in [
            ("ID=debian", Some("debian")),
            ("ID=\"debian\"", Some("debian")),
            ("ID='debian'", Some("debian")),
            ("  ID=debian  ", Some("debian")),
            ("ID=debian\r", Some("debian")),
            ("\u{FEFF}ID=debian", Some("debian")),
            ("ID=deb\"i\"'an'", Some("debian")),
            (
                r#"ID="a \"b\" \$c \`d\` \\e \n""#,
                Some(r#"a "b" $c `d` \e \n"#),
            ),
            (r"ID='a \ b'", Some(r"a \ b")),
            (r"ID=a\ b", Some("a b")),
            ("ID=two words", Some("two words")),
            ("ID=debian # stable", Some("debian")),
            ("ID=a#b", Some("a#b")),
            ("ID=\"a # b\"", Some("a # b")),
            ("ID=\"not closed", Some("not closed")),
            ("ID=\\", None),
            ("ID=", None),
            ("ID=\"\"", None),
            ("ID=\"  \"", None),
            ("#ID=debian", None),
            ("# ID=debian", None),
            ("ID", None),
            ("=debian", None),
            ("ID =debian", None),
            ("ID=first\nID=last", Some("last")),
            ("ID=first\nID=", None),
            ("ID=a=b", Some("a=b")),
            ("ID=a\rNAME=b", Some("a")),
            ("ID=a\u{1b}[31m\u{202e}b\0", Some("a[31mb")),
        ] {
            assert_eq!(OsRelease::parse(line).get("ID"), value, "{line:?}");
        }
    }

    #[test]
    fn values_and_keys_are_bounded() {
        let long = format!("ID={}\n{}=x\n", "é".repeat(10_000), "K".repeat(10_000));
        let parsed = OsRelease::parse(&long);
        assert_eq!(
            parsed.get("ID").map(|id| id.chars().count()),
            Some(MAX_VALUE_CHARS)
        );
        assert_eq!(parsed.values.len(), 1);
        let many: String = (0..10_000).map(|key| format!("K{key}=x\n")).collect();
        assert_eq!(OsRelease::parse(&many).values.len(), MAX_KEYS);
    }
}
