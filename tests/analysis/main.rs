//! Every recipe of docs/analysis.md, run as it stands over three clusters and sixty nights: by DuckDB and
//! pandas from a folder, by pyarrow, Spark and Spark's Hive from a real S3 server. Their answers are those
//! of `trend`, or of a count by hand. And what each reads of a hostile night is what its cells say.

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../harness/mod.rs"]
mod harness;

mod cells;
mod counted;
mod nights;
mod recipes;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use cells::Cells;
use counted::{Counted, trend};
use fixtures::fleet::CLUSTERS;
use harness::object_store::BUCKET;
use harness::spark::Spark;
use harness::{Result, files_below};
use nights::{HOSTILE_PREFIX, Nights, PREFIX, date};
use recipes::{Answers, Block, Session};
use serde_json::Value;

/// What the blocks are given besides the store.
const IMAGE: &str = "checkout/gateway";
const CLUSTER: &str = "prod-eu";
const SINCE: &str = "2026-09-23";

/// Days on which some cluster's only run, or one of several, is not the one that counts, and the newest.
/// Hive reads these alone: it is slow with many partitions.
const ODD_DAYS: [&str; 5] = [
    "2026-08-21",
    "2026-08-29",
    "2026-09-03",
    "2026-09-11",
    "2026-09-29",
];
const ODD_PREFIX: &str = "odd-days";

/// A recipe that is not the document's: all that a view or table holds.
const EVERYTHING: &str = "everything";

/// And one that asks the document's table of Parquet.
const FROM_PARQUET: (&str, &str) = (
    "from-parquet",
    "MSCK REPAIR TABLE census_parquet;
     SELECT cluster, dt, distro_id, count(*) AS containers
     FROM census_parquet JOIN census_runs USING (cluster, dt, run_id)
     WHERE pod_phase NOT IN ('Succeeded', 'Failed')
     GROUP BY cluster, dt, distro_id",
);

/// The recipes with an answer, by engine: each is compared with something below.
const ANSWERED: [(&str, &[&str]); 5] = [
    (
        "duckdb",
        &[
            "containers-per-day",
            "entered-eol",
            "eol-per-day",
            "image-seen",
            "where-does-it-run",
        ],
    ),
    (
        "pandas",
        &["containers-per-day", "ended-by-namespace", "eol-per-day"],
    ),
    ("pyarrow", &["containers-per-day"]),
    // The last two are DuckDB's, in the same words.
    (
        "spark",
        &[
            "containers-per-day",
            "entered-eol",
            "eol-per-day",
            "image-seen",
            "part-of-the-fleet",
        ],
    ),
    (
        "hive",
        &["containers-per-day", "eol-per-day", FROM_PARQUET.0],
    ),
];

const PER_DISTRIBUTION: [&str; 4] = ["cluster", "dt", "distro_id", "containers"];
const PER_STATUS: [&str; 4] = ["cluster", "dt", "eol_status", "containers"];

fn session(engine: &'static str, blocks: &[Block], variables: &[(&'static str, &str)]) -> Session {
    let blocks = blocks.iter().filter(|block| block.engine == engine);
    Session {
        engine,
        variables: variables
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        recipes: blocks
            .map(|block| (block.name.clone(), block.text.clone()))
            .collect(),
        prove: None,
    }
}

/// Runs what reads a folder, and pyarrow, while Spark starts.
fn ask_small(nights: &Nights, blocks: &[Block]) -> Result<Vec<Answers>> {
    let folder = nights.folder().display().to_string();
    let bucket = format!("s3://{BUCKET}/{PREFIX}");
    let mut sessions = vec![
        session("duckdb", blocks, &[("store", &folder), ("image", IMAGE)]),
        session("pandas", blocks, &[("store", &folder)]),
    ];
    let first = date(0);
    let everything = CLUSTERS.map(|cluster| (cluster.name, first.as_str()));
    for (cluster, since) in everything.into_iter().chain([(CLUSTER, SINCE)]) {
        let variables = [
            ("store", bucket.as_str()),
            ("cluster", cluster),
            ("since", since),
        ];
        sessions.push(Session {
            prove: Some("containers-per-day"),
            ..session("pyarrow", blocks, &variables)
        });
    }
    let duckdb = session("duckdb", blocks, &[("store", &folder), ("image", IMAGE)]);
    sessions.push(over_parquet(duckdb, blocks));
    for engine in ["duckdb", "pandas", "pyarrow"] {
        sessions.push(hostile_session(nights, blocks, engine));
    }
    let duckdb = hostile_session(nights, blocks, "duckdb");
    sessions.push(over_parquet(duckdb, blocks));
    recipes::run(&sessions, |python| in_environment(nights, python))
}

