//! `check` against the real API server: each answer on its own line, with its remedy.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::fleet::fleet;
use super::rows::{Right, account};
use crate::harness::{Result, crane, program, stderr};

fn check(kubeconfig: &Path, store: &str, crane: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = program();
    command.args(["check", "--cluster-name", "test", "--store", store]);
    command.arg("--crane").arg(crane).args(arguments);
    Ok(command.env("KUBECONFIG", kubeconfig).output()?)
}

#[test]
fn check_says_what_a_night_would_meet_and_what_to_do() -> Result {
    let fleet = fleet()?;
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("reports").display().to_string();
    let all = account(
        &fleet,
        "checker",
        &[Right::Everywhere("pods"), Right::Everywhere("nodes")],
    )?;
    let output = check(&all, &store, &crane()?, &[])?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout)?;
    assert!(text.lines().all(|line| line.starts_with("ok ")), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");

    // Without nodes a night works, and knows less.
    let pods = account(&fleet, "pods-checker", &[Right::Everywhere("pods")])?;
    let output = check(&pods, &store, &crane()?, &["--format", "json"])?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let answers: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(answers["ok"], true);
    assert_eq!(answers["checks"][1]["status"], "warning");

    let one = account(&fleet, "team-checker", &[Right::In("team-11", "pods")])?;
    let output = check(&one, &store, &crane()?, &["--namespace", "team-11"])?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    // Everything that can be wrong is said at once.
    let none = account(&fleet, "no-checker", &[])?;
    let output = check(&none, "/proc/reports", Path::new("/nonexistent"), &[])?;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout)?;
    let line = |name: &str| text.lines().find(|line| line.contains(name));
    for (name, status, remedy) in [
        ("pods ", "FAILED", "bind a ClusterRole with the rule"),
        ("nodes ", "warning", "bind a ClusterRole with the rule"),
        ("crane ", "FAILED", "name it with --crane"),
        ("store write", "FAILED", "/proc/reports"),
    ] {
        let line = line(name).ok_or_else(|| format!("no {name}: {text}"))?;
        assert!(line.starts_with(status) && line.contains(remedy), "{line}");
    }
    Ok(())
}
