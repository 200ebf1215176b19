//! Docker configurations, well meant and hostile.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::credentials::{
    Author, ConfigError, Credential, DockerConfig, Keyring, MAX_CONFIG_BYTES, render_config,
};
use super::pattern::RegistryPattern;
use crate::image::{ImageReference, Repository};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn auth(user: &str) -> Value {
    json!({"auth": STANDARD.encode(format!("{user}:secret-of-{user}"))})
}

fn config(auths: &Value, author: Author) -> std::result::Result<DockerConfig, ConfigError> {
    DockerConfig::parse(json!({"auths": auths}).to_string().as_bytes(), author)
}

fn repository(image: &str) -> Result<Repository> {
    Ok(image.parse::<ImageReference>()?.repository)
}

/// Whose credentials are offered for an image, as crane would find them.
fn offered(keyring: &Keyring, image: &str) -> Result<Vec<String>> {
    let repository = repository(image)?;
    let found = keyring.lookup(&repository);
    let users = found.iter().map(|credential| {
        let config: Value =
            serde_json::from_slice(&render_config(&repository.registry, Some(credential)))?;
        let entries = config["auths"].as_object().ok_or("no auths")?;
        let entry = entries.values().next().ok_or("no entry")?;
        Ok(entry["username"].as_str().unwrap_or_default().to_owned())
    });
    users.collect()
}

#[test]
fn the_most_specific_entry_comes_first_and_docker_hub_has_several_names() -> Result {
    let auths = json!({
        "registry.example": auth("host"),
        "registry.example/team": auth("team"),
        "registry.example/team/app": auth("app"),
        "*.example": auth("glob"),
        "registry.example:5000": auth("port"),
        "https://index.docker.io/v1/": auth("hub"),
        "docker.io/team": auth("hub-team"),
    });
    let keyring = config(&auths, Author::Tenant)?.keyring;
    for (image, expected) in [
        (
            "registry.example/team/app:1",
            &["app", "team", "host", "glob"][..],
        ),
        ("registry.example/team-b/x", &["team", "host", "glob"]),
        ("registry.example/other/x", &["host", "glob"]),
        ("quay.example/other/x", &["glob"]),
        ("registry.example:5000/team/app", &["port"]),
        ("registry.example:5001/team/app", &[]),
        ("a.registry.example/team/app", &[]),
        // As the kubelet does it: the default entry only where nothing matches by name.
        ("nginx", &["hub"]),
        ("team/app", &["hub-team"]),
        ("registry-1.docker.io/other/app", &["hub"]),
        ("evil-docker.io/team/app", &[]),
        ("docker.io.evil.example/team/app", &[]),
    ] {
        assert_eq!(offered(&keyring, image)?, expected, "{image}");
    }
    Ok(())
}

#[test]
fn several_secrets_are_tried_in_their_order_and_the_same_credential_once() -> Result {
    let ring = |user: &str| config(&json!({"registry.example": auth(user)}), Author::Tenant);
    let (first, second) = (ring("z-first")?.keyring, ring("a-second")?.keyring);
    let all = Keyring::union([&first, &second, &first]);
    assert_eq!(
        offered(&all, "registry.example/a")?,
        ["z-first", "a-second"]
    );
    Ok(())
}

