//! What mappers tell about repositories.

/// The URL of a repository without a user name or a password in it: what Git clones from may hold a secret. None
/// for what is no URL, such as `git@host:owner/name`.
#[must_use]
pub fn without_credentials(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let rest = match authority.rfind('@') {
        Some(at) => rest.get(at + 1..)?,
        None => rest,
    };
    Some([scheme, "://", rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_url_loses_its_credentials() {
        assert_eq!(
            without_credentials("https://bot:secret@github.com/a/b@c.git").as_deref(),
            Some("https://github.com/a/b@c.git")
        );
        assert_eq!(
            without_credentials("https://github.com/a/b.git").as_deref(),
            Some("https://github.com/a/b.git")
        );
        assert_eq!(without_credentials("git@github.com:a/b.git"), None);
    }
}
