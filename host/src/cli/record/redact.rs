//! Takes out of objects what nobody shall read in a recording. It goes by names and by shapes, so that what somebody has
//! hidden well in a text stays in it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What stands in place of what was taken out.
const REDACTED: &str = "redacted";

/// Ends of names of what is secret, without case and separators.
const SECRET: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "credential",
    "credentials",
    "authorization",
];

/// Further ones in addresses.
const SIGNATURES: [&str; 2] = ["signature", "sig"];

/// What tokens of well-known services begin with.
const PREFIXES: [&str; 10] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "eyJ",
];

/// Names that are lists, or tables, of variables of a process.
const ENVIRONMENT: [&str; 3] = ["env", "envs", "environment"];

/// Of an object what can be in a recording: without secrets, without what changes all the time, and without the annotations
/// by which the plugin knows what it has exported.
pub fn object(mut object: Value, marks: &BTreeSet<String>) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        let annotations = metadata.get_mut("annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            // A copy of the whole object, with all that is taken out here.
            annotations.retain(|key, _| !key.contains("last-applied") && !marks.contains(key));
            table(annotations);
        }
    }
    let is_data = object.get("kind").is_some_and(|kind| kind == "ConfigMap");
    let Some(members) = object.as_object_mut() else {
        return object;
    };
    for (key, value) in members {
        match key.as_str() {
            // Names of objects, and what tells whose they are.
            "apiVersion" | "kind" | "metadata" | "involvedObject" => {}
            "data" | "binaryData" if is_data => all(value),
            _ => member(key, value),
        }
    }
    object
}

fn walk(value: &mut Value) {
    match value {
        Value::String(string) => *string = text(string),
        Value::Object(members) => table(members),
        Value::Array(values) => {
            let mut is_secret = false;
            for value in values {
                match value {
                    // `--password`, and then what it is.
                    Value::String(text) if std::mem::take(&mut is_secret) => {
                        REDACTED.clone_into(text);
                    }
                    Value::String(text) => {
                        is_secret = text.starts_with("--") && names_secret(text);
                        walk(value);
                    }
                    value => walk(value),
                }
            }
        }
        _ => {}
    }
}

fn table(members: &mut Map<String, Value>) {
    let name = members.get("name").and_then(Value::as_str);
    let is_pair = name.is_some_and(names_secret);
    for (key, value) in members {
        if is_pair && key == "value" {
            all(value);
        } else {
            member(key, value);
        }
    }
}

fn member(key: &str, value: &mut Value) {
    let is_environment = ENVIRONMENT.contains(&key);
    match value {
        Value::String(_) if names_secret(key) => all(value),
        Value::Array(variables) if is_environment => {
            for variable in variables {
                walk(variable);
                match variable {
                    Value::Object(variable) => {
                        if let Some(value) = variable.get_mut("value") {
                            all(value);
                        }
                    }
                    Value::String(text) => {
                        if let Some((name, _)) = text.split_once('=') {
                            *text = format!("{name}={REDACTED}");
                        }
                    }
                    _ => {}
                }
            }
        }
        Value::Object(variables) if is_environment => variables.values_mut().for_each(all),
        value => walk(value),
    }
}

/// Takes out all texts and numbers.
fn all(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(_) | Value::Number(_) => *value = REDACTED.into(),
        Value::Array(values) => values.iter_mut().for_each(all),
        Value::Object(members) => members.values_mut().for_each(all),
    }
}

/// Whether what has this name is secret.
fn names_secret(name: &str) -> bool {
    let plain = plain(name);
    SECRET.iter().any(|end| plain.ends_with(end))
}

/// A name without case and separators.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// What stands between words.
fn is_between(character: char) -> bool {
    character.is_whitespace() || "\"'`,;()<>[]{}|\\".contains(character)
}

