//! What commands write to a terminal.

use std::process::{Command, Stdio};

use super::Result;

/// What a command, which must succeed, writes to a terminal of this many columns.
pub(crate) fn in_terminal(columns: u16, command: &mut Command) -> Result<String> {
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<_> = words.map(quoted).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command"]);
    script
        .arg(format!("stty cols {columns}; exec {}", line.join(" ")))
        .arg("/dev/null");
    script.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let output = script.stdin(Stdio::null()).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}");
    Ok(text)
}

/// Without the sequences that colour a text: ESC [ digits m.
pub(crate) fn without_colours(text: &str) -> String {
    let mut rest = String::new();
    let mut pieces = text.split("\u{1b}[");
    rest.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        match piece.split_once('m') {
            Some((digits, after)) if digits.bytes().all(|b| b.is_ascii_digit() || b == b';') => {
                rest.push_str(after);
            }
            _ => {
                rest.push('\u{1b}');
                rest.push_str(piece);
            }
        }
    }
    rest
}
