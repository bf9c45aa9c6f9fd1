//! Where the passphrase of an encrypted seed comes from: a file, the environment, or whoever sits at the terminal.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use console::Term;
use zeroize::Zeroizing;

/// Environment variable that holds the passphrase.
const VARIABLE: &str = "HANSE_PASSPHRASE";

/// The least that is taken for a new seed; Argon2 makes up for a little, not for a word.
const LEAST: usize = 12;

/// The sources, in this order.
#[derive(Debug, Clone, Default)]
pub struct Passphrase {
    /// File whose first line it is, for example of a mounted Secret.
    pub file: Option<PathBuf>,
}

impl Passphrase {
    /// The passphrase, asked for only if it is needed.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self) -> anyhow::Result<Zeroizing<String>> {
        if let Some(found) = self.given()? {
            return Ok(found);
        }
        if !std::io::stdin().is_terminal() {
            bail!(
                "it is encrypted and there is no passphrase: set keys.passphraseFile or {VARIABLE}, or start at a terminal to be asked"
            );
        }
        ask("Passphrase of the domain's seed: ")
    }

    /// A passphrase for a new seed, asked for twice at a terminal.
    ///
    /// # Errors
    /// When there is none, it is short, or the two differ.
    pub fn choose(&self) -> anyhow::Result<Zeroizing<String>> {
        let chosen = match self.given()? {
            Some(given) => given,
            None if std::io::stdin().is_terminal() => {
                let first = ask("New passphrase: ")?;
                ensure!(first == ask("The same again: ")?, "the two passphrases differ");
                first
            }
            None => bail!("there is no passphrase: give --passphrase-file or {VARIABLE}, or start at a terminal"),
        };
        ensure!(
            chosen.chars().count() >= LEAST,
            "a passphrase needs at least {LEAST} characters; several words make a good one"
        );
        Ok(chosen)
    }

    fn given(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        if let Some(file) = &self.file {
            let text = std::fs::read_to_string(file)
                .map(Zeroizing::new)
                .with_context(|| format!("could not read the passphrase file {}", file.display()))?;
            let line = text.lines().next().unwrap_or_default();
            ensure!(!line.is_empty(), "the passphrase file {} is empty", file.display());
            return Ok(Some(Zeroizing::new(line.to_owned())));
        }
        Ok(std::env::var(VARIABLE)
            .ok()
            .filter(|text| !text.is_empty())
            .map(Zeroizing::new))
    }
}

fn ask(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let terminal = Term::stderr();
    terminal.write_str(question)?;
    Ok(Zeroizing::new(terminal.read_secure_line()?))
}
