//! Runs one probe: an HTTP GET, a TCP connection, or a command.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpStream,
};
use tokio_util::task::AbortOnDropHandle;

use super::process::{self, Launch};

/// What a probe needs to know of its container.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) pod_ip: String,
    pub(super) environment: BTreeMap<String, OsString>,
    pub(super) directory: PathBuf,
    /// For commands.
    pub(super) supervisor: PathBuf,
    /// Held while a command of this container's probes runs; the name of the probe is added.
    pub(super) probe_lock: PathBuf,
}

/// Runs `probe` once, within its `timeoutSeconds` (default 1).
///
/// # Errors
/// The output for the `Unhealthy` event.
pub(super) async fn run(probe: &Probe, container: &Container, target: &Target) -> Result<(), String> {
    let seconds = probe.timeout_seconds.filter(|seconds| *seconds > 0).unwrap_or(1);
    let timeout = Duration::from_secs(seconds.unsigned_abs().into());
    match tokio::time::timeout(timeout, once(probe, container, target)).await {
        Ok(result) => result,
        Err(_) => Err(format!("timed out after {seconds}s")),
    }
}

async fn once(probe: &Probe, container: &Container, target: &Target) -> Result<(), String> {
    if let Some(action) = &probe.http_get {
        let host = action
            .host
            .as_deref()
            .filter(|host| !host.is_empty())
            .unwrap_or(&target.pod_ip);
        let port = port_number(&action.port, container)?;
        if action
            .scheme
            .as_deref()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
        {
            return Err("HTTPS probes are not supported by the development cluster".to_owned());
        }
        let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let headers = action
            .http_headers
            .iter()
            .flatten()
            .map(|header| (&*header.name, &*header.value));
        return http_get(host, port, path, headers).await;
    }
    if let Some(action) = &probe.tcp_socket {
        let host = action
            .host
            .as_deref()
            .filter(|host| !host.is_empty())
            .unwrap_or(&target.pod_ip);
        let port = port_number(&action.port, container)?;
        return connect(host, port).await.map(drop);
    }
    if let Some(action) = &probe.exec {
        let command = action.command.as_deref().unwrap_or_default();
        return exec(command, target).await;
    }
    Err("only httpGet, tcpSocket and exec probes are supported by the development cluster".to_owned())
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("dial tcp {host}:{port}: {error}"))
}

async fn http_get<'a>(
    host: &str,
    port: u16,
    path: &str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), String> {
    let explain = |error: &dyn std::fmt::Display| format!("Get \"http://{host}:{port}{path}\": {error}");
    let stream = connect(host, port).await.map_err(|error| explain(&error))?;
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let mut request = axum::http::Request::get(path)
        .header("user-agent", "kube-probe/devcluster")
        .header("accept", "*/*")
        .header("connection", "close");
    let mut has_host = false;
    for (name, value) in headers {
        has_host |= name.eq_ignore_ascii_case("host");
        request = request.header(name, value);
    }
    if !has_host {
        request = request.header("host", format!("{host}:{port}"));
    }
    let request = request
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| explain(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| explain(&error))?;
    // Ends with this probe, also when it times out.
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(|error| explain(&error))?;
    let status = answer.status().as_u16();
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {status}"))
    }
}

/// Runs a command like a container: its supervisor kills all of it when the probe times out or the cluster is gone.
async fn exec(command: &[String], target: &Target) -> Result<(), String> {
    let [program, args @ ..] = command else {
        return Err("exec probe without a command".to_owned());
    };
    let launch = Launch {
        supervisor: target.supervisor.clone(),
        lock: target.probe_lock.clone(),
        program: program.into(),
        args: args.to_vec(),
        environment: target.environment.clone(),
        directory: target.directory.clone(),
    };
    let (mut process, _orders) = process::start(launch).await?;
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let (code, out, err) = tokio::join!(process.end(), beginning(stdout), beginning(stderr));
    if code == 0 {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&[out, err].concat()).into_owned())
}

/// The first bytes of the output; the rest is read and forgotten, so that the command is not held up.
async fn beginning(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream).take(1024).read_to_end(&mut text).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    text
}

/// A port by number, or by its name among the container's ports.
fn port_number(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number != 0)
        .ok_or_else(|| {
            format!(
                "invalid port {}",
                if let IntOrString::String(name) = port {
                    name
                } else {
                    "number"
                }
            )
        })
}
