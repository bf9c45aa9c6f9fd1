//! What a pod of a foreign manifest may not do to the cluster that runs it.
//!
//! Source: Kubernetes Pod Security Standards, level *baseline*
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>). Stricter in three points, because these pods
//! come from another owner: no API token, no placement that bypasses the scheduler, and only volumes that end with the pod.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, LifecycleHandler, PodSecurityContext, PodSpec, Probe, SecurityContext, Volume,
};

/// A field and the rule it breaks.
#[derive(Debug)]
pub(super) struct Violation {
    pub field: String,
    pub rule: String,
}

impl Violation {
    pub(super) fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
        }
    }
}

type Checked = Result<(), Violation>;

/// Capabilities that a container may add (baseline: the container runtimes' default set).
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Sysctls that are namespaced and harmless to others (baseline).
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];

/// Checks a pod against the rules. `path` is where the pod's spec stands in its object.
pub(super) fn check(spec: &PodSpec, path: &str) -> Checked {
    for (set, field) in [
        (spec.host_network == Some(true), "hostNetwork"),
        (spec.host_pid == Some(true), "hostPID"),
        (spec.host_ipc == Some(true), "hostIPC"),
    ] {
        refuse(set, path, field, "pods may not share the node's namespaces; remove it")?;
    }
    refuse(
        spec.automount_service_account_token == Some(true),
        path,
        "automountServiceAccountToken",
        "federated pods get no Kubernetes API token; remove it",
    )?;
    refuse(
        spec.node_name.is_some(),
        path,
        "nodeName",
        "the deploying domain's scheduler places pods; remove it",
    )?;
    refuse(
        spec.priority_class_name.is_some() || spec.priority.is_some(),
        path,
        "priorityClassName",
        "federated pods may not displace the domain's own; remove it",
    )?;
    refuse(
        spec.runtime_class_name.is_some(),
        path,
        "runtimeClassName",
        "the deploying domain chooses the runtime; remove it",
    )?;
    refuse(
        spec.ephemeral_containers.is_some(),
        path,
        "ephemeralContainers",
        "they belong to running pods; remove them",
    )?;
    if let Some(context) = &spec.security_context {
        pod_security(context, &format!("{path}.securityContext"))?;
    }
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        volume_source(volume, &format!("{path}.volumes[{i}]"))?;
    }
    for (i, c) in spec.init_containers.iter().flatten().enumerate() {
        container(c, &format!("{path}.initContainers[{i}]"))?;
    }
    for (i, c) in spec.containers.iter().enumerate() {
        container(c, &format!("{path}.containers[{i}]"))?;
    }
    Ok(())
}

fn refuse(broken: bool, path: &str, field: &str, rule: &str) -> Checked {
    if broken {
        Err(Violation::new(format!("{path}.{field}"), rule))
    } else {
        Ok(())
    }
}

fn pod_security(context: &PodSecurityContext, path: &str) -> Checked {
    for sysctl in context.sysctls.iter().flatten() {
        let rule = format!("sysctl {} affects the whole node; remove it", sysctl.name);
        refuse(!SYSCTLS.contains(&sysctl.name.as_str()), path, "sysctls", &rule)?;
    }
    let seccomp = context.seccomp_profile.as_ref().map(|p| p.type_.as_str());
    let apparmor = context.app_armor_profile.as_ref().map(|p| p.type_.as_str());
    let host_process = context.windows_options.as_ref().and_then(|w| w.host_process);
    profiles(
        seccomp,
        apparmor,
        context.se_linux_options.is_some(),
        host_process,
        path,
    )
}

fn profiles(
    seccomp: Option<&str>,
    apparmor: Option<&str>,
    selinux: bool,
    host_process: Option<bool>,
    path: &str,
) -> Checked {
    refuse(
        seccomp == Some("Unconfined"),
        path,
        "seccompProfile",
        "system call filtering may not be switched off; remove it",
    )?;
    refuse(
        apparmor == Some("Unconfined"),
        path,
        "appArmorProfile",
        "AppArmor may not be switched off; remove it",
    )?;
    refuse(
        selinux,
        path,
        "seLinuxOptions",
        "the deploying domain sets SELinux labels; remove it",
    )?;
    refuse(
        host_process == Some(true),
        path,
        "windowsOptions.hostProcess",
        "host processes are not allowed; remove it",
    )
}

