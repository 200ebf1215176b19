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

/// A pod for each of [`TEXTS`], which is all that it says.
pub(crate) fn hostile_pods() -> Vec<Value> {
    let pods = TEXTS.iter().map(|(text, _)| {
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
    });
    pods.collect()
}
