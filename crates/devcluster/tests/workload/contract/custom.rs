//! Custom resources: their schemas are kept to, and they are shown as their definition says.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::conditions::is_crd_established;

use super::*;

/// A definition with a schema, rules and columns; each test has one of its own.
fn definition(plural: &str) -> Value {
    let kind = format!("K{plural}");
    json!({
        "metadata": {"name": format!("{plural}.contract.example.com")},
        "spec": {
            "group": "contract.example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural, "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                    {"name": "Note", "type": "string", "jsonPath": ".metadata.annotations.example\\.com/note", "priority": 1},
                ],
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "tier": {"type": "string", "default": "basic"},
                        "name": {"type": "string", "maxLength": 8},
                    }, "x-kubernetes-validations": [
                        {"rule": "self.size <= 5 || self.tier == 'gold'", "message": "more than size 5 needs tier gold"},
                        {"rule": "!has(oldSelf.name) || has(self.name) && self.name == oldSelf.name",
                            "message": "name is immutable", "reason": "FieldValueForbidden", "fieldPath": ".name"},
                    ]},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
        },
    })
}

/// Registers a definition and waits until its objects are served.
async fn register(space: &Space, plural: &str) -> (Api<DynamicObject>, ApiResource) {
    let definitions: Api<CustomResourceDefinition> = Api::all(space.client.clone());
    let object: CustomResourceDefinition = serde_json::from_value(definition(plural)).unwrap();
    definitions.create(&PostParams::default(), &object).await.unwrap();
    let name = object.name_any();
    timeout(DEADLINE, await_condition(definitions, &name, is_crd_established()))
        .await
        .expect("established in time")
        .unwrap();
    let kind = GroupVersionKind::gvk("contract.example.com", "v1", &format!("K{plural}"));
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    let api = Api::namespaced_with(space.client.clone(), &space.name, &resource);
    // A real server may answer 404 for a moment more.
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = api.list(&ListParams::default()).await {
        assert!(Instant::now() < deadline, "{plural} are not served: {error}");
        sleep(Duration::from_millis(50)).await;
    }
    (api, resource)
}

async fn unregister(space: Space, plural: &str) {
    let definitions: Api<CustomResourceDefinition> = Api::all(space.client.clone());
    let name = format!("{plural}.contract.example.com");
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
    space.delete().await;
}

fn object(resource: &ApiResource, name: &str, spec: Value) -> DynamicObject {
    DynamicObject::new(name, resource).data(json!({"spec": spec}))
}

fn refusal(result: Result<DynamicObject, kube::Error>) -> String {
    match result {
        Err(kube::Error::Api(status)) if status.code == 422 => status.message.clone(),
        other => panic!("should be refused with 422: {other:?}"),
    }
}

/// What the schema does not know is dropped, what it defaults is filled, and what it forbids is refused.
pub async fn a_schema_prunes_defaults_and_refuses(client: Client) {
    let space = Space::new(client, "schema").await;
    let (api, resource) = register(&space, "schemas").await;
    let made = object(&resource, "a", json!({"size": 1, "unknown": true}));
    let made = api.create(&PostParams::default(), &made).await.unwrap();
    assert_eq!(made.data["spec"], json!({"size": 1, "tier": "basic"}));
    let small = object(&resource, "b", json!({"size": 0}));
    let said = refusal(api.create(&PostParams::default(), &small).await);
    assert!(
        said.contains("spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        "{said}"
    );
    unregister(space, "schemas").await;
}

/// Rules in CEL decide about an object and about its change.
pub async fn rules_in_cel_decide(client: Client) {
    let space = Space::new(client, "rules").await;
    let (api, resource) = register(&space, "rules").await;
    let create = async |spec: Value| api.create(&PostParams::default(), &object(&resource, "a", spec)).await;
    let said = refusal(create(json!({"size": 6})).await);
    assert!(
        said.ends_with("spec: Invalid value: more than size 5 needs tier gold"),
        "{said}"
    );
    create(json!({"size": 6, "tier": "gold", "name": "one"})).await.unwrap();
    let rename = Patch::Merge(json!({"spec": {"name": "two"}}));
    let said = refusal(api.patch("a", &PatchParams::default(), &rename).await);
    assert!(said.ends_with("spec.name: Forbidden: name is immutable"), "{said}");
    let shrink = Patch::Merge(json!({"spec": {"size": 1, "tier": "basic"}}));
    api.patch("a", &PatchParams::default(), &shrink).await.unwrap();
    unregister(space, "rules").await;
}

/// A definition whose rule or schema is wrong is refused, not accepted and broken.
pub async fn a_wrong_definition_is_refused(client: Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    let change = |pointer: &str, value: Value| {
        let mut changed = definition("wrongs");
        *changed.pointer_mut(pointer).unwrap() = value;
        serde_json::from_value::<CustomResourceDefinition>(changed).unwrap()
    };
    const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let rule = change(
        &format!("{SPEC}/x-kubernetes-validations/0/rule"),
        json!("self.size <="),
    );
    let untyped = change(&format!("{SPEC}/properties/tier"), json!({"maxLength": 3}));
    for (definition, expected) in [
        (rule, "compilation failed"),
        (untyped, "must not be empty for specified object fields"),
    ] {
        match definitions.create(&PostParams::default(), &definition).await {
            Err(kube::Error::Api(status)) if status.code == 422 => {
                assert!(status.message.contains(expected), "{}", status.message);
            }
            other => panic!("should be refused with 422: {other:?}"),
        }
    }
}

/// Tables show the columns of the definition; metadata can be had alone.
pub async fn tables_show_the_columns_of_the_definition(client: Client) {
    let space = Space::new(client, "columns").await;
    let (api, resource) = register(&space, "columns").await;
    let mut made = object(&resource, "a", json!({"size": 3}));
    made.annotations_mut().insert("example.com/note".into(), "hello".into());
    api.create(&PostParams::default(), &made).await.unwrap();
    let ready =
        json!({"status": {"conditions": [{"type": "Other", "status": "No"}, {"type": "Ready", "status": "True"}]}});
    api.patch_status("a", &PatchParams::default(), &Patch::Merge(ready))
        .await
        .unwrap();

    let path = format!("/apis/contract.example.com/v1/namespaces/{}/columns", space.name);
    let request = axum::http::Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = space.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(names, ["Name", "Size", "Ready", "Note"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3, "True", "hello"]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");

    let metadata = api.get_metadata("a").await.unwrap();
    assert_eq!(metadata.metadata.annotations.unwrap()["example.com/note"], "hello");
    unregister(space, "columns").await;
}