/// A text without the passwords and tokens in it.
fn text(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    // What the word before says of this one.
    let mut is_secret = false;
    let mut before = "";
    while !rest.is_empty() {
        let start = rest
            .find(|character| !is_between(character))
            .unwrap_or(rest.len());
        let (between, tail) = rest.split_at(start);
        let end = tail.find(is_between).unwrap_or(tail.len());
        let (one, tail) = tail.split_at(end);
        result.push_str(between);
        rest = tail;
        if one == ":" {
            // As in JSON, between two quotes.
            is_secret = names_secret(before);
            result.push_str(one);
            continue;
        }
        if is_secret && !one.is_empty() {
            result.push_str(REDACTED);
        } else {
            result.push_str(&word(one));
        }
        let scheme = ["bearer", "basic"].contains(&one.to_ascii_lowercase().as_str());
        is_secret = scheme || (one.ends_with(':') && names_secret(one));
        before = one;
    }
    result
}

fn word(word: &str) -> String {
    let mut result = String::with_capacity(word.len());
    let mut rest = word;
    if let Some((scheme, tail)) = word.split_once("://") {
        let end = tail.find(['/', '?', '#']).unwrap_or(tail.len());
        let (authority, path) = tail.split_at(end);
        result.push_str(&parts(scheme));
        result.push_str("://");
        match authority.rsplit_once('@') {
            // The user of every address by SSH.
            Some(("git", _)) | None => result.push_str(&shaped(authority)),
            Some((_, host)) => {
                result.push_str(REDACTED);
                result.push('@');
                result.push_str(host);
            }
        }
        rest = path;
    }
    result.push_str(&parts(rest));
    result
}

/// What is separated as the parts of a query are, or of a list of assignments.
fn parts(text: &str) -> String {
    let parts = text.split_inclusive(['?', '&', '#']).map(|part| {
        let (part, end) = match part.char_indices().next_back() {
            Some((place, '?' | '&' | '#')) => part.split_at(place),
            _ => (part, ""),
        };
        let part = match part.split_once('=') {
            Some((name, value)) => {
                let is_signature = SIGNATURES.iter().any(|end| plain(name).ends_with(end));
                let is_variable = value.is_empty() || value.starts_with('$');
                if (names_secret(name) || is_signature) && !is_variable {
                    format!("{name}={REDACTED}")
                } else {
                    format!("{name}={}", word(value))
                }
            }
            None => shaped(part),
        };
        format!("{part}{end}")
    });
    parts.collect()
}

