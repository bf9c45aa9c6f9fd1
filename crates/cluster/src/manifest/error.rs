//! Why a manifest is refused, in words that say what to change.

use std::fmt;

/// Where in the manifest something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Document, counted from 1; empty documents are not counted.
    pub document: usize,
    /// `kind:` as written, if it was there.
    pub kind: Option<String>,
    /// `metadata.name` as written, if it was there.
    pub name: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}", self.document)?;
        match (&self.kind, &self.name) {
            (Some(kind), Some(name)) => write!(f, " ({kind} \"{name}\")"),
            (Some(kind), None) => write!(f, " ({kind})"),
            _ => Ok(()),
        }
    }
}

/// A manifest that cannot or may not be deployed. None of these is worth a retry: the text itself must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// More bytes than [`Limits::bytes`](super::Limits).
    #[error(
        "the manifest has {bytes} bytes, at most {limit} are accepted: split it, or move large data out of ConfigMaps"
    )]
    TooLarge {
        /// Size of the text.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// More documents than [`Limits::documents`](super::Limits).
    #[error("the manifest has more than {limit} documents: split it into several services")]
    TooManyDocuments {
        /// The bound.
        limit: usize,
    },
    /// Nothing to deploy.
    #[error(
        "the manifest holds no object: it needs at least one YAML document with apiVersion, kind and metadata.name"
    )]
    Empty,
    /// No YAML, or nested or repeated (aliases) beyond the bounds.
    #[error("document {document} is not acceptable YAML: {message}")]
    NotYaml {
        /// Document, counted from 1.
        document: usize,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A document that is a list, a number, …
    #[error("document {document} is not a mapping: a Kubernetes object starts with apiVersion and kind")]
    NotAnObject {
        /// Document, counted from 1.
        document: usize,
    },
    /// A field that every object must have is absent or no text.
    #[error("{place}: {field} is missing or not a text: add it")]
    MissingField {
        /// Where.
        place: Place,
        /// The field's path.
        field: &'static str,
    },
    /// A kind that may not be deployed here.
    #[error(
        "{place}: this kind of {api_version} may not be deployed here: remove it, or ask the deploying domain to allow it (allowed: {allowed})"
    )]
    KindNotAllowed {
        /// Where.
        place: Place,
        /// `apiVersion:` as written.
        api_version: String,
        /// What is allowed, for people.
        allowed: String,
    },
    /// A field that Kubernetes does not know, e.g. a misspelt one.
    #[error("{place}: unknown field {field}: correct its name or its indentation")]
    UnknownField {
        /// Where.
        place: Place,
        /// The field's path.
        field: String,
    },
    /// A value of the wrong type, or a required field left out.
    #[error("{place}: {field}: {message}")]
    Malformed {
        /// Where.
        place: Place,
        /// The field's path.
        field: String,
        /// What was expected.
        message: String,
    },
    /// A value that is understood but not permitted.
    #[error("{place}: {field} is not permitted: {rule}")]
    NotPermitted {
        /// Where.
        place: Place,
        /// The field's path.
        field: String,
        /// The rule, and what to do.
        rule: String,
    },
    /// The same kind and name twice.
    #[error("{place}: an object of this kind and name is already in the manifest: remove or rename one")]
    Duplicate {
        /// Where the second one is.
        place: Place,
    },
    /// An adjustment names an object that is not there.
    #[error("the manifest has no {kind} \"{name}\" (it has: {known}): correct the name")]
    NoSuchObject {
        /// The kind looked for.
        kind: &'static str,
        /// The name looked for.
        name: String,
        /// What there is instead, for people.
        known: String,
    },
}
