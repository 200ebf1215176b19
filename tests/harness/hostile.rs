//! Pods whose every text is made to harm.

use serde_json::{Value, json};

/// Texts that do harm in a spreadsheet, on a terminal or in a line, and their cells.
pub(crate) const TEXTS: &[(&str, &str)] = &[
    ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
    (
        "=HYPERLINK(\"http://x\",\"y\")",
        "'=HYPERLINK(\"http://x\",\"y\")",
    ),
    ("+1+1", "'+1+1"),
    ("-1", "'-1"),
    ("--insecure", "'--insecure"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "\u{fffd}=1"),
    ("\r=1", "\u{fffd}=1"),
    ("\n=1", "\u{fffd}=1"),
    ("\u{1b}[31mred", "\u{fffd}[31mred"),
    ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"),
    ("\u{9b}2J", "\u{fffd}2J"),
    ("a\0b", "a\u{fffd}b"),
    ("\u{202e}txt.exe", "\u{fffd}txt.exe"),
    ("a\u{2066}b\u{2069}", "a\u{fffd}b\u{fffd}"),
    ("a\u{2028}b\u{2029}c", "a\u{fffd}b\u{fffd}c"),
    ("a\r\nb,\"c\"", "a\u{fffd}\u{fffd}b,\"c\""),
    ("'quoted'", "'quoted'"),
    (" blank ", " blank "),
    ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ("../../etc/passwd", "../../etc/passwd"),
    ("NA", "NA"),
    ("null", "null"),
    ("0001", "0001"),
    ("TRUE", "TRUE"),
    ("1.10", "1.10"),
    ("1e5", "1e5"),
    ("2026-11-23", "2026-11-23"),
    ("#N/A", "#N/A"),
    ("http://example.com/", "http://example.com/"),
    // A workbook has an escape of its own, and a library for it takes a text for its markup.
    ("_x000D_", "_x000D_"),
    ("<r><t>x</t></r>", "<r><t>x</t></r>"),
    ("<r></t></si><!-- & --></r>", "<r></t></si><!-- & --></r>"),
    ("a\u{fffe}b\u{ffff}", "a\u{fffd}b\u{fffd}"),
    ("😀 é", "😀 é"),
    // What readers of CSV take for unknown, for an escape or for the end of a cell.
    ("NaN", "NaN"),
    ("\\N", "\\N"),
    ("\"", "\""),
    ("C:\\temp\\", "C:\\temp\\"),
    ("a\\\"b\\,c", "a\\\"b\\,c"),
];

/// What would end an element, a string or a template, be a handler, or steer what shows it.
pub(crate) const PAYLOADS: [&str; 15] = [
    "</script><script>window.canary=1</script>",
    "</script x><b-ogus x='",
    "<img src=x onerror=window.canary=2>",
    "\"><svg onload=window.canary=3>",
    "' onfocus=window.canary=4 autofocus x='",
    "</style><style>body{display:none}</style>",
    "</title></caption></table><b-ogus>",
    "<!--<script>",
    "]]><iframe srcdoc='<script>parent.canary=5</script>'>",
    "javascript:window.canary=6",
    "{{ 7*7 }}{% raw %}${7*7}",
    "&lt;b&gt;&amp;&#0;",
    "\\u003cscript\\u003ewindow.canary=7\\",
    "</text></svg><base href=//evil.example>",
    "=cmd|' /C calc'!A0\u{202e}gnp\u{2028}\u{2029}\u{0}\u{1b}[31m\u{9b}2J\u{200f}",
];

/// Whether a character steers a terminal, ends a line or reorders it.
pub(crate) fn steers(c: char) -> bool {
    c.is_control() || is_bidi(c)
}

pub(crate) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}' | '\u{2029}')
}

/// A pod for each of [`TEXTS`], which is all that it says.
pub(crate) fn hostile_pods() -> Vec<Value> {
    TEXTS.iter().map(|(text, _)| hostile_pod(text)).collect()
}

/// A pod of which a text is all that it says.
pub(crate) fn hostile_pod(text: &str) -> Value {
    json!({
        "metadata": {
            "name": text, "namespace": text, "labels": {"team": text},
            "ownerReferences": [{"kind": text, "name": text, "controller": true}],
        },
        "spec": {
            "nodeName": text,
            "nodeSelector": {"kubernetes.io/os": text, "kubernetes.io/arch": text},
            "containers": [{"name": text, "image": text}],
        },
        "status": {
            "phase": text,
            "containerStatuses": [{"name": text, "imageID": text}],
        },
    })
}
