//! Pods that somebody wrote to harm, or without care: references, names, image ids, lists.
//!
//! The program runs with the real crane behind a script that notes its arguments and environment.
//! Nothing leaves the machine: hosts are closed ports of it, or lie behind a proxy that is one.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use harness::hostile::{TEXTS, hostile_pods, is_bidi, steers};
use harness::readers::expect_valid;
use harness::{Result, Row, crane, get, program, rows, snapshot_with, stderr};
use serde_json::{Value, json};

/// Nobody listens on TCP port 1 (tcpmux), and a connection to it is refused at once.
const CLOSED: &str = "127.0.0.1:1";
const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What crane may see of our environment.
const ALLOWED: &[&str] = &[
    "PATH",
    "HOME",
    "DOCKER_CONFIG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
];

/// The only form in which crane gets a reference.
const REFERENCE: &str =
    r"^[a-z0-9.:\[\]-]+/[a-z0-9._/-]+(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$";

/// A scratch folder with a store and a crane that takes notes.
struct Site {
    folder: tempfile::TempDir,
}

/// One start of crane.
struct Start {
    arguments: Vec<String>,
    environment: Vec<String>,
}

impl Start {
    /// The guard, with this start's own token, which is in no argument.
    fn proxy(&self) -> Result<&str> {
        let value = |name| {
            let mut variables = self.environment.iter();
            variables.find_map(|variable| variable.strip_prefix(name))
        };
        let proxy = value("HTTPS_PROXY=").ok_or("no proxy")?;
        assert_eq!(value("HTTP_PROXY="), Some(proxy));
        let pattern = r"^http://crane:[0-9a-f]{32}@127\.0\.0\.1:[0-9]+$";
        let pattern = json!({"type": "string", "pattern": pattern});
        assert!(jsonschema::is_valid(&pattern, &json!(proxy)), "{proxy}");
        let (_, rest) = proxy.split_once("crane:").ok_or("no token")?;
        let token = rest.split('@').next().unwrap_or_default();
        assert!(!self.arguments.concat().contains(token));
        Ok(token)
    }
}

impl Site {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("notes"))?;
        let site = Self { folder };
        // A folder for each start, since several run at once. dash adds nothing to what /proc shows.
        let text = format!(
            "#!/bin/sh\nnote=$(mktemp -d '{0}/notes/XXXXXXXX') || exit 1\n\
             printf '%s\\0' \"$@\" >\"$note/arguments\"\n\
             cat /proc/$$/environ >\"$note/environment\"\n\
             exec '{1}' \"$@\"\n",
            site.folder.path().display(),
            crane()?.display()
        );
        fs::write(site.crane(), text)?;
        fs::set_permissions(site.crane(), fs::Permissions::from_mode(0o755))?;
        Ok(site)
    }

    fn crane(&self) -> PathBuf {
        self.folder.path().join("crane")
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// `snapshot` of these pods, complete but for what a test adds.
    fn snapshot(&self, pods: &[Value]) -> Result<Command> {
        let file = self.folder.path().join("pods.json");
        fs::write(&file, json!({"kind": "List", "items": pods}).to_string())?;
        let mut command = snapshot_with(&self.crane(), &file, &self.store());
        command.env("IMAGE_CENSUS_OWNER_LABEL", "team");
        // Refused connections take no time; the limit is for a machine that is busy.
        command.args(["--crane-timeout", "60s"]);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            command.env(name, format!("http://{CLOSED}"));
        }
        for name in ["NO_PROXY", "no_proxy"] {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// The rows of a run that must succeed, by container.
    fn rows(&self, pods: &[Value]) -> Result<BTreeMap<String, Row>> {
        let output = self.snapshot(pods)?.output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        expect_harmless(&output);
        let rows = rows(&self.store())?;
        let count = rows.len();
        let rows: BTreeMap<_, _> = rows
            .into_iter()
            .map(|row| (row["container"].clone(), row))
            .collect();
        assert_eq!(rows.len(), count, "containers of one name");
        // Whatever pods say, the files are as the schemas say.
        expect_valid(&self.store(), 4)?;
        Ok(rows)
    }

    /// What crane was started with, but for its version.
    fn starts(&self) -> Result<Vec<Start>> {
        let strings = |path: PathBuf| -> Result<Vec<String>> {
            let text = String::from_utf8(fs::read(path)?)?;
            Ok(text.split_terminator('\0').map(Into::into).collect())
        };
        let mut starts = Vec::new();
        for note in fs::read_dir(self.folder.path().join("notes"))? {
            let note = note?.path();
            starts.push(Start {
                arguments: strings(note.join("arguments"))?,
                environment: strings(note.join("environment"))?,
            });
        }
        let before = starts.len();
        starts.retain(|start| start.arguments != ["version"]);
        assert_eq!(before - starts.len(), 1, "asked for its version once");
        Ok(starts)
    }
}

/// Neither stream holds a character that steers a terminal or reorders a line.
fn expect_harmless(output: &Output) {
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        let found = text.find(|c: char| c != '\n' && steers(c));
        assert_eq!(found, None, "{text}");
    }
}

