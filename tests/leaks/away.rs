//! Registries with public names that lead crane to where it may not go, without a credential.

use crate::harness::Result;
use crate::harness::bad_registry::Fault;
use crate::harness::engines::expect_same_rows;
use crate::outside::Outside;
use crate::site::{OK, Part, run};

/// A scenario's name, what is redirected or where the token is from, the host and port that may not be
/// asked for, and what the row says.
type Case<'a> = (&'a str, Lead, &'a str, &'a str, &'a str);

/// How crane is led there.
#[derive(Clone, Copy)]
enum Lead {
    /// By a redirect of this request.
    Redirect(Part),
    /// By the address of a token service.
    Realm,
}

use Lead::{Realm, Redirect};
use Part::{Config, Layer, Manifest, Ping};

const CASES: &[Case<'_>] = &[
    (
        "ping-metadata",
        Redirect(Ping),
        "http://169.254.169.254/latest/",
        "169.254.169.254:80",
        "a metadata service's",
    ),
    (
        "ping-metadata-tls",
        Redirect(Ping),
        "https://169.254.169.254/v2/",
        "169.254.169.254:443",
        "a metadata service's",
    ),
    (
        "ping-metadata-mapped",
        Redirect(Ping),
        "https://[::ffff:169.254.169.254]/v2/",
        "[::ffff:169.254.169.254]:443",
        "a metadata service's",
    ),
    (
        "ping-metadata-nat64",
        Redirect(Ping),
        "https://[64:ff9b::a9fe:a9fe]/v2/",
        "[64:ff9b::a9fe:a9fe]:443",
        "a metadata service's",
    ),
    (
        "ping-metadata-v6",
        Redirect(Ping),
        "https://[fd00:ec2::254]/v2/",
        "[fd00:ec2::254]:443",
        "a metadata service's",
    ),
    (
        "ping-metadata-alibaba",
        Redirect(Ping),
        "https://100.100.100.200/v2/",
        "100.100.100.200:443",
        "a metadata service's",
    ),
    (
        "ping-metadata-azure",
        Redirect(Ping),
        "https://168.63.129.16/v2/",
        "168.63.129.16:443",
        "a metadata service's",
    ),
    (
        "ping-link-local",
        Redirect(Ping),
        "https://[fe80::1]/v2/",
        "[fe80::1]:443",
        "a link-local one",
    ),
    (
        "ping-private",
        Redirect(Ping),
        "https://10.1.2.3/v2/",
        "10.1.2.3:443",
        "a private one",
    ),
    (
        "ping-loopback-name",
        Redirect(Ping),
        "https://ping.localhost/v2/",
        "ping.localhost:443",
        "a loopback one",
    ),
    (
        "ping-zero",
        Redirect(Ping),
        "https://0.0.0.0/v2/",
        "0.0.0.0:443",
        "an unspecified one",
    ),
    (
        "ping-number",
        Redirect(Ping),
        "https://2130706433/v2/",
        "2130706433:443",
        "an address that is none",
    ),
    (
        "ping-short",
        Redirect(Ping),
        "https://127.1/v2/",
        "127.1:443",
        "an address that is none",
    ),
    (
        "ping-octal",
        Redirect(Ping),
        "https://0177.0.0.1/v2/",
        "0177.0.0.1:443",
        "an address that is none",
    ),
    (
        "ping-api-server",
        Redirect(Ping),
        "https://10.96.0.1/v2/",
        "10.96.0.1:443",
        "the Kubernetes API server is there",
    ),
    (
        "ping-api-server-mapped",
        Redirect(Ping),
        "https://[::ffff:10.96.0.1]/v2/",
        "[::ffff:10.96.0.1]:443",
        "the Kubernetes API server is there",
    ),
    (
        "ping-service",
        Redirect(Ping),
        "https://vault.vault.svc:8200/v2/",
        "vault.vault.svc:8200",
        "one of the cluster's own",
    ),
    (
        "ping-service-long",
        Redirect(Ping),
        "https://vault.vault.svc.cluster.local/v2/",
        "vault.vault.svc.cluster.local:443",
        "one of the cluster's own",
    ),
    (
        "ping-downgrade",
        Redirect(Ping),
        "http://ping-downgrade.example/v2/",
        "ping-downgrade.example:80",
        "without TLS",
    ),
    (
        "ping-downgrade-elsewhere",
        Redirect(Ping),
        "http://evil-ping.example/v2/",
        "evil-ping.example:80",
        "without TLS",
    ),
    (
        "manifest-metadata",
        Redirect(Manifest),
        "https://169.254.170.2/",
        "169.254.170.2:443",
        "leads to an inner address",
    ),
    (
        "manifest-service",
        Redirect(Manifest),
        "https://manifest.n.svc/",
        "manifest.n.svc:443",
        "one of the cluster's own",
    ),
    (
        "manifest-downgrade",
        Redirect(Manifest),
        "http://evil-manifest.example/",
        "evil-manifest.example:80",
        "without TLS",
    ),
    (
        "config-service",
        Redirect(Config),
        "https://config.n.svc/",
        "config.n.svc:443",
        "one of the cluster's own",
    ),
    (
        "layer-metadata",
        Redirect(Layer),
        "https://169.254.170.23/",
        "169.254.170.23:443",
        "leads to an inner address",
    ),
    (
        "layer-service",
        Redirect(Layer),
        "https://layer.n.svc/",
        "layer.n.svc:443",
        "one of the cluster's own",
    ),
    (
        "realm-metadata",
        Realm,
        "https://[fd00:ec2::23]/token",
        "[fd00:ec2::23]:443",
        "leads to an inner address",
    ),
    (
        "realm-loopback-name",
        Realm,
        "https://realm.localhost/token",
        "realm.localhost:443",
        "a loopback one",
    ),
    (
        "realm-service",
        Realm,
        "https://realm.n.svc/token",
        "realm.n.svc:443",
        "one of the cluster's own",
    ),
    (
        "realm-downgrade",
        Realm,
        "http://evil-realm.example/token",
        "evil-realm.example:80",
        "for a token without TLS",
    ),
];

#[test]
fn redirects_and_realms_to_where_crane_may_not_go_are_asked_by_nobody() -> Result {
    let mut outside = Outside::new()?;
    outside.registry("good", None, OK)?;
    for (name, lead, to, never, words) in CASES {
        let (part, fault) = match lead {
            Redirect(part) => (*part, Fault::redirect(to)),
            Realm => (Ping, Fault::token_from(to)),
        };
        // Without its layers an image is still something.
        let status = match part {
            Layer => "partial",
            _ => "skipped",
        };
        outside.registry(name, Some((part, fault)), (status, "policy", words))?;
        outside.never(name, never);
    }
    // A public host is reached, since anybody reaches that.
    let to = Fault::redirect("https://elsewhere.example/");
    outside.registry(
        "layer-public",
        Some((Layer, to)),
        ("partial", "invalid", ""),
    )?;
    outside.may_ask_for("elsewhere.example:443");
    let mut command = outside.command()?;
    let ended = run(&mut command)?;
    expect_same_rows(&command, &outside.site.store())?;
    assert!(
        !outside.world.strangers_heard().is_empty(),
        "nobody remembers"
    );
    outside.expect_no_leak(&ended)
}
