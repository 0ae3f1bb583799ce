//! `local --data`, as systemd starts it: a process of its own, which can be killed.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Client, functions, stack};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::watch,
};
use uuid::Uuid;

/// A machine: what stays when the server is started again.
pub(crate) struct Machine {
    folder: TempDir,
    port: u16,
    options: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    /// How often a server was started here.
    starts: watch::Sender<u64>,
}

/// A server that runs.
pub(crate) struct Server(Child);

impl Machine {
    /// A new one. Its server is started with these options, too.
    pub(crate) async fn new(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // What `sam build` would have made. This process's stack has built it.
        for function in functions() {
            let bootstrap = folder.path().join("artifacts").join(&function.id).join("bootstrap");
            fs::create_dir_all(bootstrap.parent().unwrap()).unwrap();
            symlink(program().with_file_name(&function.package), bootstrap).unwrap();
        }
        let options = options.iter().map(OsString::from).collect();
        Self { folder, port: free_ports().await, options, environment: Vec::new(), starts: watch::Sender::new(0) }
    }

    /// The same with a variable in the server's environment.
    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The folder of `--data`.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The API.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The engines.
    pub(crate) fn aws_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port + 1)
    }

    /// How often a server was started: to wait for the next time.
    pub(crate) fn starts(&self) -> watch::Receiver<u64> {
        self.starts.subscribe()
    }

    /// Starts the server and waits until it serves.
    pub(crate) async fn start(&self) -> Server {
        self.start_by(Command::new(program())).await
    }

    /// The same by a command that ends with the program.
    pub(crate) async fn start_by(&self, mut command: Command) -> Server {
        command
            .args(["--no-demo", "--port", &self.port.to_string(), "--data"])
            .arg(self.data())
            .arg("--artifacts")
            .arg(self.folder.path().join("artifacts"))
            .args(&self.options)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next_line().await.unwrap().expect("the server says why it ends");
            if line.starts_with("Ctrl-C stops everything") {
                break;
            }
        }
        self.starts.send_modify(|starts| *starts += 1);
        Server(server)
    }

    /// Runs one command of an administrator's.
    pub(crate) async fn admin(&self, command: Value) -> Value {
        let url = format!("{}/2015-03-31/functions/admin/invocations", self.aws_url());
        Client::nobody().post(&url, command).await.ok()
    }

    /// A new user who is a miner, too: the id and a client.
    pub(crate) async fn account(&self) -> (String, Client) {
        let user = self.admin(json!({"command": "create_user", "roles": ["miner"]})).await["user_id"].take();
        let key = self.admin(json!({"command": "create_key", "user_id": user})).await["key"].take();
        let many = json!({"command": "set_quotas", "user_id": user, "quotas": {"*": 1_000_000, "global": 1_000_000}});
        self.admin(many).await;
        (tests::text(&user), Client::with_key(tests::text(&key)))
    }
}

impl Server {
    /// Kills it as the kernel does, without a word.
    pub(crate) async fn kill(mut self) {
        self.0.kill().await.unwrap();
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id().unwrap()
    }
}

/// The program of the local stack.
pub(crate) fn program() -> PathBuf {
    stack().binary("get-job").unwrap().with_file_name("local")
}

/// Copies a folder of `--data`.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A port that is free, and so is the next one. Below those that the system gives to connections: between two starts it would give this one.
async fn free_ports() -> u16 {
    loop {
        let [a, b, ..] = Uuid::new_v4().into_bytes();
        let port = 10_000 + u16::from_be_bytes([a, b]) % 20_000;
        let first = TcpListener::bind(("127.0.0.1", port)).await;
        if first.is_ok() && TcpListener::bind(("127.0.0.1", port + 1)).await.is_ok() {
            return port;
        }
    }
}