/// A running pod whose one container has the name of the pod.
fn pod(name: &str, image: &str, image_id: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"containers": [{"name": name, "image": image}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": name, "image": image, "imageID": image_id}],
        },
    })
}

/// A pod that is over and whose node reported no digest: it is never looked up.
fn over(name: &str, image: &str) -> Value {
    let mut pod = pod(name, image, "");
    pod["status"]["phase"] = json!("Succeeded");
    pod
}

/// What became of a reference: where it points, and how the inspection went.
fn outcome(row: &Row) -> String {
    let cells = ["registry", "repository", "tag", "digest", "digest_source"].map(|name| {
        let cell = &row[name];
        if cell.is_empty() { "-" } else { cell }
    });
    let cells = cells.join(" ").replace(&format!("sha256:{HEX}"), "HEX");
    format!("{cells} {} {}", row["inspection_status"], row["error_kind"])
}

/// References that break a rule, with a word of the rule that the message names.
const INVALID: &[(&str, &str)] = &[
    ("", "empty"),
    ("--insecure", "repository"),
    ("-v", "repository"),
    ("--platform=all", "repository"),
    ("--", "repository"),
    ("-", "repository"),
    ("@--insecure", "digest"),
    ("a b", "repository"),
    ("a --insecure", "repository"),
    (" a", "repository"),
    ("a;id", "repository"),
    ("a|id", "repository"),
    ("a&&id", "repository"),
    ("$(id)", "repository"),
    ("${HOME}", "repository"),
    ("`id`", "repository"),
    ("a'b", "repository"),
    ("a\"b", "repository"),
    ("a\\b", "repository"),
    ("*", "repository"),
    ("~/a", "repository"),
    ("/etc/passwd", "repository"),
    ("../../etc/passwd", "registry"),
    ("./a", "registry"),
    ("file:///etc/passwd", "registry"),
    ("http://host.invalid/a", "registry"),
    ("oci://host.invalid/a", "registry"),
    ("docker-daemon:a:b", "tag"),
    ("host.invalid/../../a:b", "repository"),
    ("host.invalid//a", "repository"),
    ("host.invalid/a/", "repository"),
    ("host.invalid/", "repository"),
    ("host.invalid/.", "repository"),
    ("host.invalid/--insecure", "repository"),
    ("host.invalid/a:--insecure", "tag"),
    ("host.invalid/a:-x", "tag"),
    ("host.invalid/a:.x", "tag"),
    ("host.invalid/a:", "tag"),
    ("host.invalid/a:b:c", "tag"),
    ("host.invalid/a:b c", "tag"),
    ("host.invalid/A", "repository"),
    ("host.invalid/a%2f..", "repository"),
    ("host.invalid/a?x=1", "repository"),
    ("host.invalid/a#x", "repository"),
    ("host.invalid/a___b", "repository"),
    ("host.invalid/a..b", "repository"),
    ("user:pass@host.invalid/a", "digest"),
    ("host.invalid/a@", "digest"),
    ("host.invalid/a@sha256:00", "digest"),
    ("host.invalid/a@sha512:00", "digest"),
    (
        "host.invalid/a@md5:d41d8cd98f00b204e9800998ecf8427e",
        "digest",
    ),
    ("127.1/a", "registry"),
    ("127.0.0.01:1/a", "registry"),
    ("0x7f.1/a", "registry"),
    ("2130706433:80/a", "registry"),
    ("[::1/a", "registry"),
    ("[::ffff:127.0.0.1%25lo]:1/a", "registry"),
    ("[fe80::1%25eth0]/a", "registry"),
    ("[0:0:0:0:0:0:0:1]:1/a", "registry"),
    ("host.invalid:0/a", "registry"),
    ("host.invalid:99999/a", "registry"),
    ("host.invalid:1:2/a", "registry"),
    ("host..invalid/a", "registry"),
    ("-host.invalid/a", "registry"),
    ("host_.invalid/a", "registry"),
    ("é.invalid/a", "registry"),
    ("é/b", "repository"),
    ("ａ/b", "repository"),
    ("a\nb", "repository"),
    ("a\0b", "repository"),
    ("host.invalid/a\n--insecure", "repository"),
    ("\u{202e}gnp.exe", "repository"),
    ("\u{1b}[2Ja", "repository"),
    ("=cmd|' /C calc'!A0", "repository"),
    ("@SUM(A1)", "digest"),
    ("+1", "repository"),
];

