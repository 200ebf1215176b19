//! The binary, the real crane and a registry that wants passwords: whose credentials are used, that
//! they reach nobody else, and what is left of them.

mod fixtures;
mod harness;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::distributions;
use fixtures::images::{ImageSpec, Platform};
use harness::docker_registry::{
    DockerRegistry, Note, SECRET, docker_config, notes, noting_crane, password,
};
use harness::engines::expect_same_rows;
use harness::running::Running;
use harness::{Result, Row, crane, files_below, rows, snapshot_with, stderr};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A registry with an image in each of some repositories, and a place for runs.
struct Site {
    registry: DockerRegistry,
    folder: tempfile::TempDir,
    crane: PathBuf,
    notes: PathBuf,
}

impl Site {
    fn new(users: &[&str], repositories: &[&str]) -> Result<Self> {
        let registry = DockerRegistry::start(users)?;
        let pusher = registry.crane_as(users[0])?;
        let image = ImageSpec::new(Platform::linux("amd64")).layer(distributions::debian_12());
        for repository in repositories {
            // Each its own image, or what is known of one would serve the other.
            let image = image
                .clone()
                .label("org.opencontainers.image.title", repository);
            let reference = format!("{}/{repository}:1", registry.address);
            fixtures::registry::push(&image.build(), &pusher, &reference)?;
        }
        let folder = tempfile::tempdir()?;
        let (crane, notes) = noting_crane(folder.path())?;
        Ok(Self {
            registry,
            folder,
            crane,
            notes,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file; its path.
    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path(name);
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// `snapshot` of a pod for each repository, in a namespace.
    fn snapshot(&self, pods: &[(&str, &str)]) -> Result<Command> {
        self.snapshot_by(&self.crane, pods)
    }

    /// The same with another crane. The store is a new one: no run knows anything of another, and
    /// there is but one in a second.
    fn snapshot_by(&self, crane: &Path, pods: &[(&str, &str)]) -> Result<Command> {
        let _ = fs::remove_dir_all(self.path("store"));
        let pods: Vec<_> = pods
            .iter()
            .map(|(namespace, repository)| pod(namespace, &self.image(repository)))
            .collect();
        let list = json!({"kind": "List", "items": pods}).to_string();
        let pods = self.write("pods.json", &list)?;
        let mut command = snapshot_with(crane, Path::new(&pods), &self.path("store"));
        command.env("SSL_CERT_FILE", self.registry.authority());
        command.env("HOME", self.path("home"));
        Ok(command)
    }

    fn image(&self, repository: &str) -> String {
        format!("{}/{repository}:1", self.registry.address)
    }

    /// The rows of a run that must end well, with no secret in anything that it wrote.
    fn rows(&self, command: &mut Command) -> Result<Vec<Row>> {
        let output = command.output()?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            stderr(&output)
        );
        assert!(output.status.success(), "{said}");
        assert!(!said.contains(SECRET), "{said}");
        for file in files_below(&self.path("store"))? {
            let bytes = fs::read(self.path("store").join(&file))?;
            assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{file}");
        }
        expect_same_rows(command, &self.path("store"))?;
        rows(&self.path("store"))
    }

    /// What crane was given since the last time.
    fn notes(&self) -> Result<Vec<Note>> {
        let found = notes(&self.notes)?;
        fs::write(&self.notes, "")?;
        Ok(found)
    }

    /// Who asked, each run of the same once.
    fn users(&self) -> Result<Vec<String>> {
        let entries = self.notes()?.into_iter().map(|note| {
            let user = note.entries.into_iter().next().map(|(_, user)| user);
            user.unwrap_or_else(|| "-".into())
        });
        let mut users: Vec<_> = entries.collect();
        users.dedup();
        Ok(users)
    }
}

fn pod(namespace: &str, image: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": image.replace(['/', ':', '.'], "-")},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

fn outcome(row: &Row) -> String {
    ["inspection_status", "error_kind", "distro_id"]
        .map(|name| row[name].clone())
        .join(" ")
}

#[test]
fn sources_are_tried_in_their_order_until_the_registry_takes_one() -> Result {
    let site = Site::new(&["ada", "bob", "eve"], &["team/app"])?;
    let host = site.registry.address.clone();
    let pods = [("blue", "team/app")];

    // Nobody.
    let found = site.rows(&mut site.snapshot(&pods)?)?;
    assert_eq!(outcome(&found[0]), "failed unauthorized ");
    assert_eq!(site.users()?, ["-"]);

    // The Docker configuration: the longest key first, a glob that another host has not at all.
    let config = docker_config(&[
        (&host, "ada", &password("ada")),
        (&format!("{host}/team"), "bob", "wrong"),
        ("*.example", "eve", &password("eve")),
    ]);
    site.write("docker/config.json", &config.to_string())?;
    let mut command = site.snapshot(&pods)?;
    let found = site.rows(command.env("DOCKER_CONFIG", site.path("docker")))?;
    assert_eq!(outcome(&found[0]), "ok  debian");
    // What worked is tried first from then on.
    assert_eq!(site.users()?, ["bob", "ada"]);

    let auth = docker_config(&[(&host, "eve", &password("eve"))]).to_string();
    let auth = site.write("auth.json", &auth)?;
    let mut command = site.snapshot(&pods)?;
    site.rows(command.env("REGISTRY_AUTH_FILE", &auth))?;
    assert_eq!(site.users()?, ["eve"]);

    // Settings come before both.
    site.write("user", "bob\n")?;
    site.write("password", &format!("{}\n", password("bob")))?;
    let settings = format!(
        "registries:\n- host: {host}\n  credentials:\n  - username_file: {0}/user\n    password_file: {0}/password\n    namespaces: [blue]\n",
        site.folder.path().display()
    );
    let settings = site.write("registries.yaml", &settings)?;
    let mut command = site.snapshot(&pods)?;
    command
        .args(["--registries", &settings])
        .env("REGISTRY_AUTH_FILE", &auth);
    site.rows(&mut command)?;
    assert_eq!(site.users()?, ["bob"]);

    // Not for another namespace's image.
    let mut command = site.snapshot(&[("red", "team/app")])?;
    let found = site.rows(command.args(["--registries", &settings]))?;
    assert_eq!(outcome(&found[0]), "failed unauthorized ");
    assert_eq!(site.users()?, ["-"]);
    Ok(())
}

#[test]
fn crane_gets_one_entry_in_a_private_file_that_is_gone_with_it() -> Result {
    let site = Site::new(&["ada"], &["a", "b"])?;
    let host = site.registry.address.clone();
    let mut config = docker_config(&[
        (&host, "ada", &password("ada")),
        ("other.example", "other", &password("other")),
    ]);
    config["HttpHeaders"] = json!({"X-Leak": SECRET});
    site.write("docker/config.json", &config.to_string())?;
    let mut command = site.snapshot(&[("blue", "a"), ("blue", "b")])?;
    command.env("DOCKER_CONFIG", site.path("docker"));
    site.rows(&mut command)?;
    let found = site.notes()?;
    assert_eq!(
        found.len(),
        2 * 3 + 1,
        "a tag, a manifest, a configuration each, and a layer of both"
    );
    let mut folders = BTreeSet::new();
    for note in found {
        assert_eq!(
            note.entries,
            [(host.clone(), "ada".into())],
            "{}",
            note.request
        );
        assert_eq!(note.mode, "600 -rw-------", "{}", note.request);
        assert_eq!(note.file_system, "tmpfs", "{}", note.request);
        // The process's folder, and the run's above it.
        let run = note.folder.parent().ok_or("no folder")?;
        assert!(
            run.file_name() != Some("shm".as_ref()) && !run.exists(),
            "{}",
            run.display()
        );
        folders.insert(note.folder);
    }
    assert_eq!(folders.len(), 7, "a fresh one for each process");
    Ok(())
}

#[test]
fn what_a_killed_run_leaves_is_gone_after_the_next_start() -> Result {
    let site = Site::new(&["ada"], &["a"])?;
    let config = docker_config(&[(&site.registry.address, "ada", &password("ada"))]);
    site.write("docker/config.json", &config.to_string())?;
    // A place of this test's own: any other run's start would sweep a common one.
    let runtime = tempfile::tempdir_in("/dev/shm")?;
    // A crane that says where its credential is, and waits.
    let place = site.path("place");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = version ] && exec '{}' version\nprintf '%s %s' $$ \"$DOCKER_CONFIG\" >'{1}.new'\nmv '{1}.new' '{1}'\nexec sleep 60\n",
        crane()?.display(),
        place.display()
    );
    let waiting = PathBuf::from(site.write("waiting-crane", &script)?);
    fs::set_permissions(&waiting, fs::Permissions::from_mode(0o755))?;
    let mut command = site.snapshot_by(&waiting, &[("blue", "a")])?;
    command.env("DOCKER_CONFIG", site.path("docker"));
    let run = Running::start(command.env("XDG_RUNTIME_DIR", runtime.path()))?;
    harness::running::until("crane runs", || Ok(place.exists()))?;
    let said = fs::read_to_string(&place)?;
    let (process, folder) = said.split_once(' ').ok_or("no folder")?;
    let folder = Path::new(folder);
    assert!(folder.starts_with(runtime.path()), "{}", folder.display());
    assert!(fs::read_to_string(folder.join("config.json"))?.contains(SECRET));
    run.signal(Signal::KILL)?;
    drop(run);
    // Nobody is left who would end it.
    let process = Pid::from_raw(process.parse()?).ok_or("no process")?;
    kill_process(process, Signal::KILL)?;
    assert!(folder.exists(), "nobody could remove it");
    let mut command = site.snapshot(&[("blue", "a")])?;
    command.env("DOCKER_CONFIG", site.path("docker"));
    site.rows(command.env("XDG_RUNTIME_DIR", runtime.path()))?;
    assert_eq!(fs::read_dir(runtime.path())?.count(), 0);
    Ok(())
}

#[test]
fn the_operators_helper_is_run_with_what_it_needs_and_crane_is_not() -> Result {
    let site = Site::new(&["ada", "bob"], &["a"])?;
    let host = site.registry.address.clone();
    let log = site.path("helper.log");
    // The first answer is one that is over.
    let script = format!(
        "#!/bin/sh\nread server\necho \"$1 $server $AWS_ROLE_ARN $AWS_SECRET_ACCESS_KEY\" >>'{0}'\n\
         if [ \"$(wc -l <'{0}')\" = 1 ]; then secret=old; else secret='{1}'; fi\n\
         printf '{{\"ServerURL\":\"%s\",\"Username\":\"ada\",\"Secret\":\"%s\"}}' \"$server\" \"$secret\"\n",
        log.display(),
        password("ada")
    );
    let helper = site.write("bin/docker-credential-test", &script)?;
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755))?;
    let config = json!({"credHelpers": {&host: "test", "other.example": "other"}});
    site.write("docker/config.json", &config.to_string())?;
    let mut command = site.snapshot(&[("blue", "a")])?;
    let path = std::env::var("PATH")?;
    command
        .env("DOCKER_CONFIG", site.path("docker"))
        .env("PATH", format!("{}:{path}", site.path("bin").display()))
        .env("AWS_ROLE_ARN", "role")
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
    let found = site.rows(&mut command)?;
    assert_eq!(outcome(&found[0]), "ok  debian");
    let asked = fs::read_to_string(&log)?;
    let once = format!("get {host} role ");
    assert_eq!(asked.lines().collect::<Vec<_>>(), [&once, &once]);
    assert_eq!(site.users()?, ["ada"]);
    Ok(())
}

