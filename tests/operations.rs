//! docs/operations.md against the source: every event that the program can log stands in it, and no other.

mod harness;

use std::collections::BTreeSet;
use std::fs;

use harness::{Result, files_below, root};

/// Level, message (with … for what differs) and the fields in their order.
type Event = (String, String, Vec<String>);

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The text between the parenthesis that was opened before it and its end, split at its own commas.
fn arguments(text: &str) -> Result<Vec<String>> {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    let mut found = vec![String::new()];
    for c in text.chars() {
        if escaped {
            escaped = false;
        } else if quoted {
            escaped = c == '\\';
            quoted = c != '"';
        } else {
            match c {
                '"' => quoted = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 1 => {
                    found.push(String::new());
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                let found = found.iter().map(|argument| argument.trim().to_owned());
                return Ok(found.filter(|argument| !argument.is_empty()).collect());
            }
        }
        found.last_mut().ok_or("no argument")?.push(c);
    }
    Err("a call without an end".into())
}

/// A message with … for each `{…}`.
fn blanked(literal: &str) -> String {
    let mut parts = literal.trim_matches('"').split('{');
    let mut message = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        message += "…";
        message += part.split_once('}').map_or(part, |(_, rest)| rest);
    }
    message
}

/// The events in a source file.
fn events_in(text: &str) -> Result<BTreeSet<Event>> {
    let mut events = BTreeSet::new();
    for level in LEVELS {
        for call in text.split(&format!("tracing::{level}!(")).skip(1) {
            let arguments = arguments(call)?;
            let message = arguments.iter().find(|argument| argument.starts_with('"'));
            let message = message.ok_or_else(|| format!("no message: {arguments:?}"))?;
            let fields = arguments.iter().filter(|argument| *argument != message);
            let fields = fields.map(|argument| {
                let name = argument
                    .split_once(" = ")
                    .map_or(&**argument, |(name, _)| name);
                name.trim_start_matches(['%', '?']).to_owned()
            });
            events.insert((level.to_owned(), blanked(message), fields.collect()));
        }
    }
    Ok(events)
}

/// The events that the guide lists: rows of a level, a message and fields.
fn events_of_the_guide(guide: &str) -> BTreeSet<Event> {
    let rows = guide.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let level = cells.next()?.to_owned();
        let message = cells.next()?.trim_matches('`').to_owned();
        let fields = cells.next()?.split(", ");
        let fields = fields.map(|field| field.trim_matches('`').to_owned());
        let fields = fields.filter(|field| !field.is_empty()).collect();
        LEVELS
            .contains(&&*level)
            .then_some((level, message, fields))
    });
    rows.collect()
}

#[test]
fn every_event_of_the_log_is_documented() -> Result {
    let mut events = BTreeSet::new();
    for name in files_below(&root().join("src"))? {
        if !name.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(root().join("src").join(&name))?;
        // Other ways to log would go unnoticed here.
        for other in ["use tracing::", "tracing::event!", "_span!("] {
            assert!(!text.contains(other), "{name}: {other}");
        }
        events.extend(events_in(&text).map_err(|error| format!("{name}: {error}"))?);
    }
    assert!(events.len() > 20, "{events:?}");
    let guide = fs::read_to_string(root().join("docs/operations.md")).unwrap_or_default();
    let documented = events_of_the_guide(&guide);
    let row = |(level, message, fields): &Event| {
        let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
        format!("| {level} | `{message}` | {} | … |", fields.join(", "))
    };
    let missing: Vec<_> = events.difference(&documented).map(row).collect();
    assert!(
        missing.is_empty(),
        "not in docs/operations.md:\n{}",
        missing.join("\n")
    );
    let gone: Vec<_> = documented.difference(&events).map(row).collect();
    assert!(gone.is_empty(), "not in the program:\n{}", gone.join("\n"));
    Ok(())
}
