//! Reviews: questions about access, answered and not stored.

use axum::http::Method;
use serde_json::{Value, json};

use super::answer::Answer;
use super::request::Call;
use super::route::ObjectPath;
use super::server::Server;
use crate::auth::User;
use crate::auth::rbac::{self, Attributes};
use crate::status::{Outcome, Status};

/// Answers if the path is that of a review.
pub fn answer(server: &Server, call: &Call, path: &ObjectPath) -> Outcome<Option<Answer>> {
    let known = [
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authentication.k8s.io", "selfsubjectreviews"),
    ];
    if path.version != "v1" || !known.contains(&(path.group.as_str(), path.plural.as_str())) {
        return Ok(None);
    }
    if call.method != Method::POST || path.name.is_some() {
        return Err(Status::method_not_allowed());
    }
    let namespace = path.namespace.clone().unwrap_or_default();
    let attributes = Attributes {
        verb: "create",
        group: &path.group,
        resource: &path.plural,
        name: "",
        namespace: &namespace,
    };
    // The lock is let go of here: the review takes it again, and taking it twice while a writer waits would never end.
    let allowed = rbac::allowed(&server.store.read().state, &call.user, &attributes).is_some();
    if !allowed {
        let message = format!(
            "{}.{} is forbidden: User {:?} cannot create resource {:?} in API group {:?} at the cluster scope",
            path.plural, path.group, call.user.name, path.plural, path.group
        );
        return Err(Status::forbidden_with(
            message,
            json!({ "group": path.group, "kind": path.plural }),
        ));
    }
    let mut review = call.parse_body()?;
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    if let Some(shape) = shape_of(&path.plural) {
        let zero = json!({ "apiVersion": review["apiVersion"], "kind": review["kind"], "metadata": {}, "spec": {}, "status": {} });
        super::write::track_unstored(shape, "", &zero, &mut review, &call.manager());
    }
    review["status"] = match path.plural.as_str() {
        "selfsubjectaccessreviews" => access(server, &call.user, &review["spec"]),
        "selfsubjectrulesreviews" => {
            let rules = rules_status(server, &call.user, &review["spec"]);
            review["spec"] = json!({});
            rules
        }
        "tokenreviews" => token(server, &mut review),
        "selfsubjectreviews" => json!({ "userInfo": user_info(&call.user) }),
        _ => access(server, &named_user(&review["spec"]), &review["spec"]),
    };
    Ok(Some(Answer::json(201, review)))
}

fn shape_of(plural: &str) -> Option<&'static str> {
    Some(match plural {
        "selfsubjectaccessreviews" => "authorization/v1.SelfSubjectAccessReview",
        "subjectaccessreviews" => "authorization/v1.SubjectAccessReview",
        "tokenreviews" => "authentication/v1.TokenReview",
        _ => return None,
    })
}

fn named_user(spec: &Value) -> User {
    let name = spec["user"].as_str().unwrap_or_default().to_string();
    let groups = spec["groups"].as_array().into_iter().flatten();
    let mut groups: Vec<String> = groups.filter_map(|g| g.as_str().map(str::to_string)).collect();
    if let Some(namespace) = name
        .strip_prefix("system:serviceaccount:")
        .and_then(|n| n.split_once(':'))
    {
        groups.extend(crate::auth::impersonate::groups_of(namespace.0));
    }
    User {
        name,
        uid: String::new(),
        groups,
        credential_id: None,
    }
}

fn access(server: &Server, user: &User, spec: &Value) -> Value {
    let state = &server.store.read().state;
    if let Some(path) = spec["nonResourceAttributes"]["path"].as_str() {
        let verb = spec["nonResourceAttributes"]["verb"].as_str().unwrap_or_default();
        return json!({ "allowed": user.is_master() || rbac::path_allowed(state, user, path, verb) });
    }
    let attributes = &spec["resourceAttributes"];
    let text = |key: &str| attributes[key].as_str().unwrap_or_default();
    let resource = match text("subresource") {
        "" => text("resource").to_string(),
        sub => format!("{}/{sub}", text("resource")),
    };
    let wanted = Attributes {
        verb: text("verb"),
        group: text("group"),
        resource: &resource,
        name: text("name"),
        namespace: text("namespace"),
    };
    match rbac::allowed(state, user, &wanted) {
        None => json!({ "allowed": false }),
        Some(reason) if reason.is_empty() => json!({ "allowed": true }),
        Some(reason) => json!({ "allowed": true, "reason": reason }),
    }
}

fn rules_status(server: &Server, user: &User, spec: &Value) -> Value {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    let rules: Vec<Value> = if user.is_master() {
        vec![json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] })]
    } else {
        rbac::rules(&server.store.read().state, user, namespace)
            .into_iter()
            .map(|(rule, _)| rule)
            .collect()
    };
    let (paths, resources): (Vec<Value>, Vec<Value>) =
        rules.into_iter().partition(|rule| rule["nonResourceURLs"].is_array());
    let mut non_resource = paths;
    non_resource.push(json!({ "verbs": ["get"], "nonResourceURLs":
        ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"] }));
    json!({ "resourceRules": resources, "nonResourceRules": non_resource, "incomplete": false })
}

fn user_info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = user.uid.clone().into();
    }
    if let Some(id) = &user.credential_id {
        info["extra"] = json!({ "authentication.kubernetes.io/credential-id": [id] });
    }
    info
}

fn token(server: &Server, review: &mut Value) -> Value {
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    match server.credentials.who(&server.store, token) {
        Some(user) => {
            json!({ "authenticated": true, "user": user_info(&user), "audiences": [crate::auth::token::DEFAULT_AUDIENCE] })
        }
        None => json!({ "user": {}, "error": "[invalid bearer token, token lookup failed]" }),
    }
}
