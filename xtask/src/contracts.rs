//! Compiles the Solidity sources with the pinned solc and writes, or compares, the committed artifacts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::{command, tools};

/// EIP-170: a chain refuses to create a contract whose code is longer.
const MAX_CODE_BYTES: usize = 24_576;

/// Compiles and writes `contracts/artifacts/<Contract>.json`.
pub fn write() -> anyhow::Result<()> {
    for (path, text) in compile()? {
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Compiles and compares with the committed artifacts, byte for byte.
pub fn check() -> anyhow::Result<()> {
    for (path, text) in compile()? {
        let committed = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        if committed != text {
            bail!(
                "{} is not what the compiler makes of contracts/src; run `cargo xtask contracts` and commit the result",
                path.display()
            );
        }
    }
    eprintln!("== contract artifacts are reproducible");
    Ok(())
}

/// Path and text of each artifact.
fn compile() -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let contracts = command::workspace().join("contracts");
    let compiler = tools::install_locked(&contracts, "solc")?;
    let output = Command::new("node")
        .arg(contracts.join("compile.mjs"))
        .arg(&compiler)
        .stderr(Stdio::inherit())
        .output()
        .context("could not start node; is it installed?")?;
    ensure!(
        output.status.success(),
        "the contracts do not compile without warnings: {}",
        output.status
    );
    let artifacts: BTreeMap<String, String> =
        serde_json::from_slice(&output.stdout).context("contracts/compile.mjs printed something else than JSON")?;
    for (name, text) in &artifacts {
        let length = code_length(text).with_context(|| format!("the artifact of {name} has no code"))?;
        ensure!(
            length < MAX_CODE_BYTES,
            "{name} has {length} bytes of code; a chain takes less than {MAX_CODE_BYTES}"
        );
    }
    let folder = contracts.join("artifacts");
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    Ok(artifacts
        .into_iter()
        .map(|(name, text)| (folder.join(format!("{name}.json")), text))
        .collect())
}

/// Bytes of deployed code in an artifact.
fn code_length(artifact: &str) -> anyhow::Result<usize> {
    let artifact: serde_json::Value = serde_json::from_str(artifact)?;
    let code = artifact["deployedBytecode"].as_str().context("no deployedBytecode")?;
    Ok(code.trim_start_matches("0x").len() / 2)
}