#[test]
fn references_that_break_a_rule_are_rows_and_never_arguments() -> Result {
    let long = [
        "a".repeat(10_000),
        format!("host.invalid/{}", "a/".repeat(5_000)) + "a",
    ];
    let too_long_tag = format!("host.invalid/a:{}", "x".repeat(129));
    let upper = format!("host.invalid/a@sha256:{}", HEX.to_uppercase());
    let short = format!("host.invalid/a@sha256:{}", &HEX[1..]);
    let twice = format!("host.invalid/a@sha256:{HEX}@sha256:{HEX}");
    let mut cases = INVALID.to_vec();
    cases.extend(long.iter().map(|text| (text.as_str(), "repository")));
    cases.push((&too_long_tag, "tag"));
    cases.extend([&upper, &short, &twice].map(|text| (text.as_str(), "digest")));
    let site = Site::new()?;
    let name = |number: usize| format!("c{number:02}");
    // With the digest of a running image, which does not make up for a reference that is none.
    let running = format!("host.invalid/a@sha256:{HEX}");
    let pods: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, (image, _))| pod(&name(number), image, &running))
        .collect();
    let rows = site.rows(&pods)?;
    assert_eq!(rows.len(), cases.len());
    for (number, (image, rule)) in cases.iter().enumerate() {
        let row = &rows[&name(number)];
        assert_eq!(outcome(row), "- - - - - failed invalid", "{image:.80?}");
        let message = &row["error_message"];
        assert!(message.contains(rule), "{image:.80?}: {message}");
        assert!(message.ends_with("correct the pod's image"), "{message}");
        // What is before a host is a password, and no report's.
        expect_cell(&image.replace("user:pass@", "***@"), &row["image"]);
    }
    assert!(site.starts()?.is_empty());
    Ok(())
}

/// A cell is the beginning of the text without what steers, and no formula.
fn expect_cell(text: &str, cell: &str) {
    assert!(
        !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
        "{cell}"
    );
    assert!(
        !cell.contains(|c: char| c.is_control() || is_bidi(c)),
        "{cell}"
    );
    assert!(cell.len() <= 1_100, "{} bytes", cell.len());
    let safe = text.replace(|c: char| c.is_control() || is_bidi(c), "\u{fffd}");
    let shown = cell.strip_prefix('\'').filter(|_| !text.starts_with('\''));
    assert!(
        safe.starts_with(shown.unwrap_or(cell)),
        "{text:?} became {cell:?}"
    );
}

