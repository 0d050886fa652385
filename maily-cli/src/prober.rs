//! Checks from this machine: programs, and HTTP through the cluster's API server.

use std::{
    io,
    path::{self, Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use http::Request;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use maily_core::{
    program::{self, Limits, ProgramError},
    provider::{ErrorKind, ProbeRequest, Prober, ProviderError, Verdict, with_causes},
};
use maily_k8s::KubeCluster;

/// Carries out checks.
#[derive(Debug)]
pub(crate) struct ProgramProber {
    cluster: Arc<KubeCluster>,
    /// Where programs run, wherever `mailyctl` is called.
    folder: PathBuf,
}

impl ProgramProber {
    /// Programs run in this folder, that of the project file.
    pub(crate) fn new(cluster: Arc<KubeCluster>, folder: &Path) -> Self {
        Self { cluster, folder: folder.to_owned() }
    }
}

#[async_trait]
impl Prober for ProgramProber {
    async fn probe(&self, request: &ProbeRequest, limit: Duration) -> Result<Verdict, ProviderError> {
        match request {
            ProbeRequest::Command { argv } => command(argv, &self.folder, limit).await,
            ProbeRequest::Http { url, service: Some(service), expect } => {
                let status = self
                    .cluster
                    .probe_service(&service.namespace, &service.name, service.port, url, limit)
                    .await;
                Ok(match status {
                    Ok(status) if status == *expect => {
                        Verdict::Pass { evidence: format!("GET {url} answered {status}") }
                    }
                    Ok(status) => Verdict::Fail { evidence: format!("GET {url} answered {status}") },
                    Err(error) => Verdict::Insufficient { evidence: error.to_string() },
                })
            }
            ProbeRequest::Http { url, service: None, expect } => get(url, *expect, limit).await,
        }
    }
}

/// One GET from this machine. Redirects are answers like any other: a check says what it expects.
async fn get(url: &str, expect: u16, limit: Duration) -> Result<Verdict, ProviderError> {
    let refuse = |message: String| ProviderError::new(ErrorKind::Invalid, "probe", "get", url, message);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| refuse(format!("no certificate authorities of this machine: {error}")))?
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<&[u8]>>(connector);
    let request = Request::get(url)
        .header("user-agent", concat!("mailyctl/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| refuse(format!("it is no URL: {error}")))?;
    #[expect(clippy::disallowed_methods, reason = "an address outside lives by the machine's clock")]
    let answer = tokio::time::timeout(limit, client.request(request)).await;
    Ok(match answer {
        Err(_) => {
            let seconds = limit.as_millis().div_ceil(1000);
            Verdict::Insufficient { evidence: format!("GET {url}: no answer within {seconds} s") }
        }
        Ok(Err(error)) => Verdict::Insufficient { evidence: format!("GET {url}: {}", with_causes(&error)) },
        Ok(Ok(answer)) => {
            let evidence = format!("GET {url} answered {}", answer.status().as_u16());
            match answer.status().as_u16() == expect {
                true => Verdict::Pass { evidence },
                false => Verdict::Fail { evidence },
            }
        }
    })
}

async fn command(argv: &[String], folder: &Path, limit: Duration) -> Result<Verdict, ProviderError> {
    let Some((name, args)) = argv.split_first() else {
        return Ok(Verdict::Insufficient { evidence: "the command is empty".to_owned() });
    };
    let refuse = |error: &io::Error| {
        ProviderError::new(unstarted(error), "probe", "run", name.clone(), error.to_string())
    };
    // The folder of a file that is named alone is empty.
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let here = path::absolute(here).map_err(|error| refuse(&error))?;
    // Where a path of a program begins that runs elsewhere depends on the system; a name alone is looked for.
    let program = if name.contains('/') { here.join(name) } else { name.into() };
    let mut command = Command::new(program);
    command.args(args).current_dir(here);
    match program::run(command, Limits { time: limit, output: 0 }).await {
        Ok(ended) if ended.status.success() => Ok(Verdict::Pass { evidence: format!("`{name}` succeeded") }),
        Ok(ended) => {
            let last = ended.stderr.last(1).pop().unwrap_or_default();
            Ok(Verdict::Fail { evidence: format!("`{name}` ended with {}: {last}", ended.status) })
        }
        Err(ProgramError::Io(error)) => Err(refuse(&error)),
        Err(_) => Ok(Verdict::Insufficient { evidence: format!("`{name}` did not end in time") }),
    }
}

/// `ENOEXEC`: a file without a format that the system knows.
const NO_FORMAT: i32 = 8;

/// What it means that a program did not start. Where it is not the program's fault, the next look may do better.
fn unstarted(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong | io::ErrorKind::NotADirectory => {
            ErrorKind::Invalid
        }
        _ if error.raw_os_error() == Some(NO_FORMAT) => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests of programs live by the machine's clock")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    async fn command(argv: &[String], limit: Duration) -> Result<Verdict, ProviderError> {
        super::command(argv, Path::new(""), limit).await
    }

    #[tokio::test]
    async fn addresses_outside_are_asked_from_here() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/health", listener.local_addr().expect("is bound"));
        let server = tokio::spawn(async move {
            let mut asked = Vec::new();
            for status in ["200 OK", "302 Found"] {
                let (mut stream, _) = listener.accept().await.expect("is asked");
                let mut buffer = vec![0; 1024];
                let length = stream.read(&mut buffer).await.expect("says something");
                asked.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("listens");
            }
            asked
        });
        let evidence = format!("GET {url} answered 200");
        assert_eq!(get(&url, 200, LIMIT).await.expect("is asked"), Verdict::Pass { evidence });
        let evidence = format!("GET {url} answered 302");
        assert_eq!(get(&url, 200, LIMIT).await.expect("is asked"), Verdict::Fail { evidence });
        assert!(server.await.expect("ends")[0].starts_with("GET /health HTTP/1.1"));
        // Nobody listens any more: that is no verdict about the service.
        let silent = get(&url, 200, LIMIT).await.expect("is asked");
        assert!(matches!(silent, Verdict::Insufficient { .. }), "{silent:?}");
        assert!(get("http://a b/", 200, LIMIT).await.is_err());
    }

    #[tokio::test]
    async fn programs_pass_fail_or_are_missing() {
        let run = |program: &str| [program.to_owned()];
        let passed = command(&run("true"), LIMIT).await.expect("runs");
        assert!(matches!(passed, Verdict::Pass { .. }), "{passed:?}");
        let failed = command(&run("false"), LIMIT).await.expect("runs");
        assert!(matches!(failed, Verdict::Fail { .. }), "{failed:?}");
        assert_eq!(
            command(&run("/nowhere"), LIMIT).await.expect_err("is missing").kind(),
            ErrorKind::NotFound
        );
    }

    #[tokio::test]
    async fn a_program_runs_in_the_folder_of_the_project() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::TempDir::new().expect("can be made");
        let script = folder.path().join("smoke.sh");
        std::fs::write(&script, "#!/bin/sh\n[ -e beside ]\n").expect("can be written");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("is ours");
        std::fs::write(folder.path().join("beside"), "").expect("can be written");
        for argv in [&["./smoke.sh"][..], &["sh", "-c", "[ -e beside ]"]] {
            let argv: Vec<String> = argv.iter().copied().map(str::to_owned).collect();
            let verdict = super::command(&argv, folder.path(), LIMIT).await.expect("starts");
            assert!(matches!(verdict, Verdict::Pass { .. }), "{argv:?}: {verdict:?}");
        }
    }

    #[test]
    fn what_keeps_a_program_from_starting_is_told_apart() {
        // ENOENT, EACCES, ENOEXEC, E2BIG; then EAGAIN, ENFILE, EMFILE, ETXTBSY, which pass.
        for (number, kind) in [
            (2, ErrorKind::NotFound),
            (13, ErrorKind::PermissionDenied),
            (8, ErrorKind::Invalid),
            (7, ErrorKind::Invalid),
            (11, ErrorKind::Unavailable),
            (23, ErrorKind::Unavailable),
            (24, ErrorKind::Unavailable),
            (26, ErrorKind::Unavailable),
        ] {
            assert_eq!(unstarted(&io::Error::from_raw_os_error(number)), kind, "{number}");
        }
    }

    #[tokio::test]
    async fn what_a_program_leaves_in_the_background_neither_holds_the_check_nor_outlives_it() {
        let began = std::time::Instant::now();
        let script = "sleep 61 & echo $! >&2; exit 3";
        let argv = ["sh", "-c", script].map(str::to_owned);
        let verdict = command(&argv, LIMIT).await.expect("starts");
        let Verdict::Fail { evidence } = verdict else { panic!("{verdict:?}") };
        assert!(evidence.contains("exit status: 3"), "{evidence}");
        assert!(began.elapsed() < Duration::from_secs(3));
        let child = evidence.rsplit(' ').next().expect("says its child");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_in_time_gives_no_evidence() {
        let argv = ["sleep".to_owned(), "60".to_owned()];
        let verdict = command(&argv, Duration::from_millis(50)).await.expect("starts");
        assert!(matches!(verdict, Verdict::Insufficient { .. }), "{verdict:?}");
        let folder = command(&["/".to_owned()], LIMIT).await.expect_err("is a folder");
        assert_eq!(folder.kind(), ErrorKind::PermissionDenied);
    }
}
