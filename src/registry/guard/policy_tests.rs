//! The decision as a table: who asks, for what, and what becomes of it.

use super::*;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn rules() -> Result<Rules> {
    Ok(Rules {
        in_cluster: true,
        allowed: vec![
            "registry.kube-system.svc:5000".parse()?,
            "127.0.0.1:5000".parse()?,
            "plain.example:80".parse()?,
        ],
        api_server: vec![
            "kubernetes.default.svc:443".parse()?,
            "api.example:6443".parse()?,
        ],
        api_addresses: vec!["10.96.0.1:443".parse()?, "203.0.113.7:6443".parse()?],
        cluster_domain: Some("k8s.corp".into()),
    })
}

/// Name and addresses, as the proxy asks one after the other.
fn decide(rules: &Rules, pass: &Pass, to: &str, plain: bool, addresses: &str) -> Result<String> {
    let host: HostPort = to.parse()?;
    let addresses: Vec<IpAddr> = addresses
        .split_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    let decision = check_name(rules, pass, &host, plain)
        .and_then(|()| check_addresses(rules, pass, &host, plain, &addresses));
    Ok(decision.map_or_else(|refusal| refusal.rule.to_string(), |()| "ok".into()))
}

#[test]
fn without_a_credential_public_hosts_are_reached_and_inner_ones_are_not() -> Result {
    let rules = rules()?;
    let pass = Pass::new("registry.example", 0)?;
    let registry = "registry.example:443";
    for (to, addresses, expected) in [
        (registry, "1.1.1.1", "ok"),
        (registry, "1.1.1.1 2606:4700::1111", "ok"),
        // A registry of one's own has a private address.
        (registry, "10.0.0.5", "ok"),
        (registry, "fd12::5", "ok"),
        ("cdn.example:443", "1.1.1.1", "ok"),
        ("cdn.example:8443", "1.1.1.1", "ok"),
        ("1.1.1.1:443", "1.1.1.1", "ok"),
        // Somebody else's private address is none of its business.
        ("cdn.example:443", "10.0.0.5", "private"),
        ("cdn.example:443", "1.1.1.1 10.0.0.5", "private"),
        ("registry.example:8443", "10.0.0.5", "private"),
        ("10.0.0.5:443", "", "private"),
        ("[fd12::5]:443", "", "private"),
        // Whoever owns a name chooses its addresses, the registry's owner too.
        (registry, "127.0.0.1", "loopback"),
        (registry, "1.1.1.1 127.0.0.1", "loopback"),
        (registry, "::1", "loopback"),
        (registry, "::ffff:127.0.0.1", "loopback"),
        (registry, "64:ff9b::7f00:1", "loopback"),
        (registry, "2002:7f00:1::", "loopback"),
        (registry, "169.254.169.254", "metadata service"),
        (registry, "fd00:ec2::254", "metadata service"),
        (registry, "100.100.100.200", "metadata service"),
        (registry, "169.254.1.1", "link-local"),
        (registry, "fe80::1", "link-local"),
        (registry, "0.0.0.0", "unspecified"),
        (registry, "::", "unspecified"),
        (registry, "224.0.0.1", "multicast"),
        (registry, "ff02::1", "multicast"),
        (registry, "255.255.255.255", "reserved"),
        ("169.254.169.254:80", "", "metadata service"),
        ("[::ffff:169.254.169.254]:443", "", "metadata service"),
        ("0.0.0.0:443", "", "unspecified"),
        ("127.0.0.1:8001", "", "loopback"),
        ("[::1]:8001", "", "loopback"),
        ("localhost:8001", "", "loopback"),
        ("x.localhost:8001", "", "loopback"),
        // Names of the cluster.
        ("vault.vault.svc:8200", "1.1.1.1", "cluster-name"),
        ("vault.vault.svc.:8200", "1.1.1.1", "cluster-name"),
        ("VAULT.vault.SVC:8200", "1.1.1.1", "cluster-name"),
        (
            "vault.vault.svc.cluster.local:82",
            "1.1.1.1",
            "cluster-name",
        ),
        ("10-0-0-5.a.pod.cluster.local:80", "1.1.1.1", "cluster-name"),
        ("vault.vault.svc.k8s.corp:8200", "1.1.1.1", "cluster-name"),
        ("svc:443", "1.1.1.1", "cluster-name"),
        ("notsvc:443", "1.1.1.1", "ok"),
        ("svc.example:443", "1.1.1.1", "ok"),
        // The API server, by name, and by address and port.
        ("api.example:6443", "1.1.1.1", "api-server"),
        ("api.example:443", "1.1.1.1", "ok"),
        ("kubernetes.default.svc:443", "10.96.0.1", "api-server"),
        ("10.96.0.1:443", "", "api-server"),
        (registry, "10.96.0.1", "api-server"),
        (registry, "::ffff:10.96.0.1", "api-server"),
        ("registry.example:6443", "203.0.113.7", "api-server"),
        (registry, "203.0.113.7", "ok"),
        // What the operator has named, by host and port.
        ("registry.kube-system.svc:5000", "10.1.2.3", "ok"),
        ("registry.kube-system.svc:5001", "10.1.2.3", "cluster-name"),
        ("127.0.0.1:5000", "127.0.0.1", "ok"),
    ] {
        let found = decide(&rules, &pass, to, false, addresses)?;
        assert_eq!(found, expected, "{to} at {addresses}");
    }
    Ok(())
}