#[test]
fn references_that_are_odd_but_right_have_one_normal_form() -> Result {
    let long_tag = "x".repeat(128);
    // 255 characters with the host, the most that runtimes take.
    let long_path = format!("{}/{}", "a".repeat(121), "b".repeat(120));
    let unavailable = "failed network";
    let running = [
        (
            "nginx".to_owned(),
            "docker.io library/nginx latest".to_owned(),
        ),
        ("nginx:1.27".into(), "docker.io library/nginx 1.27".into()),
        (
            "docker-daemon:a".into(),
            "docker.io library/docker-daemon a".into(),
        ),
        (
            "library/nginx".into(),
            "docker.io library/nginx latest".into(),
        ),
        (
            "grafana/grafana:12".into(),
            "docker.io grafana/grafana 12".into(),
        ),
        (
            "docker.io/nginx:1".into(),
            "docker.io library/nginx 1".into(),
        ),
        (
            "docker.io/library/redis".into(),
            "docker.io library/redis latest".into(),
        ),
        (
            "index.docker.io/library/nginx:2".into(),
            "docker.io library/nginx 2".into(),
        ),
        (
            "index.docker.io/nginx:3".into(),
            "docker.io library/nginx 3".into(),
        ),
        (
            "Docker.IO/nginx:4".into(),
            "docker.io library/nginx 4".into(),
        ),
        (
            "registry-1.docker.io/library/nginx:5".into(),
            "docker.io library/nginx 5".into(),
        ),
        (
            "GHCR.invalid/a/b:V1.RC-1_x".into(),
            "ghcr.invalid a/b V1.RC-1_x".into(),
        ),
        ("host.invalid/a".into(), "host.invalid a latest".into()),
        (
            "host.invalid:8443/team/app:_1".into(),
            "host.invalid:8443 team/app _1".into(),
        ),
        (
            "host.invalid:65535/a:1".into(),
            "host.invalid:65535 a 1".into(),
        ),
        (
            format!("{CLOSED}/a/b/c/d/e:1"),
            format!("{CLOSED} a/b/c/d/e 1"),
        ),
        ("localhost:1/a:b".into(), "localhost:1 a b".into()),
        ("LOCALHOST:1/a:c".into(), "localhost:1 a c".into()),
        ("[::1]:1/a:b".into(), "[::1]:1 a b".into()),
        ("[2001:db8::1]:1/a:b".into(), "[2001:db8::1]:1 a b".into()),
        ("[2001:DB8::2]/a:b".into(), "[2001:db8::2] a b".into()),
        (
            "xn--bcher-kva.invalid/a:1".into(),
            "xn--bcher-kva.invalid a 1".into(),
        ),
        (
            "host.invalid/b__c/d-----e.f_g:1".into(),
            "host.invalid b__c/d-----e.f_g 1".into(),
        ),
        ("host.invalid/0:0".into(), "host.invalid 0 0".into()),
        (
            format!("host.invalid/a:{long_tag}"),
            format!("host.invalid a {long_tag}"),
        ),
        (
            format!("host.invalid/{long_path}:1"),
            format!("host.invalid {long_path} 1"),
        ),
    ]
    .map(|(image, expected)| (image, format!("{expected} - - {unavailable}")));
    let pinned = [
        (format!("nginx@sha256:{HEX}"), "docker.io library/nginx -"),
        (
            format!("host.invalid/a:1.2@sha256:{HEX}"),
            "host.invalid a 1.2",
        ),
        (
            format!("{CLOSED}/a:latest@sha256:{HEX}"),
            "127.0.0.1:1 a latest",
        ),
        (format!("[::1]:1/a@sha256:{HEX}"), "[::1]:1 a -"),
    ]
    .map(|(image, expected)| (image, format!("{expected} HEX reference {unavailable}")));
    // A registry may well listen on port 5000 of this machine, so nobody asks it.
    let never_asked = [
        ("localhost:5000/a:b", "localhost:5000 a b"),
        ("localhost/a", "localhost a latest"),
    ]
    .map(|(image, expected)| {
        (
            image.to_owned(),
            format!("{expected} - - skipped not_running"),
        )
    });

    let site = Site::new()?;
    let (mut pods, mut expected) = (Vec::new(), Vec::new());
    for (image, outcome) in running.iter().chain(&pinned) {
        pods.push(pod(&format!("c{:02}", pods.len()), image, ""));
        expected.push((image, outcome));
    }
    for (image, outcome) in &never_asked {
        pods.push(over(&format!("c{:02}", pods.len()), image));
        expected.push((image, outcome));
    }
    let rows = site.rows(&pods)?;
    for ((image, expected), row) in expected.iter().zip(rows.values()) {
        assert_eq!(outcome(row), **expected, "{image}");
        expect_cell(image, &row["image"]);
    }

    let starts = site.starts()?;
    let mut tokens = BTreeSet::new();
    for start in &starts {
        expect_safe_start(start)?;
        tokens.insert(start.proxy()?);
    }
    assert_eq!(tokens.len(), starts.len(), "a token for each start");
    // Each of them reached crane, in its normal form.
    let asked = |reference: &str| starts.iter().any(|start| start.arguments[2] == reference);
    for reference in [
        "docker.io/library/nginx:latest".to_owned(),
        format!("docker.io/library/nginx@sha256:{HEX}"),
        format!("host.invalid/a@sha256:{HEX}"),
        format!("host.invalid/a:{long_tag}"),
        "ghcr.invalid/a/b:V1.RC-1_x".to_owned(),
        "[2001:db8::2]/a:b".to_owned(),
    ] {
        assert!(asked(&reference), "{reference}");
    }
    assert!(
        !starts
            .iter()
            .any(|start| start.arguments[2].starts_with("localhost:5000"))
    );
    Ok(())
}

