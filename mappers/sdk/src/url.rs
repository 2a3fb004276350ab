//! Addresses as they may stand in an attribute.

use std::borrow::Cow;

/// The URL without user name and password. `None` for what is no URL with a host, such as `git@host:path`.
#[must_use]
pub fn without_credentials(url: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some(at) = authority.rfind('@') else {
        return Some(Cow::Borrowed(url));
    };
    Some([scheme, "://", rest.get(at + 1..)?].concat().into())
}

/// The address of a repository for a browser, as `vcs.repository.url.full` has it: by HTTP, without user name and
/// password, and without the extension `.git`. `None` for any other address.
#[must_use]
pub fn repository(url: &str) -> Option<String> {
    let url = without_credentials(url)?;
    let (scheme, rest) = url.split_once("://")?;
    let is_http = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let address = rest.trim_end_matches('/');
    let address = address.strip_suffix(".git").unwrap_or(address);
    (is_http && !address.is_empty())
        .then(|| [&scheme.to_ascii_lowercase(), "://", address].concat())
}

/// The host of a URL or of `user@host:path`, without the port.
#[must_use]
pub fn host(address: &str) -> Option<&str> {
    let rest = match address.split_once("://") {
        Some((_, rest)) => rest.split(['/', '?', '#']).next(),
        None => address.split_once(':').map(|(authority, _)| authority),
    }?;
    let host = rest.rsplit('@').next().unwrap_or_default();
    Some(host.split(':').next().unwrap_or_default()).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_left_out() {
        let without = |url| without_credentials(url);
        assert_eq!(
            without("https://bot:secret@github.com/a/b@c.git").as_deref(),
            Some("https://github.com/a/b@c.git")
        );
        assert_eq!(
            without("https://bot:se@cret@host?x=/@").as_deref(),
            Some("https://host?x=/@")
        );
        assert_eq!(
            without("https://github.com/a/b.git").as_deref(),
            Some("https://github.com/a/b.git")
        );
        assert_eq!(without("git@github.com:a/b.git"), None);
    }

    #[test]
    fn a_repository_has_the_address_that_a_browser_opens() {
        let page = Some("https://github.com/a/b");
        for url in [
            "https://github.com/a/b",
            "https://github.com/a/b/",
            "https://github.com/a/b.git",
            "https://github.com/a/b.git/",
            "HTTPS://bot:secret@github.com/a/b.git",
        ] {
            assert_eq!(repository(url).as_deref(), page, "{url}");
        }
        assert_eq!(
            repository("http://gitea:3000/a/b.github").as_deref(),
            Some("http://gitea:3000/a/b.github")
        );
        for url in [
            "ssh://git@github.com/a/b.git",
            "git@github.com:a/b",
            "https://",
            "",
        ] {
            assert_eq!(repository(url), None, "{url}");
        }
    }

    #[test]
    fn hosts_are_found_in_urls_and_in_addresses_of_ssh() {
        assert_eq!(host("https://u:p@github.com:443/a"), Some("github.com"));
        assert_eq!(host("git@bitbucket.org:a/b.git"), Some("bitbucket.org"));
        assert_eq!(host("ssh://git@host/a"), Some("host"));
        assert_eq!(host("a/b"), None);
        assert_eq!(host(""), None);
    }
}
