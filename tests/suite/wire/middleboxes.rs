//! Starts through the programs that stand between containers and Vault: nginx, HAProxy, Squid,
//! tinyproxy and dnsmasq, as Debian has them. A test whose program is not there says so.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_vault::{Gate, Shut, TestVault};

use super::certificates::{AUTHORITY, Files, SERVER, made};
use crate::support::launch::{Served, eventually, not_run};
use crate::support::own_network::alone;
use crate::support::{Run, directory};

/// A program that serves on a port of this machine until it is dropped.
struct Daemon {
    child: Child,
    /// What it keeps in files.
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Starts a program with this configuration, and waits until it listens.
    fn start(program: &Path, port: u16, configuration: impl FnOnce(&Path) -> String) -> Daemon {
        let directory = directory();
        // Squid gives up root's rights.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("its owner");
        let file = directory.path().join("configuration");
        fs::write(&file, configuration(directory.path())).expect("written");
        let mut command = Command::new(program);
        match program.file_name().and_then(|name| name.to_str()) {
            Some("haproxy") => command.args(["-db", "-f"]),
            Some("nginx") => command.args(["-e", "stderr", "-c"]),
            // What it shares with itself is called after it.
            Some("squid") => {
                command.args(["-N", "-n", &format!("t{port}p{}", std::process::id()), "-f"])
            }
            Some("dnsmasq") => command.args(["-k", "-C"]),
            _ => command.args(["-d", "-c"]),
        };
        let output = fs::File::create(directory.path().join("output")).expect("a file");
        let error = output.try_clone().expect("a file");
        let child = command.arg(&file).stdin(Stdio::null()).stdout(output).stderr(error).spawn();
        let daemon = Daemon { child: child.expect("it runs"), directory };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        eventually(&program.display().to_string(), || {
            let connected = TcpStream::connect(address).ok();
            let is_over = connected.is_none() && daemon.is_over();
            assert!(!is_over, "{}: {}", program.display(), daemon.output());
            connected
        });
        daemon
    }

    /// Whether it has ended by itself.
    fn is_over(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    }

    fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Squid removes what it shares.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Where a program is, if it is there: not every `PATH` has the directory of servers.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    directories.map(|directory| directory.join(name)).find(|file| file.is_file())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// The run, with a secret more for each of many requests at once.
fn many(served: &Served, run: Run) -> Run {
    served.with_many(run, 30)
}

#[track_caller]
fn starts(run: &Run, what: &str) {
    let ended = run.clone().marker().end();
    assert!(ended.started(), "{what}: {}", ended.stderr);
    assert!(!ended.stderr.contains("trying again"), "{what}: {}", ended.stderr);
}

/// The certificate and key of a server for localhost, in one file, and its authority.
struct Identity {
    vault: TestVault,
}

impl Identity {
    fn new() -> Identity {
        Identity { vault: TestVault::builder().https().start() }
    }

    fn authority(&self) -> PathBuf {
        self.vault.tls().expect("https").ca()
    }

