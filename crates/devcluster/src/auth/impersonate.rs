//! Acting as somebody else (`kubectl --as`): who may, and who they are then.

use axum::http::HeaderMap;

use super::User;
use super::rbac::{self, Attributes};
use crate::status::{Outcome, Status};
use crate::store::Store;
use serde_json::json;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";

fn texts<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect()
}

/// The namespace and name in `system:serviceaccount:NAMESPACE:NAME`.
fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// The groups that a service account is in.
pub fn groups_of(namespace: &str) -> [String; 2] {
    [
        "system:serviceaccounts".to_string(),
        format!("system:serviceaccounts:{namespace}"),
    ]
}

/// Who a request is from, if `user` sent it: somebody else when its headers say so.
///
/// # Errors
/// 403 if `user` may not act as that one; 500 for groups without a user, as the real server answers.
pub fn resolve(store: &Store, headers: &HeaderMap, user: User) -> Outcome<User> {
    let groups = texts(headers, GROUP);
    let name = match texts(headers, USER)[..] {
        [name, ..] if !name.is_empty() => name,
        _ if groups.is_empty() => return Ok(user),
        _ => {
            let message = format!("requested [{}] without impersonating a user", groups.join(" "));
            return Err(Status::internal(message));
        }
    };
    let account = service_account(name);
    match account {
        Some((namespace, name)) => allow(store, &user, "serviceaccounts", namespace, name)?,
        None => allow(store, &user, "users", "", name)?,
    }
    for group in &groups {
        allow(store, &user, "groups", "", group)?;
    }
    let mut all: Vec<String> = groups.iter().map(|group| (*group).to_string()).collect();
    if let (Some((namespace, _)), true) = (account, all.is_empty()) {
        all.extend(groups_of(namespace));
    }
    let own = if name == "system:anonymous" {
        "system:unauthenticated"
    } else {
        "system:authenticated"
    };
    if !all.iter().any(|group| group == own) {
        all.push(own.into());
    }
    Ok(User {
        name: name.into(),
        uid: String::new(),
        groups: all,
        credential_id: None,
    })
}

fn allow(store: &Store, user: &User, resource: &str, namespace: &str, name: &str) -> Outcome<()> {
    let wanted = Attributes {
        verb: "impersonate",
        group: "",
        resource,
        name,
        namespace,
    };
    if rbac::allowed(&store.read().state, user, &wanted).is_some() {
        return Ok(());
    }
    let place = if namespace.is_empty() {
        "at the cluster scope".to_string()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let message = format!(
        "{resource} {name:?} is forbidden: User {:?} cannot impersonate resource {resource:?} in API group \"\" {place}",
        user.name
    );
    Err(Status::forbidden_with(
        message,
        json!({ "name": name, "kind": resource }),
    ))
}
