//! Debian's own Pushgateway on a free loopback port, and promtool.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::certificate::Certificate;
use super::{Result, stderr, tool};

/// A running Pushgateway; it ends when this is dropped.
pub(crate) struct Pushgateway {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    _folder: tempfile::TempDir,
}

impl Pushgateway {
    /// Starts an empty one.
    pub(crate) fn start() -> Result<Self> {
        Self::start_on(None)
    }

    /// Starts an empty one that speaks TLS.
    pub(crate) fn start_with(certificate: &Certificate) -> Result<Self> {
        Self::start_on(Some(certificate))
    }

    fn start_on(certificate: Option<&Certificate>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let settings = folder.path().join("web.yml");
        let tls = certificate.map(Certificate::names);
        let tls = tls
            .map(|[cert, key]| json!({"tls_server_config": {"cert_file": cert, "key_file": key}}));
        fs::write(&settings, tls.unwrap_or_else(|| json!({})).to_string())?;
        let log = folder.path().join("pushgateway.log");
        // Debian's keeps its metrics in /var/lib unless it is told where.
        let data = folder.path().join("data");
        let mut process = Command::new(tool("bin/prometheus-pushgateway")?)
            .arg("--web.listen-address=127.0.0.1:0")
            .arg(format!("--persistence.file={}", data.display()))
            .arg(format!("--web.config.file={}", settings.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        let started = Instant::now();
        loop {
            let said = fs::read_to_string(&log)?;
            let after = said.split("\"Listening on\" address=").nth(1);
            // The line is whole once something follows the address.
            if let Some((address, _)) = after.and_then(|rest| rest.split_once('\n')) {
                return Ok(Self {
                    process,
                    address: address.trim().to_owned(),
                    _folder: folder,
                });
            }
            if started.elapsed() > Duration::from_secs(20) {
                process.kill()?;
                process.wait()?;
                return Err(format!("the Pushgateway does not start: {said}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// For `--pushgateway`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Our lines of what it gives to Prometheus: families' heads and samples.
    pub(crate) fn page(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // Of 1.0, so that the answer comes in one piece and ends with the connection.
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        assert!(head.contains(" 200 "), "{head}");
        let own = body.lines().filter(|line| line.contains("image_census_"));
        Ok(own.map(|line| format!("{line}\n")).collect())
    }

    /// The samples of a cluster, without the labels that a group has.
    pub(crate) fn samples(&self, cluster: &str) -> Result<BTreeMap<String, String>> {
        let page = self.page()?;
        let group = format!("cluster=\"{cluster}\"");
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let mut found = BTreeMap::new();
        for sample in samples.filter(|sample| sample.contains(&group)) {
            let (name, value) = sample.rsplit_once(' ').ok_or("no value")?;
            let (family, labels) = name.split_once('{').ok_or("no labels")?;
            let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
            assert!(labels.contains(&"job=\"image-census\""), "{name}");
            labels.retain(|label| {
                let known = ["cluster=", "instance=", "job="];
                !known.iter().any(|known| label.starts_with(known))
            });
            let name = if labels.is_empty() {
                family.to_owned()
            } else {
                format!("{family}{{{}}}", labels.join(","))
            };
            found.insert(name, value.to_owned());
        }
        Ok(found)
    }
}

impl Drop for Pushgateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What promtool says of an input, which it must find nothing wrong with.
pub(crate) fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Result<String> {
    let mut child = Command::new(tool("bin/promtool")?)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("promtool {arguments:?}: {}: {said}", output.status).into())
    }
}
