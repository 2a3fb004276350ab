//! Addresses as they may stand in an attribute.

/// The URL without user name and password. `None` for what is no URL with a host, such as `git@host:path`.
#[must_use]
pub fn without_credentials(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let rest = match authority.rfind('@') {
        Some(at) => rest.get(at + 1..)?,
        None => rest,
    };
    Some([scheme, "://", rest].concat())
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
    fn hosts_are_found_in_urls_and_in_addresses_of_ssh() {
        assert_eq!(host("https://u:p@github.com:443/a"), Some("github.com"));
        assert_eq!(host("git@bitbucket.org:a/b.git"), Some("bitbucket.org"));
        assert_eq!(host("ssh://git@host/a"), Some("host"));
        assert_eq!(host("a/b"), None);
        assert_eq!(host(""), None);
    }
}