fn ask_spark(nights: &Nights, blocks: &[Block], spark: &mut Spark) -> Result<Vec<Answers>> {
    let bucket = format!("s3a://{BUCKET}/{PREFIX}");
    let variables = [
        ("store", bucket.as_str()),
        ("cluster", CLUSTER),
        ("since", SINCE),
    ];
    let mut fleet = session("spark", blocks, &variables);
    fleet.prove = Some("part-of-the-fleet");
    let shared = blocks.iter().filter(|block| {
        block.engine == "duckdb" && matches!(block.name.as_str(), "entered-eol" | "image-seen")
    });
    let shared = shared.map(|block| (block.name.clone(), block.text.clone()));
    // Before the view over Parquet takes the place of the rows that were read once.
    let parquet = fleet.recipes.iter().position(|(name, _)| name == "parquet");
    let parquet = parquet.ok_or("no recipe for Parquet")?;
    fleet.recipes.splice(parquet..parquet, shared);

    copy_odd_days(nights)?;
    let mut hive = session("hive", blocks, &[]);
    for (_, text) in &mut hive.recipes {
        *text = text.replace("BUCKET/PREFIX", &format!("{BUCKET}/{ODD_PREFIX}"));
    }
    hive.recipes
        .push((FROM_PARQUET.0.to_owned(), FROM_PARQUET.1.to_owned()));
    let hostile = ["spark", "hive"].map(|engine| hostile_session(nights, blocks, engine));
    let parquet = over_parquet(hostile_session(nights, blocks, "spark"), blocks);
    let sessions = [fleet, hive].into_iter().chain(hostile);
    let sessions: Vec<_> = sessions.chain([parquet]).collect();
    let remote = spark.remote()?;
    recipes::run(&sessions, |python| {
        python.env("SPARK_REMOTE", &remote);
    })
    .map_err(|error| format!("{error}\n{}", spark.errors().unwrap_or_default()).into())
}

/// The same session, with a view over Parquet in place of that over CSV.
fn over_parquet(mut session: Session, blocks: &[Block]) -> Session {
    let mut blocks = blocks.iter();
    let parquet = blocks.find(|block| block.engine == session.engine && block.name == "parquet");
    let views = session.recipes.iter().position(|(name, _)| name == "views");
    session.recipes.retain(|(name, _)| name != "parquet");
    if let (Some(parquet), Some(views)) = (parquet, views) {
        let parquet = (parquet.name.clone(), parquet.text.clone());
        session.recipes.insert(views + 1, parquet);
    }
    session
}

/// The recipes that make an engine's view or table of containers, and one that reads all of it.
fn hostile_session(nights: &Nights, blocks: &[Block], engine: &'static str) -> Session {
    let store = match engine {
        "spark" => format!("s3a://{BUCKET}/{HOSTILE_PREFIX}"),
        "pyarrow" => format!("s3://{BUCKET}/{HOSTILE_PREFIX}"),
        _ => nights.hostile().display().to_string(),
    };
    let mut session = session(engine, blocks, &[("store", &store)]);
    let (made_by, everything): (&[_], _) = match engine {
        "pandas" => (&["containers"], "containers"),
        "pyarrow" => (&["datasets"], "files.to_table()"),
        // Spark's Hive does not skip the head of a file.
        "hive" => (
            &["tables", "partitions"],
            "SELECT * FROM census_files WHERE run_id <> 'run_id'",
        ),
        _ => (&["views"], "SELECT * FROM containers"),
    };
    session
        .recipes
        .retain(|(name, _)| made_by.contains(&name.as_str()));
    if engine == "hive" {
        for (_, text) in &mut session.recipes {
            *text = text.replace("BUCKET/PREFIX", &format!("{BUCKET}/{HOSTILE_PREFIX}"));
        }
        let apart = (
            "apart".to_owned(),
            "CREATE DATABASE hostile;\nUSE hostile;\n".to_owned(),
        );
        session.recipes.insert(0, apart);
    }
    let everything = (EVERYTHING.to_owned(), everything.to_owned());
    session.recipes.push(everything);
    session
}

fn in_environment(nights: &Nights, python: &mut Command) {
    nights.server.configure(python);
    python.env("AWS_REGION", "us-east-1");
    python.env(
        "AWS_ENDPOINT_URL",
        format!("http://{}", nights.server.address),
    );
}

/// Puts the files of some days under a prefix of their own.
fn copy_odd_days(nights: &Nights) -> Result {
    let copies = nights.scratch().join(ODD_PREFIX);
    for format in ["csv", "manifest", "parquet"] {
        let from = nights.folder().join(format);
        for file in files_below(&from)? {
            if ODD_DAYS
                .iter()
                .any(|day| file.contains(&format!("dt={day}/")))
            {
                let to = copies.join(format).join(&file);
                fs::create_dir_all(to.parent().ok_or("no folder")?)?;
                fs::copy(from.join(&file), to)?;
            }
        }
    }
    let bucket = format!("s3://{BUCKET}/{ODD_PREFIX}/");
    nights
        .server
        .copy(&format!("{}/", copies.display()), &bucket)
}

