//! Settings files: one that uses everything, and each way to be wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::guard::HostPort;
use super::settings::{CredentialFile, Mirror, RegistrySettings};
use super::source::Pull;
use crate::image::{ImageReference, Repository};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn repository(image: &str) -> Result<Repository> {
    Ok(image.parse::<ImageReference>()?.repository)
}

/// Reads a file with this text, beside the files that it may name.
fn read(folder: &Path, text: &str) -> Result<std::result::Result<RegistrySettings, String>> {
    for (name, content) in [
        (
            "config.json",
            r#"{"auths":{"registry.example":{"auth":"dTpw"}}}"#,
        ),
        (
            "broken.json",
            r#"{"auths":{"registry.example":{"auth":"hunter2!"}}}"#,
        ),
        ("user", "ada\n"),
        ("password", "pass word\r\n"),
        ("empty", "\n"),
        ("lines", "hunter2\nhunter2\n"),
        ("no-bundle.pem", "hunter2"),
    ] {
        fs::write(folder.join(name), content)?;
    }
    let path = folder.join("registries.yaml");
    fs::write(&path, text.replace("HERE", &folder.display().to_string()))?;
    Ok(RegistrySettings::read(&path).map_err(|error| error.to_string()))
}

const ALL: &str = r#"
registries:
- host: registry.example:5000
  mirrors:
  - prefix: team
    location: mirror.example/cache/team-x
  - location: localhost:6000
  insecure: true
  concurrency: 4
  requests_per_second: 0.5
  timeout: 90s
  manifest_budget: 100
  token_hosts: [auth.example, "*.auth.example:8443"]
  blob_hosts: [blobs.example]
  credentials:
  - docker_config: HERE/config.json
  - username_file: HERE/user
    password_file: HERE/password
    repositories: [team, shared/base]
    namespaces: [blue, green]
  - helper: ecr-login
- host: "*.example"
- host: docker.io
  manifest_budget: 50
"#;

#[test]
fn every_setting_is_read_and_the_first_entry_for_a_registry_counts() -> Result {
    let folder = tempfile::tempdir()?;
    let settings = read(folder.path(), ALL)??;
    let entry = settings.of("registry.example:5000").ok_or("no entry")?;
    assert!(entry.insecure);
    assert_eq!(
        (entry.concurrency, entry.manifests_per_run),
        (Some(4), Some(100))
    );
    assert_eq!(
        (entry.requests_per_second, entry.timeout),
        (Some(0.5), Some(Duration::from_secs(90)))
    );
    assert!(entry.token_hosts[1].matches(&HostPort::parse("a.auth.example:8443", None)?));
    assert!(entry.blob_hosts[0].matches(&HostPort::parse("blobs.example:443", None)?));
    let credentials: Vec<_> = entry
        .credentials
        .iter()
        .map(|credential| &credential.source)
        .collect();
    assert_eq!(*credentials[2], CredentialFile::Helper("ecr-login".into()));
    let image = repository("registry.example:5000/team/app")?;
    assert_eq!(credentials[1].read(&image).map(|found| found.len()), Ok(1));
    // Another host's entry in a Docker configuration is not for this one.
    assert_eq!(credentials[0].read(&image).map(|found| found.len()), Ok(0));

    let other = settings.of("other.example").ok_or("no entry")?;
    assert!(!other.insecure && other.mirrors.is_empty() && other.credentials.is_empty());
    assert!(settings.of("registry.example:5001").is_none());
    for name in ["docker.io", "registry-1.docker.io"] {
        assert_eq!(
            settings.of(name).and_then(|entry| entry.manifests_per_run),
            Some(50)
        );
    }
    let none = read(folder.path(), "registries: []")??;
    assert!(none.of("docker.io").is_none());
    Ok(())
}

#[test]
fn mirrors_rewrite_whole_components_in_their_order() -> Result {
    let folder = tempfile::tempdir()?;
    let settings = read(folder.path(), ALL)??;
    for (path, expected) in [
        (
            "team/app",
            &["mirror.example/cache/team-x/app", "localhost:6000/team/app"][..],
        ),
        (
            "team",
            &["mirror.example/cache/team-x", "localhost:6000/team"],
        ),
        ("team-a/app", &["localhost:6000/team-a/app"]),
    ] {
        let image = Pull {
            repository: repository(&format!("registry.example:5000/{path}"))?,
            pullers: Arc::default(),
        };
        let places: Vec<_> = settings
            .mirrors_of(&image)
            .iter()
            .map(|place| place.to_string())
            .collect();
        assert_eq!(places, expected);
    }
    // --deny-registry holds for mirrors, too.
    let settings = settings.without(&["mirror.example/cache".parse()?]);
    let image = Pull {
        repository: repository("registry.example:5000/team/app")?,
        pullers: Arc::default(),
    };
    let places = settings.mirrors_of(&image);
    let places: Vec<_> = places.iter().map(|place| place.to_string()).collect();
    assert_eq!(places, ["localhost:6000/team/app"]);
    // A path that no reference may have is no place.
    let mirror = Mirror {
        prefix: String::new(),
        registry: "mirror.example".into(),
        path: "a/".repeat(120).trim_end_matches('/').into(),
    };
    assert_eq!(
        mirror.rewrite(&repository("registry.example/team/app/with/more")?),
        None
    );
    Ok(())
}

