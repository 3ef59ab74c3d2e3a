//! Apache httpd, nginx and HAProxy before three application servers, with a configuration file as it stands.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::client::To;
use crate::fixture::{Directory, Member, Running, find, free_address, with_retries};

pub(crate) const SECRET: &str = "correct-horse-battery-staple";

/// `htpasswd` and `mkpasswd` of `wonderland`.
const PASSWORDS: &str = "alice:$apr1$peers$UstKlsoYe9kpDXotDV2m.1\n";
const PASSWORD: &str = "$5$peers$lpc9i/D0pb91mWZNp1xHxWHjacfO9EuoFgwr46GfTo3";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Apache,
    Nginx,
    HaProxy,
}

impl Server {
    pub(crate) const ALL: [Self; 3] = [Self::Apache, Self::Nginx, Self::HaProxy];

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Apache => "apache2",
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }

    /// As `app_server --front` and the files of configurations call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }

    fn command(self, configuration: &Path, run: &Path) -> Command {
        let mut command = Command::new(find(self.program()).unwrap());
        match self {
            Self::Apache => command.arg("-f").arg(configuration).arg("-d").arg(run).arg("-DFOREGROUND"),
            // Without -e it writes to the log of the package before it reads the file.
            Self::Nginx => command
                .args(["-g", "daemon off;", "-e"])
                .arg(run.join("error.log"))
                .arg("-p")
                .arg(run)
                .arg("-c")
                .arg(configuration),
            Self::HaProxy => command.arg("-db").arg("-f").arg(configuration),
        };
        command
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// Of `examples/conf`, with an application that declares this front end.
    Recommended,
    /// What people copy, with an application that believes no claim and asks for the secret.
    Naive,
}

/// A front end and what stands behind it.
pub(crate) struct Front {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// `http-1` and `http-2`, which keep the prefix.
    pub(crate) members: [Member; 2],
    _wiki: Member,
    _running: Running,
    _directory: Directory,
}

impl Front {
    pub(crate) fn start(server: Server, recipe: Recipe) -> Self {
        let hosts = ["--allowed-host", "www.example.com"];
        let front = match recipe {
            Recipe::Recommended => [&hosts[..], &["--front", server.name()]].concat(),
            Recipe::Naive => hosts.to_vec(),
        };
        let directory = match recipe {
            Recipe::Recommended => "examples/conf",
            Recipe::Naive => "tests/real_peers/naive",
        };
        let file = Path::new(directory).join(server.name()).with_extension("conf");
        Self::start_with(server, &file, &front)
    }

    /// With this file of the project, and application servers with these flags.
    pub(crate) fn start_with(server: Server, file: &Path, front: &[&str]) -> Self {
        let secret = format!("X-Proxy-Secret={SECRET}");
        let shared = [&["--trusted", "127.0.0.1", "--secret-header", &secret], front].concat();
        let keeps = [&shared[..], &["--prefix", "/webapps"]].concat();
        let strips = [&shared[..], &["--prefix", "/wiki", "--prefix-mode", "strips"]].concat();
        let members = [Member::start("http-1", &keeps), Member::start("http-2", &keeps)];
        let wiki = Member::start("wiki", &strips);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let [http_1, http_2] = members.each_ref().map(Member::address);
        let Started { http, https, running, directory } =
            with_retries(|| run(server, &file, [http_1, http_2, wiki.address()], true));
        Self { http, https, members, _wiki: wiki, _running: running, _directory: directory }
    }

    pub(crate) fn http(&self) -> To {
        To::Http(self.http)
    }

    pub(crate) fn https(&self) -> To {
        To::Https(self.https)
    }

    pub(crate) fn member(&mut self, route: &str) -> &mut Member {
        self.members.iter_mut().find(|member| member.route() == route).expect("a member has this route")
    }
}

/// A server before others that are started elsewhere.
pub(crate) struct Started {
    pub(crate) http: SocketAddr,
    https: SocketAddr,
    running: Running,
    directory: Directory,
}

impl Started {
    /// With this file of the project, which speaks no TLS.
    pub(crate) fn plain(server: Server, file: &str, members: [SocketAddr; 2]) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let [http_1, http_2] = members;
        with_retries(|| run(server, &file, [http_1, http_2, http_1], false))
    }
}

fn run(server: Server, file: &Path, members: [SocketAddr; 3], has_tls: bool) -> Result<Started, String> {
    let [http_1, http_2, wiki] = members;
    let directory = Directory::new();
    let signed = rcgen::generate_simple_self_signed(vec![String::from("www.example.com")]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let (http, https) = (free_address(), free_address());
    let variables = [
        ("HTTP_LISTEN", http.to_string()),
        ("HTTPS_LISTEN", https.to_string()),
        ("HTTP_1", http_1.to_string()),
        ("HTTP_2", http_2.to_string()),
        ("WIKI", wiki.to_string()),
        ("CERTIFICATE", directory.write("certificate.pem", &certificate)),
        ("KEY", directory.write("key.pem", &key)),
        ("CERTIFICATE_AND_KEY", directory.write("both.pem", &format!("{certificate}{key}"))),
        ("PASSWORDS", directory.write("passwords", PASSWORDS)),
        ("PASSWORD", PASSWORD.to_owned()),
        ("PROXY_SECRET", SECRET.to_owned()),
        ("MODULES", String::from("/usr/lib/apache2/modules")),
        ("RUN", directory.path().to_str().unwrap().to_owned()),
    ];
    let configuration = match server {
        Server::Nginx => directory.write("nginx.conf", &filled_in(file, &variables)).into(),
        Server::Apache | Server::HaProxy => file.to_owned(),
    };
    let mut command = server.command(&configuration, directory.path());
    command.envs(variables);
    let mut running = Running::start(&mut command, directory.path().join("log"));
    let ready = running.until_listening(&[http, https][..if has_tls { 2 } else { 1 }]);
    ready.map_err(|error| {
        let log = fs::read_to_string(directory.path().join("error.log")).unwrap_or_default();
        format!("{}: {error}{log}", server.program())
    })?;
    Ok(Started { http, https, running, directory })
}

/// As `envsubst` does it: nginx reads no variables of the environment.
fn filled_in(file: &Path, variables: &[(&str, String)]) -> String {
    let text = fs::read_to_string(file).unwrap();
    variables.iter().fold(text, |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}
