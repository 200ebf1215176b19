//! The pages of reports and diffs in a real browser: what they do, what they must not do, how they look.
//!
//! Each test makes its pages and hands them to a script beside this file, which drives Chromium.
//! [`reports`] makes reports that no cluster has: hostile, empty and large ones; [`month`] is thirty nights
//! of the demo's cluster.

#![allow(clippy::print_stdout, reason = "figures that people look for")]

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../harness/mod.rs"]
mod harness;
mod month;
#[path = "../harness/night.rs"]
mod night;
mod reports;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use harness::{Result, get, program, root, succeed, tool};
use image_census::report::Surroundings;
use image_census::report::html::{diff_page, report_page};
use night::demo_nights;

/// A folder for pages.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The pages of the demo's second night: its report's and its diff's.
    fn demo(&self) -> Result<(PathBuf, PathBuf)> {
        let store = self.0.path().join("store");
        demo_nights(&store, |command| {
            command.args(["--formats", "html"]);
        })?;
        let mut diff = program();
        diff.args(["diff", "--format", "html", "--store"])
            .arg(&store);
        Ok((
            self.write("report.html", get(&store, "latest", "html")?)?,
            self.write("diff.html", succeed(&mut diff)?)?,
        ))
    }
}

/// One browser at a time: several would take each other's time, and spoil the figures.
static BROWSER: Mutex<()> = Mutex::new(());

/// Runs a script of this folder with Chromium; what it printed.
fn browse(script: &str, arguments: &[&Path]) -> Result<String> {
    let _alone = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut node = Command::new("node");
    node.arg(root().join("tests/page").join(script));
    node.args(arguments);
    node.env("IMAGE_CENSUS_PAGE_TOOLS", tool("page")?);
    node.env("IMAGE_CENSUS_CHROMIUM", "/usr/bin/chromium");
    succeed(&mut node)
}

#[test]
fn a_report_is_searched_ordered_filtered_printed_and_read_without_javascript() -> Result {
    let site = Site::new()?;
    let (report, _) = site.demo()?;
    browse("usable.mjs", &[&report])?;
    Ok(())
}

#[test]
fn axe_finds_nothing_on_any_page() -> Result {
    let site = Site::new()?;
    let (report, diff) = site.demo()?;
    let empty = reports::empty()?;
    let page = report_page(&empty, &Surroundings::default())?;
    let empty_report = site.write("empty-report.html", page)?;
    let empty_diff = site.write("empty-diff.html", diff_page(&reports::empty_diff()?)?)?;
    browse(
        "accessible.mjs",
        &[&report, &diff, &empty_report, &empty_diff],
    )?;
    Ok(())
}

#[test]
fn hostile_texts_are_shown_and_not_carried_out() -> Result {
    let site = Site::new()?;
    let hostile = reports::hostile()?;
    let surroundings = Surroundings {
        changes: Some(&hostile.diff),
        nights: &[],
    };
    let report = site.write("report.html", report_page(&hostile.report, &surroundings)?)?;
    let diff = site.write("diff.html", diff_page(&hostile.diff)?)?;
    let of_report = site.write("report.json", hostile.on_report.to_string())?;
    let of_diff = site.write("diff.json", hostile.on_diff.to_string())?;
    let printed = browse("hostile.mjs", &[&report, &of_report, &diff, &of_diff])?;
    print!("{printed}");
    Ok(())
}

#[test]
fn twenty_thousand_containers_are_found_at_once() -> Result {
    let site = Site::new()?;
    let report = reports::large(20_000, 400)?;
    let started = std::time::Instant::now();
    let page = report_page(&report, &Surroundings::default())?;
    println!("made in {} ms", started.elapsed().as_millis());
    let page = site.write("large.html", page)?;
    let (unit, rows) = (Path::new("container"), Path::new("20000"));
    print!("{}", browse("large.mjs", &[&page, unit, rows])?);
    Ok(())
}

#[test]
fn of_more_containers_the_workloads_are_shown() -> Result {
    let site = Site::new()?;
    // 50 pods of two containers are a workload.
    let report = reports::large(40_000, 400)?;
    let page = report_page(&report, &Surroundings::default())?;
    assert!(page.contains(">All workloads</h2>"));
    assert!(page.contains("There are 40,000 containers, too many for a page"));
    let page = site.write("workloads.html", page)?;
    let (unit, rows) = (Path::new("workload"), Path::new("800"));
    print!("{}", browse("large.mjs", &[&page, unit, rows])?);
    Ok(())
}

#[test]
fn of_too_many_workloads_those_on_the_oldest_systems_are_shown() -> Result {
    let report = reports::bare_pods(20_001)?;
    let page = report_page(&report, &Surroundings::default())?;
    assert!(page.contains(">Workloads on the oldest systems</h2>"));
    // The last one is the only one whose system's support has ended, and it is there.
    let place = |text: &str| page.find(text).ok_or_else(|| text.to_owned());
    assert!(place("\"Pod/bare-20000\"")? < place("\"Pod/bare-00000\"")?);
    assert!(!page.contains("\"Pod/bare-19999\""));
    Ok(())
}

/// With `IMAGE_CENSUS_PICTURES`, a folder, pictures of its pages are left there: `scripts/screenshots`.
#[test]
fn a_month_of_nights_is_drawn() -> Result {
    let site = Site::new()?;
    let (report, diff) = month::pages(site.0.path())?;
    let page = fs::read_to_string(&report)?;
    let summary =
        "30 nights from 26 October 2026 to 24 November 2026: containers went from 42 to 45";
    assert!(page.contains(summary));
    // A column of a chart is as wide as all of it; there are at least three in each of two charts.
    let trend = page.split("id=\"trend\"").nth(1).ok_or("no trend")?;
    let trend = trend.split("</figure>").next().unwrap_or_default();
    let columns = trend.matches("<rect").count();
    assert!(columns >= 2 * 30 * 3, "{columns}");
    assert!(trend.contains("<th scope=\"row\">2026-10-26</th>"));
    let pictures = std::env::var_os("IMAGE_CENSUS_PICTURES").map(PathBuf::from);
    let folder = pictures.as_deref().unwrap_or(site.0.path());
    let (of_report, of_diff) = (Path::new("report"), Path::new("diff"));
    browse(
        "pictures.mjs",
        &[folder, of_report, &report, of_diff, &diff],
    )?;
    for picture in ["report-top-light-1440.png", "diff-top-dark-390.png"] {
        let bytes = fs::read(folder.join(picture))?;
        assert!(bytes.len() > 10_000, "{picture}: {}", bytes.len());
    }
    Ok(())
}
