//! The lister against an API server that is faked as an HTTP service: our own URLs and paging are
//! tested, and what a real server does rarely.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Cluster;
use super::fake::{Act, server, status};
use super::list::{Lister, Listing};
use crate::image::Platform;
use crate::pod::Pod;
use crate::report::Scope;
use crate::snapshot::RowOptions;
use crate::sync::lock;

fn page(names: &[&str], token: &str) -> Act {
    let items: Vec<_> = names
        .iter()
        .map(|name| serde_json::json!({"metadata": {"name": name}}))
        .collect();
    let list =
        serde_json::json!({"kind": "PodList", "metadata": {"continue": token}, "items": items});
    Act::Answer(200, None, list.to_string())
}

fn gone(token: &str) -> Act {
    let status =
        serde_json::json!({"kind": "Status", "code": 410, "metadata": {"continue": token}});
    Act::Answer(410, None, status.to_string())
}

/// Lists pods: their names, how it ended, and what was asked for.
async fn list(
    acts: &[Act],
    selector: Option<&str>,
) -> (Vec<String>, Result<Listing, String>, Vec<String>) {
    let (fetcher, asked) = server(acts);
    let lister = Lister::new(fetcher);
    let mut names = Vec::new();
    let ended = lister
        .all("/api/v1/pods", selector, |pod: Pod| {
            names.push(pod.metadata.name.unwrap_or_default());
        })
        .await
        .map_err(|failure| failure.to_string());
    let asked = lock(&asked).clone();
    (names, ended, asked)
}

#[tokio::test]
async fn pages_are_asked_for_by_their_tokens_escaped() {
    let (names, ended, asked) = list(
        &[page(&["a"], "x+/&limit=1"), page(&["b"], "")],
        Some("app in (a,b)"),
    )
    .await;
    assert_eq!(
        (names, ended),
        (vec!["a".into(), "b".into()], Ok(Listing::Whole))
    );
    assert_eq!(
        asked,
        [
            "/api/v1/pods?limit=500&labelSelector=app%20in%20%28a%2Cb%29",
            "/api/v1/pods?limit=500&labelSelector=app%20in%20%28a%2Cb%29&continue=x%2B%2F%26limit%3D1",
        ]
    );
}

