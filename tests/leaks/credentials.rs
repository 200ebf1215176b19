//! The operator's credentials: each goes to its registry, and nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::bad_registry::{BadRegistry, Fault, PING};
use crate::harness::engines::expect_same_rows;
use crate::harness::{Result, is_native};
use crate::outside::Outside;
use crate::secrets::{auth, secret, secrets_in};
use crate::site::{Expected, OK, Part, debian, run};

use Part::{Config, Layer, Manifest, Ping};

const fn refused(words: &'static str) -> Expected {
    ("skipped", "policy", words)
}

const IN_PLAY: Expected = refused("a credential is in play");

/// Where a registry with a credential leads, and what the row says. The host `evil-NAME.example` is a
/// stranger's, with a good certificate.
fn hostile(name: &str) -> Option<(Part, Fault, Expected)> {
    let evil = format!("evil-{name}.example");
    let redirect = |to: String| Fault::redirect(&to);
    Some(match name {
        "foreign-realm" | "foreign-realm-identity-token" => (
            Ping,
            Fault::token_from(&format!("https://{evil}/token")),
            IN_PLAY,
        ),
        "foreign-ping" | "foreign-ping-registry-token" => {
            (Ping, redirect(format!("https://{evil}/v2/")), IN_PLAY)
        }
        "foreign-manifest" => (Manifest, redirect(format!("https://{evil}/")), IN_PLAY),
        "foreign-config" => (Config, redirect(format!("https://{evil}/")), IN_PLAY),
        "foreign-layer" => {
            let partial = ("partial", "policy", "a credential is in play");
            (Layer, redirect(format!("https://{evil}/")), partial)
        }
        "clear-realm" => {
            let realm = format!("http://{evil}/token");
            let row = refused("for a token without TLS");
            (Ping, Fault::token_from(&realm), row)
        }
        // Itself, but in clear: a 200 to the ping, and crane sends its credential unasked.
        "clear-ping" => (
            Ping,
            redirect(format!("http://{name}.example/v2/")),
            refused("without TLS"),
        ),
        "inner-realm" => {
            let realm = "https://inner-realm.vault.svc/token";
            (
                Ping,
                Fault::token_from(realm),
                refused("one of the cluster's own"),
            )
        }
        _ => return None,
    })
}

#[test]
fn a_credential_goes_to_its_registry_and_nowhere_else() -> Result {
    let mut outside = Outside::new()?;
    for name in [
        "asks",
        "foreign-realm",
        "foreign-realm-identity-token",
        "foreign-ping",
        "foreign-ping-registry-token",
        "foreign-manifest",
        "foreign-config",
        "foreign-layer",
        "clear-realm",
        "clear-ping",
        "inner-realm",
    ] {
        let (fault, row) = match hostile(name) {
            Some((part, fault, row)) => (Some((part, fault)), row),
            None => (None, OK),
        };
        // A ping that is led away ends it: the registry itself never gets the credential.
        let must = !matches!(fault, Some((Ping, _)));
        outside.registry(name, fault, row)?;
        for host in [
            format!("evil-{name}.example:443"),
            format!("evil-{name}.example:80"),
            format!("{name}.example:80"),
            format!("{name}.vault.svc:443"),
        ] {
            outside.never(name, &host);
        }
        let entry = if name.ends_with("identity-token") {
            json!({"identitytoken": secret(name)})
        } else if name.ends_with("registry-token") {
            json!({"registrytoken": secret(name)})
        } else {
            auth(name)
        };
        outside.log_in(&format!("{name}.example"), entry);
        if must {
            outside.must_have_its_secret(name);
        }
    }

    // A private address whose certificate fails: crane would go on in clear by itself.
    let private = BadRegistry::start()?;
    outside
        .world
        .add_untrusted("10.9.8.7:5000", &private.address)?;
    outside.may_ask_for("10.9.8.7:5000");
    outside.serve(
        "bad-certificate",
        "10.9.8.7:5000",
        private,
        None,
        ("failed", "tls", ""),
    );
    outside.log_in("10.9.8.7:5000", auth("bad-certificate"));

    // It repeats what it was told, and makes crane panic on what it says.
    for (name, fault, row) in [
        (
            "echo",
            Fault::Echo,
            ("failed", "denied", "let them pull it"),
        ),
        (
            "panic",
            Fault::Header("Warning: 299 - nope"),
            // The native engine does not look at it.
            if is_native() {
                OK
            } else {
                ("failed", "internal", "unknown way")
            },
        ),
    ] {
        outside.registry(name, Some((Manifest, fault)), row)?;
        outside.log_in(&format!("{name}.example"), auth(name));
        outside.must_have_its_secret(name);
    }
    // It leads to itself for ever.
    let to = Fault::redirect("https://loop.example/v2/");
    let row = ("failed", "invalid", "leads round in circles");
    outside.registry("loop", Some((Ping, to)), row)?;
    outside.log_in("loop.example", auth("loop"));

    // A password in a reference is none that is used, and not the row's.
    let digest = debian("user-info").digest().to_owned();
    let image = format!("u:{}@user-info.example/a:1", secret("user-info"));
    outside.never("user-info", "user-info.example:443");
    outside.site.pod_of(
        "n",
        "user-info",
        &image,
        &digest,
        ("failed", "invalid", "correct the pod's image"),
    );

    let mut command = outside.command()?;
    let ended = run(&mut command)?;
    expect_same_rows(&command, &outside.site.store())?;
    outside.expect_no_leak(&ended)
}

