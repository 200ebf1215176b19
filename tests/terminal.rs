//! What a person sees in a terminal: tables that fit, colours that mean something, names that are
//! suggested.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::path::Path;
use std::process::Command;

use harness::terminal::{in_terminal, without_colours};
use harness::{Result, program, stderr, succeed};

fn command(store: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).arg("--store").arg(store);
    command.env_remove("NO_COLOR");
    command
}

const RED: &str = "\u{1b}[38;5;9m";

#[test]
fn tables_fit_the_terminal_and_colour_only_there() -> Result {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    night::demo_nights(&store, |_| {})?;
    let tables: [&[&str]; 6] = [
        &["list"],
        &["list", "--max-age", "3650d"],
        &["diff"],
        &["trend"],
        &["trend", "--by", "version"],
        &["prune", "--keep-last", "1", "--dry-run"],
    ];
    for arguments in tables {
        for columns in [80, 100, 160] {
            let text = in_terminal(columns, &mut command(&store, arguments))?;
            for line in without_colours(&text).lines() {
                assert!(
                    line.trim_end().chars().count() <= usize::from(columns),
                    "{arguments:?} in {columns}: {line}"
                );
            }
            // Names of runs stay whole, to be copied.
            let runs = ["20261123T020000Z-", "20261124T020000Z-"];
            let by_run = arguments[0] != "trend";
            assert!(!by_run || text.contains(runs[1]), "{text}");
            let mut plain = command(&store, arguments);
            plain.env("NO_COLOR", "1");
            let plain = in_terminal(columns, &mut plain)?;
            assert!(!plain.contains('\u{1b}'), "{plain:?}");
            let trimmed = |text: &str| {
                let lines: Vec<_> = text
                    .lines()
                    .map(|line| line.trim_end().to_owned())
                    .collect();
                lines
            };
            assert_eq!(trimmed(&without_colours(&text)), trimmed(&plain));
        }
        let piped = succeed(&mut command(&store, arguments))?;
        assert!(!piped.contains('\u{1b}'), "{piped:?}");
    }
    // What is over is red, wherever it is told.
    let diff = in_terminal(100, &mut command(&store, &["diff"]))?;
    assert!(!diff.contains(RED), "{diff:?}");
    let trend = in_terminal(160, &mut command(&store, &["trend"]))?;
    assert!(trend.contains(&format!("{RED} eol ")), "{trend:?}");
    Ok(())
}

#[test]
fn a_slip_in_a_name_is_answered_with_the_nearest_one() -> Result {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    let pods = folder.path().join("pods.json");
    night::write_idle_pods(&pods, 1)?;
    for cluster in ["prod-eu", "staging"] {
        let mut snapshot = command(&store, &["snapshot", "--cluster-name", cluster]);
        snapshot.arg("--pods").arg(&pods);
        snapshot.args(["--snapshot-time", "2026-11-23T02:00:00Z"]);
        succeed(snapshot.arg("--crane").arg(harness::crane()?))?;
    }
    let one = ["--cluster", "prod-eu"];
    for (arguments, code, said) in [
        (&["get", "lastest"][..], 1, "did you mean latest?"),
        (
            &["get", "20261123T020000Z-00"],
            1,
            "did you mean 20261123T020000Z-",
        ),
        (
            &["get", "tomorrow"],
            1,
            "no run is named tomorrow: `image-census list`",
        ),
        (&["diff", "yesteday"], 1, "did you mean yesterday?"),
        (&["snapshto"], 2, "'snapshot'"),
        (&["get", "latest", "--fromat", "csv"], 2, "'--format'"),
        (&["diff", "--only", "moved_tga"], 2, "'moved_tag'"),
    ] {
        let mut command = command(&store, arguments);
        let output = command.args(one).output()?;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    for (name, said) in [
        (
            "prod-ue",
            "the cluster prod-ue (did you mean prod-eu?); it holds: prod-eu, staging",
        ),
        ("test", "the cluster test; it holds: prod-eu, staging"),
    ] {
        let output = command(&store, &["trend", "--cluster", name]).output()?;
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    Ok(())
}
