//! What is deployed: the manifests on a real API server, and the built image as a node would run it.

mod fixtures;
mod harness;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::slice;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fixtures::{distributions, images, pods};
use harness::container::{Container, PROGRAM, configuration, sbom};
use harness::control_plane::{ControlPlane, pod_of};
use harness::object_store::{BUCKET, ObjectStore};
use harness::registry::Registry;
use harness::running::until;
use harness::{Result, crane, program, root, stderr, succeed};
use serde_json::{Value, json};

/// What `kubectl apply` says of a part of the project.
fn apply(cluster: &ControlPlane, arguments: &[&str]) -> Result<String> {
    let mut command = cluster.kubectl(&["apply", "--server-side", "--warnings-as-errors"])?;
    succeed(command.args(arguments).current_dir(root()))
}

#[test]
fn the_manifests_are_accepted_without_a_warning_and_grant_what_a_snapshot_needs_and_no_more()
-> Result {
    let cluster = ControlPlane::start()?;
    // A dry run does not keep the namespace that the rest of it needs.
    apply(&cluster, &["-f", "cronjob/base/namespace.yaml"])?;
    apply(&cluster, &["-k", "cronjob/base", "--dry-run=server"])?;
    apply(&cluster, &["-k", "cronjob/base"])?;

    let job = cluster.read(&["get", "cronjob", "image-census", "-n", "image-census"])?;
    let pod = pod_of(&job, "probe");
    let admitted = cluster.admit(slice::from_ref(&pod))?;
    assert!(admitted.status.success(), "{}", stderr(&admitted));
    let mut root = pod;
    root["spec"]["securityContext"]["runAsNonRoot"] = json!(null);
    let refused = cluster.admit(&[root])?;
    assert!(!refused.status.success(), "the standard is not enforced");
    assert!(
        stderr(&refused).contains("violates PodSecurity \"restricted:latest\""),
        "{}",
        stderr(&refused)
    );

    // The account's own token, on the real API: the program lists, and nothing else is allowed.
    let token = succeed(&mut cluster.kubectl(&[
        "create",
        "token",
        "image-census",
        "-n",
        "image-census",
    ])?)?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    fs::copy(cluster.kubeconfig(), &kubeconfig)?;
    let mut config = cluster.kubectl(&["config", "set-credentials", "admin"])?;
    succeed(
        config
            .arg(format!("--token={}", token.trim()))
            .env("KUBECONFIG", &kubeconfig),
    )?;
    let mut command = program();
    command.args(["snapshot", "--cluster-name", "test", "--store"]);
    command
        .arg(folder.path().join("store"))
        .arg("--crane")
        .arg(crane()?);
    let output = command.env("KUBECONFIG", &kubeconfig).output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    for (allowed, verb, resource) in [
        (true, "list", "pods"),
        (true, "list", "nodes"),
        (false, "get", "pods"),
        (false, "watch", "pods"),
        (false, "create", "pods"),
        (false, "list", "secrets"),
        (false, "get", "secrets"),
        (false, "list", "configmaps"),
    ] {
        let mut can = cluster.kubectl(&["auth", "can-i", "-A", verb, resource])?;
        let answer = can.env("KUBECONFIG", &kubeconfig).output()?;
        assert_eq!(answer.status.success(), allowed, "{verb} {resource}");
    }
    Ok(())
}

#[test]
fn the_settings_are_the_programs_own_and_end_with_2_until_they_are_filled_in() -> Result {
    let cluster = ControlPlane::start()?;
    apply(&cluster, &["-f", "cronjob/base/namespace.yaml"])?;
    apply(&cluster, &["-k", "cronjob/base"])?;
    let settings = cluster.read(&["get", "configmap", "image-census", "-n", "image-census"])?;
    let job = cluster.read(&["get", "cronjob", "image-census", "-n", "image-census"])?;
    let container = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let arguments: Vec<_> = strings(&container["args"]);
    let help = succeed(program().args(&arguments).arg("--help"))?;
    let mut run = program();
    run.args(&arguments)
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    for (name, value) in settings["data"].as_object().ok_or("no settings")? {
        // What the program does not know, it ignores: a typing error would go unnoticed.
        assert!(help.contains(&format!("[env: {name}=")), "{name}");
        run.env(name, value.as_str().ok_or("a setting is no text")?);
    }
    for (missing, value) in [
        ("--cluster-name", ("IMAGE_CENSUS_CLUSTER_NAME", "prod-eu")),
        ("--store", ("IMAGE_CENSUS_STORE", "s3://reports/census")),
    ] {
        let output = run.output()?;
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(missing), "{}", stderr(&output));
        run.env(value.0, value.1);
    }
    Ok(())
}

fn strings(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(Into::into).collect()
}

