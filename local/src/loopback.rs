//! A server on loopback trusts whoever is on this machine, and so is any web page that is open on it. Two things tell a page: the
//! name that it calls the server by, which is the page's own after DNS rebinding, and the header `Origin`, which a browser sends
//! with every request that may change something.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use hyper::{
    Request,
    header::{HOST, ORIGIN},
    http::{Uri, uri::Authority},
};

/// Whether a request calls the server by a name that only this machine has: `localhost`, a name below it, or a loopback address.
pub(crate) fn has_loopback_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter().peekable();
    let absolute = request.uri().authority();
    (hosts.peek().is_some() || absolute.is_some())
        && absolute.is_none_or(|authority| is_loopback(authority.host()))
        && hosts.all(|host| {
            let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
            host.is_some_and(|authority| !authority.as_str().contains('@') && is_loopback(authority.host()))
        })
}

/// Whether a request calls the server by this name, and no other.
pub(crate) fn has_host<B>(request: &Request<B>, name: &Authority) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next());
    request.uri().authority().is_none_or(|authority| authority == name)
        && second.is_none()
        && first.is_some_and(|host| host.parse::<Authority>().is_ok_and(|host| host == *name))
}

/// The name in the public URL of S3.
pub(crate) fn public_name(url: &str) -> Result<Authority> {
    let wrong = || format!("--files-url {url:?} is not like https://files.example.org");
    let uri: Uri = url.parse().with_context(wrong)?;
    let is_origin = uri.path() == "/" && uri.query().is_none() && !url.ends_with('/');
    ensure!(is_origin && matches!(uri.scheme_str(), Some("http" | "https")), wrong());
    uri.authority().cloned().filter(|authority| !authority.as_str().contains('@')).with_context(wrong)
}

/// Whether a web page sent a request.
pub(crate) fn comes_from_a_page<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(ORIGIN)
}

fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_url_of_files_is_an_origin() {
        let name = |url: &str| public_name(url).ok().map(|name| name.to_string());
        assert_eq!(name("https://files.example.org").as_deref(), Some("files.example.org"));
        assert_eq!(name("http://10.0.0.1:3001").as_deref(), Some("10.0.0.1:3001"));
        for url in
            ["files.example.org", "https://f/", "https://f/a", "https://f?a", "ftp://f", "https://a@f", "https://"]
        {
            assert_eq!(name(url), None, "{url}");
        }
    }

    #[test]
    fn a_name_of_the_operators_is_taken_as_it_is() {
        let name = "files.example.org".parse().expect("a name");
        let named = |hosts: &[&str]| {
            let request = hosts.iter().fold(Request::builder(), |request, host| request.header(HOST, *host));
            has_host(&request.body(()).expect("a request"), &name)
        };
        assert!(named(&["files.example.org"]) && named(&["Files.Example.org"]));
        for hosts in [
            &[][..],
            &["example.org"],
            &["files.example.org:443"],
            &["a@files.example.org"],
            &["files.example.org", "files.example.org"],
        ] {
            assert!(!named(hosts), "{hosts:?}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_taken() {
        let named = |hosts: &[&str]| {
            let request = hosts.iter().fold(Request::builder(), |request, host| request.header(HOST, *host));
            has_loopback_host(&request.body(()).expect("a request"))
        };
        for host in
            ["localhost", "localhost:3001", "LOCALHOST.", "127.0.0.1:1", "127.8.9.10", "[::1]:3001", "b.localhost:1"]
        {
            assert!(named(&[host]), "{host}");
        }
        for host in [
            "",
            "example.com",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "notlocalhost",
            "192.168.0.1:3001",
            "0.0.0.0",
            "[::2]",
            "127.0.0.1@example.com",
            "example.com@127.0.0.1",
            "localhost, example.com",
        ] {
            assert!(!named(&[host]), "{host}");
        }
        assert!(!named(&[]) && !named(&["localhost", "example.com"]));
        let absolute = Request::get("http://example.com/").header(HOST, "localhost").body(()).expect("a request");
        assert!(!has_loopback_host(&absolute));
    }
}
