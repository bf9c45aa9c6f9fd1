//! What peers get in this domain's cluster, as the configuration says.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hanse_discovery::credentials::ApiServer;
use hanse_discovery::settings::Credentials;
use kube::config::Kubeconfig;

use crate::config::Config;

/// The policy, and where peers call the API server.
///
/// # Errors
/// For an API server that is configured and can't be used. That none is known is no
/// error: nobody gets anything then, and each Identity says so.
pub fn credentials(config: &Config) -> anyhow::Result<Credentials> {
    let section = &config.swarm.credentials;
    let server = match &section.api_server {
        Some(url) => {
            let file = section.certificate_authority_file.as_ref();
            let authority = file.map(|path| {
                std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
            });
            let server = ApiServer::new(url.clone(), authority.transpose()?);
            Ok(server.context("swarm.credentials.apiServer")?)
        }
        None => of_kubeconfig(config).map_err(|error| {
            format!(
                "{error:#}; set swarm.credentials.apiServer to the URL at which peers reach this cluster's API server"
            )
        }),
    };
    Ok(Credentials::fixed(section.policy.clone(), server))
}

/// The API server that the agent itself calls, outside a cluster.
fn of_kubeconfig(config: &Config) -> anyhow::Result<ApiServer> {
    let kubeconfig = match &config.cluster.development {
        Some(_) => Kubeconfig::read_from(config.data_dir.join("kubeconfig")),
        None => Kubeconfig::read(),
    };
    let kubeconfig = kubeconfig.context("there is no kubeconfig that says where peers reach the API server")?;
    let context = config.cluster.context.as_ref().or(kubeconfig.current_context.as_ref());
    let context = context.context("the kubeconfig has no current context")?;
    let named = kubeconfig.contexts.iter().find(|named| named.name == *context);
    let cluster = named.and_then(|named| Some(&named.context.as_ref()?.cluster));
    let cluster = cluster.with_context(|| format!("the kubeconfig has no context {context}"))?;
    let named = kubeconfig.clusters.iter().find(|named| named.name == *cluster);
    let cluster = named.and_then(|named| named.cluster.as_ref());
    let cluster = cluster.context("the kubeconfig has no cluster of its context")?;
    let authority = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(data), _) => Some(
            STANDARD
                .decode(data)
                .context("certificate-authority-data is no base64")?,
        ),
        (None, Some(path)) => Some(std::fs::read(path).with_context(|| format!("could not read {path}"))?),
        (None, None) => None,
    };
    let authority = authority.map(String::from_utf8).transpose();
    let authority = authority.context("the certificate authority is no PEM")?;
    let server = cluster.server.clone().unwrap_or_default();
    Ok(ApiServer::new(server, authority)?)
}
