//! The binary and Debian's own Pushgateway and promtool: what is pushed, what a push that fails costs,
//! and the alerts on it.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fixtures::{images, manifests, pods};
use harness::bad_registry::{BadRegistry, Fault};
use harness::certificate::Certificate;
use harness::prometheus::{Pushgateway, promtool};
use harness::recorder::Recorder;
use harness::running::{Ended, Running};
use harness::tls::{self, Front};
use harness::{Result, crane, get, list, program, root, rows, snapshot_of, stderr, succeed, tool};
use night::{demo_nights, write_idle_pods};
use serde_json::Value;

/// Where the test cluster's metrics go.
const GROUP: &str = "/metrics/job/image-census/cluster/test";
const LAST: &str = "image_census_last_run_timestamp_seconds";
const LAST_COMPLETE: &str = "image_census_last_complete_run_timestamp_seconds";
const NOT_PUSHED: &str = "the report is committed, but its metrics were not pushed";
/// Three attempts of five seconds and their pauses, on a machine that does other things.
const BOUND: Duration = Duration::from_secs(60);

/// A pod list that needs no registry.
fn idle_pods(folder: &Path) -> Result<PathBuf> {
    let file = folder.join("idle.json");
    write_idle_pods(&file, 2)?;
    Ok(file)
}

/// A snapshot of a night that is pushed.
fn pushed(pods: &Path, store: &Path, url: &str) -> Result<Command> {
    let mut command = snapshot_of(pods, store)?;
    command.args(["--pushgateway", url]);
    Ok(command)
}

/// The events of a run's log whose message begins so.
fn events(log: &str, message: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).map_err(|_| line.to_owned())?;
        if event["message"]
            .as_str()
            .is_some_and(|text| text.starts_with(message))
        {
            found.push(event);
        }
    }
    Ok(found)
}

#[test]
fn what_is_pushed_is_what_the_report_says_and_promtool_finds_nothing_to_mend() -> Result {
    let gateway = Pushgateway::start()?;
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    demo_nights(&store, |command| {
        command.args(["--pushgateway", &gateway.url()]);
    })?;

    let page = gateway.page()?;
    assert_eq!(promtool(&["check", "metrics"], folder.path(), &page)?, "");
    let samples = gateway.samples("test")?;
    let value = |name: &str| samples.get(name).map(String::as_str);
    // 2026-11-24T02:00:00Z, the second night.
    assert_eq!(value(LAST), Some("1.7954856e+09"));
    assert_eq!(value(LAST_COMPLETE), Some("1.7954856e+09"));
    assert_eq!(value("image_census_complete"), Some("1"));
    let took = value("image_census_run_duration_seconds").map(str::parse::<f64>);
    assert!(
        took.is_some_and(|took| took.is_ok_and(|took| took > 0.0 && took < 600.0)),
        "{samples:?}"
    );

    // Counted here once more, from the rows.
    let mut containers = BTreeMap::<String, usize>::new();
    let mut images = BTreeMap::<String, BTreeSet<_>>::new();
    let mut all = BTreeSet::new();
    for row in rows(&store)? {
        all.insert((row["namespace"].clone(), row["pod"].clone()));
        if ["Succeeded", "Failed"].contains(&&*row["pod_phase"]) {
            continue;
        }
        let status = match &*row["eol_status"] {
            "" => "none",
            status => status,
        };
        *containers.entry(status.to_owned()).or_default() += 1;
        let image = ["registry", "repository", "tag", "digest", "platform"]
            .map(|column| row.get(column).cloned());
        let kinds = images.entry(row["inspection_status"].clone());
        kinds.or_default().insert(image);
    }
    let pods = all.len().to_string();
    assert_eq!(value("image_census_pods"), Some(&*pods));
    assert!(containers.len() > 3, "{containers:?}");
    for status in [
        "supported",
        "ending",
        "extended",
        "eol",
        "rolling",
        "unknown",
        "none",
    ] {
        let count = containers.remove(status).unwrap_or_default().to_string();
        let name = format!("image_census_containers{{eol_status=\"{status}\"}}");
        assert_eq!(value(&name), Some(&*count), "{name}");
    }
    assert!(containers.is_empty(), "{containers:?}");

    let manifest: Value = serde_json::from_str(&get(&store, "latest", "manifest")?)?;
    let counts = manifest["counts"]["by_inspection_status"].as_array();
    let mut not_ok = 0;
    for count in counts.ok_or("no counts")? {
        let (status, kind) = (&count["inspection_status"], &count["error_kind"]);
        let found = count["images"].as_u64().ok_or("no images")?;
        let name = match (status.as_str(), kind.as_str()) {
            (Some("ok"), _) => "image_census_images{inspection_status=\"ok\"}".to_owned(),
            (_, Some(kind)) => {
                not_ok += found;
                format!("image_census_images_not_inspected{{error_kind=\"{kind}\"}}")
            }
            other => return Err(format!("not counted: {other:?}").into()),
        };
        assert_eq!(value(&name), Some(&*found.to_string()), "{name}");
    }
    assert!(not_ok > 0, "{manifest}");
    let changes = manifest["changes"]["by_kind"].as_object();
    let changes = changes.ok_or("no changes")?;
    assert!(!changes.is_empty());
    for (kind, count) in changes {
        let name = format!("image_census_changes{{kind=\"{kind}\"}}");
        assert_eq!(value(&name), Some(&*count.to_string()), "{name}");
    }
    Ok(())
}