#[test]
fn settings_that_are_wrong_end_the_run_with_2_before_any_work() -> Result {
    let folder = tempfile::tempdir()?;
    let pods = folder.path().join("pods.json");
    fs::write(&pods, r#"{"kind":"List","items":[]}"#)?;
    let settings = folder.path().join("registries.yaml");
    fs::write(
        &settings,
        format!("registries:\n- host: a.example\n  pasword: {SECRET}\n"),
    )?;
    let docker = folder.path().join("docker");
    fs::create_dir(&docker)?;
    fs::write(
        docker.join("config.json"),
        format!("{{\"auths\": \"{SECRET}\"}}"),
    )?;
    let store = folder.path().join("store");
    let snapshot = || -> Result<Command> { Ok(snapshot_with(&crane()?, &pods, &store)) };
    let mut wrong_settings = snapshot()?;
    wrong_settings.arg("--registries").arg(&settings);
    let mut wrong_config = snapshot()?;
    wrong_config.env("DOCKER_CONFIG", &docker);
    let mut no_cluster = snapshot()?;
    no_cluster.args(["--pull-secrets", "namespace"]);
    for (mut command, expected) in [
        (
            wrong_settings,
            "registries.yaml, line 3: unknown key `pasword`; there are",
        ),
        (
            wrong_config,
            "config.json: it is not a Docker configuration in JSON, at line 1",
        ),
        (no_cluster, "needs a cluster"),
    ] {
        let output = command.output()?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected) && !said.contains(SECRET), "{said}");
        assert!(!store.exists());
    }
    Ok(())
}