/// A word without what has the shape of a token.
fn shaped(word: &str) -> String {
    let pieces = word.split_inclusive(['/', ':', '@', '=']).map(|piece| {
        let is_token = PREFIXES.iter().any(|prefix| piece.starts_with(prefix));
        if is_token && piece.len() >= 16 {
            let end = piece.find(['/', ':', '@', '=']).unwrap_or(piece.len());
            format!("{REDACTED}{}", piece.get(end..).unwrap_or_default())
        } else {
            piece.to_owned()
        }
    });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn redacted(value: Value) -> Value {
        let marks = BTreeSet::from(["lighthouse.jenkins-x.io/exported".to_owned()]);
        object(value, &marks)
    }

    #[test]
    fn texts_keep_what_is_no_secret() {
        for (given, expected) in [
            (
                "https://bot:s3cret@github.com/acme/shop.git",
                "https://redacted@github.com/acme/shop.git",
            ),
            (
                "cloning 'https://abc@github.com/a' now",
                "cloning 'https://redacted@github.com/a' now",
            ),
            (
                "ssh://git@github.com/acme/shop.git",
                "ssh://git@github.com/acme/shop.git",
            ),
            (
                "git@github.com:acme/shop.git",
                "git@github.com:acme/shop.git",
            ),
            (
                "https://x.io/a?access_token=abc&b=1#c",
                "https://x.io/a?access_token=redacted&b=1#c",
            ),
            (
                "https://s3/x?X-Amz-Signature=abc",
                "https://s3/x?X-Amz-Signature=redacted",
            ),
            (
                "https://x.io/?u=https://a:b@c.io/d",
                "https://x.io/?u=https://redacted@c.io/d",
            ),
            (
                "curl -H 'Authorization: Bearer abc.def' x",
                "curl -H 'Authorization: redacted redacted' x",
            ),
            (
                "export GH_TOKEN=abc; run --password=abc",
                "export GH_TOKEN=redacted; run --password=redacted",
            ),
            (
                "run --token=$TOKEN --image=shop:1.2",
                "run --token=$TOKEN --image=shop:1.2",
            ),
            (
                "{\"user\":\"a\",\"password\":\"abc\"}",
                "{\"user\":\"a\",\"password\":\"redacted\"}",
            ),
            ("password: abc\nuser: a", "password: redacted\nuser: a"),
            ("push ghp_0123456789abcdef0123", "push redacted"),
            ("key eyJhbGciOiJIUzI1NiJ9.e30.abc", "key redacted"),
            (
                "sha256:0123456789abcdef 2026-03-02T09:15:00Z",
                "sha256:0123456789abcdef 2026-03-02T09:15:00Z",
            ),
            (
                "Back-off pulling image \"ghcr.io/acme/shop:1\"",
                "Back-off pulling image \"ghcr.io/acme/shop:1\"",
            ),
            ("", ""),
        ] {
            assert_eq!(text(given), expected, "{given}");
        }
    }

    #[test]
    fn objects_keep_what_is_no_secret() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "a", "namespace": "jx", "uid": "u", "resourceVersion": "7", "managedFields": [{}],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "lighthouse.jenkins-x.io/exported": "0123",
                    "lighthouse.jenkins-x.io/cloneURI": "https://a:b@github.com/acme/shop.git",
                    "example.com/api-key": "abc",
                },
            },
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "main", "image": "shop", "args": ["--password", "abc", "--token=abc", "run"],
                    "env": [{"name": "A", "value": "abc"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                }],
                "volumes": [{"name": "s", "secret": {"secretName": "s"}}],
            },
            "status": {"phase": "Running"},
        });
        assert_eq!(
            redacted(pod),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": "a", "namespace": "jx", "uid": "u",
                    "annotations": {
                        "lighthouse.jenkins-x.io/cloneURI": "https://redacted@github.com/acme/shop.git",
                        "example.com/api-key": "redacted",
                    },
                },
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "main", "image": "shop", "args": ["--password", "redacted", "--token=redacted", "run"],
                        "env": [{"name": "A", "value": "redacted"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                    }],
                    "volumes": [{"name": "s", "secret": {"secretName": "s"}}],
                },
                "status": {"phase": "Running"},
            })
        );
    }

    #[test]
    fn parameters_and_tables_go_by_their_names() {
        let run = json!({
            "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "a", "uid": "u"},
            "spec": {
                "params": [{"name": "git-token", "value": "abc"}, {"name": "revision", "value": "main"}, {"name": "tokens", "value": "a"}],
                "taskRunTemplate": {"env": {"A": "abc", "B": 7}},
                "podTemplate": {"environment": ["A=abc", "B"]},
            },
        });
        assert_eq!(
            redacted(run)["spec"],
            json!({
                "params": [{"name": "git-token", "value": "redacted"}, {"name": "revision", "value": "main"}, {"name": "tokens", "value": "a"}],
                "taskRunTemplate": {"env": {"A": "redacted", "B": "redacted"}},
                "podTemplate": {"environment": ["A=redacted", "B"]},
            })
        );
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a.txt": "abc"}});
        assert_eq!(redacted(map)["data"], json!({"a.txt": "redacted"}));
    }

    #[test]
    fn the_recording_that_comes_with_the_program_has_nothing_to_take_out() {
        use crate::recording::{Happening, Recording};
        for entry in Recording::pull_request().unwrap().entries() {
            if let Happening::Applied(object) = &entry.happening {
                let before = object.to_string();
                let after = redacted(object.clone());
                let is_kept = |pointer| after.pointer(pointer) == object.pointer(pointer);
                assert!(is_kept("/metadata/name") && is_kept("/status"), "{before}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_redacted_once_stays_as_it_is(given in any::<String>()) {
            let once = text(&given);
            prop_assert_eq!(text(&once), once);
        }
    }
}