/// A verb, `--`, and one rebuilt reference; of our environment only what is allowed.
fn expect_safe_start(start: &Start) -> Result {
    let [verb, dashes, reference] = &start.arguments[..] else {
        return Err(format!("{:?}", start.arguments).into());
    };
    assert!(
        ["digest", "manifest", "blob"].contains(&verb.as_str()),
        "{verb}"
    );
    assert_eq!(dashes, "--");
    let pattern = json!({"type": "string", "pattern": REFERENCE});
    assert!(
        jsonschema::is_valid(&pattern, &json!(reference)),
        "{reference}"
    );
    for variable in &start.environment {
        let name = variable.split('=').next().unwrap_or_default();
        assert!(ALLOWED.contains(&name), "crane saw {name}");
    }
    start.proxy().map(drop)
}

#[test]
fn crane_sees_what_it_needs_of_the_environment_and_nothing_else() -> Result {
    let site = Site::new()?;
    let mut command = site.snapshot(&[pod("c", &format!("{CLOSED}/a:1"), "")])?;
    let secrets = [
        ("AWS_ACCESS_KEY_ID", "AKIAHOSTILEHOSTILE"),
        ("AWS_SECRET_ACCESS_KEY", "hostile-secret"),
        ("AWS_SESSION_TOKEN", "hostile-session"),
        ("AZURE_CLIENT_SECRET", "hostile-client-secret"),
        ("IMAGE_CENSUS_CLUSTER_NAME", "hostile"),
        ("KUBECONFIG", "/hostile/kubeconfig"),
        ("GITHUB_TOKEN", "hostile-token"),
        ("DATABASE_PASSWORD", "hostile-password"),
        // What the operator's helpers get, and the folders where crane would look by itself.
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token"),
        ("DOCKER_CONFIG", "/nonexistent/docker"),
        ("REGISTRY_AUTH_FILE", "/nonexistent/auth.json"),
        ("XDG_RUNTIME_DIR", "/nonexistent/runtime"),
        ("DOCKER_AUTH_CONFIG", "hostile-auth"),
        ("GODEBUG", "http2debug=1"),
        ("LD_BIND_NOW", "1"),
        // Its proxy is our guard, for all hosts.
        ("NO_PROXY", "exempt.example.com"),
        ("no_proxy", "exempt.example.com"),
        ("https_proxy", "http://hostile-proxy.invalid:1"),
    ];
    let passed = [("SSL_CERT_DIR", "/nonexistent/certificates")];
    command.envs(secrets).envs(passed);
    let output = command.output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    let starts = site.starts()?;
    assert!(!starts.is_empty());
    for start in &starts {
        expect_safe_start(start)?;
        for (name, value) in passed {
            let variable = format!("{name}={value}");
            assert!(start.environment.contains(&variable), "{variable}");
        }
        for (_, value) in secrets.iter().filter(|(_, value)| value.len() > 1) {
            let everything = format!("{:?}{:?}", start.arguments, start.environment);
            assert!(!everything.contains(value), "{value}");
        }
        // A folder for this process, gone with it, is crane's home too.
        let folder = |name: &str| {
            let mut values = start
                .environment
                .iter()
                .filter_map(|variable| variable.strip_prefix(name));
            values.next().map(PathBuf::from)
        };
        let own = folder("DOCKER_CONFIG=").ok_or("no DOCKER_CONFIG")?;
        assert_eq!(folder("HOME="), Some(own.clone()));
        assert!(own.is_absolute() && !own.exists(), "{}", own.display());
    }
    Ok(())
}