    /// Writes certificate and key into a directory.
    fn write(&self, directory: &Path) -> PathBuf {
        let files = self.vault.tls().expect("https");
        let text = |file: PathBuf| fs::read_to_string(file).expect("PEM");
        let both = directory.join("identity.pem");
        fs::write(&both, text(files.server_cert()) + &text(files.server_key())).expect("written");
        both
    }
}

fn nginx(port: u16, listen: &str, server: &str) -> impl FnOnce(&Path) -> String {
    let (listen, server) = (listen.to_owned(), server.to_owned());
    move |directory| {
        let directory = directory.display();
        format!(
            "daemon off; master_process off; pid {directory}/pid; events {{}}\n\
             http {{ access_log off; client_body_temp_path {directory}/b; \
             proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f; \
             uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;\n\
             server {{ listen 127.0.0.1:{port} {listen}; {server} }} }}"
        )
    }
}

#[test]
fn nginx_in_front_of_vault() {
    const NAME: &str = "wire::middleboxes::nginx_in_front_of_vault";
    let Some(nginx_program) = program("nginx") else { return not_run(NAME, "no nginx") };
    let (served, identity) = (Served::http(), Identity::new());
    let files = directory();
    let pem = identity.write(files.path()).display().to_string();
    for (listen, client) in [
        ("", ""),
        ("ssl", ""),
        ("ssl http2", ""),
        // It asks for a client's certificate, and takes any or none.
        ("ssl http2", "ssl_verify_client optional_no_ca;"),
    ] {
        let port = free_port();
        let to = served.vault.addr();
        let tls = match listen {
            "" => String::new(),
            _ => format!("ssl_certificate {pem}; ssl_certificate_key {pem}; {client}"),
        };
        // Whoever asks for another name is let in nowhere.
        let rules = format!(
            "{tls} location / {{ if ($host != \"vault.localhost\") {{ return 421; }} \
             proxy_pass {to}; }}"
        );
        let _nginx = Daemon::start(&nginx_program, port, nginx(port, listen, &rules));
        let scheme = if listen.is_empty() { "http" } else { "https" };
        for host in ["vault.localhost", "vault.localhost."] {
            let run = many(&served, served.with_approle())
                .env("VAULT_ADDR", format!("{scheme}://{host}:{port}"))
                .env("VAULT_CACERT", identity.authority())
                // The certificate is for localhost.
                .env("VAULT_SKIP_VERIFY", (scheme == "https").to_string());
            starts(&run, &format!("nginx with {listen:?} {client:?} for {host}"));
        }
    }
}

/// An old client certificate is one for OpenSSL, and so for what stands in front of Vault.
#[test]
fn nginx_takes_a_clients_certificate_of_version_1() {
    const NAME: &str = "wire::middleboxes::nginx_takes_a_clients_certificate_of_version_1";
    let Some(nginx_program) = program("nginx") else { return not_run(NAME, "no nginx") };
    let (served, files) = (Served::http(), Files::new());
    files.certificate("ca", &made(None, AUTHORITY));
    files.certificate("server", &made(Some("ca"), SERVER));
    files.certificate("v1", &made(Some("ca"), ""));
    let path = |name: &str| files.path(name).display().to_string();
    let (port, to) = (free_port(), served.vault.addr());
    let rules = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; \
         ssl_verify_client on; location / {{ proxy_pass {to}; }}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let _nginx = Daemon::start(&nginx_program, port, nginx(port, "ssl http2", &rules));
    let run = served
        .with_approle()
        .env("VAULT_ADDR", format!("https://127.0.0.1:{port}"))
        .env("VAULT_CACERT", path("ca.pem"));
    let known = run.clone().env("VAULT_CLIENT_CERT", path("v1.pem"));
    starts(&known.env("VAULT_CLIENT_KEY", path("v1.key")), "version 1");
    // nginx says so in a page of its own.
    let ended = run.marker().end();
    assert!(!ended.started(), "{}", ended.stderr);
}

#[test]
fn haproxy_in_front_of_vault() {
    const NAME: &str = "wire::middleboxes::haproxy_in_front_of_vault";
    let Some(haproxy) = program("haproxy") else { return not_run(NAME, "no haproxy") };
    let (served, identity) = (Served::http(), Identity::new());
    let files = directory();
    let pem = identity.write(files.path()).display().to_string();
    for (bind, scheme) in [
        (String::new(), "http"),
        (format!("ssl crt {pem}"), "https"),
        (format!("ssl crt {pem} alpn h2,http/1.1"), "https"),
        (
            format!("ssl crt {pem} alpn h2,http/1.1 ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2"),
            "https",
        ),
    ] {
        let (port, to) = (free_port(), served.vault.socket_addr());
        let _haproxy = Daemon::start(&haproxy, port, |_| {
            format!(
                "defaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server \
                 20s\nfrontend f\n bind 127.0.0.1:{port} {bind}\n default_backend b\nbackend b\n \
                 server s {to}\n"
            )
        });
        let run = many(&served, served.with_approle())
            .env("VAULT_ADDR", format!("{scheme}://localhost:{port}"))
            .env("VAULT_CACERT", identity.authority());
        starts(&run, &format!("HAProxy with {bind:?}"));
    }
}

/// What the other machine is called, and where it is: proxies are asked for other machines alone.
const NETWORK: &[&str] = &["ip address add 10.1.2.3/32 dev lo"];
const HOSTS: (&str, &str) = ("/etc/hosts", "127.0.0.1 localhost\n10.1.2.3 vault.test\n");

/// Each server has a port of its own.
static PORTS: AtomicU16 = AtomicU16::new(8200);

/// Starts through a proxy at a port, over http and https, with this in front of its address.
fn through(port: u16, credentials: &str, check: impl Fn(&Run, &str)) {
    for (served, scheme, variable) in
        [(Served::http(), "http", "HTTP_PROXY"), (Served::https(), "https", "HTTPS_PROXY")]
    {
        let at = SocketAddr::from(([10, 1, 2, 3], PORTS.fetch_add(1, Ordering::Relaxed)));
        let _gate = Gate::at(at, served.vault.socket_addr(), usize::MAX, Shut::Refused);
        let run = many(&served, served.with_approle())
            .env("VAULT_ADDR", format!("{scheme}://vault.test:{}", at.port()))
            .env("VAULT_SKIP_VERIFY", (scheme == "https").to_string())
            .env(variable, format!("http://{credentials}127.0.0.1:{port}"));
        check(&run, scheme);
    }
}

fn refused(run: &Run, scheme: &str) {
    let ended = run.clone().marker().end();
    assert_eq!((ended.code, ended.started()), (Some(69), false), "{scheme}: {}", ended.stderr);
    for part in ["proxy", "credentials", "1 try"] {
        assert!(ended.stderr.contains(part), "{scheme}: no {part:?} in {}", ended.stderr);
    }
}

const AT: u16 = 3128;

#[test]
fn squid_between_us_and_vault() {
    const NAME: &str = "wire::middleboxes::squid_between_us_and_vault";
    let Some(squid) = program("squid") else { return not_run(NAME, "no squid") };
    let Some(checker) = Some(Path::new("/usr/lib/squid/basic_ncsa_auth")).filter(|it| it.is_file())
    else {
        return not_run(NAME, "no password checker of squid");
    };
    alone(NAME, NETWORK, &[HOSTS], || {
        for is_closed in [false, true] {
            let _squid = Daemon::start(&squid, AT, |directory| {
                // `user:secret`, as openssl passwd makes it.
                let password = directory.join("passwords");
                fs::write(&password, "user:$apr1$aaaaaaaa$MqchNCVdxX0pf/Qh4kRT.0\n")
                    .expect("written");
                squid_configuration(directory, is_closed.then_some((checker, &password)))
            });
            let credentials = if is_closed { "user:secret@" } else { "" };
            through(AT, credentials, |run, scheme| starts(run, &format!("Squid, {scheme}")));
            if is_closed {
                through(AT, "user:wrong@", refused);
                through(AT, "", refused);
            }
        }
    });
}

fn squid_configuration(directory: &Path, password: Option<(&Path, &PathBuf)>) -> String {
    let directory = directory.display();
    let access = match password {
        Some((checker, password)) => format!(
            "auth_param basic program {} {}\nacl known proxy_auth REQUIRED\nhttp_access allow \
             known\n",
            checker.display(),
            password.display()
        ),
        None => "http_access allow all\n".to_owned(),
    };
    format!(
        "http_port 127.0.0.1:{AT}\n{access}http_access deny all\ncache deny all\n\
         pid_filename none\n\
         access_log none\ncache_log /dev/null\ncache_store_log none\ncoredump_dir {directory}\n\
         visible_hostname squid.test\nshutdown_lifetime 0 seconds\npinger_enable off\n"
    )
}

#[test]
fn tinyproxy_between_us_and_vault() {
    const NAME: &str = "wire::middleboxes::tinyproxy_between_us_and_vault";
    let Some(tinyproxy) = program("tinyproxy") else { return not_run(NAME, "no tinyproxy") };
    alone(NAME, NETWORK, &[HOSTS], || {
        for is_closed in [false, true] {
            let access = if is_closed { "BasicAuth user secret\n" } else { "" };
            let _tinyproxy = Daemon::start(&tinyproxy, AT, |_| {
                format!("Listen 127.0.0.1\nPort {AT}\nTimeout 20\nMaxClients 200\n{access}")
            });
            let credentials = if is_closed { "user:secret@" } else { "" };
            through(AT, credentials, |run, scheme| {
                // It closes connections without a word: each request may have a try more.
                let ended = run.clone().marker().end();
                assert!(ended.started(), "tinyproxy, {scheme}: {}", ended.stderr);
            });
            if is_closed {
                // It refuses before it has read the body, and resets the connection: its answer
                // may be lost on the way.
                through(AT, "", |run, scheme| {
                    let ended = run.fails(69, &["proxy", "_PROXY"]);
                    assert!(ended.stderr.contains("1 try"), "{scheme}: {}", ended.stderr);
                });
            }
        }
    });
}

/// A pod's resolv.conf, with a name server that knows the whole name alone, has an IPv4 address for
/// it, and refuses what it does not know.
#[test]
fn dnsmasq_as_the_name_server() {
    const NAME: &str = "wire::middleboxes::dnsmasq_as_the_name_server";
    const PODS: &str = "nameserver 127.0.0.1\nsearch ns.svc.cluster.local svc.cluster.local\n\
                        options ndots:5\n";
    let Some(dnsmasq) = program("dnsmasq") else { return not_run(NAME, "no dnsmasq") };
    let files = [("/etc/resolv.conf", PODS), ("/etc/hosts", "127.0.0.1 localhost\n")];
    alone(NAME, NETWORK, &files, || {
        let _dnsmasq = Daemon::start(&dnsmasq, 53, |_| {
            "no-resolv\nno-hosts\nuser=root\nlisten-address=127.0.0.1\n\
             bind-interfaces\nhost-record=vault.test,10.1.2.3\n"
                .to_owned()
        });
        let served = Served::http();
        let at = SocketAddr::from(([10, 1, 2, 3], 8200));
        let _gate = Gate::at(at, served.vault.socket_addr(), usize::MAX, Shut::Refused);
        for host in ["vault.test", "vault.test."] {
            let run = served.with_approle().env("VAULT_ADDR", format!("http://{host}:8200"));
            let ended = run.marker().end();
            assert!(ended.started(), "{host}: {}", ended.stderr);
        }
    });
}
