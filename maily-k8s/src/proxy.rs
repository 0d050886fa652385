//! Which proxy leads to the API server.
//!
//! The kubeconfig's own `proxy-url` counts as it is. `HTTPS_PROXY` counts unless `NO_PROXY` names the *server*: kube
//! compares `NO_PROXY` with the proxy's address instead, which sends cluster traffic through proxies that were
//! excluded, and drops proxies that were named.

use std::net::IpAddr;

use http::Uri;

/// The proxy of a cluster: its kubeconfig entry's, else the environment's.
pub(crate) fn choose(
    own: Option<&str>,
    environment: Option<&str>,
    excluded: Option<&str>,
    server: &Uri,
) -> Result<Option<Uri>, http::uri::InvalidUri> {
    if let Some(own) = own.filter(|text| !text.is_empty()) {
        return own.parse().map(Some);
    }
    let Some(environment) = environment.filter(|text| !text.is_empty()) else { return Ok(None) };
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    if is_local(host) || is_excluded(excluded.unwrap_or_default(), host, server.port_u16().unwrap_or(443)) {
        return Ok(None);
    }
    // Without a scheme it is plain HTTP to the proxy, as everybody reads it.
    if environment.contains("://") { environment.parse() } else { format!("http://{environment}").parse() }
        .map(Some)
}

/// Nobody's proxy leads to this very machine.
fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_excluded(list: &str, host: &str, port: u16) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| matches(entry, &host, port))
}

fn matches(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let ip = host.parse::<IpAddr>().ok();
    if let Some((network, bits)) = entry.split_once('/') {
        let parsed = network.parse().ok().zip(bits.parse().ok());
        return ip.zip(parsed).is_some_and(|(ip, (network, bits))| contains(network, bits, ip));
    }
    if let Ok(named) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return ip == Some(named);
    }
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, text)) => match text.parse() {
            Ok(number) => (name, Some(number)),
            Err(_) => return false,
        },
        None => (entry, None),
    };
    if wanted.is_some_and(|wanted: u16| wanted != port) {
        return false;
    }
    let name = name.trim_start_matches('*').to_ascii_lowercase();
    match name.strip_prefix('.') {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host == name || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn contains(network: IpAddr, bits: u32, ip: IpAddr) -> bool {
    let (network, ip, width) = match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            (u128::from(network.to_bits()), u128::from(ip.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => (network.to_bits(), ip.to_bits(), 128),
        _ => return false,
    };
    match width - bits.min(width) {
        128 => true,
        free => network >> free == ip >> free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(own: Option<&str>, environment: Option<&str>, excluded: &str, server: &str) -> Option<String> {
        choose(own, environment, Some(excluded), &server.parse().unwrap()).unwrap().map(|uri| uri.to_string())
    }

    #[test]
    fn the_kubeconfig_counts_before_the_environment_and_without_exceptions() {
        let own = Some("http://own:1");
        assert_eq!(
            chosen(own, Some("http://env:2"), "*", "https://api.example"),
            Some("http://own:1/".into())
        );
        assert_eq!(chosen(None, Some("env:2"), "", "https://api.example"), Some("http://env:2/".into()));
        assert_eq!(chosen(None, None, "", "https://api.example"), None);
        assert_eq!(chosen(None, Some("http://env:2"), "", "https://127.0.0.1:6443"), None);
    }

    #[test]
    fn exceptions_are_about_the_server_and_not_about_the_proxy() {
        let proxied =
            |excluded: &str, server: &str| chosen(None, Some("http://env:2"), excluded, server).is_some();
        assert!(proxied("env", "https://api.example"), "the proxy's own name excludes nothing");
        for (excluded, server) in [
            ("*", "https://api.example"),
            ("other, api.example", "https://api.example"),
            ("example", "https://api.example"),
            (".example", "https://api.example"),
            ("*.example", "https://api.example"),
            ("api.example:443", "https://api.example"),
            ("10.1.2.3", "https://10.1.2.3:6443"),
            ("10.0.0.0/8", "https://10.1.2.3:6443"),
            ("fd00::/8", "https://[fd00::1]:6443"),
            ("0.0.0.0/0", "https://10.1.2.3"),
        ] {
            assert!(!proxied(excluded, server), "{excluded} excludes {server}");
        }
        for (excluded, server) in [
            ("xample", "https://api.example"),
            (".api.example", "https://api.example"),
            ("api.example:8443", "https://api.example"),
            ("10.0.0.0/16", "https://10.1.2.3"),
            ("10.1.2.3", "https://10.1.2.30"),
            ("192.168.0.0/99x", "https://192.168.0.1"),
        ] {
            assert!(proxied(excluded, server), "{excluded} does not exclude {server}");
        }
    }
}