#[test]
fn the_image_is_a_few_files_without_a_shell_and_starts_the_program_as_nobody() -> Result {
    let configuration = configuration()?["config"].take();
    assert_eq!(configuration["User"], "65532:65532");
    assert_eq!(strings(&configuration["Entrypoint"]), [PROGRAM]);
    assert_eq!(strings(&configuration["Env"]), ["PATH=/usr/local/bin"]);
    assert_eq!(configuration["Cmd"], Value::Null);
    let labels = &configuration["Labels"];
    assert_eq!(
        labels["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );

    let container = Container::create()?;
    let files = files_below(container.files())?;
    let expected = [
        "etc/ssl/certs/ca-certificates.crt",
        "usr/local/bin/crane",
        "usr/local/bin/docker-credential-acr-env",
        "usr/local/bin/docker-credential-ecr-login",
        "usr/local/bin/docker-credential-gcr",
        "usr/local/bin/image-census",
        "usr/share/doc/image-census/LICENSE",
    ];
    assert_eq!(
        files.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
    for file in &files {
        let mode = fs::metadata(container.files().join(file))?
            .permissions()
            .mode()
            & 0o7777;
        assert!(matches!(mode, 0o644 | 0o755), "{file}: {mode:o}");
    }
    Ok(())
}

fn files_below(folder: &Path) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.insert(entry.path().strip_prefix(folder)?.display().to_string());
            }
        }
    }
    Ok(files)
}

/// Without this, two builds of the same source would have different digests.
#[test]
fn nothing_in_the_image_tells_when_it_was_built() -> Result {
    let image = configuration()?;
    assert_eq!(image["created"], "1970-01-01T00:00:00Z");
    for step in image["history"].as_array().ok_or("no history")? {
        assert_eq!(step["created"], "1970-01-01T00:00:00Z", "{step}");
    }
    let container = Container::create()?;
    let mut files = files_below(container.files())?;
    files.extend(["usr", "usr/local/bin", "etc/ssl", "tmp"].map(String::from));
    for file in files {
        let changed = fs::metadata(container.files().join(&file))?.modified()?;
        assert_eq!(changed, UNIX_EPOCH, "{file}");
    }
    Ok(())
}

/// A version of `scripts/versions.env`.
fn pinned(name: &str) -> Result<String> {
    let versions = fs::read_to_string(root().join("scripts/versions.env"))?;
    let mut lines = versions.lines().filter_map(|line| line.split_once('='));
    let found = lines.find(|(pinned, _)| *pinned == name);
    let (_, version) = found.ok_or_else(|| format!("no {name}"))?;
    Ok(version.into())
}

#[test]
fn the_sbom_names_the_crates_and_modules_of_all_programs_of_the_image_and_no_others() -> Result {
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let locked = |name: &str| -> Result<String> {
        let (_, rest) = lock
            .split_once(&format!("name = \"{name}\"\nversion = \""))
            .ok_or_else(|| format!("no {name} in Cargo.lock"))?;
        let version = rest.split('"').next().ok_or("no version")?;
        Ok(format!("pkg:cargo/{name}@{version}"))
    };
    let module = |name: &str, version: &str| -> Result<String> {
        Ok(format!("pkg:golang/{name}@{}", pinned(version)?))
    };
    let sbom = sbom()?;
    let packages = sbom["packages"].as_array().ok_or("no packages")?;
    let names: BTreeSet<_> = packages
        .iter()
        .filter_map(|package| package["externalRefs"].as_array())
        .flatten()
        .filter_map(|reference| reference["referenceLocator"].as_str())
        .collect();
    for name in [
        locked("image-census")?,
        locked("kube")?,
        locked("aws-sdk-s3")?,
        locked("rustls")?,
        module("github.com/google/go-containerregistry", "CRANE_VERSION")?,
        module(
            "github.com/awslabs/amazon-ecr-credential-helper/ecr-login",
            "ECR_HELPER_VERSION",
        )?,
        module(
            "github.com/GoogleCloudPlatform/docker-credential-gcr/v2",
            "GCR_HELPER_VERSION",
        )?,
        module(
            "github.com/chrismellard/docker-credential-acr-env",
            "ACR_HELPER_VERSION",
        )?,
    ] {
        assert!(names.contains(&*name), "no {name} in {names:#?}");
    }
    // What only the tests need.
    let only_tests = locked("jsonschema")?;
    assert!(!names.contains(&*only_tests), "{only_tests}");
    Ok(())
}

#[test]
fn crane_and_the_credential_helpers_run_in_the_image() -> Result {
    let container = Container::create()?;
    let run = |program: &str, argument: &str| -> Result<String> {
        let mut command = Command::new(format!("/usr/local/bin/{program}"));
        succeed(&mut container.run(command.arg(argument), None)?)
    };
    assert_eq!(run("crane", "version")?.trim(), pinned("CRANE_VERSION")?);
    for (helper, argument) in [
        ("acr-env", "--help"),
        ("ecr-login", "version"),
        ("gcr", "version"),
    ] {
        run(&format!("docker-credential-{helper}"), argument)?;
    }
    Ok(())
}

