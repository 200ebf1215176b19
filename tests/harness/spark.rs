//! Spark as a server (Spark Connect) on a free loopback port, reading from an S3 server.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::object_store::ObjectStore;
use super::{Result, tool};

/// What Spark opens up of Java's inside, as its own scripts do.
const OPENED: [&str; 14] = [
    "java.io",
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
];

/// A running server; it ends when this is dropped.
pub(crate) struct Spark {
    process: Child,
    folder: tempfile::TempDir,
}

impl Spark {
    /// Starts one, with settings in the form of a spark-defaults.conf. It takes seconds until it answers:
    /// [`Self::remote`] waits.
    pub(crate) fn start(server: &ObjectStore, settings: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("spark-defaults.conf");
        fs::write(&file, settings)?;
        let log = fs::File::create(folder.path().join("server.log"))?;
        let mut java = Command::new("java");
        // Little is compiled well before the test is over.
        java.args(["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        for package in OPENED {
            java.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        java.arg(format!("-Djava.io.tmpdir={}", folder.path().display()));
        java.arg("-cp").arg(tool("spark")?.join("*"));
        java.args([
            "org.apache.spark.deploy.SparkSubmit",
            "--master",
            "local[2]",
        ]);
        java.arg("--properties-file").arg(&file);
        let endpoint = format!("spark.hadoop.fs.s3a.endpoint=http://{}", server.address);
        for setting in [
            endpoint.as_str(),
            "spark.hadoop.fs.s3a.endpoint.region=us-east-1",
            "spark.ui.enabled=false",
            "spark.driver.host=127.0.0.1",
            "spark.driver.bindAddress=127.0.0.1",
            "spark.connect.grpc.binding.address=127.0.0.1",
            "spark.connect.grpc.binding.port=0",
            // A metastore in memory.
            "spark.sql.catalogImplementation=hive",
            "spark.hadoop.javax.jdo.option.ConnectionURL=jdbc:derby:memory:census;create=true",
        ] {
            java.args(["--conf", setting]);
        }
        java.args([
            "--class",
            "org.apache.spark.sql.connect.service.SparkConnectServer",
        ]);
        java.arg("spark-internal");
        server.configure(&mut java);
        let process = java
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("java: {error}: scripts/tools spark installs it"))?;
        Ok(Self { process, folder })
    }

    /// What its log says of errors: little of it reaches the client.
    pub(crate) fn errors(&self) -> Result<String> {
        let log = fs::read_to_string(self.folder.path().join("server.log"))?;
        let lines = log
            .lines()
            .filter(|line| line.contains("Exception") || line.contains("Error"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Where it answers: `sc://127.0.0.1:PORT`.
    pub(crate) fn remote(&mut self) -> Result<String> {
        let started = Instant::now();
        loop {
            let said = fs::read_to_string(self.folder.path().join("server.log"))?;
            let address = said.split("Spark Connect server started at: ").nth(1);
            if let Some(address) = address.and_then(|rest| rest.split_once('\n')) {
                return Ok(format!("sc://{}", address.0));
            }
            let ended = self.process.try_wait()?.is_some();
            if ended || started.elapsed() > Duration::from_secs(120) {
                return Err(format!("Spark does not start: {said}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Spark {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
