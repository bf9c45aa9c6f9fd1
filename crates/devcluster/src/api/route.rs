//! From a path to what it names.

use axum::http::Method;

use super::request::Call;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    Version(String, String),
    /// Objects.
    Objects(ObjectPath),
    /// Anything else, like `/healthz`.
    Other(String),
}

/// Group, version, resource, and optionally namespace, name and subresource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectPath {
    /// Group, empty for core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural.
    pub plural: String,
    /// Namespace.
    pub namespace: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Subresource.
    pub subresource: Option<String>,
}

/// Reads a path.
pub fn parse(segments: &[String]) -> Path {
    let words: Vec<&str> = segments.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
    match words.as_slice() {
        ["api"] => Path::CoreVersions,
        ["apis"] => Path::Groups,
        ["api", version] => Path::Version(String::new(), (*version).into()),
        ["apis", group] => Path::Group((*group).into()),
        ["apis", group, version] => Path::Version((*group).into(), (*version).into()),
        ["api", version, rest @ ..] => objects("", version, rest, &words),
        ["apis", group, version, rest @ ..] => objects(group, version, rest, &words),
        _ => Path::Other(format!("/{}", words.join("/"))),
    }
}

fn objects(group: &str, version: &str, rest: &[&str], all: &[&str]) -> Path {
    let (namespace, rest) = match rest {
        // The namespace's own object and its subresources.
        ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_string()), rest),
        rest => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
        _ => return Path::Other(format!("/{}", all.join("/"))),
    };
    Path::Objects(ObjectPath {
        group: group.into(),
        version: version.into(),
        plural: plural.into(),
        namespace,
        name: name.map(str::to_string),
        subresource: subresource.map(str::to_string),
    })
}

/// The verb of RBAC for a call on objects.
pub fn verb(call: &Call, named: bool) -> &'static str {
    match (&call.method, named) {
        (&Method::GET | &Method::HEAD, true) => "get",
        (&Method::GET | &Method::HEAD, false) if call.params.flag("watch") => "watch",
        (&Method::GET | &Method::HEAD, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Path {
        parse(
            &path
                .trim_start_matches('/')
                .split('/')
                .map(str::to_string)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn paths_name_what_they_should() {
        let Path::Objects(path) = read("/apis/apps/v1/namespaces/n/deployments/web/scale") else {
            panic!()
        };
        assert_eq!((path.group.as_str(), path.plural.as_str()), ("apps", "deployments"));
        assert_eq!(path.namespace.as_deref(), Some("n"));
        assert_eq!(
            (path.name.as_deref(), path.subresource.as_deref()),
            (Some("web"), Some("scale"))
        );
        let Path::Objects(path) = read("/api/v1/namespaces/n") else {
            panic!()
        };
        assert_eq!(
            (path.plural.as_str(), path.name.as_deref(), path.namespace),
            ("namespaces", Some("n"), None)
        );
        let Path::Objects(path) = read("/api/v1/namespaces/n/status") else {
            panic!()
        };
        assert_eq!(
            (path.plural.as_str(), path.subresource.as_deref()),
            ("namespaces", Some("status"))
        );
        let Path::Objects(path) = read("/api/v1/namespaces/n/pods") else {
            panic!()
        };
        assert_eq!(
            (path.plural.as_str(), path.namespace.as_deref(), path.name),
            ("pods", Some("n"), None)
        );
        assert_eq!(read("/healthz"), Path::Other("/healthz".into()));
        assert_eq!(read("/apis/apps"), Path::Group("apps".into()));
    }
}
