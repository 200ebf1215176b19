//! A real S3 server (versitygw) on a free loopback port, with one bucket.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Result, tool};

/// The server's access key id.
pub(crate) const ACCESS_KEY: &str = "AKIATESTTESTTESTTEST";
/// Its secret, which no log, report or argument may hold.
pub(crate) const SECRET_KEY: &str = "c2VjcmV0LW9mLXRoZS10ZXN0LXNlcnZlcg";
/// The bucket that is there from the start.
pub(crate) const BUCKET: &str = "census";

/// A running server; it ends when this is dropped.
pub(crate) struct ObjectStore {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    folder: tempfile::TempDir,
}

impl ObjectStore {
    /// Starts one; `arguments` go to versitygw, such as a certificate's.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let accounts = folder.path().join("accounts");
        fs::create_dir_all(data.join(BUCKET))?;
        fs::create_dir(&accounts)?;
        // versitygw does not say which port the system chose. This one is free until it takes it.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let log = fs::File::create(folder.path().join("server.log"))?;
        let mut process = Command::new(tool("bin/versitygw")?)
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY)
            .args(["--port", &address, "--iam-dir"])
            .arg(&accounts)
            .args(arguments)
            .arg("posix")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let started = Instant::now();
        while TcpStream::connect(&address).is_err() {
            if started.elapsed() > Duration::from_secs(30) || process.try_wait()?.is_some() {
                let _ = process.kill();
                let _ = process.wait();
                let said = fs::read_to_string(folder.path().join("server.log"))?;
                return Err(format!("versitygw does not start: {said}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            process,
            address,
            folder,
        })
    }

    /// What its bucket holds, as files.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join("data").join(BUCKET)
    }

    /// Gives a program the server's address and credentials.
    pub(crate) fn configure(&self, command: &mut Command) {
        command
            .env(
                "IMAGE_CENSUS_S3_ENDPOINT",
                format!("http://{}", self.address),
            )
            .env("IMAGE_CENSUS_S3_PATH_STYLE", "true")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    }

    /// Whether some object's parts are arriving.
    pub(crate) fn has_parts(&self) -> Result<bool> {
        // Where versitygw keeps them until they are completed.
        let uploads = self.bucket().join(".sgwtmp/multipart");
        let Ok(objects) = fs::read_dir(uploads) else {
            return Ok(false);
        };
        for object in objects {
            for upload in fs::read_dir(object?.path())? {
                if fs::read_dir(upload?.path())?.next().is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// How many uploads in parts were begun and are neither completed nor aborted.
    pub(crate) fn unfinished_uploads(&self) -> Result<usize> {
        let Ok(objects) = fs::read_dir(self.bucket().join(".sgwtmp/multipart")) else {
            return Ok(0);
        };
        let mut count = 0;
        for object in objects {
            // It may have been completed a moment ago.
            count += fs::read_dir(object?.path()).map_or(0, Iterator::count);
        }
        Ok(count)
    }

    /// Makes an account that may read and list the bucket and not write to it; its variables.
    pub(crate) fn create_reader(&self) -> Result<Vec<(&'static str, String)>> {
        let name = "AKIAREADERREADER";
        let reader = self.create_account(name)?;
        self.set_policy(&[serde_json::json!({
            "Effect": "Allow",
            "Principal": [name],
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")],
        })])?;
        Ok(reader)
    }

    /// Makes an account that may do nothing yet; its variables.
    pub(crate) fn create_account(&self, name: &str) -> Result<Vec<(&'static str, String)>> {
        let secret = "YWNjb3VudC1zZWNyZXQ";
        let mut admin = Command::new(tool("bin/versitygw")?);
        admin.args(["admin", "--access", ACCESS_KEY, "--secret", SECRET_KEY]);
        admin.args(["--endpoint-url", &format!("http://{}", self.address)]);
        admin.args(["create-user", "--access", name, "--secret", secret]);
        super::succeed(admin.args(["--role", "user"]))?;
        Ok(vec![
            ("AWS_ACCESS_KEY_ID", name.into()),
            ("AWS_SECRET_ACCESS_KEY", secret.into()),
        ])
    }

    /// Sets the bucket's policy.
    pub(crate) fn set_policy(&self, statements: &[serde_json::Value]) -> Result {
        let policy = self.folder.path().join("policy.json");
        let document = serde_json::json!({"Version": "2012-10-17", "Statement": statements});
        fs::write(&policy, document.to_string())?;
        let mut s3cmd = self.s3cmd()?;
        s3cmd
            .arg("setpolicy")
            .arg(&policy)
            .arg(format!("s3://{BUCKET}"));
        super::succeed(&mut s3cmd).map(drop)
    }

    /// Downloads all objects below a prefix with s3cmd, an independent client.
    pub(crate) fn download(&self, prefix: &str, folder: &Path) -> Result {
        let mut command = self.s3cmd()?;
        command.args(["get", "--recursive", "--quiet"]);
        command
            .arg(format!("s3://{BUCKET}/{prefix}"))
            .arg(format!("{}/", folder.display()));
        super::succeed(&mut command).map(drop)
    }

    /// Copies what is not there yet: from a folder to a location, or back. Both end in a slash.
    pub(crate) fn copy(&self, from: &str, to: &str) -> Result {
        let mut command = self.s3cmd()?;
        command.args(["sync", "--no-preserve", "--quiet", from, to]);
        super::succeed(&mut command).map(drop)
    }

    fn s3cmd(&self) -> Result<Command> {
        let settings = self.folder.path().join("s3cmd.conf");
        fs::write(
            &settings,
            format!(
                "[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\nhost_base = {0}\nhost_bucket = {0}\nuse_https = False\n",
                self.address
            ),
        )?;
        let mut command = Command::new(tool("python/bin/s3cmd")?);
        command.arg("--config").arg(&settings);
        Ok(command)
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