#[tokio::test]
async fn the_next_page_is_asked_for_before_this_one_is_parsed() {
    // As the API server writes it: what is needed to go on stands before the items.
    let ahead = |item: &str| {
        let text =
            format!(r#"{{"kind":"PodList","metadata":{{"continue":"next"}},"items":[{item}"#);
        Act::Answer(200, None, text)
    };
    let whole = ahead(r#"{"metadata":{"name":"a"}}]}"#);
    let (names, ended, asked) = list(&[whole.clone(), page(&["b"], "")], None).await;
    assert_eq!(
        (names, ended),
        (vec!["a".into(), "b".into()], Ok(Listing::Whole))
    );
    assert_eq!(asked.len(), 2, "{asked:?}");

    // A page that turns out to be cut off is asked for again, by its own token, and counts once.
    let cut_off = ahead(r#"{"metadata":{"name":"lost"}},"#);
    let acts = [cut_off, page(&["b"], ""), whole];
    let (names, ended, asked) = list(&acts, None).await;
    assert_eq!(
        (names, ended),
        (vec!["a".into(), "b".into()], Ok(Listing::Whole))
    );
    let asked: Vec<_> = asked.iter().map(|uri| uri.contains("continue=")).collect();
    assert_eq!(asked, [false, true, false]);
}

#[tokio::test]
async fn pages_in_gzip_are_read_and_one_that_breaks_off_is_asked_for_again() -> std::io::Result<()>
{
    let packed = |text: &str| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(text.as_bytes())?;
        packer.finish()
    };
    let head = r#"{"kind":"PodList","metadata":{"continue":"next"},"items":["#;
    let first = packed(&format!(r#"{head}{{"metadata":{{"name":"a"}}}}]}}"#))?;
    let last = packed(r#"{"kind":"PodList","metadata":{},"items":[{"metadata":{"name":"b"}}]}"#)?;
    let cut_off = Act::Packed(first[..first.len() - 10].to_vec());
    let (first, last) = (Act::Packed(first), Act::Packed(last));
    for acts in [
        vec![first.clone(), last.clone()],
        vec![cut_off, last, first],
    ] {
        let (names, ended, asked) = list(&acts, None).await;
        assert_eq!(
            (names, ended),
            (vec!["a".into(), "b".into()], Ok(Listing::Whole))
        );
        // The second is asked for by the token in the first one's head.
        assert!(asked[1].ends_with("continue=next"), "{asked:?}");
    }

    let bomb = packed(&" ".repeat((256 << 20) + 1))?;
    let (_, ended, asked) = list(&[Act::Packed(bomb)], None).await;
    assert_eq!(asked.len(), 1);
    let error = ended.err().unwrap_or_default();
    assert!(error.contains("larger than 256 MiB"), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_may_pass_is_asked_for_again_and_no_pod_is_doubled() {
    let throttled = Act::Answer(429, Some(("retry-after", "0")), String::new());
    for trouble in [
        throttled,
        status(500),
        status(503),
        Act::Hang,
        Act::Reset,
        Act::BreakOff,
    ] {
        let acts = [
            page(&["a"], "next"),
            trouble.clone(),
            trouble,
            page(&["b"], ""),
        ];
        let (names, ended, asked) = list(&acts, None).await;
        assert_eq!(
            (names, ended),
            (vec!["a".into(), "b".into()], Ok(Listing::Whole))
        );
        assert!(
            asked[1..].iter().all(|uri| uri.ends_with("continue=next")),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn what_does_not_pass_ends_the_list_with_what_to_do() {
    let four = |act: Act| vec![act; 4];
    let five = |act: Act| vec![act; 5];
    let html = Act::Answer(200, None, "<html>PASSWORD=hunter2".into());
    let odd = Act::Answer(
        200,
        None,
        r#"{"kind":"PodList","items":[{"spec":{"nodeName":{"PASSWORD":"hunter2"}}}]}"#.into(),
    );
    let cut = Act::Answer(200, None, r#"{"kind":"PodList","items":[{"spec":"#.into());
    let patient = Act::Answer(429, Some(("retry-after", "86400")), String::new());
    for (acts, requests, says) in [
        (four(status(500)), 4, "the API server answered 500"),
        (four(Act::Hang), 4, "did not answer within 0.2 s"),
        (four(Act::Reset), 4, "cannot be reached or broke off"),
        (vec![patient], 1, "answered 429"),
        (vec![status(401)], 1, "log in again"),
        (
            vec![status(403)],
            1,
            r#"ClusterRole with the rule {apiGroups: [""], resources: ["pods"], verbs: ["list"]}"#,
        ),
        (vec![html], 1, "the answer is not a list"),
        (vec![odd], 1, "the answer is not a list"),
        (five(cut), 5, "the answer is not a list"),
    ] {
        let (names, ended, asked) = list(&acts, None).await;
        let error = ended.err().unwrap_or_default();
        assert!(error.contains(says), "{says}: {error}");
        assert!(
            !error.contains("PASSWORD") && !error.contains("hunter2"),
            "{error}"
        );
        assert_eq!((names.len(), asked.len()), (0, requests), "{says}");
    }
}

#[tokio::test]
async fn an_expired_list_goes_on_with_the_token_that_the_answer_carries() {
    let acts = [
        page(&["a"], "old"),
        gone("fresh"),
        page(&["b"], "later"),
        page(&["c"], ""),
    ];
    let (names, ended, asked) = list(&acts, None).await;
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(ended, Ok(Listing::Whole));
    assert!(asked[2].ends_with("continue=fresh"), "{asked:?}");
}

#[tokio::test]
async fn an_expired_list_without_a_new_token_is_to_be_started_over() {
    for last in [gone(""), gone("old"), status(410)] {
        let (_, ended, asked) = list(&[page(&["a"], "old"), last], None).await;
        assert_eq!((ended, asked.len()), (Ok(Listing::Expired), 2));
    }
}

/// The pods of a whole snapshot, or why there is none; and what was asked for.
async fn snapshot(acts: &[Act], scope: Scope) -> (Result<Vec<String>, String>, Vec<String>) {
    let (fetcher, asked) = server(acts);
    let cluster = Cluster::new(fetcher, None, None);
    let options = RowOptions {
        owner_label: None,
        default_platform: Platform::new("linux", "amd64"),
    };
    let snapshot = cluster.snapshot(scope, options).await;
    let names = snapshot.map(|snapshot| {
        let pods = snapshot.containers.iter();
        pods.map(|row| row.pod.to_string()).collect()
    });
    let asked = lock(&asked).clone();
    (names.map_err(|failure| failure.to_string()), asked)
}

fn running(names: &[&str], token: &str) -> Act {
    let pod = |name: &&str| serde_json::json!({"metadata": {"name": name, "namespace": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let items: Vec<_> = names.iter().map(pod).collect();
    let list =
        serde_json::json!({"kind": "PodList", "metadata": {"continue": token}, "items": items});
    Act::Answer(200, None, list.to_string())
}

#[tokio::test]
async fn a_list_that_is_started_over_holds_nothing_of_its_first_start() {
    let acts = [
        status(403),
        running(&["deleted-since", "lives"], "old"),
        gone(""),
        running(&["lives"], ""),
    ];
    let (pods, asked) = snapshot(&acts, Scope::default()).await;
    assert_eq!(pods, Ok(vec!["lives".into()]));
    assert_eq!(asked[3], "/api/v1/pods?limit=500");
    let acts = [status(403), gone(""), gone(""), gone("")];
    let (pods, asked) = snapshot(&acts, Scope::default()).await;
    assert!(pods.is_err_and(|error| error.contains("expired while it was read")));
    assert_eq!(asked.len(), 4);
}

/// Nodes that are missing would give their pods another platform.
#[tokio::test]
async fn a_list_of_nodes_that_expires_is_started_over_and_never_taken_as_it_is() {
    let nodes = |token: &str| {
        let list = serde_json::json!({
            "kind": "NodeList", "metadata": {"continue": token},
            "items": [{"metadata": {"name": "node-a"}}],
        });
        Act::Answer(200, None, list.to_string())
    };
    let acts = [nodes("old"), gone(""), nodes(""), running(&["p"], "")];
    let (pods, asked) = snapshot(&acts, Scope::default()).await;
    assert_eq!(pods, Ok(vec!["p".into()]));
    assert_eq!(asked[2], "/api/v1/nodes?limit=500");
    let (pods, asked) = snapshot(&[gone(""), gone(""), gone("")], Scope::default()).await;
    assert!(pods.is_err_and(|error| error.starts_with("could not list nodes: the list expired")));
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn namespaces_are_listed_one_by_one_and_one_that_fails_ends_the_run() {
    let scope = Scope {
        namespaces: vec!["a".into(), "b".into()],
        ..Scope::default()
    };
    let acts = [status(403), running(&["p"], ""), status(403)];
    let (pods, asked) = snapshot(&acts, scope).await;
    assert!(pods.is_err_and(|error| error.contains("Role in namespace b with the rule")));
    assert_eq!(
        asked[1..],
        [
            "/api/v1/namespaces/a/pods?limit=500",
            "/api/v1/namespaces/b/pods?limit=500"
        ]
    );
}
