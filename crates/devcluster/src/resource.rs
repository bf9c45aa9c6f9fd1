//! The resource types this server knows: one table for what is built in, and the same type for custom ones.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// How the scale subresource finds its numbers in an object.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalePaths {
    /// Dotted path, like `.spec.replicas`.
    pub spec_replicas: String,
    /// Dotted path, like `.status.replicas`.
    pub status_replicas: String,
    /// Dotted path of a string selector; built-in kinds use `spec.selector` instead.
    pub label_selector: Option<String>,
}

/// One resource type at one version.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Lower-case plural, as in paths.
    pub plural: String,
    /// Lower-case singular.
    pub singular: String,
    /// CamelCase kind.
    pub kind: String,
    /// Kind of a list of these.
    pub list_kind: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Short names for command lines.
    pub short_names: Vec<String>,
    /// Categories for command lines (`all`).
    pub categories: Vec<String>,
    /// Whether there is a status subresource.
    pub status: bool,
    /// Whether there is a scale subresource, and where its numbers are.
    pub scale: Option<ScalePaths>,
    /// Whether `metadata.generation` counts changes of the desired state.
    pub generation: bool,
    /// Whether objects can be deleted by collection.
    pub delete_collection: bool,
    /// Whether a PUT may create.
    pub put_creates: bool,
    /// The type in the table of built-in shapes (`core/v1.Pod`); `None` for custom resources.
    pub shape: Option<String>,
}

impl Resource {
    /// `deployments.apps`, or `pods` in the core group.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// What objects of this type are stored under. Both APIs for events show the same objects.
    pub fn storage(&self) -> String {
        if self.plural == "events" && self.group == "events.k8s.io" {
            return "/events".into();
        }
        format!("{}/{}", self.group, self.plural)
    }

    /// Whether this is a built-in type.
    pub fn built_in(&self) -> bool {
        self.shape.is_some()
    }

    /// Whether this is `plural` of the core group.
    pub fn is_core(&self, plural: &str) -> bool {
        self.group.is_empty() && self.plural == plural
    }
}

/// `group/version`, or the version alone in the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.into()
    } else {
        format!("{group}/{version}")
    }
}

/// group, version, shape package, kind, plural, short names, flags.
/// Flags: N namespaced, S status, C scale, G generation, A in category `all`, E in `api-extensions`, X no deletecollection, P a PUT creates.
const TABLE: &str = "
- v1 core/v1 Namespace namespaces ns SX
- v1 core/v1 ConfigMap configmaps cm N
- v1 core/v1 Secret secrets - N
- v1 core/v1 ServiceAccount serviceaccounts sa N
- v1 core/v1 Service services svc NSA
- v1 core/v1 Endpoints endpoints ep N
- v1 core/v1 Pod pods po NSGA
- v1 core/v1 Event events ev NP
- v1 core/v1 Node nodes no S
- v1 core/v1 ResourceQuota resourcequotas quota NS
- v1 core/v1 LimitRange limitranges limits N
- v1 core/v1 PersistentVolumeClaim persistentvolumeclaims pvc NS
- v1 core/v1 PersistentVolume persistentvolumes pv S
apps v1 apps/v1 ControllerRevision controllerrevisions - N
apps v1 apps/v1 Deployment deployments deploy NSCGA
apps v1 apps/v1 ReplicaSet replicasets rs NSCGA
apps v1 apps/v1 StatefulSet statefulsets sts NSCGA
apps v1 apps/v1 DaemonSet daemonsets ds NSGA
autoscaling v2 autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers hpa NSA
batch v1 batch/v1 Job jobs - NSGA
batch v1 batch/v1 CronJob cronjobs cj NSGA
networking.k8s.io v1 networking/v1 Ingress ingresses ing NSG
networking.k8s.io v1 networking/v1 NetworkPolicy networkpolicies netpol NG
networking.k8s.io v1 networking/v1 IngressClass ingressclasses - G
discovery.k8s.io v1 discovery/v1 EndpointSlice endpointslices - NG
events.k8s.io v1 events/v1 Event events ev NP
coordination.k8s.io v1 coordination/v1 Lease leases - NP
policy v1 policy/v1 PodDisruptionBudget poddisruptionbudgets pdb NSG
scheduling.k8s.io v1 scheduling/v1 PriorityClass priorityclasses pc G
storage.k8s.io v1 storage/v1 StorageClass storageclasses sc -
rbac.authorization.k8s.io v1 rbac/v1 Role roles - N
rbac.authorization.k8s.io v1 rbac/v1 RoleBinding rolebindings - N
rbac.authorization.k8s.io v1 rbac/v1 ClusterRole clusterroles - -
rbac.authorization.k8s.io v1 rbac/v1 ClusterRoleBinding clusterrolebindings - -
apiextensions.k8s.io v1 apiextensions/v1 CustomResourceDefinition customresourcedefinitions crd,crds SGE
";

/// Resource types by group and plural; custom ones come and go with their definitions.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    by_path: BTreeMap<(String, String, String), Arc<Resource>>,
}

static BUILT_IN: LazyLock<Catalog> = LazyLock::new(|| {
    let mut catalog = Catalog::default();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        catalog.insert(parse(line));
    }
    catalog
});

fn parse(line: &str) -> Resource {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [group, version, package, kind, plural, short, flags] = words[..] else {
        unreachable!("the table of resources has seven columns: {line}")
    };
    let has = |flag: char| flags.contains(flag);
    let scale = has('C').then(|| ScalePaths {
        spec_replicas: ".spec.replicas".into(),
        status_replicas: ".status.replicas".into(),
        label_selector: None,
    });
    Resource {
        group: if group == "-" { String::new() } else { group.into() },
        version: version.into(),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        kind: kind.into(),
        list_kind: format!("{kind}List"),
        namespaced: has('N'),
        short_names: short.split(',').filter(|s| *s != "-").map(str::to_string).collect(),
        categories: match (has('A'), has('E')) {
            (true, _) => vec!["all".into()],
            (_, true) => vec!["api-extensions".into()],
            _ => vec![],
        },
        status: has('S'),
        scale,
        generation: has('G'),
        delete_collection: !has('X'),
        put_creates: has('P'),
        shape: Some(format!("{package}.{kind}")),
    }
}

impl Catalog {
    /// What every server has.
    pub fn built_in() -> &'static Catalog {
        &BUILT_IN
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, resource: Resource) {
        let key = (
            resource.group.clone(),
            resource.version.clone(),
            resource.plural.clone(),
        );
        self.by_path.insert(key, Arc::new(resource));
    }

    /// The resource at a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.by_path
            .get(&(group.into(), version.into(), plural.into()))
            .cloned()
    }

    /// All, by group, version and plural.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_path.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_resource_has_a_shape_in_the_table_of_types() {
        for resource in Catalog::built_in().iter() {
            let name = resource.shape.as_deref().expect("built in");
            assert!(crate::schema::built_in(name).is_some(), "no shape {name}");
        }
    }
}
