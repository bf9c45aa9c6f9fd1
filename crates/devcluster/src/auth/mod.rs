//! Who asks, and whether they may.

pub mod impersonate;
pub mod rbac;
pub mod token;

use axum::http::{HeaderMap, header};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::api::{Call, ObjectPath, Server, Target, verb};
use crate::status::{Outcome, Status};
use crate::store::Store;
use rbac::Attributes;
use token::Claims;

/// Members of this group may do everything.
pub const MASTERS: &str = "system:masters";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// uid of a service account, else empty.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Id of the token, if it is a service account's.
    pub credential_id: Option<String>,
}

impl User {
    /// The administrator of the generated kubeconfig.
    pub fn admin() -> Self {
        let groups = [MASTERS, "system:authenticated"].map(str::to_string).into();
        Self {
            name: "kubernetes-admin".into(),
            uid: String::new(),
            groups,
            credential_id: None,
        }
    }

    fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".into()];
        Self {
            name: "system:anonymous".into(),
            uid: String::new(),
            groups,
            credential_id: None,
        }
    }

    /// Whether RBAC does not apply.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// Keys that tokens are made and checked with.
pub struct Credentials {
    secret: [u8; 32],
    admin_token: String,
}

impl Credentials {
    /// From the store's secret; the same each time the store is opened.
    pub fn new(secret: [u8; 32]) -> Self {
        let mut credentials = Self {
            secret,
            admin_token: String::new(),
        };
        let mac = credentials.mac(b"admin");
        credentials.admin_token = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        credentials
    }

    /// The administrator's token.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    fn keyed(&self, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(message);
        mac
    }

    fn mac(&self, message: &[u8]) -> Vec<u8> {
        self.keyed(message).finalize().into_bytes().to_vec()
    }

    /// Whether a code is that of a message; takes the same time whatever differs.
    fn verify(&self, message: &[u8], code: &[u8]) -> bool {
        self.keyed(message).verify_slice(code).is_ok()
    }

    /// Signs claims into a token.
    pub fn sign(&self, claims: &Claims) -> String {
        token::encode(claims, |message| self.mac(message))
    }

    /// Finds out who sent a request.
    ///
    /// # Errors
    /// 401 for a credential that is not good.
    pub fn authenticate(&self, store: &Store, headers: &HeaderMap) -> Outcome<User> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Ok(User::anonymous());
        };
        let token = value.to_str().ok().and_then(|text| text.split_once(' '));
        match token {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.who(store, token.trim()).ok_or_else(Status::unauthorized)
            }
            _ => Err(Status::unauthorized()),
        }
    }

    /// Who a token stands for; `None` if it is not good here and now.
    pub fn who(&self, store: &Store, token: &str) -> Option<User> {
        // Comparing codes of the tokens takes the same time whatever differs.
        if self.verify(token.as_bytes(), &self.mac(self.admin_token.as_bytes())) {
            return Some(User::admin());
        }
        let claims = token::decode(token, |message, code| self.verify(message, code))?;
        claims.user(&store.read().state, k8s_openapi::jiff::Timestamp::now())
    }
}

/// Refuses what RBAC does not allow on objects.
pub fn authorize(server: &Server, call: &Call, path: &ObjectPath, target: &Target) -> Outcome<()> {
    if call.user.is_master() {
        return Ok(());
    }
    let name = path.name.clone().unwrap_or_default();
    let mut resource = path.plural.clone();
    if let Some(subresource) = &path.subresource {
        resource = format!("{resource}/{subresource}");
    }
    // A namespace is in itself, as far as roles go.
    let namespace = if path.plural == "namespaces" && path.group.is_empty() {
        name.clone()
    } else {
        target.namespace.clone()
    };
    let attributes = Attributes {
        verb: verb(call, !name.is_empty()),
        group: &path.group,
        resource: &resource,
        name: &name,
        namespace: &namespace,
    };
    if rbac::allowed(&server.store.read().state, &call.user, &attributes).is_some() {
        return Ok(());
    }
    let place = if target.namespace.is_empty() && attributes.namespace.is_empty() {
        "at the cluster scope".to_string()
    } else {
        format!("in the namespace {:?}", attributes.namespace)
    };
    let why = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
        call.user.name, attributes.verb, path.group
    );
    Err(Status::forbidden(&target.resource, &name, &why))
}

/// Refuses paths that are not objects.
pub fn authorize_path(server: &Server, call: &Call) -> Outcome<()> {
    let path = format!("/{}", call.path.join("/"));
    let verb = call.method.as_str().to_lowercase();
    if call.user.is_master() || rbac::path_allowed(&server.store.read().state, &call.user, &path, &verb) {
        return Ok(());
    }
    let message = format!("forbidden: User {:?} cannot {verb} path {path:?}", call.user.name);
    Err(Status::forbidden_with(message, json!({})))
}

/// Refuses roles, and bindings to roles, that grant what their author does not hold.
///
/// # Errors
/// 403 with the rules that are not held.
pub fn check_escalation(server: &Server, call: &Call, target: &Target, object: &Value) -> Outcome<()> {
    if call.user.is_master() || target.resource.group != "rbac.authorization.k8s.io" {
        return Ok(());
    }
    let state = &server.store.read().state;
    let wanted = match target.resource.plural.as_str() {
        "roles" | "clusterroles" => object["rules"].clone(),
        _ => rbac::bound_rules(state, object, &target.namespace),
    };
    let missing = rbac::missing(state, &call.user, &target.namespace, &wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = call.user.groups.iter().map(|group| format!("{group:?}")).collect();
    let rules: Vec<String> = missing.iter().map(rbac::rule_in_words).collect();
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        call.user.name,
        groups.join(" "),
        rules.join("\n")
    );
    Err(Status::forbidden(&target.resource, crate::object::name(object), &why))
}
