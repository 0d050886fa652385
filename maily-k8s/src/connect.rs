//! From a kubeconfig to a client.

use std::path::PathBuf;

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use maily_core::provider::{ErrorKind, ProviderError};
use sha2::{Digest as _, Sha256};

use crate::{error::PROVIDER, proxy, request::CONNECT};

/// Which cluster to speak to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The kubeconfig; else `KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; else its current one.
    pub context: Option<String>,
}

/// A configuration, the context that it stands for, and the hash of its certificate authority.
pub(crate) struct Connection {
    pub(crate) config: Config,
    pub(crate) context: String,
    pub(crate) ca: String,
}

pub(crate) async fn configure(options: &ConnectOptions) -> Result<Connection, ProviderError> {
    let read = match (&options.kubeconfig, variable("KUBECONFIG")) {
        (Some(path), _) => Kubeconfig::read_from(path),
        (None, Some(list)) => merged(&list),
        (None, None) => Kubeconfig::read(),
    };
    let kubeconfig = read.map_err(|error| refuse(options, error))?;
    let context = options.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    if let Some(wanted) = &options.context
        && !kubeconfig.contexts.iter().any(|context| context.name == *wanted)
    {
        let known: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
        let message = format!("the kubeconfig has no context `{wanted}`");
        return Err(ProviderError::new(ErrorKind::NotFound, PROVIDER, "connect", place(options), message)
            .with_hint(format!("its contexts: {}; `--kubeconfig` chooses another file", known.join(", "))));
    }
    let named = kubeconfig.contexts.iter().find(|named| named.name == context);
    let cluster = named.and_then(|named| named.context.as_ref()).map(|context| context.cluster.clone());
    let cluster = kubeconfig.clusters.iter().find(|named| Some(&named.name) == cluster.as_ref());
    let own = cluster.and_then(|named| named.cluster.as_ref()?.proxy_url.clone());
    let select = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &select).await.map_err(|error| refuse(options, error))?;
    // Retries would repeat writes behind the engine's back and hide a blocked eviction for minutes (T13).
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    // Deadlines are ours, per request: a watch is silent for longer than a read may last (T14).
    config.read_timeout = None;
    config.write_timeout = None;
    let variable = |name: &str| variable(name).or_else(|| variable(&name.to_lowercase()));
    let (proxy, excluded) = (variable("HTTPS_PROXY"), variable("NO_PROXY"));
    config.proxy_url =
        proxy::choose(own.as_deref(), proxy.as_deref(), excluded.as_deref(), &config.cluster_url)
            .map_err(|error| refuse(options, KubeconfigError::ParseProxyUrl(error)))?;
    let ca = config.root_cert.as_ref().map(|certificates| fingerprint(certificates)).unwrap_or_default();
    Ok(Connection { config, context, ca })
}

/// The files of `KUBECONFIG` as one. As for kubectl, one that is not there says nothing while another one is.
fn merged(list: &str) -> Result<Kubeconfig, KubeconfigError> {
    let named: Vec<PathBuf> =
        std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect();
    let absent = |path: &PathBuf| {
        std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let all_absent = named.iter().all(absent);
    if named.is_empty() {
        return Kubeconfig::read();
    }
    let read = named.iter().filter(|path| all_absent || !absent(path)).map(Kubeconfig::read_from);
    read.reduce(|one, next| one?.merge(next?)).unwrap_or(Err(KubeconfigError::FindPath))
}

#[expect(
    clippy::disallowed_methods,
    reason = "kube reads these variables in any case, and reads them wrongly"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn fingerprint(certificates: &[Vec<u8>]) -> String {
    let mut sorted: Vec<&Vec<u8>> = certificates.iter().collect();
    sorted.sort();
    let mut hash = Sha256::new();
    for certificate in sorted {
        hash.update(certificate);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Host and port of a server, for people.
pub(crate) fn address(url: &http::Uri) -> String {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    format!("{}:{port}", url.host().unwrap_or_default())
}

/// A URL without the name and the password that may stand in it.
pub(crate) fn without_credentials(url: &http::Uri) -> String {
    let text = url.to_string();
    match url.authority().and_then(|authority| authority.as_str().rsplit_once('@')) {
        Some((user, _)) => text.replacen(&format!("{user}@"), "", 1),
        None => text,
    }
}

fn place(options: &ConnectOptions) -> String {
    options.kubeconfig.as_ref().map_or_else(|| "kubeconfig".to_owned(), |path| path.display().to_string())
}

fn refuse(options: &ConnectOptions, error: KubeconfigError) -> ProviderError {
    let (kind, hint) = match &error {
        KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath => {
            (ErrorKind::NotFound, "name the file with `--kubeconfig` or KUBECONFIG")
        }
        KubeconfigError::CurrentContextNotSet
        | KubeconfigError::LoadContext(_)
        | KubeconfigError::LoadClusterOfContext(_) => {
            (ErrorKind::NotFound, "`kubectl config get-contexts` lists what there is")
        }
        _ => (ErrorKind::Invalid, "check the file with `kubectl config view`"),
    };
    let message = match &error {
        // The parser shows the lines around a mistake, and with them tokens and keys.
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!("it is no kubeconfig: line {}, column {}", at.line(), at.column()),
            None => "it is no kubeconfig".to_owned(),
        },
        // Our place is the file that was named.
        KubeconfigError::ReadConfig(error, path) if options.kubeconfig.as_ref() == Some(path) => {
            format!("the kubeconfig cannot be read: {error}")
        }
        KubeconfigError::ReadConfig(error, path) => {
            format!("`{}` cannot be read: {error}", path.display())
        }
        error => error.to_string(),
    };
    ProviderError::new(kind, PROVIDER, "connect", place(options), message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named_once() {
        let path = std::env::temp_dir().join(format!("maily-absent-{}", std::process::id()));
        let options = ConnectOptions { kubeconfig: Some(path.clone()), context: None };
        let error = configure(&options).await.err().unwrap().to_string();
        assert_eq!(error.matches(&path.display().to_string()).count(), 1, "{error}");
        assert!(error.contains("cannot be read: No such file"), "{error}");
    }

    #[test]
    fn a_server_is_named_without_credentials() {
        for (url, wanted, shown) in [
            ("https://me:hunter2@k8s.example/base", "k8s.example:443", "https://k8s.example/base"),
            ("http://127.0.0.1:8001", "127.0.0.1:8001", "http://127.0.0.1:8001/"),
            ("https://[::1]:6443", "[::1]:6443", "https://[::1]:6443/"),
        ] {
            let url: http::Uri = url.parse().unwrap();
            assert_eq!((address(&url).as_str(), without_credentials(&url).as_str()), (wanted, shown));
        }
    }

    #[tokio::test]
    async fn a_broken_kubeconfig_does_not_show_its_lines() {
        for (number, user) in ["token: [hunter2hunter2]", "token: hunter2hunter2\n  bad"].iter().enumerate() {
            let path = std::env::temp_dir().join(format!("maily-broken-{}-{number}", std::process::id()));
            std::fs::write(&path, format!("apiVersion: v1\nusers:\n- name: u\n  user:\n    {user}\n"))
                .unwrap();
            let options = ConnectOptions { kubeconfig: Some(path.clone()), context: None };
            let error = configure(&options).await.err().unwrap();
            std::fs::remove_file(&path).unwrap();
            let mut said = format!("{error} {error:?}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                said.push_str(&format!(" {cause} {cause:?}"));
                source = cause.source();
            }
            assert!(!said.contains("hunter2"), "{said}");
            assert!(said.contains("line "), "{said}");
        }
    }
}
