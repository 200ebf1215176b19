//! Values that the chart's schema refuses, and the settings that it knows.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::harness::helm::Helm;
use crate::harness::{Result, program, root, stderr, succeed};

/// Values that make no sense, each beside what Helm's message must name.
const REFUSED: &[(&[&str], &str)] = &[
    (&["clusterName="], "'/clusterName'"),
    (&["clusterName=Prod EU"], "'/clusterName'"),
    (&["clusterName=null"], "'clusterName'"),
    (&["store="], "'/store'"),
    (&["store=reports"], "'/store'"),
    (&["store=https://reports.example/census"], "'/store'"),
    (&["volume.enabled=true"], "'/store'"),
    (
        &[
            "store=",
            "volume.enabled=true",
            "s3.endpoint=http://minio.example",
        ],
        "'/s3/endpoint'",
    ),
    (
        &["store=", "volume.enabled=true", "s3.keysSecret=keys"],
        "'/s3/keysSecret'",
    ),
    (&["volume.enabled=yes"], "'/volume/enabled'"),
    (&["volume.size=ten"], "'/volume/size'"),
    (&["tmpSize=0Mi"], "'/tmpSize'"),
    (&["s3.endpoint=minio.example:9000"], "'/s3/endpoint'"),
    (&["s3.keysSecret=My Keys"], "'/s3/keysSecret'"),
    (&["s3.secretKey=c2VjcmV0"], "'secretKey'"),
    (&["signingKeySecret=My Key"], "'/signingKeySecret'"),
    (&["signingKeySecret.key=c2VjcmV0"], "'/signingKeySecret'"),
    (&["signingKey=c2VjcmV0"], "'signingKey'"),
    (&["image.repository="], "'/image/repository'"),
    (
        &["image.repository=registry.example/image-census:0.1.0"],
        "'/image/repository'",
    ),
    (&["image.digest=sha256:abc"], "'/image/digest'"),
    (&["replicas=3"], "'replicas'"),
    (&["clustername=prod-eu"], "'clustername'"),
    (&["schedule=nightly"], "'/schedule'"),
    (&["schedule=0 2 * *"], "'/schedule'"),
    (&["timeZone="], "'/timeZone'"),
    (&["deadline=2h"], "'/deadline'"),
    (&["deadline=51m"], "'/deadline'"),
    (&["deadline=45"], "'/deadline'"),
    (
        &["settings.AWS_SECRET_ACCESS_KEY=c2VjcmV0"],
        "'AWS_SECRET_ACCESS_KEY'",
    ),
    (&["settings.AWS_ACCESS_KEY_ID=AKIA"], "'AWS_ACCESS_KEY_ID'"),
    (
        &["settings.AZURE_CLIENT_SECRET=c2VjcmV0"],
        "'AZURE_CLIENT_SECRET'",
    ),
    (
        &["settings.IMAGE_CENSUS_STORE=s3://other"],
        "'IMAGE_CENSUS_STORE'",
    ),
    (
        &["settings.IMAGE_CENSUS_ENGINE=skopeo"],
        "'/settings/IMAGE_CENSUS_ENGINE'",
    ),
    (
        &["settings.IMAGE_CENSUS_CONCURENCY=4"],
        "'IMAGE_CENSUS_CONCURENCY'",
    ),
    (&["registries.config.registry[0].host=a"], "'registry'"),
    (
        &["registries.config.registries[0].insecure=true"],
        "'/registries/config/registries/0'",
    ),
    (&["registries.files.ca=x"], "'/registries/config'"),
    (&["pullSecrets.Team_A.secrets={login}"], "'Team_A'"),
    (
        &["pullSecrets.team-a.secrets={}"],
        "'/pullSecrets/team-a/secrets/0'",
    ),
    (&["pullSecrets.team-a.names={login}"], "'secrets'"),
    (
        &["pullSecrets.team-a.secrets={*}"],
        "'/pullSecrets/team-a/secrets/0'",
    ),
    (
        &["networkPolicy.podIdentity=true"],
        "'/networkPolicy/enabled'",
    ),
    (&["prune.keep.daily=-1"], "'/prune/keep/daily'"),
    (&["prune.keep.hourly=1"], "'hourly'"),
    (&["prune.schedule=weekly"], "'/prune/schedule'"),
    (
        &["prune.enabled=true", "prune.keep=null"],
        "prune.keep: say what to keep",
    ),
    (&["resources.limit.memory=1Gi"], "'limit'"),
    (
        &["serviceAccount.annotations.a=1"],
        "'/serviceAccount/annotations/a'",
    ),
];