/// The rows of some cluster and days, without the cluster.
fn part(rows: &[Vec<String>], cluster: &str, since: &str) -> Vec<Vec<String>> {
    let part = rows
        .iter()
        .filter(|row| row[0] == cluster && row[1].as_str() >= since);
    part.map(|row| row[1..].to_vec()).collect()
}

#[test]
fn every_recipe_answers_as_trend_and_a_count_by_hand() -> Result {
    let blocks = recipes::blocks()?;
    expect_all_are_run(&blocks);
    let settings = blocks
        .iter()
        .find(|block| block.engine == "spark-defaults.conf");
    let settings = &settings.ok_or("no settings for Spark")?.text;

    let nights = Nights::take()?;
    let mut spark = Spark::start(&nights.server, settings)?;
    let small = ask_small(&nights, &blocks)?;
    let fleet = ask_spark(&nights, &blocks, &mut spark)?;
    drop(spark);

    let folder = nights.folder().display().to_string();
    let bucket = format!("s3://{BUCKET}/{PREFIX}");
    let by_distribution = trend("distribution", &folder, |_| {})?;
    let by_status = trend("eol_status", &folder, |_| {})?;
    let in_bucket = trend("eol_status", &bucket, |command| {
        nights.server.configure(command);
    })?;
    assert_eq!(by_status, in_bucket);
    let counted = Counted::read(&nights.folder())?;
    expect_lively(&counted, &by_distribution);

    let (small, hostile) = small.split_at(small.len() - 4);
    let [duckdb, pandas, pyarrow @ .., duckdb_parquet] = small else {
        return Err("answers are missing".into());
    };
    let [spark, hive, hostile_spark, hostile_hive, hostile_parquet] = &fleet[..] else {
        return Err("answers are missing".into());
    };
    let engines = [duckdb, pandas, &pyarrow[0], spark, hive];
    for ((engine, expected), answers) in ANSWERED.iter().zip(engines) {
        assert_eq!(&answers.names(), expected, "{engine}");
    }

    for answers in [duckdb, pandas, spark, duckdb_parquet] {
        let per_day = answers
            .of("containers-per-day")?
            .sorted(&PER_DISTRIBUTION)?;
        assert_eq!(per_day, by_distribution);
        let per_day = answers.of("eol-per-day")?.sorted(&PER_STATUS)?;
        assert_eq!(per_day, by_status);
    }
    for answers in [duckdb, spark] {
        let entered = answers.of("entered-eol")?.sorted(&[
            "cluster",
            "namespace",
            "workload_kind",
            "workload_name",
            "container",
            "distro_id",
            "distro_version",
            "since",
        ])?;
        assert_eq!(entered, counted.entered_eol("2026-09-01"));
        let columns = [
            "repository",
            "manifest_digest",
            "first_seen",
            "last_seen",
            "clusters",
        ];
        let seen = answers.of("image-seen")?.sorted(&columns)?;
        assert_eq!(seen, counted.image_seen());
    }
    let runs = duckdb.of("where-does-it-run")?.sorted(&[
        "cluster",
        "namespace",
        "workload_kind",
        "workload_name",
        "tag",
        "manifest_digest",
        "pods",
    ])?;
    assert_eq!(runs, counted.where_it_runs(IMAGE));
    expect_ended(pandas, &counted)?;

    let part_of = part(&by_status, CLUSTER, SINCE);
    let answer = spark.of("part-of-the-fleet")?;
    assert_eq!(answer.sorted(&["dt", "eol_status", "containers"])?, part_of);
    expect_pruned_by_spark(&spark.pruned);
    expect_pyarrow(pyarrow, &by_distribution, &counted)?;

    let odd = |rows: &[Vec<String>]| -> Vec<Vec<String>> {
        let odd = rows
            .iter()
            .filter(|row| ODD_DAYS.contains(&row[1].as_str()));
        odd.cloned().collect()
    };
    let per_day = hive.of("containers-per-day")?.sorted(&PER_DISTRIBUTION)?;
    assert_eq!(per_day, odd(&by_distribution));
    let per_day = hive.of("eol-per-day")?.sorted(&PER_STATUS)?;
    assert_eq!(per_day, odd(&by_status));

    let from_parquet = hive.of(FROM_PARQUET.0)?.sorted(&PER_DISTRIBUTION)?;
    assert_eq!(from_parquet, odd(&by_distribution));

    let cells = Cells::read(&nights.hostile())?;
    for answers in hostile[..3].iter().chain([hostile_spark]) {
        cells.expect_read(answers.of(EVERYTHING)?)?;
    }
    let texts = Cells::read_lines(&nights.hostile())?;
    for answers in [&hostile[3], hostile_parquet] {
        texts.expect_read(answers.of(EVERYTHING)?)?;
    }
    cells.expect_read_as_text(hostile_hive.of(EVERYTHING)?)
}