#[test]
fn the_digest_comes_from_the_image_id_and_the_repository_from_the_pod() -> Result {
    let app = "host.invalid/app:1";
    let by_status = "host.invalid app 1 HEX status failed network";
    let by_tag = "host.invalid app 1 - - failed network";
    let cases = [
        (format!("host.invalid/app@sha256:{HEX}"), by_status),
        (
            format!("docker-pullable://host.invalid/app@sha256:{HEX}"),
            by_status,
        ),
        (format!("other.invalid/wrong@sha256:{HEX}"), by_status),
        (format!("--insecure@sha256:{HEX}"), by_status),
        (format!("a@b@sha256:{HEX}"), by_status),
        // Only the tag leads to the configuration with this digest, and nobody answers for it.
        (format!("sha256:{HEX}"), by_tag),
        (format!("docker://sha256:{HEX}"), by_tag),
        (HEX.to_owned(), by_tag),
        // What nobody understands is as good as nothing.
        (String::new(), by_tag),
        (format!("sha512:{HEX}{HEX}"), by_tag),
        (format!("host.invalid/app@sha512:{HEX}{HEX}"), by_tag),
        (
            format!("host.invalid/app@sha256:{}", HEX.to_uppercase()),
            by_tag,
        ),
        (format!("host.invalid/app@sha256:{HEX}0"), by_tag),
        ("host.invalid/app:1".to_owned(), by_tag),
        ("containerd://".to_owned(), by_tag),
        ("://@".to_owned(), by_tag),
        ("--insecure".to_owned(), by_tag),
        ("=HYPERLINK(\"http://x\")".to_owned(), by_tag),
        ("\u{1b}]0;x\u{7}\u{202e}".to_owned(), by_tag),
        ("x".repeat(10_000), by_tag),
    ];
    let site = Site::new()?;
    let pods: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, (image_id, _))| pod(&format!("c{number:02}"), app, image_id))
        .collect();
    let rows = site.rows(&pods)?;
    assert_eq!(rows.len(), cases.len());
    for ((image_id, expected), row) in cases.iter().zip(rows.values()) {
        assert_eq!(outcome(row), *expected, "{image_id:.80?}");
        expect_cell(image_id, &row["image_id"]);
    }
    for start in site.starts()? {
        expect_safe_start(&start)?;
        let reference = &start.arguments[2];
        assert!(reference.starts_with("host.invalid/app"), "{reference}");
    }
    Ok(())
}

#[test]
fn every_text_of_a_pod_is_harmless_in_its_cell_and_whole_in_the_report() -> Result {
    let site = Site::new()?;
    let fields = [
        "namespace",
        "workload_kind",
        "workload_name",
        "pod",
        "pod_phase",
        "node",
        "container",
        "owner",
        "image",
        "image_id",
    ];
    let pods = hostile_pods();
    // A second pod cannot hide behind a text that becomes the same cell.
    let output = site.snapshot(&pods)?.output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    expect_harmless(&output);
    expect_valid(&site.store(), 4)?;
    let rows = rows(&site.store())?;
    let report: Value = serde_json::from_str(&get(&site.store(), "latest", "json")?)?;
    let containers = report["containers"].as_array().ok_or("no containers")?;
    assert_eq!((rows.len(), containers.len()), (TEXTS.len(), TEXTS.len()));
    for (row, container) in rows.iter().zip(containers) {
        let text = container["pod"].as_str().ok_or("no pod")?;
        let known = TEXTS.iter().find(|(raw, _)| *raw == text);
        let (_, cell) = known.ok_or_else(|| format!("{text:?} is not what the pod says"))?;
        for field in fields {
            assert_eq!(row[field], *cell, "{field} of {text:?}");
            assert_eq!(container[field], text, "{field}");
        }
    }
    // The table of `get` is for a terminal.
    let shown = program()
        .args(["get", "latest", "--store"])
        .arg(site.store())
        .output()?;
    assert!(shown.status.success(), "{}", stderr(&shown));
    expect_harmless(&shown);
    let text = String::from_utf8(shown.stdout)?;
    assert_eq!(text.lines().count(), TEXTS.len() + 1, "{text}");
    Ok(())
}

