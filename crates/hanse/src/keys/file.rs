//! The seed's file. Only the agent may read it; it is written once and never overwritten.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;
use super::sealed;
use super::seed::Seed;

/// First word of a file that holds a seed as it is; 64 hexadecimal digits follow.
const HEADER: &str = "hanse-domain-seed";

/// Whose file it is, which decides who else may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Made by the agent in its data folder: for its user alone.
    DataFolder,
    /// Named in the configuration, for example a mounted Kubernetes Secret, whose files belong to root and to the pod's
    /// group: the group may read it.
    Configured,
}

/// Reads a seed.
///
/// # Errors
/// When it can't be read, may be read by others, or holds no seed. No message holds what the file does.
pub fn read(path: &Path, place: Place, passphrase: &Passphrase) -> anyhow::Result<Seed> {
    let shown = path.display();
    let mode = std::fs::metadata(path)
        .with_context(|| format!("could not read the seed file {shown}"))?
        .permissions()
        .mode();
    match place {
        Place::DataFolder if mode & 0o077 != 0 => bail!(
            "others may read the seed file {shown}; run `chmod 600 {shown}`, and replace the seed if others may have read it"
        ),
        Place::Configured if mode & 0o027 != 0 => bail!(
            "others may read or change the seed file {shown} (mode {:o}); give it mode 0400, for a mounted Secret \
             `defaultMode: 0400`, or 0440 with `fsGroup`",
            mode & 0o777
        ),
        _ => {}
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read the seed file {shown}"))?;
    parse(&Zeroizing::new(text), passphrase).with_context(|| format!("the seed file {shown} can't be used"))
}

fn parse(text: &str, passphrase: &Passphrase) -> anyhow::Result<Seed> {
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(HEADER), Some(digits), None) => {
            let mut bytes = Zeroizing::new([0; 32]);
            if hex::decode_to_slice(digits, bytes.as_mut()).is_err() {
                bail!("64 hexadecimal digits are expected after the word {HEADER}");
            }
            Ok(Seed::from_bytes(bytes))
        }
        (Some(sealed::HEADER), ..) => sealed::open(text.trim(), &passphrase.get()?),
        _ => bail!(
            "it holds no seed: expected is the line `{HEADER} <64 hexadecimal digits>`, or what `hanse keys new --encrypt` wrote"
        ),
    }
}

/// Writes a new file for a seed, encrypted if there is a passphrase to do it with.
///
/// # Errors
/// When the file exists or can't be written.
pub fn write(path: &Path, seed: &Seed, passphrase: Option<&str>) -> anyhow::Result<()> {
    let shown = path.display();
    let line = Zeroizing::new(match passphrase {
        Some(passphrase) => sealed::seal(seed, passphrase)?,
        None => format!("{HEADER} {}", Zeroizing::new(hex::encode(seed.bytes())).as_str()),
    });
    // Under another name first: a crash must not leave half a seed behind, and a name that exists is never taken over.
    let partial = path.with_extension("new");
    let _ = std::fs::remove_file(&partial);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .with_context(|| format!("could not create {}", partial.display()))?;
    writeln!(file, "{}", line.as_str())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&partial, path);
    std::fs::remove_file(&partial)?;
    linked.with_context(|| format!("could not create the seed file {shown}; an existing one is never overwritten"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn none() -> Passphrase {
        Passphrase::default()
    }

    fn refusal(path: &Path, place: Place) -> String {
        format!("{:#}", read(path, place, &none()).unwrap_err())
    }

    #[test]
    fn a_seed_survives_its_file_which_nobody_else_may_read_and_nothing_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        let seed = Seed::generate();
        write(&path, &seed, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path, Place::DataFolder, &none()).unwrap(), seed);
        assert!(write(&path, &Seed::generate(), None).is_err());
        assert_eq!(read(&path, Place::DataFolder, &none()).unwrap(), seed);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn who_may_read_it_depends_on_whose_file_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        write(&path, &Seed::generate(), None).unwrap();
        for (mode, own, configured) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o440, false, true),
            (0o660, false, false),
            (0o644, false, false),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path, Place::DataFolder, &none()).is_ok(), own, "{mode:o}");
            assert_eq!(read(&path, Place::Configured, &none()).is_ok(), configured, "{mode:o}");
        }
        assert!(refusal(&path, Place::DataFolder).contains("chmod 600"));
        assert!(refusal(&path, Place::Configured).contains("defaultMode"));
    }

    #[test]
    fn what_is_no_seed_is_refused_and_its_content_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        for content in [
            String::new(),
            "ab".repeat(32),
            format!("{HEADER} abab"),
            format!("{HEADER} {} x", "ab".repeat(32)),
        ] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = refusal(&path, Place::DataFolder);
            assert!(!error.contains("abab"), "{error}");
        }
    }
}