#[test]
fn a_credential_is_for_its_own_repositories() -> Result {
    let mut outside = Outside::new()?;
    outside.registry("scoped", None, OK)?;
    let mut digests = Vec::new();
    for team in ["team-a", "team-b", "team-c"] {
        let image = debian(team);
        let repository = format!("{team}/app");
        outside
            .of("scoped")?
            .add(&repository, image.digest(), &image.blobs);
        digests.push((team, image.digest().to_owned()));
    }
    for (team, digest) in &digests {
        outside.site.pod_of(
            "n",
            team,
            &format!("scoped.example/{team}/app:1"),
            digest,
            OK,
        );
    }
    for team in ["team-a", "team-b"] {
        outside.log_in(&format!("scoped.example/{team}"), auth(team));
    }
    run(&mut outside.command()?)?;
    outside.site.compare()?;
    let heads = outside.of("scoped")?.heads();
    let mut seen = 0;
    for head in heads {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let found: Vec<_> = secrets_in(&head).into_iter().collect();
        let expected: &[&str] = match path.split('/').nth(2) {
            Some("team-a") => &["team-a"],
            Some("team-b") => &["team-b"],
            _ => &[],
        };
        assert_eq!(found, expected, "{path}");
        seen += expected.len();
    }
    // Manifest, configuration and layer of both.
    assert_eq!(seen, 6);
    Ok(())
}