#[test]
fn check_tells_whose_credentials_mirrors_and_hosts_an_image_takes() -> Result {
    let site = Site::new(&["ada", "bob"], &["team/app"])?;
    let host = site.registry.address.clone();
    site.write("user", "bob")?;
    site.write("password", "wrong")?;
    let settings = format!(
        "registries:\n- host: {host}\n  credentials:\n  - username_file: {folder}/user\n    password_file: {folder}/password\n- host: origin.example\n  mirrors:\n  - location: {host}/team\n",
        folder = site.folder.path().display()
    );
    let settings = site.write("registries.yaml", &settings)?;
    let config = docker_config(&[(&host, "ada", &password("ada"))]).to_string();
    let config = site.write("auth.json", &config)?;
    let check = |image: &str, arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-census"));
        command
            .args(["check", image, "--cluster-name", "a", "--crane"])
            .arg(&site.crane)
            .args(["--registries", &settings])
            .args(["--store".as_ref(), site.path("store").as_os_str()])
            .args(arguments)
            .env("SSL_CERT_FILE", site.registry.authority())
            .env("KUBECONFIG", site.path("none"))
            .env("HOME", site.path("home"))
            .env("REGISTRY_AUTH_FILE", &config);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        assert!(!said.contains(SECRET) && !said.contains("wrong"), "{said}");
        Ok((output.status.code(), said))
    };
    let expect = |said: &str, lines: &[&str]| {
        for line in lines {
            assert!(said.contains(line), "{line}\n{said}");
        }
    };

    let image = site.image("team/app");
    let (_, said) = check(&image, &[])?;
    let refused = format!(
        "warning request     {host} with a credential of --registries, by way of {host}: {host} wants other credentials"
    );
    let taken =
        format!("ok      request     {host} with the Docker configuration, by way of {host}\n");
    expect(
        &said,
        &[
            &format!("ok      image       {image}, which no pod runs: as linux/amd64"),
            &refused,
            &taken,
            "ok      inspection  linux/amd64, sha256:",
            ": Debian GNU/Linux",
        ],
    );

    let (_, said) = check("origin.example/app:1", &[])?;
    expect(
        &said,
        &[&taken, &format!(", from {host}: Debian GNU/Linux")],
    );

    let (code, said) = check(&image, &["--deny-registry", &host])?;
    expect(
        &said,
        &[&format!(
            "FAILED  inspection  linux/amd64: policy: {host} is refused by --deny-registry: it was not asked"
        )],
    );
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains("request"), "{said}");
    Ok(())
}
