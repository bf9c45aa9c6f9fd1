//! Who may do what: tokens, reviews, acting as somebody else, and the words of refusals.

use axum::http::Request;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectRulesReview};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};

use super::*;

/// Makes a service account that may read pods, and nothing else.
async fn reader(space: &Space) -> String {
    space
        .create::<ServiceAccount>(json!({"metadata": {"name": "reader"}}))
        .await;
    space
        .create::<Role>(json!({"metadata": {"name": "pods"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]}))
        .await;
    space
        .create::<RoleBinding>(json!({"metadata": {"name": "pods"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pods"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": space.name}]}))
        .await;
    format!("system:serviceaccount:{}:reader", space.name)
}

async fn as_user(space: &Space, user: &str, path: &str, body: Option<Value>) -> Result<Value, kube::Error> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("impersonate-user", user)
        .header("content-type", "application/json");
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    space.client.request(request.body(body.into_bytes()).unwrap()).await
}

fn message(result: Result<Value, kube::Error>) -> String {
    match result {
        Err(kube::Error::Api(status)) => format!("{} {}", status.code, status.message),
        other => panic!("should be refused: {other:?}"),
    }
}

/// Acting as a service account, one may do what it may do, and is refused in the same words.
pub async fn acting_as_a_service_account(client: Client) {
    let space = Space::new(client, "access").await;
    let user = reader(&space).await;
    let pods = format!("/api/v1/namespaces/{}/pods", space.name);
    as_user(&space, &user, &pods, None).await.unwrap();
    let secrets = format!("/api/v1/namespaces/{}/secrets", space.name);
    assert_eq!(
        message(as_user(&space, &user, &secrets, None).await),
        format!(
            "403 secrets is forbidden: User \"{user}\" cannot list resource \"secrets\" in API group \"\" in the namespace \"{}\"",
            space.name
        )
    );
    space.delete().await;
}

/// Everyone may ask what they may do.
pub async fn reviews_tell_what_is_allowed(client: Client) {
    let space = Space::new(client, "reviews").await;
    let user = reader(&space).await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (verb, resource, expected) in [
        ("list", "pods", true),
        ("delete", "pods", false),
        ("list", "secrets", false),
        ("impersonate", "users", false),
    ] {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": verb, "resource": resource, "namespace": space.name}}});
        let answer = as_user(&space, &user, path, Some(review)).await.unwrap();
        let answer: SelfSubjectAccessReview = serde_json::from_value(answer).unwrap();
        assert_eq!(answer.status.unwrap().allowed, expected, "{verb} {resource}");
    }
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": space.name}});
    let answer = as_user(&space, &user, path, Some(review)).await.unwrap();
    let answer: SelfSubjectRulesReview = serde_json::from_value(answer).unwrap();
    let rules = answer.status.unwrap().resource_rules;
    let pods = rules
        .iter()
        .find(|rule| rule.resources.as_deref() == Some(&["pods".to_string()]));
    assert_eq!(pods.unwrap().verbs, ["get", "list"]);
    space.delete().await;
}

/// Each namespace tells pods by which authority the server proves itself.
pub async fn the_authority_is_published(client: Client) {
    let space = Space::new(client, "authority").await;
    let map = space
        .wait::<ConfigMap>("kube-root-ca.crt", "the authority", |_| true)
        .await;
    assert!(map.data.unwrap()["ca.crt"].starts_with("-----BEGIN CERTIFICATE-----"));
    space.delete().await;
}