#[test]
fn plain_http_is_for_registries_that_are_allowed_it() -> Result {
    let rules = rules()?;
    let pass = Pass::new("registry.example", 0)?;
    let insecure = Pass {
        plain_http: true,
        ..pass.clone()
    };
    let own_port = Pass {
        plain_http: true,
        ..Pass::new("10.0.0.5:5000", 0)?
    };
    for (pass, to, addresses, expected) in [
        (&pass, "registry.example:80", "1.1.1.1", "plain-http"),
        (&pass, "registry.example:443", "1.1.1.1", "plain-http"),
        (&pass, "cdn.example:80", "1.1.1.1", "plain-http"),
        (&insecure, "registry.example:80", "1.1.1.1", "ok"),
        (&insecure, "registry.example:443", "1.1.1.1", "plain-http"),
        (&insecure, "registry.example:8080", "1.1.1.1", "plain-http"),
        (&insecure, "cdn.example:80", "1.1.1.1", "plain-http"),
        (&insecure, "registry.example:80", "127.0.0.1", "loopback"),
        (&own_port, "10.0.0.5:5000", "", "ok"),
        (&own_port, "10.0.0.5:80", "", "private"),
        (&pass, "plain.example:80", "10.0.0.5", "ok"),
        (&pass, "127.0.0.1:5000", "", "ok"),
    ] {
        let found = decide(&rules, pass, to, true, addresses)?;
        assert_eq!(found, expected, "{to} at {addresses}");
    }
    let with_credential = Pass {
        has_credential: true,
        ..pass
    };
    let to = "plain.example:80";
    let found = decide(&rules, &with_credential, to, true, "10.0.0.5")?;
    assert_eq!(found, "plain-http", "a credential in clear");
    Ok(())
}

#[test]
fn with_a_credential_only_the_registry_and_its_hosts_are_reached() -> Result {
    let rules = rules()?;
    let mut pass = Pass::new("registry.example:5000", 0)?;
    pass.has_credential = true;
    pass.extra = vec![
        HostPattern::parse("auth.example")?,
        HostPattern::parse("*.blobs.example:9000")?,
    ];
    let hub = Pass {
        has_credential: true,
        ..Pass::new("docker.io", 0)?
    };
    for (pass, to, addresses, expected) in [
        (&pass, "registry.example:5000", "10.0.0.5", "ok"),
        (&pass, "auth.example:443", "10.0.0.6", "ok"),
        (&pass, "a.blobs.example:9000", "10.0.0.7", "ok"),
        (&pass, "registry.example:443", "1.1.1.1", "credential"),
        (&pass, "auth.example:8443", "1.1.1.1", "credential"),
        (&pass, "a.b.blobs.example:9000", "1.1.1.1", "credential"),
        (&pass, "blobs.example:9000", "1.1.1.1", "credential"),
        (&pass, "evil.example:443", "1.1.1.1", "credential"),
        (&pass, "auth.example:443", "127.0.0.1", "loopback"),
        (&pass, "registry.kube-system.svc:5000", "10.0.0.9", "ok"),
        (&hub, "index.docker.io:443", "1.1.1.1", "ok"),
        (&hub, "auth.docker.io:443", "1.1.1.1", "ok"),
        (
            &hub,
            "production.cloudflare.docker.com:443",
            "1.1.1.1",
            "ok",
        ),
        (&hub, "ghcr.io:443", "1.1.1.1", "credential"),
    ] {
        let found = decide(&rules, pass, to, false, addresses)?;
        assert_eq!(found, expected, "{to} at {addresses}");
    }
    Ok(())
}