/// A block of SQL or Python that no session runs would be a recipe that nobody tried.
fn expect_all_are_run(blocks: &[Block]) {
    for block in blocks {
        let run = ANSWERED.iter().any(|(engine, _)| *engine == block.engine);
        let shown = ["console", "properties"].contains(&block.language.as_str());
        assert!(
            run || shown,
            "{} {} {}",
            block.language,
            block.engine,
            block.name
        );
        assert!(shown || !block.name.is_empty(), "{}", block.text);
    }
}

/// The store is one in which a recipe can go wrong.
fn expect_lively(counted: &Counted, by_distribution: &[Vec<String>]) {
    // A night without a run, and one that a deadline cut off.
    let days = [("prod-eu", 58), ("prod-us", 59), ("staging", 60)];
    assert_eq!(
        counted.days,
        days.map(|(name, days)| (name.to_owned(), days)).into()
    );
    // Five runs more than days count: two that a deadline cut off, one of a namespace, two repeated.
    assert_eq!(counted.files, 58 + 59 + 60 + 5);
    assert!(by_distribution.iter().any(|row| row[2].is_empty()));
    assert!(counted.entered_eol("2026-09-01").len() > 3);
    assert!(!counted.ended().is_empty());
    // A tag that moved, in the middle of which two images run under it.
    let gateway = counted.image_seen();
    let gateway = gateway.iter().filter(|row| row[0] == IMAGE);
    assert_eq!(gateway.count(), 3);
}

/// The table has a column for each distribution.
fn expect_ended(pandas: &Answers, counted: &Counted) -> Result {
    let table = pandas.of("ended-by-namespace")?;
    let mut shown = BTreeMap::new();
    for row in &table.rows {
        let text = |place: usize| row[place].as_str().unwrap_or_default().to_owned();
        for (name, count) in table.columns.iter().zip(row).skip(2) {
            let count = usize::try_from(count.as_u64().ok_or("no count")?)?;
            if count > 0 {
                shown.insert([text(0), text(1), name.clone()], count);
            }
        }
    }
    assert_eq!(shown, counted.ended());
    Ok(())
}

/// Every scan has the filters of both partitions, and read the week's seven files.
fn expect_pruned_by_spark(pruned: &Value) {
    let scans = pruned["scans"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let of = |format: &str| {
        let end = format!("/{format}");
        let scans = scans.iter().filter(move |scan| {
            scan["location"]
                .as_str()
                .is_some_and(|location| location.ends_with(&end))
        });
        scans.count()
    };
    assert!(of("csv") == 1 && of("manifest") >= 1, "{pruned:#}");
    for scan in scans {
        let filters = scan["filters"].as_str().unwrap_or_default();
        for part in [format!("= {CLUSTER})"), format!(">= {SINCE})")] {
            assert!(filters.contains(&part), "{pruned:#}");
        }
    }
    let read = pruned["files_read"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    assert!(
        read.len() >= 2 && read.iter().all(|count| *count == 7),
        "{pruned:#}"
    );
}

/// Each cluster as a whole is as `trend` says, and so is a week of one, of which no other file was read.
fn expect_pyarrow(
    pyarrow: &[Answers],
    by_distribution: &[Vec<String>],
    counted: &Counted,
) -> Result {
    let [clusters @ .., week] = pyarrow else {
        return Err("answers are missing".into());
    };
    assert_eq!(clusters.len(), CLUSTERS.len());
    let columns = ["dt", "distro_id", "count_all"];
    for (answers, cluster) in clusters.iter().zip(CLUSTERS) {
        let per_day = answers.of("containers-per-day")?.sorted(&columns)?;
        assert_eq!(per_day, part(by_distribution, cluster.name, ""));
    }
    let per_day = week.of("containers-per-day")?.sorted(&columns)?;
    assert_eq!(per_day, part(by_distribution, CLUSTER, SINCE));
    assert_eq!(week.pruned["of"], counted.files);
    let read = week.pruned["files"].as_array().ok_or("no files")?;
    assert_eq!(read.len(), 7, "{read:?}");
    let folder = format!("/csv/cluster={CLUSTER}/dt=");
    for file in read {
        let day = file.as_str().and_then(|file| file.split(&folder).nth(1));
        assert!(day.is_some_and(|day| &day[..10] >= SINCE), "{file}");
    }
    Ok(())
}
