//! What the kubelet says about the pull of an image: kubernetes `pkg/kubelet/images/image_manager.go`. Its words
//! differ between versions; only what is recognised is used.

use span_mapper_sdk::time::parse_go_duration;

/// What the message of a `Pulled` Event tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Nanoseconds that the pull itself took.
    pub pulling: Option<u64>,
    /// Nanoseconds from the request to its end, the wait for other pulls included.
    pub whole: Option<u64>,
    /// Size of the image in bytes.
    pub size: Option<i64>,
    /// The image was there already: nothing was pulled.
    pub cached: bool,
}

impl Pulled {
    /// Reads `Successfully pulled image "X" in 796ms (1.594s including waiting). Image size: N bytes.` and
    /// `Container image "X" already present on machine`.
    pub fn read(message: &str) -> Self {
        // All marks in one pass: to look for one after the other takes as long as to read the Event.
        let (mut pulling, mut whole, mut size) = (None, None, None);
        for (place, byte) in message.bytes().enumerate() {
            if !matches!(byte, b'"' | b' ' | b'I' | b'a') {
                continue;
            }
            let Some(rest) = message.get(place..) else {
                continue;
            };
            if rest.starts_with("already present on machine") {
                return Self {
                    cached: true,
                    ..Self::default()
                };
            }
            // The name of an image holds no space.
            if let Some(after) = rest.strip_prefix("\" in ") {
                pulling.get_or_insert(after);
            } else if let Some(after) = rest.strip_prefix(" (") {
                whole = Some(after);
            } else if let Some(after) = rest.strip_prefix("Image size: ") {
                size = Some(after);
            }
        }
        let pulling = pulling.and_then(duration);
        Self {
            pulling,
            whole: whole.and_then(duration).or(pulling),
            size: size.and_then(|text| word(text).parse().ok()),
            cached: false,
        }
    }

    /// Nanoseconds of waiting for other pulls.
    pub fn waiting(&self) -> Option<u64> {
        self.whole?.checked_sub(self.pulling?)
    }
}

fn word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

fn duration(text: &str) -> Option<u64> {
    parse_go_duration(word(text).trim_end_matches(['.', ')']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_and_size_are_read() {
        let pulled = Pulled::read(
            "Successfully pulled image \"ghcr.io/a/b:1\" in 796ms (1.594s including waiting). Image size: 2048 bytes.",
        );
        assert_eq!(pulled.pulling, Some(796_000_000));
        assert_eq!(pulled.whole, Some(1_594_000_000));
        assert_eq!(pulled.waiting(), Some(798_000_000));
        assert_eq!(pulled.size, Some(2048));
    }

    #[test]
    fn older_messages_say_less() {
        let pulled = Pulled::read("Successfully pulled image \"a\" in 2.5s");
        assert_eq!(
            (pulled.pulling, pulled.waiting()),
            (Some(2_500_000_000), Some(0))
        );
        assert_eq!(
            Pulled::read("Successfully pulled image \"a\""),
            Pulled::default()
        );
        assert!(Pulled::read("Container image \"a\" already present on machine").cached);
    }

    proptest! {
        #[test]
        fn any_message_is_read(message in "(\" in | \\(|Image size: |[0-9.]+(s|ms)|[ a-zµ\"()]){0,8}") {
            let _ = Pulled::read(&message).waiting();
        }
    }
}