#[test]
fn on_a_persons_machine_its_own_registries_are_reached_and_names_may_not_lead_there() -> Result {
    let rules = Rules {
        api_server: vec!["127.0.0.1:6443".parse()?],
        api_addresses: vec!["127.0.0.1:6443".parse()?],
        ..Rules::default()
    };
    let pass = Pass::new("127.0.0.1:5000", 0)?;
    for (to, plain, addresses, expected) in [
        ("127.0.0.1:5000", true, "", "ok"),
        ("127.0.0.1:5001", true, "", "ok"),
        ("[::1]:5000", true, "", "ok"),
        ("localhost:5000", true, "127.0.0.1 ::1", "ok"),
        ("x.localhost:5000", true, "127.0.0.1", "ok"),
        (
            "x.localhost:5000",
            true,
            "169.254.169.254",
            "metadata service",
        ),
        ("evil.example:443", false, "127.0.0.1", "loopback"),
        ("169.254.169.254:80", true, "", "metadata service"),
        ("vault.vault.svc:8200", false, "1.1.1.1", "cluster-name"),
        ("127.0.0.1:6443", false, "", "api-server"),
        ("localhost:6443", false, "127.0.0.1", "api-server"),
        ("x.localhost:6443", false, "127.0.0.1", "api-server"),
    ] {
        let found = decide(&rules, &pass, to, plain, addresses)?;
        assert_eq!(found, expected, "{to} at {addresses}");
    }
    Ok(())
}

#[test]
fn patterns_are_for_labels_and_a_port() -> Result {
    for (pattern, host, expected) in [
        ("a.example", "a.example:443", true),
        ("A.example", "a.example:443", true),
        ("a.example:5000", "a.example:5000", true),
        ("a.example:5000", "a.example:443", false),
        ("*.example", "a.example:443", true),
        ("*.example", "a.b.example:443", false),
        ("*.example", "example:443", false),
        ("cdn*.example", "cdn01.example:443", true),
        ("cdn*.example", "cdn.example:443", true),
        ("cdn*.example", "xcdn1.example:443", false),
        ("a-*-b*c.example", "a-1-b2c.example:443", true),
        ("a-*-b*c.example", "a-1-c.example:443", false),
        ("[fd12::5]:5000", "[fd12::5]:5000", true),
    ] {
        let found = HostPattern::parse(pattern)?.matches(&host.parse()?);
        assert_eq!(found, expected, "{pattern} {host}");
    }
    for pattern in ["", "a b", "*.example:0", "a/b", "http://a"] {
        assert_eq!(HostPattern::parse(pattern), Err(HostPortError), "{pattern}");
    }
    Ok(())
}

#[test]
fn a_refusal_names_the_host_the_rule_and_what_to_do() -> Result {
    for (registry, to, rule, expected) in [
        (
            "evil.example",
            "169.254.169.254:80",
            Rule::Address(Place::Metadata),
            "evil.example leads to 169.254.169.254:80, which was not asked, since its address is a metadata service's: if it is right, allow it with --allow-host 169.254.169.254:80",
        ),
        (
            "localhost:5000",
            "localhost:5000",
            Rule::Address(Place::Loopback),
            "localhost:5000 was not asked, since its address is a loopback one: if it is right, allow it with --allow-host localhost:5000",
        ),
        (
            "registry.example",
            "registry.example:80",
            Rule::PlainHttp,
            "registry.example:80 was not asked without TLS: give it a certificate, or set insecure for it in --registries; where no credential is in play, --allow-host registry.example:80 does, too",
        ),
    ] {
        let refusal = Refusal::new(&to.parse()?, rule);
        assert_eq!(refusal.sentence(registry), expected);
    }
    Ok(())
}
