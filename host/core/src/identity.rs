//! Ids are derived, never drawn: every replica, before and after a restart, gives a span the same id, and
//! a pipeline step can compute its own. `docs/spans.md` publishes the derivation; changing it here splits
//! traces between versions.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::mapping::{EventKey, PullRequest};

/// Id of a trace: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// Id of a span: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($name:ident, $length:literal) => {
        impl $name {
            /// The id of these bytes; `None` if all are zero, which W3C and OpenTelemetry call invalid.
            #[must_use]
            pub fn from_bytes(bytes: [u8; $length]) -> Option<Self> {
                (bytes != [0; $length]).then_some(Self(bytes))
            }

            /// The bytes of the id.
            #[must_use]
            pub const fn bytes(&self) -> [u8; $length] {
                self.0
            }

            /// Reads lower-case hexadecimal digits, as W3C demands; `None` for anything else.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $length];
                if text.len() != 2 * $length {
                    return None;
                }
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let [high, low] = pair else { return None };
                    *byte = digit(*high)? << 4 | digit(*low)?;
                }
                Self::from_bytes(bytes)
            }

            /// The first bytes of the SHA-256 of the text.
            fn derive(text: &str) -> Self {
                let hash = Sha256::digest(text.as_bytes());
                let mut bytes = [0; $length];
                for (byte, hashed) in bytes.iter_mut().zip(hash.iter()) {
                    *byte = *hashed;
                }
                // One text in 2^64 at best; what matters is that the id stays valid.
                Self::from_bytes(bytes).unwrap_or(Self([1; $length]))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0
                    .iter()
                    .try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// What a trace id derives from: a text that both sides of a trace can write down.
///
/// | trace of | text |
/// |---|---|
/// | a delivery with an id | `delivery:<repository>:<guid>` |
/// | a push without one | `push:<repository>:<reference>:<revision>` |
/// | a change without one | `change:<repository>:<number>:<revision>` |
/// | an object on its own | `object:<uid>` |
/// | a pull request | `pull-request:<provider>:<repository>:<number>` |
/// | an object never seen, known by name | `missing:<group>:<kind>:<namespace>:<name>` |
///
/// Repositories are `owner/name` in lower case. No part but the last can contain a colon.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceKey(Arc<str>);

impl TraceKey {
    /// The trace of a git event.
    #[must_use]
    pub fn event(key: &EventKey) -> Self {
        let text = match key {
            EventKey::Delivery { repository, guid } => {
                format!("delivery:{}:{guid}", repository.to_lowercase())
            }
            EventKey::Push {
                repository,
                reference,
                revision,
            } => format!("push:{}:{reference}:{revision}", repository.to_lowercase()),
            EventKey::Change {
                repository,
                number,
                revision,
            } => format!("change:{}:{number}:{revision}", repository.to_lowercase()),
        };
        Self(text.into())
    }

    /// The key of this text, as [`Self::as_str`] gave it.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The trace of an object that starts one of its own.
    #[must_use]
    pub fn object(uid: &str) -> Self {
        Self(format!("object:{uid}").into())
    }

    /// The trace of a pull request.
    #[must_use]
    pub fn pull_request(pull_request: &PullRequest) -> Self {
        let PullRequest {
            provider,
            repository,
            number,
        } = pull_request;
        let repository = repository.to_lowercase();
        Self(format!("pull-request:{provider}:{repository}:{number}").into())
    }

    /// The trace of an object that is known by name alone.
    #[must_use]
    pub fn missing(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self(format!("missing:{group}:{kind}:{namespace}:{name}").into())
    }

    /// The text of the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trace id: the first 16 bytes of the SHA-256 of the text.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        TraceId::derive(&self.0)
    }

    /// Id of the root span where the root is no object: the first 8 bytes of the SHA-256 of
    /// `root:` and the text.
    #[must_use]
    pub fn root_span_id(&self) -> SpanId {
        SpanId::derive(&format!("root:{}", self.0))
    }
}

impl fmt::Display for TraceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TraceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TraceKey({})", self.0)
    }
}

impl SpanId {
    /// Id of a span of an object: the first 8 bytes of the SHA-256 of the uid, the run and the span's key,
    /// joined by newlines, without the newlines at the end. So the main span of an object that runs once
    /// is the SHA-256 of its uid alone.
    #[must_use]
    pub fn of(uid: &str, run: &str, key: &str) -> Self {
        Self::derive(format!("{uid}\n{run}\n{key}").trim_end_matches('\n'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_a_shell_computes() {
        // printf %s 'object:1234' | sha256sum
        assert_eq!(
            TraceKey::object("1234").trace_id().to_string(),
            "6e2f175c58ec558bb88e13acc4ea3772"
        );
        // printf %s '1234' | sha256sum
        assert_eq!(SpanId::of("1234", "", "").to_string(), "03ac674216f3e15c");
        // printf '1234\n\nqueue' | sha256sum
        assert_eq!(
            SpanId::of("1234", "", "queue").to_string(),
            "ed987e5cf55645e3"
        );
    }

    #[test]
    fn repositories_are_one_whatever_their_case() {
        let key = |repository: &str| {
            TraceKey::event(&EventKey::Delivery {
                repository: repository.to_owned(),
                guid: "g".to_owned(),
            })
        };
        assert_eq!(key("Acme/Shop"), key("acme/shop"));
    }

    #[test]
    fn only_valid_hexadecimal_is_an_id() {
        assert_eq!(
            SpanId::parse("00f067aa0ba902b7").map(|id| id.to_string()),
            Some("00f067aa0ba902b7".to_owned())
        );
        for text in [
            "",
            "00F067AA0BA902B7",
            "0000000000000000",
            "00f067aa0ba902b",
            "00f067aa0ba902bé",
        ] {
            assert_eq!(SpanId::parse(text), None, "{text}");
        }
    }
}