#[test]
fn a_run_that_is_cut_off_keeps_when_the_last_complete_one_was() -> Result {
    let gateway = Pushgateway::start()?;
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    let mut complete = pushed(&idle_pods(folder.path())?, &store, &gateway.url())?;
    let output = complete
        .args(["--snapshot-time", "2026-11-23T02:00:00Z"])
        .output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    let events = events(&stderr(&output), "metrics pushed")?;
    assert_eq!(events.len(), 1, "{}", stderr(&output));
    assert_eq!(events[0]["host"], gateway.address);
    let before = gateway.samples("test")?;
    assert_eq!(before[LAST_COMPLETE], "1.7953992e+09");
    assert_eq!(before["image_census_changes{kind=\"added\"}"], "NaN");

    // An image whose registry never answers, and little time.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let reference = format!("{}/shop/catalog:1.0.0", silent.local_addr()?);
    let digest = images::digest_of(b"never seen");
    let container = pods::Container::new("app", &reference).running(&digest);
    let pod = pods::Pod::new("shop", pods::Workload::deployment("catalog", 1), 0);
    let list = folder.path().join("pods.json");
    fs::write(&list, manifests::pod_list(&[pod.container(container)])?)?;
    let mut cut_off = pushed(&list, &store, &gateway.url())?;
    cut_off.args(["--deadline", "2s", "--snapshot-time"]);
    succeed(cut_off.arg("2026-11-24T02:00:00Z"))?;
    let after = gateway.samples("test")?;
    assert_eq!(after["image_census_complete"], "0");
    assert_eq!(after[LAST], "1.7954856e+09");
    assert_eq!(after[LAST_COMPLETE], before[LAST_COMPLETE]);
    assert_eq!(
        after["image_census_images_not_inspected{error_kind=\"deadline\"}"],
        "1"
    );
    assert!(before.keys().eq(after.keys()), "{before:?} {after:?}");

    // Clusters do not touch each other, whatever their grammar allows.
    for (name, code) in [
        ("a._-b", 0),
        ("a/b", 2),
        ("..", 2),
        ("a%2fb", 2),
        ("a@base64", 2),
    ] {
        let mut command = program();
        command.args(["snapshot", "--cluster-name", name, "--pushgateway"]);
        command.arg(gateway.url()).arg("--crane").arg(crane()?);
        command.arg("--pods").arg(idle_pods(folder.path())?);
        let output = command.arg("--store").arg(&store).output()?;
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    }
    assert_eq!(gateway.samples("a._-b")?["image_census_complete"], "1");
    assert_eq!(gateway.samples("test")?, after);
    let page = gateway.page()?;
    let groups: BTreeSet<_> = page
        .split("cluster=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(groups, BTreeSet::from(["a._-b", "test"]));
    Ok(())
}

#[test]
fn a_pushgateway_that_does_not_take_the_metrics_costs_a_warning_and_little_time() -> Result {
    let real = Pushgateway::start()?;
    let busy = BadRegistry::start()?;
    busy.misbehave(
        GROUP,
        Fault::status(503, "hUnTeR2, said the load balancer\n"),
    );
    let silent = BadRegistry::start()?;
    silent.misbehave(GROUP, Fault::Silent);
    let elsewhere = Recorder::start()?;
    let astray = BadRegistry::start()?;
    let place = format!("http://127.0.0.1:{}/", elsewhere.port);
    astray.misbehave(GROUP, Fault::redirect(&place));
    let endless = BadRegistry::start()?;
    endless.misbehave(GROUP, Fault::Endless(Vec::new()));
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let trusted = Certificate::for_address("127.0.0.1")?;
    let tls = Pushgateway::start_with(&trusted)?;
    let stranger = Front::start(&tls::Certificate::new(&["localhost"])?, &real.address)?;

    // Address, the answer's status, what the warning says, and how often who was asked.
    let http = |address: &str| format!("http://{address}");
    let refused = Some("it cannot be reached or broke off: ");
    let cases = [
        (
            http(&busy.address),
            Some(503),
            Some("it answered 503"),
            Some((&busy, 3)),
        ),
        (
            http(&silent.address),
            None,
            Some("it did not answer within 5 s"),
            Some((&silent, 3)),
        ),
        (
            http(&astray.address),
            Some(307),
            Some("it answered 307"),
            Some((&astray, 1)),
        ),
        (http(&endless.address), None, None, Some((&endless, 1))),
        (http(&closed.to_string()), None, refused, None),
        (
            format!("{}/prefix", real.url()),
            Some(404),
            Some("it answered 404"),
            None,
        ),
        (
            format!("https://localhost:{}", stranger.port),
            None,
            refused,
            None,
        ),
        (format!("https://{}", tls.address), None, None, None),
        (real.url(), None, None, None),
    ];
    let folder = tempfile::tempdir()?;
    let pods = idle_pods(folder.path())?;
    let mut runs = Vec::new();
    for (number, (url, ..)) in cases.iter().enumerate() {
        let store = folder.path().join(number.to_string());
        let mut command = pushed(&pods, &store, url)?;
        command.env("SSL_CERT_FILE", trusted.authority());
        runs.push((store, Running::start(&mut command)?));
    }
    for ((url, status, warning, asked), (store, run)) in cases.iter().zip(runs) {
        let Ended {
            status: end,
            stderr: log,
            ..
        } = run.wait(BOUND, || Ok(()))?;
        assert_eq!(end.code(), Some(0), "{url}: {log}");
        assert_eq!(list(&store)?.lines().count(), 2, "{url}: no report");
        assert_eq!(events(&log, "committed")?.len(), 1, "{url}");
        let failed = events(&log, NOT_PUSHED)?;
        assert_eq!(failed.len(), usize::from(warning.is_some()), "{url}: {log}");
        for event in &failed {
            let said = event["message"].as_str().unwrap_or_default();
            let expected = format!("{NOT_PUSHED}: {}", warning.unwrap_or_default());
            assert!(said.starts_with(&expected), "{event}");
            assert_eq!(event["level"], "WARN");
            assert_eq!(event["status"].as_u64(), *status, "{event}");
            let host = event["host"].as_str().ok_or("no host")?;
            assert!(url.contains(host) && !host.contains('/'), "{event}");
        }
        let pushed = events(&log, "metrics pushed")?.len();
        assert_eq!(pushed, usize::from(warning.is_none()), "{url}");
        if let Some((server, times)) = asked {
            assert_eq!(server.log(), vec![format!("POST {GROUP}"); *times], "{url}");
        }
        assert!(!log.contains("hUnTeR2"), "{log}");
    }
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
    assert_eq!(real.samples("test")?["image_census_complete"], "1");
    Ok(())
}

#[test]
fn an_address_that_cannot_be_right_ends_with_2_before_any_work_and_is_not_repeated() -> Result {
    let folder = tempfile::tempdir()?;
    let (pods, store) = (idle_pods(folder.path())?, folder.path().join("store"));
    for (url, problem) in [
        ("http://me:hUnTeR2@gw.example:9091", "user name or password"),
        ("http://me@gw.example", "user name or password"),
        ("ftp://hUnTeR2.example", "write it as"),
        ("gw.example:9091?hUnTeR2", "write it as"),
        ("", "write it as"),
    ] {
        let mut by_flag = pushed(&pods, &store, url)?;
        let mut by_variable = snapshot_of(&pods, &store)?;
        by_variable.env("IMAGE_CENSUS_PUSHGATEWAY", url);
        for command in [&mut by_flag, &mut by_variable] {
            let output = command.output()?;
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{url}: {said}");
            assert!(said.contains("--pushgateway: "), "{said}");
            assert!(said.contains(problem), "{said}");
            assert!(!said.contains("hUnTeR2"), "{said}");
        }
    }
    assert!(!store.exists());
    let mut help = program();
    help.env("IMAGE_CENSUS_PUSHGATEWAY", "http://me:hUnTeR2@gw");
    let help = succeed(help.args(["snapshot", "--help"]))?;
    assert!(help.contains("IMAGE_CENSUS_PUSHGATEWAY"), "{help}");
    assert!(!help.contains("hUnTeR2"), "{help}");
    Ok(())
}

/// The names after `alert:` or `alertname:`.
fn alerts(text: &str, key: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.split_once(key));
    names.map(|(_, name)| name.trim().to_owned()).collect()
}