#[test]
fn both_forms_of_secrets_are_read_with_every_way_to_write_a_password() -> Result {
    let padded = STANDARD.encode("user:pa:ss\0\0");
    for (entry, user, password) in [
        (json!({"auth": padded}), "user", "pa:ss"),
        (
            json!({"auth": padded.trim_end_matches('=')}),
            "user",
            "pa:ss",
        ),
        (
            json!({"username": "user", "password": "\"\\\u{1}é"}),
            "user",
            "\"\\\u{1}é",
        ),
        // The kubelet prefers auth.
        (
            json!({"username": "x", "password": "y", "auth": padded}),
            "user",
            "pa:ss",
        ),
        (
            json!({"username": "x", "password": "y", "auth": ""}),
            "x",
            "y",
        ),
        (
            json!({"auth": STANDARD.encode(":only-a-password"), "email": "a@b"}),
            "",
            "only-a-password",
        ),
    ] {
        let auths = json!({"registry.example": entry});
        let legacy = DockerConfig::parse_legacy(auths.to_string().as_bytes(), Author::Tenant)?;
        for keyring in [config(&auths, Author::Tenant)?.keyring, legacy.keyring] {
            let found = keyring.lookup(&repository("registry.example/a")?);
            let rendered = render_config("registry.example", found.first().map(|found| &**found));
            let rendered: Value = serde_json::from_slice(&rendered)?;
            let entry = &rendered["auths"]["registry.example"];
            assert_eq!(entry["password"], password, "{entry}");
            assert_eq!(
                entry["username"].as_str().unwrap_or_default(),
                user,
                "{entry}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_tenants_helpers_headers_and_tokens_are_dropped_and_the_operators_helpers_kept() -> Result {
    let text = json!({
        "auths": {
            "registry.example": {"auth": STANDARD.encode("u:p"), "identitytoken": "identity", "registrytoken": "bearer"},
            "empty.example": {},
        },
        "credHelpers": {"registry.example": "evil", "index.docker.io": "hub", "odd.example": "../../tmp/evil"},
        "credsStore": "desktop",
        "HttpHeaders": {"X-Leak": "hunter2"},
        "proxies": {"default": {"httpProxy": "http://evil.example"}},
    })
    .to_string();
    let tenant = DockerConfig::parse(text.as_bytes(), Author::Tenant)?;
    assert!(tenant.helpers.is_empty() && tenant.store.is_none());
    assert_eq!(tenant.helper("registry.example"), None);
    let found = tenant.keyring.lookup(&repository("registry.example/a")?);
    let rendered = render_config("registry.example", found.first().map(|found| &**found));
    assert_eq!(
        serde_json::from_slice::<Value>(&rendered)?,
        json!({"auths": {"registry.example": {"username": "u", "password": "p"}}})
    );

    let operator = DockerConfig::parse(text.as_bytes(), Author::Operator)?;
    assert_eq!(operator.helper("registry.example"), Some("evil"));
    assert_eq!(operator.helper("docker.io"), Some("hub"));
    // A name that is a path is none, and the store is for what auths names without a credential.
    assert_eq!(operator.helper("odd.example"), None);
    assert_eq!(operator.helper("empty.example"), Some("desktop"));
    assert_eq!(operator.helper("evil.example"), None);
    let found = operator.keyring.lookup(&repository("registry.example/a")?);
    let rendered = render_config("registry.example", found.first().map(|found| &**found));
    let rendered: Value = serde_json::from_slice(&rendered)?;
    assert_eq!(
        rendered["auths"]["registry.example"]["identitytoken"],
        "identity"
    );
    assert!(
        operator
            .keyring
            .lookup(&repository("empty.example/a")?)
            .is_empty()
    );
    // A tenant's other fields may have any form.
    let odd = br#"{"auths": {}, "credHelpers": 7, "credsStore": ["x"]}"#;
    assert!(DockerConfig::parse(odd, Author::Tenant).is_ok());
    Ok(())
}

#[test]
fn a_configuration_that_cannot_be_used_says_why_and_repeats_nothing() {
    let large = format!(
        "{{\"auths\":{{}},\"x\":\"{}\"}}",
        "a".repeat(MAX_CONFIG_BYTES)
    );
    let no_colon = format!(
        r#"{{"auths":{{"r":{{"auth":"{}"}}}}}}"#,
        STANDARD.encode("hunter2")
    );
    let binary = format!(
        r#"{{"auths":{{"r":{{"auth":"{}"}}}}}}"#,
        STANDARD.encode([0xff, b':'])
    );
    for (text, expected) in [
        ("", ConfigError::Json { line: 1 }),
        ("hunter2", ConfigError::Json { line: 1 }),
        ("[]", ConfigError::Json { line: 1 }),
        (
            "{\n\"auths\": {\"r\": \"hunter2\"}}",
            ConfigError::Json { line: 2 },
        ),
        (
            r#"{"auths":{"r":{"auth":7}}}"#,
            ConfigError::Json { line: 1 },
        ),
        (r#"{"auths":["hunter2"]}"#, ConfigError::Json { line: 1 }),
        (r#"{"auths":{"r":{"auth":"hunter2!"}}}"#, ConfigError::Auth),
        (&no_colon, ConfigError::Auth),
        (&binary, ConfigError::Auth),
        (&large, ConfigError::TooLarge),
    ] {
        for author in [Author::Tenant, Author::Operator] {
            let error = DockerConfig::parse(text.as_bytes(), author).err();
            assert_eq!(error, Some(expected), "{}", text.len());
            assert!(!format!("{error:?} {expected}").contains("hunter2"));
        }
    }
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert!(DockerConfig::parse(deep.as_bytes(), Author::Tenant).is_err());
    assert!(
        DockerConfig::parse(b"{}", Author::Tenant).is_ok_and(|config| config.keyring.is_empty())
    );
    assert!(DockerConfig::parse(br#"{"auths":null}"#, Author::Tenant).is_ok());
}

#[test]
fn debug_shows_nothing_of_a_credential() -> Result {
    let config = config(
        &json!({"registry.example": auth("hunter")}),
        Author::Operator,
    )?;
    let text = format!("{config:?}");
    assert!(
        text.contains("example") && !text.contains("hunter"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_rendered_configuration_is_json_whatever_a_password_holds() -> Result {
    let ugly: String = (0..0x250)
        .filter_map(char::from_u32)
        .chain(['\u{2028}', '🐳'])
        .collect();
    let credential = Credential::new(Zeroizing::new(ugly.clone()), Zeroizing::new(ugly.clone()));
    let text = render_config("docker.io", Some(&credential));
    assert!(text.capacity() >= text.len());
    let rendered: Value = serde_json::from_slice(&text)?;
    let entry = json!({"username": ugly, "password": ugly});
    assert_eq!(
        rendered,
        json!({"auths": {"https://index.docker.io/v1/": entry}})
    );
    let token = Credential::from_identity_token(Zeroizing::new("t".into()));
    let rendered: Value = serde_json::from_slice(&render_config("r.example:5000", Some(&token)))?;
    assert_eq!(
        rendered,
        json!({"auths": {"r.example:5000": {"identitytoken": "t"}}})
    );
    assert_eq!(
        render_config("r.example", None).as_slice(),
        br#"{"auths":{}}"#
    );
    Ok(())
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        // Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % end
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// The kubelet's rule in other words: character by character, a star being no dot and no port.
fn host_matches(pattern: &[u8], host: &[u8]) -> bool {
    match (pattern.first(), host.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            host_matches(&pattern[1..], host)
                || host
                    .first()
                    .is_some_and(|b| !b".:".contains(b) && host_matches(pattern, &host[1..]))
        }
        (Some(a), Some(b)) => a == b && host_matches(&pattern[1..], &host[1..]),
        _ => false,
    }
}

#[test]
fn a_credential_is_never_offered_to_a_host_that_no_entry_matches() -> Result {
    let mut numbers = Numbers(20_261_123);
    let labels = [
        "a",
        "b",
        "ab",
        "docker",
        "io",
        "index",
        "evil",
        "registry-1",
        "example",
    ];
    let globs = [
        "a", "b", "ab", "*", "a*", "*b", "docker", "io", "index", "*.*", "evil*", "example",
    ];
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let mut hits = 0;
    for _ in 0..20_000 {
        let mut keys = Vec::new();
        for _ in 0..=numbers.below(3) {
            let mut host: Vec<_> = (0..=numbers.below(2))
                .map(|_| numbers.pick(&globs))
                .collect();
            if numbers.below(8) == 0 {
                host = vec![numbers.pick(&hub)];
            }
            let port = numbers.pick(&["", "", ":5000", ":444"]);
            keys.push(format!("{}{port}", host.join(".")));
        }
        let auths: serde_json::Map<_, _> = keys
            .iter()
            .map(|key| {
                let scheme = numbers.pick(&["", "https://", "http://"]);
                let path = numbers.pick(&["", "/", "/v1/", "/v2/"]);
                (format!("{scheme}{key}{path}"), auth("u"))
            })
            .collect();
        let host: Vec<_> = (0..=numbers.below(2))
            .map(|_| numbers.pick(&labels))
            .collect();
        let registry = format!("{}{}", host.join("."), numbers.pick(&["", ":5000", ":444"]));
        let repository = Repository {
            registry: registry.as_str().into(),
            path: "team/app".into(),
        };
        let keyring = config(&Value::Object(auths), Author::Tenant)?.keyring;
        let is_hub = |host: &str| hub.contains(&host);
        let allowed = keys.iter().any(|key| {
            host_matches(key.as_bytes(), registry.as_bytes()) || (is_hub(key) && is_hub(&registry))
        });
        let found = !keyring.lookup(&repository).is_empty();
        assert_eq!(found, allowed, "{keys:?} for {registry}");
        hits += usize::from(found);
    }
    // The test is none if hardly anything matches.
    assert!((500..19_500).contains(&hits), "{hits}");
    Ok(())
}

#[test]
fn a_pattern_that_is_none_offers_nothing_to_anybody() -> Result {
    for key in [
        "",
        "*.*.",
        "user@registry.example",
        "registry.example?x",
        "reg\u{200b}istry.example",
    ] {
        assert!(RegistryPattern::parse(key).is_err(), "{key}");
        let keyring = config(&json!({key: auth("u")}), Author::Operator)?.keyring;
        assert!(keyring.is_empty(), "{key}");
    }
    Ok(())
}
