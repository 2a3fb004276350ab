//! Which git provider a repository is at. Neither the webhook nor the job says so; their addresses do.

use span_mapper_sdk::url;

/// Bitbucket Cloud. Its GUID of a push is that of the hook, not of the delivery.
const BITBUCKET_CLOUD: &str = "bitbucket.org";

/// The provider by the OpenTelemetry name, as far as the host of an address tells.
pub fn name<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    addresses
        .into_iter()
        .filter_map(url::host)
        .find_map(|host| {
            ["github", "gitlab", "gitea", "bitbucket"]
                .into_iter()
                .find(|name| host.contains(name))
        })
}

/// Whether the provider's GUID of an event identifies one delivery.
pub fn has_delivery_ids<'a>(addresses: impl IntoIterator<Item = &'a str>) -> bool {
    !addresses
        .into_iter()
        .filter_map(url::host)
        .any(|host| host.eq_ignore_ascii_case(BITBUCKET_CLOUD))
}