#[test]
fn a_credential_is_limited_to_its_repositories_and_namespaces() -> Result {
    let folder = tempfile::tempdir()?;
    let settings = read(folder.path(), ALL)??;
    let entry = settings.of("registry.example:5000").ok_or("no entry")?;
    let (anyone, limited) = (&entry.credentials[0], &entry.credentials[1]);
    for (path, namespaces, expected) in [
        ("team/app", &["blue"][..], true),
        ("team/app", &["red", "green"], true),
        ("team/app", &["red"], false),
        ("team/app", &[], false),
        ("team-a/app", &["blue"], false),
        ("shared/base", &["blue"], true),
        ("shared/other", &["blue"], false),
    ] {
        let image = repository(&format!("registry.example:5000/{path}"))?;
        assert_eq!(
            limited.is_for(&image, namespaces.iter().copied()),
            expected,
            "{path} {namespaces:?}"
        );
        assert!(anyone.is_for(&image, namespaces.iter().copied()));
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_no_value_is_repeated() -> Result {
    let folder = tempfile::tempdir()?;
    let long = format!("registries:\n{}", "- host: a.example\n".repeat(1_001));
    let entry = |rest: &str| format!("registries:\n- host: a.example\n  {rest}\n");
    let cases = [
        (String::new(), ": it is empty: begin with `registries:`"),
        ("{}".into(), "the key `registries` is missing"),
        (
            "registries:\n- insecure: true\n".into(),
            "line 2: the key `host` is missing",
        ),
        (
            "registrys: []\n".into(),
            "line 1: unknown key `registrys`: did you mean `registries`?",
        ),
        (
            entry("mirors: []"),
            "line 3: unknown key `mirors`: did you mean `mirrors`?",
        ),
        (
            entry("requests_per_minute: 3"),
            "did you mean `requests_per_second`?",
        ),
        (entry("ca-bundle: x"), "did you mean `ca_bundle`?"),
        (
            entry("colour: hunter2"),
            "line 3: unknown key `colour`; there are host, mirrors",
        ),
        (
            entry("password: hunter2"),
            "line 3: `password` cannot stand here: secrets come from files",
        ),
        (
            entry("Hunter2hunter2: x"),
            "line 3: an unknown key; there are",
        ),
        (entry("host: b.example"), "line 3: a key stands there twice"),
        (
            entry("concurrency: hunter2"),
            "line 3: the value has the wrong type",
        ),
        (
            entry("concurrency: -1"),
            "line 3: the value has the wrong type",
        ),
        (
            entry("concurrency: 0"),
            "line 3: concurrency: it is between 1 and 256",
        ),
        (entry("concurrency: 257"), "between 1 and 256"),
        (
            entry("requests_per_second: 0"),
            "line 3: requests_per_second",
        ),
        (entry("requests_per_second: .nan"), "line 3: "),
        (entry("requests_per_second: .inf"), "line 3: "),
        (
            entry("timeout: 90"),
            "line 3: timeout: it is a time with its unit",
        ),
        (entry("timeout: 2h"), "from 1s to 1h"),
        (entry("timeout: 10ms"), "from 1s to 1h"),
        (
            entry("manifest_budget: 0"),
            "line 3: manifest_budget: it is between",
        ),
        (entry("insecure: hunter2"), "line 3: "),
        (entry("mirrors: hunter2"), "line 3: "),
        (
            entry("mirrors:\n  - location: hunter2"),
            "line 4: location: it is not a host",
        ),
        (
            entry("mirrors:\n  - location: a.example/B"),
            "line 4: location: it is not a host",
        ),
        (
            entry("mirrors:\n  - location: a.example/b:tag"),
            "line 4: location: it is not a host",
        ),
        (
            entry("mirrors:\n  - location: https://a.example/b"),
            "line 4: location: it is not a host",
        ),
        (
            entry("mirrors:\n  - {prefix: ../x, location: a.example}"),
            "line 4: prefix: it is not the beginning",
        ),
        (
            entry("token_hosts: [ok.example, a b]"),
            "line 3: token_hosts: it is not a host",
        ),
        (
            entry("blob_hosts: [a.example/path]"),
            "line 3: blob_hosts: it is not a host",
        ),
        (
            entry("ca_bundle: /no/hunter2"),
            "line 3: ca_bundle: it cannot be read: No such file",
        ),
        (
            entry("ca_bundle: HERE/no-bundle.pem"),
            "line 3: ca_bundle: it holds no certificates",
        ),
        (
            entry("credentials: [{helper: ../hunter2}]"),
            "line 3: helper: it is NAME of a program",
        ),
        (entry("credentials: [{}]"), "line 3: a credential is one of"),
        (
            entry("credentials:\n  - username_file: HERE/user"),
            "line 4: a credential is one of",
        ),
        (
            entry("credentials:\n  - helper: a\n    docker_config: b"),
            "line 4: a credential is one of",
        ),
        (
            entry("credentials:\n  - docker_config: hunter2"),
            "line 4: docker_config: it cannot be read",
        ),
        (
            entry("credentials:\n  - docker_config: HERE/broken.json"),
            "docker_config: an entry's auth is not base64",
        ),
        (
            entry("credentials:\n  - {username_file: HERE/user, password_file: HERE/empty}"),
            "password_file: it is empty",
        ),
        (
            entry("credentials:\n  - {username_file: HERE/user, password_file: HERE/lines}"),
            "more than one line",
        ),
        (
            entry("credentials:\n  - {helper: a, namespaces: [Hunter2]}"),
            "line 4: namespaces: a namespace's name",
        ),
        (
            entry("credentials:\n  - {helper: a, repositories: [\"/hunter2\"]}"),
            "line 4: repositories: it is not",
        ),
        (
            "registries:\n- host: a.example\n- host: A.example\n".into(),
            "line 3: this host has settings already, in line 2",
        ),
        (
            "registries:\n- host: hunter2 hunter2\n".into(),
            "line 2: host: it is not a host",
        ),
        (
            "registries:\n- host: a.example/team\n".into(),
            "line 2: host: it is not a host",
        ),
        ("registries: [\nhunter2: {\n".into(), ", line "),
        (
            "registries: []\n---\nregistries: []\n".into(),
            "more than one YAML document",
        ),
        ("registries: *hunter2\n".into(), ", line 1: "),
        ("\u{feff}registries:\n\t- host: hunter2".into(), ", line "),
        (long, "registries may have 1000 entries"),
        (
            format!("registries: {}", "[".repeat(10_000)),
            "registries.yaml",
        ),
    ];
    for (text, expected) in cases {
        let error = read(folder.path(), &text)?.err().unwrap_or_default();
        let shown: String = text.chars().take(200).collect();
        assert!(
            error.contains("registries.yaml") && error.contains(expected),
            "{shown}\n{error}"
        );
        assert!(
            !error.to_lowercase().contains("hunter2"),
            "{shown}\n{error}"
        );
        assert!(error.len() < 600 && !error.contains('\n'), "{error}");
    }
    let missing = RegistrySettings::read(&folder.path().join("missing.yaml"));
    assert!(missing.is_err_and(|error| {
        error
            .to_string()
            .contains("missing.yaml: it cannot be read: No such file")
    }));
    fs::write(folder.path().join("large.yaml"), "#".repeat((1 << 20) + 1))?;
    let large = RegistrySettings::read(&folder.path().join("large.yaml"));
    assert!(large.is_err_and(|error| error.to_string().contains("larger than 1024 KiB")));
    Ok(())
}

#[test]
fn a_bomb_of_aliases_is_refused() -> Result {
    let folder = tempfile::tempdir()?;
    let hosts = ["a.example"; 900].join(", ");
    let mut text = format!("registries:\n- &a {{host: b.example, token_hosts: [{hosts}]}}\n");
    text.push_str(&"- *a\n".repeat(990));
    let error = read(folder.path(), &text)?.err().unwrap_or_default();
    assert!(error.contains("registries.yaml"), "{error}");
    assert!(
        !error.contains("settings already"),
        "it was expanded: {error}"
    );
    Ok(())
}

#[test]
fn the_schema_takes_what_the_program_takes() -> Result {
    let schema = serde_json::json!(schemars::schema_for!(super::settings::RegistriesFile));
    let validator = jsonschema::validator_for(&schema)?;
    let all: serde_json::Value = serde_saphyr::from_str(ALL)?;
    assert!(
        validator.is_valid(&all),
        "{:?}",
        validator.iter_errors(&all).next()
    );
    let typo: serde_json::Value =
        serde_saphyr::from_str("registries: [{host: a.example, mirors: []}]")?;
    assert!(!validator.is_valid(&typo));
    Ok(())
}

#[test]
fn the_example_of_the_docs_is_read() -> Result {
    let folder = tempfile::tempdir()?;
    let docs = include_str!("../../docs/registries.md");
    let example = docs
        .split("```")
        .nth(1)
        .and_then(|it| it.strip_prefix("yaml\n"));
    let example = example.ok_or("no example")?;
    fs::create_dir(folder.path().join("ci"))?;
    for name in ["username", "password"] {
        fs::write(folder.path().join("ci").join(name), "x")?;
    }
    let example = example.replace("/etc/image-census", &folder.path().display().to_string());
    // A bundle is tried by the tests with registries of their own.
    let lines: Vec<_> = example
        .lines()
        .filter(|line| !line.contains("ca_bundle"))
        .collect();
    let example = lines.join("\n");
    let settings = read(folder.path(), &example)??;
    assert!(
        settings
            .of("lab.example:5000")
            .is_some_and(|entry| entry.insecure)
    );
    Ok(())
}
