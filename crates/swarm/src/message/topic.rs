//! What a message is about.

use std::fmt;

/// What a message is about, with the version of what is said about it: `kubeconfig/1`. Programs know their topics, so it is a
/// constant; what comes from the network is compared with those that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(&'static str);

impl Topic {
    pub(super) const LONGEST: usize = 64;

    /// The topic of this name: 1 to 64 lower-case letters, digits and `/` `-` `.`.
    ///
    /// # Panics
    /// For another name; in a constant that is an error when compiling.
    pub const fn new(name: &'static str) -> Self {
        assert!(
            is_name(name.as_bytes()),
            "a topic's name has 1 to 64 lower-case letters, digits, '/', '-' and '.'"
        );
        Self(name)
    }

    /// Its name.
    pub const fn as_str(&self) -> &'static str {
        self.0
    }
}

/// Whether these bytes are the name of a topic.
pub(super) const fn is_name(bytes: &[u8]) -> bool {
    if bytes.is_empty() || bytes.len() > Topic::LONGEST {
        return false;
    }
    let mut index = 0;
    while index < bytes.len() {
        if !matches!(bytes[index], b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.') {
            return false;
        }
        index += 1;
    }
    true
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
