//! The example's programs, which the development cluster runs in place of container images. They are built with the
//! workspace; when only the agent was built, they are built now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::process::Command;

const PROGRAMS: [&str; 3] = ["sampler-sender", "object-detector", "receiver"];
const PACKAGE: &str = "object-detection";
/// Below the workspace.
const CATALOGUE: &str = "examples/object-detection/catalogue";

/// The example as it lies on this machine.
pub struct Example {
    /// Image name → executable.
    pub images: BTreeMap<String, PathBuf>,
    pub catalogue: PathBuf,
}

/// Finds the example, building its programs if need be.
pub async fn example(mut progress: impl FnMut(&str)) -> anyhow::Result<Example> {
    let program = std::env::current_exe().context("could not find the hanse program itself")?;
    let folder = program.parent().context("a program lies in a folder")?;
    let workspace = workspace(folder)?;
    if !PROGRAMS.iter().all(|name| folder.join(name).is_file()) {
        progress("building the example's programs");
        build(&workspace, folder).await?;
    }
    if let Some(missing) = PROGRAMS.iter().find(|name| !folder.join(name).is_file()) {
        bail!(
            "{missing} of the example is not beside the hanse program in {}; copy {} there, or run hanse from its target folder",
            folder.display(),
            PROGRAMS.join(", ")
        );
    }
    let images = PROGRAMS
        .iter()
        .map(|name| (format!("hanse.example/{name}:0.1"), folder.join(name)))
        .collect();
    Ok(Example {
        images,
        catalogue: workspace.join(CATALOGUE),
    })
}

/// The workspace is looked for upwards from the working directory, then from the program.
fn workspace(folder: &Path) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("there is no working directory")?;
    let found = here
        .ancestors()
        .chain(folder.ancestors())
        .find(|folder| folder.join(CATALOGUE).is_dir());
    found.map(Path::to_path_buf).with_context(|| {
        format!("{CATALOGUE} was not found; run `hanse up` in a checkout of Hanse, it brings the example service")
    })
}

async fn build(workspace: &Path, folder: &Path) -> anyhow::Result<()> {
    let profile = if folder.ends_with("release") { "release" } else { "dev" };
    let output = Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            PACKAGE,
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(
            folder
                .parent()
                .context("a profile's folder lies in the target folder")?,
        )
        .current_dir(workspace)
        .output()
        .await
        .context("could not start cargo to build the example's programs")?;
    if !output.status.success() {
        bail!(
            "the example's programs could not be built:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