/// A pod list of one image.
fn pods_of(folder: &Path, reference: &str, digest: &str) -> Result<PathBuf> {
    let container = pods::Container::new("app", reference).running(digest);
    let pod = pods::Pod::new("shop", pods::Workload::deployment("catalog", 1), 0);
    let file = folder.join("pods.json");
    fs::write(
        &file,
        fixtures::manifests::pod_list(&[pod.container(container)])?,
    )?;
    Ok(file)
}

/// A command of the image's program, with a store on `server`.
fn census(server: &ObjectStore, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .args(["--store", &format!("s3://{BUCKET}/fleet")]);
    server.configure(&mut command);
    command
}

#[test]
fn a_night_in_the_image_writes_to_s3_with_the_images_crane_and_to_no_file() -> Result {
    let registry = Registry::start()?;
    let server = ObjectStore::start(&[])?;
    let image = images::ImageSpec::new(images::Platform::linux("amd64"))
        .layer(distributions::debian_12())
        .build();
    let reference = format!("{}/shop/catalog:1.0.0", registry.address);
    fixtures::registry::push(&image, &crane()?, &reference)?;
    let folder = tempfile::tempdir()?;
    let pods = pods_of(folder.path(), &reference, image.digest())?;
    let container = Container::create()?;
    let snapshot = ["snapshot", "--cluster-name", "test", "--pods", "-"];

    let night = census(&server, &snapshot);
    succeed(container.run(&night, None)?.stdin(fs::File::open(&pods)?))?;
    let list = succeed(&mut container.run(&census(&server, &["list"]), None)?)?;
    assert!(list.contains("test"), "{list}");
    let cluster = ControlPlane::start()?;
    let kubeconfig = container.files().join("kubeconfig");
    fs::copy(cluster.kubeconfig(), &kubeconfig)?;
    fs::set_permissions(&kubeconfig, fs::Permissions::from_mode(0o644))?;
    let mut check = census(&server, &["check", "--cluster-name", "test"]);
    check.env("KUBECONFIG", "/kubeconfig");
    let answers = succeed(&mut container.run(&check, None)?)?;
    let answers: Vec<_> = answers
        .lines()
        .filter_map(|line| line.split("  ").next())
        .collect();
    assert_eq!(answers, ["ok"; 5]);
    let get = census(&server, &["get", "latest", "--format", "csv"]);
    let csv = succeed(&mut container.run(&get, Some("16m"))?)?;
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<harness::Row> = rows.deserialize().collect::<std::result::Result<_, _>>()?;
    assert_eq!(rows.len(), 1, "{csv}");
    let cells = ["inspection_status", "distro_id", "distro_version"].map(|name| &*rows[0][name]);
    assert_eq!(cells, ["ok", "debian", "12"], "{csv}");

    // The root is read-only indeed, also where the image lets everyone write.
    for store in ["/reports", "/tmp/reports"] {
        let mut night = Command::new(PROGRAM);
        night.args(snapshot).args(["--store", store]);
        let output = container
            .run(&night, None)?
            .stdin(fs::File::open(&pods)?)
            .output()?;
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("Read-only file system"),
            "{}",
            stderr(&output)
        );
    }
    Ok(())
}

#[test]
fn a_termination_of_process_1_ends_in_a_report_with_what_is_known() -> Result {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let server = ObjectStore::start(&[])?;
    let folder = tempfile::tempdir()?;
    let reference = format!("{}/shop/catalog:1.0.0", silent.local_addr()?);
    let digest = images::digest_of(b"never seen");
    let pods = pods_of(folder.path(), &reference, &digest)?;
    let container = Container::create()?;
    let night = census(
        &server,
        &["snapshot", "--cluster-name", "test", "--pods", "-"],
    );
    let mut command = container.run(&night, None)?;
    command
        .stdin(fs::File::open(&pods)?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let outside = command.spawn()?;
    // crane is waiting for the registry's answer.
    silent.set_nonblocking(true)?;
    let mut connection = None;
    until("crane's question", || {
        connection = silent.accept().ok();
        Ok(connection.is_some())
    })?;
    let children = format!("/proc/{0}/task/{0}/children", outside.id());
    let inside = fs::read_to_string(children)?;
    let signalled = Instant::now();
    succeed(Command::new("kill").args(["-TERM", inside.trim()]))?;
    let output = outside.wait_with_output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        signalled.elapsed() < Duration::from_secs(50),
        "the time limit of crane ended it"
    );

    let get = census(&server, &["get", "latest", "--format", "manifest"]);
    let manifest: Value = serde_json::from_str(&succeed(&mut container.run(&get, Some("16m"))?)?)?;
    assert_eq!(
        manifest["completeness"],
        json!({"complete": false, "reason": "signal"}),
        "{manifest}"
    );
    Ok(())
}
