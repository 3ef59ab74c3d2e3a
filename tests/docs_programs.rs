//! The programs of docs/start compile and run as written, each in a package of its own that has the dependencies named
//! beside it and nothing else. Only the port is another one: a free one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_readme_shows_the_first_of_them() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(include_str!("../docs/start/axum.rs")), "README.md has another program");
    let dependencies = include_str!("../docs/start/axum.toml");
    assert!(readme.contains(dependencies), "README.md has other dependencies");
}

#[test]
fn a_newcomer_types_less_than_twenty_lines() {
    let lines = include_str!("../docs/start/axum.rs").lines().filter(|line| !line.is_empty());
    assert!(lines.count() < 20);
}

#[tokio::test]
async fn axum() {
    let program = Program::start("axum");
    let answer = program.ask("/webapps/").await;
    assert_eq!(answer, "Some(203.0.113.5) is Some(\"alice\") at https://www.example.org/webapps\n");
}

#[tokio::test]
async fn hyper() {
    let program = Program::start("hyper");
    let answer = program.ask("/").await;
    assert_eq!(answer, "Some(203.0.113.5) is Some(\"alice\") at Some(\"https://www.example.org\")\n");
}

#[tokio::test]
async fn tonic() {
    let mut program = Program::start("tonic");
    let server = Endpoint::new(format!("http://{}", program.address)).unwrap();
    let mut client = HealthClient::new(server.connect().await.unwrap());
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    for (name, value) in PROXY_SAYS {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    client.check(request).await.unwrap();
    let mut told = String::new();
    program.stdout.read_line(&mut told).unwrap();
    assert_eq!(told, "Some(203.0.113.5) is Some(\"alice\")\n");
}

/// The client wrote the first address.
const PROXY_SAYS: [(&str, &str); 4] = [
    ("x-forwarded-for", "6.6.6.6, 203.0.113.5"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "www.example.org"),
    ("remote-user", "alice"),
];

/// One that runs until it is dropped.
struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Program {
    fn start(name: &str) -> Self {
        let address = free_address();
        let folder = write_package(name, address);
        let build = Command::new(env!("CARGO"))
            .args(["build", "--offline", "--quiet", "--message-format=short", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(scratch().join("target"))
            .output()
            .unwrap();
        assert!(build.status.success(), "{name}: {}", String::from_utf8_lossy(&build.stderr));
        let mut child = Command::new(scratch().join("target/debug").join(package_name(name)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { child, stdout, address };
        program.listens();
        program
    }

    /// Waits until it does.
    fn listens(&mut self) {
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(self.address).is_err() {
            assert_eq!(self.child.try_wait().unwrap(), None, "it ended");
            assert!(Instant::now() < end, "it does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    async fn ask(&self, path: &str) -> String {
        let mut request = http::Request::get(format!("http://{}{path}", self.address));
        for (name, value) in PROXY_SAYS {
            request = request.header(name, value);
        }
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let asked = client.request(request.body(Empty::new()).unwrap());
        let response = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With the versions of this package's lock file, so that nothing is downloaded.
fn write_package(name: &str, address: SocketAddr) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: String| fs::read_to_string(here.join("docs/start").join(file)).unwrap();
    let folder = scratch().join(name);
    fs::create_dir_all(folder.join("src")).unwrap();

    let dependencies = read(format!("{name}.toml"))
        .replace("tower-proxied = \"0.1\"", "tower-proxied = { version = \"0.1\" }")
        .replace("tower-proxied = { version = \"0.1\"", &format!("tower-proxied = {{ path = {here:?}"));
    assert!(dependencies.contains(&format!("{here:?}")), "it depends on this crate: {dependencies}");
    let name = package_name(name);
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[profile.dev]\ndebug = false\n\n{dependencies}"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(here.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();

    let program = read(format!("{}.rs", name.trim_start_matches("start-")));
    let (before, after) = program.split_once("127.0.0.1:8000").expect("the address, once");
    fs::write(folder.join("src/main.rs"), format!("{before}{address}{after}")).unwrap();
    folder
}

/// No name of a dependency.
fn package_name(name: &str) -> String {
    format!("start-{name}")
}

fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs_programs")
}

fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}