/// The words in a text that begin so.
fn words(text: &str, beginning: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.filter(|word| word.starts_with(beginning));
    words.map(ToOwned::to_owned).collect()
}

#[test]
fn every_alert_is_parsed_tested_documented_and_on_metrics_that_exist() -> Result {
    let said = promtool(&["check", "rules", "cronjob/alerts/rules.yaml"], root(), "")?;
    let rules = fs::read_to_string(root().join("cronjob/alerts/rules.yaml"))?;
    let names = alerts(&rules, "alert:");
    assert!(
        said.contains(&format!("SUCCESS: {} rules found", names.len())),
        "{said}"
    );
    promtool(&["test", "rules", "tests/fixtures/alerts.yaml"], root(), "")?;
    let tests = fs::read_to_string(root().join("tests/fixtures/alerts.yaml"))?;
    assert_eq!(alerts(&tests, "alertname:"), names, "an alert has no test");

    let gateway = Pushgateway::start()?;
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    succeed(&mut pushed(
        &idle_pods(folder.path())?,
        &store,
        &gateway.url(),
    )?)?;
    let page = gateway.page()?;
    let families: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(ToOwned::to_owned)
        .collect();
    let asked = words(&rules, "image_census_");
    assert!(!asked.is_empty() && asked.is_subset(&families), "{asked:?}");

    let guide = fs::read_to_string(root().join("docs/operations.md"))?;
    assert_eq!(words(&guide, "image_census_"), families);
    for name in &names {
        assert!(guide.contains(&format!("`{name}`")), "{name}");
    }

    // As the guide wraps it for the Prometheus operator.
    let (_, rest) = guide.split_once("```sh\n").ok_or("no script")?;
    let (script, _) = rest.split_once("```").ok_or("no end")?;
    let script = script.replace("kubectl apply -f -", "cat");
    let mut shell = Command::new("sh");
    let wrapped = succeed(shell.args(["-ec", &script]).current_dir(root()))?;
    let wrapped: Value = serde_saphyr::from_str(&wrapped)?;
    assert_eq!(wrapped["kind"], "PrometheusRule");
    assert_eq!(wrapped["spec"], serde_saphyr::from_str::<Value>(&rules)?);
    Ok(())
}

#[test]
fn the_component_sets_the_address_and_opens_the_port_where_there_is_a_policy() -> Result {
    let folder = tempfile::tempdir()?;
    succeed(
        Command::new("cp")
            .arg("-r")
            .arg(root().join("cronjob"))
            .arg(folder.path()),
    )?;
    let own = folder.path().join("own");
    fs::create_dir(&own)?;
    for (components, ports) in [
        ("[../cronjob/components/pushgateway]", 0),
        (
            "[../cronjob/components/network-policy, ../cronjob/components/pushgateway]",
            1,
        ),
    ] {
        let text = format!("resources: [../cronjob/base]\ncomponents: {components}\n");
        fs::write(own.join("kustomization.yaml"), text)?;
        let mut kubectl = Command::new(tool("bin/kubectl")?);
        let said = succeed(kubectl.args(["kustomize", "own"]).current_dir(&folder))?;
        let line =
            "  IMAGE_CENSUS_PUSHGATEWAY: http://prometheus-pushgateway.monitoring.svc:9091\n";
        assert!(said.contains(line), "{said}");
        assert_eq!(said.matches("port: 9091\n").count(), ports, "{said}");
    }
    Ok(())
}
