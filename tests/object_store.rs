//! The binary and a real S3 server: objects, downloads, broken runs, and errors that say what to do.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fixtures::{images, scale};
use harness::certificate::Certificate;
use harness::identity::Agent;
use harness::object_store::{ACCESS_KEY, BUCKET, ObjectStore, SECRET_KEY};
use harness::proxy::{Fault, Proxy};
use harness::registry::Registry;
use harness::{Result, crane, files_below, program, stderr, succeed};
use night::Night;

fn snapshot(pods: &Path, store: &str) -> Result<Command> {
    harness::snapshot_of(pods, Path::new(store))
}

fn store(prefix: &str) -> String {
    format!("s3://{BUCKET}/{prefix}")
}

fn list(server: &ObjectStore, store: &str) -> Result<String> {
    let mut command = program();
    server.configure(command.args(["list", "--store", store]));
    succeed(&mut command)
}

#[test]
fn the_objects_are_those_of_the_contract_and_downloads_match_the_manifest() -> Result {
    let server = ObjectStore::start(&[])?;
    let night = Night::new()?;
    for extra in [&[][..], &["--s3-conditional-put", "--s3-checksum", "crc32"]] {
        let mut command = snapshot(&night.pods(), &store("fleet/a"))?;
        command.args(["--snapshot-time", "2026-11-23T02:00:00Z"]);
        server.configure(command.args(extra));
        succeed(&mut command)?;
    }
    let folder = tempfile::tempdir()?;
    server.download("fleet/a/", folder.path())?;
    let files = files_below(folder.path())?;
    assert_eq!(
        files.len(),
        9,
        "two runs of four files, and latest: {files:?}"
    );
    assert!(files.contains("latest/cluster=test.json"), "{files:?}");

    let mut manifests = 0;
    for file in files.iter().filter(|file| file.starts_with("manifest/")) {
        manifests += 1;
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.path().join(file))?)?;
        let run = manifest["run_id"].as_str().ok_or("no run id")?;
        for (number, (format, extension)) in
            [("csv", "csv"), ("workloads", "csv"), ("json", "json")]
                .into_iter()
                .enumerate()
        {
            let key =
                format!("{format}/cluster=test/dt=2026-11-23/image-census_test_{run}.{extension}");
            let entry = &manifest["files"][number];
            assert_eq!(entry["key"], key);
            let content = fs::read(folder.path().join(&key))?;
            assert_eq!(entry["size_bytes"], content.len());
            let digest = images::digest_of(&content);
            assert_eq!(
                format!("sha256:{}", entry["sha256"].as_str().unwrap_or_default()),
                digest
            );
        }
    }
    assert_eq!(manifests, 2);

    let mut get = program();
    server.configure(get.args(["get", "latest", "--store", &store("fleet/a")]));
    assert!(succeed(&mut get)?.contains("Debian GNU/Linux 12 (bookworm)"));
    assert_eq!(list(&server, &store("fleet/a/"))?.lines().count(), 3);
    // A prefix is a folder, not the beginning of a name.
    assert_eq!(list(&server, &store("fleet"))?.lines().count(), 1);
    Ok(())
}

#[test]
fn a_changed_object_is_not_shown() -> Result {
    let server = ObjectStore::start(&[])?;
    let night = Night::new()?;
    let mut command = snapshot(&night.pods(), &store(""))?;
    server.configure(&mut command);
    succeed(&mut command)?;
    let csv = files_below(&server.bucket())?;
    let csv = csv.iter().find(|file| file.starts_with("csv/"));
    let csv = server.bucket().join(csv.ok_or("no CSV")?);
    let changed = fs::read_to_string(&csv)?.replace("Debian", "Fedora");
    fs::write(&csv, changed)?;
    let mut get = program();
    server.configure(get.args(["get", "latest", "--format", "csv", "--store", &store("")]));
    let output = get.output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(
        stderr(&output).contains("is not what its manifest says"),
        "{}",
        stderr(&output)
    );
    Ok(())
}

/// What is wrong with a store, and what the error must say.
struct Broken {
    name: &'static str,
    store: String,
    settings: Vec<(&'static str, String)>,
    says: &'static [&'static str],
}