#[test]
fn pods_that_lack_things_are_rows_as_far_as_there_are_containers() -> Result {
    let site = Site::new()?;
    let image = "host.invalid/a:1";
    let mut pods = vec![
        json!({}),
        json!({"metadata": {}, "spec": {}, "status": {}}),
        json!({"metadata": {"name": "no-containers"}, "spec": {"containers": null, "initContainers": null, "ephemeralContainers": []}}),
        json!({"metadata": {"labels": null, "annotations": null, "ownerReferences": null}, "spec": {"containers": [{"name": "nameless-pod", "image": image}]}, "status": {"phase": "Succeeded"}}),
        json!({"metadata": {"name": "p", "namespace": null}, "spec": {"containers": [{"image": image}]}, "status": {"phase": null, "containerStatuses": null}}),
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "", "nodeSelector": null, "containers": [{"name": "no-image"}, {"name": "null-image", "image": null}]}}),
        json!({"metadata": {"name": "p"}, "spec": {"initContainers": [{"name": "init", "image": image}], "ephemeralContainers": [{"name": "ephemeral", "image": image}]}, "status": {"phase": "Failed", "initContainerStatuses": [{"name": "of nobody", "imageID": "x"}]}}),
        json!({"metadata": {"name": "p", "ownerReferences": [{}]}, "spec": {"containers": [{"name": "owned-by-nothing", "image": ""}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "unknown": {"deep": [[[[]]]]}, "metadata": {"name": "p", "finalizers": [null]}, "spec": {"containers": [{"name": "unknown-fields", "image": "", "env": [{"name": "A", "value": "S3CR3T"}]}]}}),
    ];
    // One pod that was listed twice is one pod, in its last state.
    let twice = |image: &str| pod("twice", image, "");
    pods.extend([twice("-first"), twice("-second"), twice("-last")]);
    let rows = site.rows(&pods)?;
    let cells = |container: &str| {
        let row = rows.get(container)?;
        let names = [
            "namespace",
            "workload_kind",
            "workload_name",
            "pod",
            "container_type",
            "platform_source",
        ];
        let cells = names.map(|name| row[name].as_str()).join("|");
        Some(format!(
            "{cells}|{}|{}",
            row["inspection_status"], row["error_kind"]
        ))
    };
    for (container, expected) in [
        (
            "nameless-pod",
            "default|Pod|||container|default|skipped|not_running",
        ),
        ("", "default|Pod|p|p|container|default|failed|network"),
        (
            "no-image",
            "default|Pod|p|p|container|default|failed|invalid",
        ),
        (
            "null-image",
            "default|Pod|p|p|container|default|failed|invalid",
        ),
        ("init", "default|Pod|p|p|init|default|skipped|not_running"),
        (
            "ephemeral",
            "default|Pod|p|p|ephemeral|default|skipped|not_running",
        ),
        (
            "owned-by-nothing",
            "default|||p|container|default|failed|invalid",
        ),
        (
            "unknown-fields",
            "default|Pod|p|p|container|default|failed|invalid",
        ),
        (
            "twice",
            "n|Pod|twice|twice|container|default|failed|invalid",
        ),
    ] {
        assert_eq!(cells(container).as_deref(), Some(expected), "{container}");
    }
    assert_eq!(rows.len(), 9);
    assert_eq!(rows["twice"]["image"], "'-last");
    for format in ["csv", "workloads", "json", "manifest"] {
        assert!(
            !get(&site.store(), "latest", format)?.contains("S3CR3T"),
            "{format}"
        );
    }
    Ok(())
}

#[test]
fn fields_of_another_type_end_the_run_with_2_and_are_not_repeated() -> Result {
    for pods in [
        json!([{"metadata": "S3CR3T"}]),
        json!([{"metadata": {"name": ["S3CR3T"]}}]),
        json!([{"spec": {"containers": {"S3CR3T": 1}}}]),
        json!([{"spec": {"containers": [{"name": "c", "image": {"S3CR3T": 1}}]}}]),
        json!([{"status": {"containerStatuses": [{"name": "c", "imageID": ["S3CR3T"]}]}}]),
        json!(["S3CR3T"]),
        json!([null]),
    ] {
        let site = Site::new()?;
        let output = site.snapshot(pods.as_array().ok_or("no list")?)?.output()?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{pods}: {said}");
        assert!(said.contains("line 1, column"), "{pods}: {said}");
        assert!(!said.contains("S3CR3T"), "{said}");
        assert!(!site.store().exists());
    }
    Ok(())
}
