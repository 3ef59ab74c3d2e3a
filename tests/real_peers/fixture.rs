//! Real servers on the loopback, each with a directory of its own. What a test started ends with it, also when it panics.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to start, and to end.
const START: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(5);

/// Whether all of these are installed. Where one is not the test is skipped, loudly; with `REAL_PEERS=require` it fails.
pub(crate) fn are_installed(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| find(program).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    let is_required = std::env::var_os("REAL_PEERS").is_some_and(|value| value == "require");
    assert!(!is_required, "not installed: {missing:?}");
    eprintln!("SKIPPED: not installed: {missing:?}");
    false
}

/// The path of an installed program. The `sbin`s are in nobody's `PATH` but root's.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The first line that a program says of itself, without its home page.
pub(crate) fn version(program: &str, flag: &str) -> String {
    let said = Command::new(find(program).unwrap()).arg(flag).output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| line.contains('.')).unwrap_or("unknown");
    line.split(" - ").next().unwrap_or(line).trim().to_owned()
}

/// A directory that goes with this value. Others may read it: servers that are started by root do not stay root.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("real-peers-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The last of a browser's processes may still write while it ends.
        for _ in 0..50 {
            if fs::remove_dir_all(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{} stays", self.0.display());
    }
}

/// A process that was started here. Its descendants are ended by itself.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program. What it says goes to a file.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let said = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child, log }
    }

    /// What the program has said.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `is_ready` gives something; a program that ends before has failed.
    pub(crate) fn until<T>(&mut self, mut is_ready: impl FnMut(&Self) -> Option<T>) -> Result<T, String> {
        let end = Instant::now() + START;
        loop {
            if let Some(ready) = is_ready(self) {
                return Ok(ready);
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("ended with {status}: {}", self.said()));
            }
            if Instant::now() > end {
                return Err(format!("not ready in {START:?}: {}", self.said()));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until something listens at all of these.
    pub(crate) fn until_listening(&mut self, addresses: &[SocketAddr]) -> Result<(), String> {
        self.until(|_| addresses.iter().all(|address| TcpStream::connect(address).is_ok()).then_some(()))
    }

    /// As a crash ends it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // Not `Child::kill`, which leaves the descendants alone.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let end = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                eprintln!("{} did not end by itself", self.log.display());
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// An address that is free now. A server that finds it taken is to be started again with another one.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// Tries again where another process took a free address first.
pub(crate) fn with_retries<T>(start: impl Fn() -> Result<T, String>) -> T {
    let mut last = String::new();
    for _ in 0..3 {
        match start() {
            Ok(started) => return started,
            Err(error) => last = error,
        }
    }
    panic!("{last}");
}

/// An example of this crate, built as it is now.
pub(crate) fn example(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let here = std::env::current_exe().unwrap();
        let profile = here.parent().and_then(Path::parent).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--quiet", "--example", "app_server", "--example", "front_end"]);
        cargo.arg("--target-dir").arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        // With what cargo tells this test of its package, build scripts would run anew.
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
            {
                cargo.env_remove(name);
            }
        }
        assert!(cargo.status().unwrap().success(), "the examples are to be built");
        profile.join("examples")
    });
    Command::new(directory.join(name))
}

/// An application server of the examples. It comes back at the same address.
pub(crate) struct Member {
    route: String,
    flags: Vec<String>,
    address: SocketAddr,
    directory: Directory,
    running: Option<Running>,
}

impl Member {
    pub(crate) fn start(route: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| String::from(*flag)).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut member =
            Self { route: route.into(), flags, address, directory: Directory::new(), running: None };
        member.come_back();
        member
    }

    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
    }

    pub(crate) fn come_back(&mut self) {
        let mut command = example("app_server");
        command.args(["--listen", &self.address.to_string(), "--route", &self.route]).args(&self.flags);
        let mut running = Running::start(&mut command, self.directory.path().join("log"));
        self.address = running.until(|running| address_after("http://", &running.said())).unwrap();
        self.running = Some(running);
    }
}

/// The address that a server says behind this text, once the line is whole.
pub(crate) fn address_after(text: &str, said: &str) -> Option<SocketAddr> {
    let (_, rest) = said.split_once(text)?;
    let (line, _) = rest.split_once('\n')?;
    line.split(['/', ' ']).next()?.parse().ok()
}