#[test]
fn a_store_that_cannot_be_written_to_ends_the_run_before_any_image_is_inspected() -> Result {
    let server = ObjectStore::start(&[])?;
    let night = Night::new()?;
    let certificate = Certificate::new()?;
    let tls = ObjectStore::start(&certificate.arguments())?;
    let reader = server.create_reader()?;
    let requests = night.requests()?;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let endpoint = |address: &str| vec![("IMAGE_CENSUS_S3_ENDPOINT", address.to_owned())];
    let cases = [
        Broken {
            name: "wrong secret",
            store: store("a"),
            settings: vec![("AWS_SECRET_ACCESS_KEY", "d3Jvbmc".into())],
            says: &["SignatureDoesNotMatch", "secret access key is wrong"],
        },
        Broken {
            name: "wrong key id",
            store: store("a"),
            settings: vec![("AWS_ACCESS_KEY_ID", "AKIAWRONG".into())],
            says: &["does not know this access key id"],
        },
        Broken {
            name: "missing bucket",
            store: "s3://nowhere/a".into(),
            settings: Vec::new(),
            says: &["NoSuchBucket", "create the bucket", "s3://nowhere/a/"],
        },
        Broken {
            name: "no right to write",
            store: store("a"),
            settings: reader,
            says: &["AccessDenied", "s3:PutObject"],
        },
        Broken {
            name: "refused",
            store: store("a"),
            settings: endpoint(&format!("http://{closed}")),
            says: &["connection refused", "--s3-endpoint"],
        },
        Broken {
            name: "unresolvable",
            store: store("a"),
            settings: endpoint("http://no-such-host.invalid"),
            says: &["host not found", "no-such-host.invalid"],
        },
        Broken {
            name: "unknown CA",
            store: store("a"),
            settings: endpoint(&format!("https://{}", tls.address)),
            says: &["certificate not trusted", "--s3-ca-bundle"],
        },
        Broken {
            name: "TLS to a plain port",
            store: store("a"),
            settings: endpoint(&format!("https://{}", server.address)),
            says: &["plain HTTP"],
        },
        Broken {
            name: "no credentials",
            store: store("a"),
            settings: vec![
                ("AWS_ACCESS_KEY_ID", String::new()),
                ("AWS_SECRET_ACCESS_KEY", String::new()),
                ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ],
            says: &["no credentials", "AWS_ACCESS_KEY_ID"],
        },
    ];
    for case in cases {
        let mut command = snapshot(&night.pods(), &case.store)?;
        server.configure(&mut command);
        for (name, value) in &case.settings {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        command.env("HOME", night.folder());
        let output = command.env("IMAGE_CENSUS_LOG_LEVEL", "trace").output()?;
        let said = stderr(&output);
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{}: {last}", case.name);
        for words in case.says {
            assert!(last.contains(words), "{}: {last}", case.name);
        }
        assert!(no_secret(&output), "{}: a secret in the log", case.name);
    }
    assert_eq!(night.requests()?, requests);
    assert_eq!(files_below(&server.bucket())?, BTreeSet::new());

    // The same certificate, once its authority is given.
    let mut command = snapshot(&night.pods(), &store("a"))?;
    tls.configure(&mut command);
    command.env(
        "IMAGE_CENSUS_S3_ENDPOINT",
        format!("https://{}", tls.address),
    );
    succeed(command.arg("--s3-ca-bundle").arg(certificate.authority()))?;
    Ok(())
}

fn no_secret(output: &Output) -> bool {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    !text.contains(SECRET_KEY) && !text.contains(ACCESS_KEY)
}

#[test]
fn settings_that_make_no_sense_end_with_2() -> Result {
    let folder = tempfile::tempdir()?;
    let no_certificate = folder.path().join("empty.pem");
    fs::write(
        &no_certificate,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )?;
    let no_certificate = no_certificate.display().to_string();
    for (arguments, says) in [
        (&["--store", "gs://census"][..], "s3://bucket/prefix"),
        (&["--store", "s3://x"], "a bucket's name"),
        (&["--store", "s3://census/../a"], "without . and .."),
        (
            &["--store", "s3://census", "--s3-endpoint", "minio:9000"],
            "https://host",
        ),
        (&["--store", "s3://census", "--s3-kms-key", "k"], "--s3-sse"),
        (
            &[
                "--store",
                "s3://census",
                "--s3-region",
                "eu-1",
                "--s3-ca-bundle",
                &no_certificate,
            ],
            "PEM",
        ),
        (
            &[
                "--store",
                "s3://census",
                "--s3-region",
                "eu-1",
                "--s3-ca-bundle",
                "/nonexistent",
            ],
            "/nonexistent",
        ),
    ] {
        let output = program().arg("list").args(arguments).output()?;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(says),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    Ok(())
}

#[test]
fn an_answer_that_is_lost_is_no_failure_and_no_second_object() -> Result {
    let night = Night::new()?;
    // Of a file, of the upload that is begun to see whether it can be, and of its end.
    for request in [
        "PUT /census/csv/",
        "POST /census/manifest/",
        "DELETE /census/manifest/",
    ] {
        let server = ObjectStore::start(&[])?;
        let proxy = Proxy::start(&server.address, Fault::lose_first_answer(request))?;
        let mut command = snapshot(&night.pods(), &store(""))?;
        server.configure(&mut command);
        command.env(
            "IMAGE_CENSUS_S3_ENDPOINT",
            format!("http://{}", proxy.address),
        );
        succeed(command.arg("--s3-conditional-put"))?;
        assert_eq!(proxy.faults(), 1, "{request}");
        let mut files = files_below(&server.bucket())?;
        // Nobody knows the upload whose beginning was not answered.
        files.retain(|file| !file.starts_with(".sgwtmp/"));
        assert_eq!(files.len(), 5, "{request}: {files:?}");
    }
    Ok(())
}

#[test]
fn a_large_report_goes_up_in_parts_and_a_killed_run_is_invisible() -> Result {
    let server = ObjectStore::start(&[])?;
    let registry = Registry::start()?;
    let folder = tempfile::tempdir()?;
    let (containers, image_count) = (250_000, 4);
    for number in 0..image_count {
        let reference = format!("{}/{}", registry.address, scale::image_name(number));
        fixtures::registry::push(&scale::image(number), &crane()?, &reference)?;
    }
    let pods = folder.path().join("pods.json");
    let mut file = std::io::BufWriter::new(fs::File::create(&pods)?);
    scale::write_pods(&mut file, &registry.address, containers, image_count)?;

    // Killed while the parts of its first file arrive.
    let mut command = snapshot(&pods, &store(""))?;
    server.configure(&mut command);
    let mut run = command.stdout(std::process::Stdio::null()).spawn()?;
    let started = Instant::now();
    while !server.has_parts()? {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "no upload has begun"
        );
        assert!(
            run.try_wait()?.is_none(),
            "the run ended before it was killed"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill()?;
    run.wait()?;
    assert_eq!(list(&server, &store(""))?.lines().count(), 1);

    let mut command = snapshot(&pods, &store(""))?;
    server.configure(&mut command);
    succeed(&mut command)?;
    assert_eq!(list(&server, &store(""))?.lines().count(), 2);
    let downloads = tempfile::tempdir()?;
    server.download("csv/", downloads.path())?;
    let files = files_below(downloads.path())?;
    assert_eq!(files.len(), 1, "the killed run left no CSV: {files:?}");
    let csv = files.first().ok_or("no CSV")?;
    let csv = fs::read(downloads.path().join(csv))?;
    assert!(csv.len() > 100_000_000, "{} bytes", csv.len());
    let manifest = {
        let mut get = program();
        server.configure(get.args([
            "get",
            "latest",
            "--format",
            "manifest",
            "--store",
            &store(""),
        ]));
        succeed(&mut get)?
    };
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    let digest = images::digest_of(&csv);
    assert_eq!(
        manifest["files"][0]["sha256"].as_str(),
        digest.strip_prefix("sha256:")
    );
    assert_eq!(manifest["files"][0]["rows"], containers);
    Ok(())
}

#[test]
fn a_workload_without_keys_gets_them_from_pod_identity_or_by_its_web_identity() -> Result {
    let server = ObjectStore::start(&[])?;
    let night = Night::new()?;
    let token = night.pods().with_file_name("token");
    fs::write(&token, "token-of-the-pod")?;
    let token = token.display().to_string();
    let agent = Agent::start()?;
    let pod_identity = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
    ];
    let sts = Agent::start()?;
    let web_identity = [
        ("AWS_ENDPOINT_URL_STS", sts.url.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/census"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
    ];
    for (variables, agent) in [(&pod_identity[..], &agent), (&web_identity[..], &sts)] {
        let mut command = snapshot(&night.pods(), &store("identity"))?;
        server.configure(&mut command);
        command.env_remove("AWS_ACCESS_KEY_ID");
        command.env_remove("AWS_SECRET_ACCESS_KEY");
        command.envs(variables.iter().copied());
        let output = command.output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(no_secret(&output), "a secret in the log");
        // With the pod's own token, and once: credentials last for hours.
        let asked = agent.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].contains("token-of-the-pod"), "{asked:?}");
    }
    assert_eq!(list(&server, &store("identity/"))?.lines().count(), 3);
    Ok(())
}