fn container_security(context: &SecurityContext, path: &str) -> Checked {
    refuse(
        context.privileged == Some(true),
        path,
        "privileged",
        "privileged containers own the node; remove it",
    )?;
    let proc_mount = context.proc_mount.as_deref().is_some_and(|m| m != "Default");
    refuse(proc_mount, path, "procMount", "only Default is allowed; remove it")?;
    if let Some(Capabilities { add: Some(add), .. }) = &context.capabilities {
        for capability in add {
            let rule = format!("capability {capability} is not in the baseline set; drop it");
            refuse(
                !CAPABILITIES.contains(&capability.as_str()),
                path,
                "capabilities.add",
                &rule,
            )?;
        }
    }
    let seccomp = context.seccomp_profile.as_ref().map(|p| p.type_.as_str());
    let apparmor = context.app_armor_profile.as_ref().map(|p| p.type_.as_str());
    let host_process = context.windows_options.as_ref().and_then(|w| w.host_process);
    profiles(
        seccomp,
        apparmor,
        context.se_linux_options.is_some(),
        host_process,
        path,
    )
}

fn container(container: &Container, path: &str) -> Checked {
    let image = container.image.as_deref().unwrap_or_default();
    refuse(
        image.trim().is_empty(),
        path,
        "image",
        "every container needs an image; add one",
    )?;
    if let Some(context) = &container.security_context {
        container_security(context, &format!("{path}.securityContext"))?;
    }
    for port in container.ports.iter().flatten() {
        let rule = "ports of the node belong to the domain; use a Service";
        refuse(
            port.host_port.is_some_and(|p| p != 0) || port.host_ip.is_some(),
            path,
            "ports[].hostPort",
            rule,
        )?;
    }
    for (probe, field) in [
        (&container.liveness_probe, "livenessProbe"),
        (&container.readiness_probe, "readinessProbe"),
        (&container.startup_probe, "startupProbe"),
    ] {
        let names_host = probe.as_ref().is_some_and(probe_names_host);
        refuse(
            names_host,
            path,
            &format!("{field}.host"),
            "probes may only ask the pod itself; remove the host",
        )?;
    }
    if let Some(lifecycle) = &container.lifecycle {
        let names_host = [&lifecycle.post_start, &lifecycle.pre_stop]
            .into_iter()
            .flatten()
            .any(hook_names_host);
        refuse(
            names_host,
            path,
            "lifecycle.host",
            "hooks may only ask the pod itself; remove the host",
        )?;
    }
    Ok(())
}

fn probe_names_host(probe: &Probe) -> bool {
    probe.http_get.as_ref().is_some_and(|g| g.host.is_some())
        || probe.tcp_socket.as_ref().is_some_and(|s| s.host.is_some())
}

fn hook_names_host(hook: &LifecycleHandler) -> bool {
    hook.http_get.as_ref().is_some_and(|g| g.host.is_some())
        || hook.tcp_socket.as_ref().is_some_and(|s| s.host.is_some())
}

/// Allows the volumes that come with the manifest or end with the pod; everything else reaches outside of it.
fn volume_source(volume: &Volume, path: &str) -> Checked {
    // Taking the allowed sources away from a copy and looking whether anything but the name is left also refuses volume
    // types that do not exist yet.
    let rest = Volume {
        config_map: None,
        secret: None,
        empty_dir: None,
        downward_api: None,
        projected: None,
        ..volume.clone()
    };
    let allowed = rest
        == Volume {
            name: volume.name.clone(),
            ..Volume::default()
        };
    let rule = "only configMap, secret, emptyDir, downwardAPI and projected volumes are allowed; replace it";
    refuse(
        !allowed,
        path,
        "source",
        &format!("{rule} (volume \"{}\")", volume.name),
    )?;
    let sources = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
    for source in sources {
        let outside = source.service_account_token.is_some()
            || source.cluster_trust_bundle.is_some()
            || source.pod_certificate.is_some();
        let rule = "federated pods get no tokens or certificates of the cluster; remove it";
        refuse(outside, path, "projected.sources", rule)?;
    }
    Ok(())
}
