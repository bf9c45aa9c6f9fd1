//! A seed under a passphrase: Argon2id (RFC 9106) makes a key of it, ChaCha20-Poly1305 (RFC 8439) encrypts with that.
//!
//! One line of text: `hanse-domain-seed-encrypted argon2id KIBIBYTES PASSES LANES SALT NONCE CIPHERTEXT`, the last three in
//! hexadecimal. What stands before the ciphertext is authenticated with it.

use anyhow::{anyhow, bail, ensure};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use rand::TryRngCore;
use zeroize::Zeroizing;

use super::seed::Seed;

/// First word of the line.
pub const HEADER: &str = "hanse-domain-seed-encrypted";

/// RFC 9106, section 4, second recommended option: 64 MiB, 3 passes, 4 lanes.
const COST: Cost = Cost {
    kibibytes: 64 * 1024,
    passes: 3,
    lanes: 4,
};

/// A file may ask for no more than this, so that it can't be used to exhaust the machine.
const MOST: Cost = Cost {
    kibibytes: 1024 * 1024,
    passes: 16,
    lanes: 16,
};

#[derive(Clone, Copy)]
struct Cost {
    kibibytes: u32,
    passes: u32,
    lanes: u32,
}

/// The line for a seed.
pub fn seal(seed: &Seed, passphrase: &str) -> anyhow::Result<String> {
    seal_with(seed, passphrase, COST)
}

fn seal_with(seed: &Seed, passphrase: &str, cost: Cost) -> anyhow::Result<String> {
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    for bytes in [&mut salt[..], &mut nonce[..]] {
        rand::rngs::OsRng
            .try_fill_bytes(bytes)
            .map_err(|error| anyhow!("the operating system gives no random numbers: {error}"))?;
    }
    let head = format!(
        "{HEADER} argon2id {} {} {} {} {}",
        cost.kibibytes,
        cost.passes,
        cost.lanes,
        hex::encode(salt),
        hex::encode(nonce)
    );
    let payload = Payload {
        msg: seed.bytes(),
        aad: head.as_bytes(),
    };
    let ciphertext = cipher(passphrase, &salt, cost)?
        .encrypt(Nonce::from_slice(&nonce), payload)
        .map_err(|_| anyhow!("the seed could not be encrypted"))?;
    Ok(format!("{head} {}", hex::encode(ciphertext)))
}

/// The seed in a line that [`seal`] made.
///
/// # Errors
/// A line of another form; a wrong passphrase or an altered line, which can't be told apart.
pub fn open(line: &str, passphrase: &str) -> anyhow::Result<Seed> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [HEADER, "argon2id", kibibytes, passes, lanes, salt, nonce, ciphertext] = words[..] else {
        bail!("not an encrypted domain seed");
    };
    let cost = Cost {
        kibibytes: kibibytes.parse()?,
        passes: passes.parse()?,
        lanes: lanes.parse()?,
    };
    ensure!(
        cost.kibibytes <= MOST.kibibytes && cost.passes <= MOST.passes && cost.lanes <= MOST.lanes,
        "it asks for more work than any seed that this program encrypts"
    );
    let (salt, nonce) = (hex::decode(salt)?, hex::decode(nonce)?);
    ensure!(
        salt.len() == 16 && nonce.len() == 12,
        "salt or nonce have another length"
    );
    let head = words[..7].join(" ");
    let payload = Payload {
        msg: &hex::decode(ciphertext)?,
        aad: head.as_bytes(),
    };
    let plain = cipher(passphrase, &salt, cost)?
        .decrypt(Nonce::from_slice(&nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| anyhow!("the passphrase is wrong, or the file was altered"))?;
    let bytes = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| anyhow!("it does not hold 32 bytes"))?;
    Ok(Seed::from_bytes(Zeroizing::new(bytes)))
}

fn cipher(passphrase: &str, salt: &[u8], cost: Cost) -> anyhow::Result<ChaCha20Poly1305> {
    let params = Params::new(cost.kibibytes, cost.passes, cost.lanes, Some(32))
        .map_err(|error| anyhow!("Argon2 can't work with these costs: {error}"))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
        .map_err(|error| anyhow!("the passphrase can't be used: {error}"))?;
    Ok(ChaCha20Poly1305::new(Key::from_slice(key.as_ref())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CHEAP: Cost = Cost {
        kibibytes: 64,
        passes: 1,
        lanes: 1,
    };

    #[test]
    fn the_passphrase_opens_it_and_nothing_else_does() {
        let seed = Seed::generate();
        let line = seal_with(&seed, "correct horse", CHEAP).unwrap();
        assert!(!line.contains(&hex::encode(seed.bytes())));
        assert_eq!(open(&line, "correct horse").unwrap(), seed);
        assert!(open(&line, "battery staple").is_err());
        assert_ne!(line, seal_with(&seed, "correct horse", CHEAP).unwrap());
    }

    #[test]
    fn an_altered_line_is_refused_wherever_it_was_altered() {
        let line = seal_with(&Seed::generate(), "x", CHEAP).unwrap();
        for word in 2..8 {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let last = words[word].pop().unwrap();
            words[word].push(if last == '1' { '2' } else { '1' });
            if words.join(" ") != line {
                assert!(open(&words.join(" "), "x").is_err(), "word {word}");
            }
        }
        assert!(open("", "x").is_err());
    }

    #[test]
    fn a_file_cannot_ask_for_endless_work() {
        let line = seal_with(&Seed::generate(), "x", CHEAP).unwrap();
        let error = open(&line.replace(" 64 1 1 ", " 4000000000 1 1 "), "x").unwrap_err();
        assert!(error.to_string().contains("more work"), "{error}");
    }
}