#[test]
fn what_lies_around_is_used_for_nothing() -> Result {
    let mut outside = Outside::new()?;
    let folder = outside.site.folder.path().to_owned();
    let elsewhere =
        |name: &str| json!({"auths": {format!("{name}.example"): auth(name)}}).to_string();
    for name in ["auth-config", "auth-file", "podman", "home", "headers"] {
        outside.registry(name, None, OK)?;
    }
    // Of two places, the one that the operator named is the one that counts.
    fs::write(folder.join("auth.json"), elsewhere("auth-file"))?;
    for (place, name) in [("run/containers", "podman"), ("home/.docker", "home")] {
        fs::create_dir_all(folder.join(place))?;
        let file = if name == "home" {
            "config.json"
        } else {
            "auth.json"
        };
        fs::write(folder.join(place).join(file), elsewhere(name))?;
    }
    outside.config = json!({
        "HttpHeaders": {"X-Leak": secret("headers")},
        "credHelpers": {"helped.example": "leaks"},
    });

    // The operator's own helper: it has an answer, and nothing of ours that is none of its business.
    outside.registry("helped", None, OK)?;
    outside.must_have_its_secret("helped");
    let bin = folder.join("bin");
    fs::create_dir(&bin)?;
    let helper = bin.join("docker-credential-leaks");
    let notes = folder.join("helper-environment");
    let script = format!(
        "#!/bin/sh\ncat /proc/$$/environ >'{}'\ntr '\\0' '\\n' </proc/$PPID/cmdline >'{}'\necho '{{\"Username\":\"u\",\"Secret\":\"{}\"}}'\n",
        notes.display(),
        folder.join("helper-parent").display(),
        secret("helped")
    );
    fs::write(&helper, script)?;
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755))?;

    let mut command = outside.command()?;
    let path = std::env::var("PATH")?;
    command
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("DOCKER_AUTH_CONFIG", elsewhere("auth-config"))
        .env("REGISTRY_AUTH_FILE", folder.join("auth.json"))
        .env("XDG_RUNTIME_DIR", folder.join("run"))
        .env("HOME", folder.join("home"))
        .env("AWS_SECRET_ACCESS_KEY", secret("environment"))
        .env("IMAGE_CENSUS_SIGNING_KEY_OF_NOBODY", secret("environment"));
    let ended = run(&mut command)?;
    expect_same_rows(&command, &outside.site.store())?;
    outside.expect_no_leak(&ended)?;
    let environment = String::from_utf8_lossy(&fs::read(&notes)?).into_owned();
    let of_the_proxy: Vec<_> = secrets_in(&environment).into_iter().collect();
    assert_eq!(of_the_proxy, ["proxy"], "what a helper is given");
    let parent = fs::read_to_string(folder.join("helper-parent"))?;
    assert!(parent.contains("snapshot"), "crane ran a helper: {parent}");
    Ok(())
}

#[test]
fn settings_of_one_registry_serve_no_other() -> Result {
    let mut outside = Outside::new()?;
    let denied = Fault::Status {
        status: 401,
        header: "WWW-Authenticate: Basic realm=\"r\"".to_owned(),
        body: Vec::new(),
    };
    // A mirror that refuses, before an origin with a credential; and the other way round.
    for name in ["origin", "other-origin"] {
        outside.registry(name, None, OK)?;
    }
    for name in ["mirror", "other-mirror"] {
        let mirror = BadRegistry::start()?;
        mirror.misbehave(PING, denied.clone());
        outside
            .world
            .add(&format!("{name}.example:443"), &mirror.address)?;
        outside.may_ask_for(&format!("{name}.example:443"));
        outside.watch(name, mirror);
    }
    for name in ["origin", "other-mirror"] {
        outside.log_in(&format!("{name}.example"), auth(name));
        outside.must_have_its_secret(name);
    }

    // Without TLS: allowed to one, which leads to another; not to the other.
    let insecure = BadRegistry::start()?;
    outside
        .world
        .add_plain("plain.example:443", &insecure.address);
    outside
        .world
        .add_plain("plain.example:80", &insecure.address);
    for port in [443, 80] {
        outside.may_ask_for(&format!("plain.example:{port}"));
    }
    outside.serve("plain", "plain.example", insecure, None, OK);
    let to = Fault::redirect("http://evil-insecure.example/v2/");
    outside.registry("insecure", Some((Ping, to)), refused("without TLS"))?;
    outside.may_ask_for("insecure.example:80");
    outside.never("insecure", "evil-insecure.example:80");
    let to = Fault::redirect("http://secure.example/v2/");
    outside.registry("secure", Some((Ping, to)), refused("without TLS"))?;
    outside.never("secure", "secure.example:80");

    let settings = outside.site.folder.path().join("registries.yaml");
    fs::write(
        &settings,
        "registries:\n\
         - host: origin.example\n  mirrors: [{location: mirror.example}]\n\
         - host: other-origin.example\n  mirrors: [{location: other-mirror.example}]\n\
         - host: plain.example\n  insecure: true\n\
         - host: insecure.example\n  insecure: true\n",
    )?;
    let mut command = outside.command()?;
    command.arg("--registries").arg(&settings);
    let ended = run(&mut command)?;
    expect_same_rows(&command, &outside.site.store())?;
    for name in ["mirror", "other-mirror"] {
        assert!(
            !outside.of(name)?.heads().is_empty(),
            "{name} was not asked"
        );
    }
    outside.expect_no_leak(&ended)
}