#[test]
fn values_that_make_no_sense_are_refused_with_the_name_of_their_key() -> Result {
    let helm = Helm::new()?;
    let template = |values: &[&str]| -> Result<Output> {
        let mut command = helm.template()?;
        for value in [
            "clusterName=prod-eu",
            "store=s3://reports/census",
            "image.repository=registry.mine.example/image-census",
        ]
        .iter()
        .chain(values)
        {
            command.args(["--set", value]);
        }
        Ok(command.output()?)
    };
    let sensible = template(&[])?;
    assert!(sensible.status.success(), "{}", stderr(&sensible));
    for (values, key) in REFUSED {
        let output = template(values)?;
        let said = stderr(&output);
        assert!(!output.status.success(), "{values:?} is accepted");
        assert!(said.contains(key), "{values:?}: no {key} in: {said}");
        assert!(
            !said.contains("c2VjcmV0"),
            "{values:?}: a secret in: {said}"
        );
    }
    Ok(())
}

/// Settings that have no place in `settings`, and why.
const ELSEWHERE: &[&str] = &[
    // Values of their own.
    "IMAGE_CENSUS_STORE",
    "IMAGE_CENSUS_CLUSTER_NAME",
    "IMAGE_CENSUS_DEADLINE",
    "IMAGE_CENSUS_S3_ENDPOINT",
    "IMAGE_CENSUS_S3_PATH_STYLE",
    "IMAGE_CENSUS_S3_REGION",
    "IMAGE_CENSUS_PULL_SECRETS",
    "IMAGE_CENSUS_PUSHGATEWAY",
    "IMAGE_CENSUS_REGISTRIES",
    "IMAGE_CENSUS_SIGNING_KEY_FILE",
    // Files, which nothing mounts.
    "IMAGE_CENSUS_EOL_DATA",
    "IMAGE_CENSUS_S3_CA_BUNDLE",
    // For who reads standard output.
    "IMAGE_CENSUS_FORMAT",
    // Not in a cluster.
    "IMAGE_CENSUS_CONTEXT",
    "IMAGE_CENSUS_CRANE",
    "IMAGE_CENSUS_NODES",
    "IMAGE_CENSUS_PODS",
    "IMAGE_CENSUS_SNAPSHOT_TIME",
];

#[test]
fn the_schema_of_the_values_knows_every_setting_of_the_program_and_no_other() -> Result {
    let help = succeed(program().args(["snapshot", "--help"]))?;
    let names = help.split("[env: ").skip(1);
    // Of some the value is not shown.
    let own: BTreeSet<_> = names
        .filter_map(|rest| rest.split(['=', ']']).next())
        .collect();
    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().copied().collect();
    assert!(elsewhere.is_subset(&own), "{elsewhere:?}");
    let schema = fs::read(root().join("cronjob/chart/values.schema.json"))?;
    let schema: Value = serde_json::from_slice(&schema)?;
    let settings = schema["properties"]["settings"]["properties"].as_object();
    let known: BTreeSet<_> = settings
        .ok_or("no settings")?
        .keys()
        .map(String::as_str)
        .collect();
    let wanted: BTreeSet<_> = own.difference(&elsewhere).copied().collect();
    assert_eq!(
        known, wanted,
        "values.schema.json, then the program: name it there, or in ELSEWHERE"
    );
    Ok(())
}
