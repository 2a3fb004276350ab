//! A kind as it is given on the command line: as it stands in objects.

use lighthouse_telemetry_core::catalog::group_version;
use lighthouse_telemetry_core::description::ObjectSource;

/// Reads `apps/v1/Deployment` or `v1/ConfigMap`.
///
/// # Errors
/// If the text is nothing of the kind.
pub(super) fn kind(text: &str) -> Result<ObjectSource, String> {
    let wrong =
        || "write apiVersion and kind as in objects: batch/v1/Job or v1/ConfigMap".to_owned();
    let (api_version, kind) = text.rsplit_once('/').ok_or_else(wrong)?;
    let (group, version) = group_version(api_version);
    let lower = |text: &str| {
        let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        text.bytes().all(valid)
    };
    let is_kind = kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && kind.starts_with(|first: char| first.is_ascii_uppercase());
    let is_version = version.starts_with('v') && lower(version) && !version.contains('.');
    if !is_kind || !is_version || !lower(group) || (api_version.contains('/') && group.is_empty()) {
        return Err(wrong());
    }
    if group.is_empty() && kind == "Secret" {
        return Err("Secrets are never read".to_owned());
    }
    Ok(ObjectSource::of(group, version, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_in_objects() {
        assert_eq!(kind("v1/Pod"), Ok(ObjectSource::of("", "v1", "Pod")));
        let workflow = ObjectSource::of("argoproj.io", "v1alpha1", "Workflow");
        assert_eq!(kind("argoproj.io/v1alpha1/Workflow"), Ok(workflow));
        for wrong in [
            "Pod",
            "pods",
            "v1/pods",
            "/v1/Pod",
            "a/b/c/Pod",
            "v1/Secret",
            "apps/Job",
            "v1/",
            "",
        ] {
            assert!(kind(wrong).is_err(), "{wrong}");
        }
    }
}
