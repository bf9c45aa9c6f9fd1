//! Manifests between real nodes of a swarm, on the loopback interface.
#![allow(clippy::unwrap_used)]

use hanse_swarm::model::SwarmAddress;
use hanse_swarm::{DomainKey, SealingSecret, SwarmConfig, SwarmKey};
use redb::{Database, TableDefinition};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

/// Generous: machines that run tests are loaded.
const SOON: Duration = Duration::from_secs(60);

const MANIFEST: Bytes = Bytes::from_static(b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n");

struct Domain {
    manifests: Manifests,
    swarm: Arc<Swarm>,
    folder: TempDir,
}

impl Domain {
    async fn start(key: &SwarmKey, tag: u8, first: Option<&Self>) -> Self {
        Self::start_in(key, tag, first, tempfile::tempdir().unwrap()).await
    }

    async fn start_in(key: &SwarmKey, tag: u8, first: Option<&Self>, folder: TempDir) -> Self {
        let domain = DomainKey::from_secret(Zeroizing::new([tag; 32]));
        let sealing = SealingSecret::from_bytes(Zeroizing::new([tag; 32]));
        let mut config = SwarmConfig::new(key.clone(), domain, sealing, folder.path().to_owned());
        config.listen = vec![SwarmAddress::parse("/ip4/127.0.0.1/tcp/0").unwrap()];
        if let Some(first) = first {
            config.bootstrap = first.swarm.status().await.unwrap().addresses;
        }
        let swarm = Arc::new(Swarm::start(config).await.unwrap());
        Self {
            manifests: Manifests::new(swarm.clone()),
            swarm,
            folder,
        }
    }

    async fn publish(&self) -> Hash {
        let written = async { Ok::<_, BlobError>(hash(&MANIFEST)) };
        self.manifests.publish(MANIFEST, written).await.unwrap()
    }

    async fn fetch(&self, author: &Self) -> Result<Bytes, BlobError> {
        self.manifests
            .fetch(&hash(&MANIFEST), Some(author.swarm.name()), SOON)
            .await
    }

    /// Kills nothing gently, but waits until its files are closed.
    async fn leave(self) -> TempDir {
        self.swarm.stop().await;
        drop((self.manifests, self.swarm));
        self.folder
    }
}

/// Puts other bytes under the name of the manifest, as a damaged or a dishonest disk would.
fn tamper(folder: &TempDir) {
    let blocks: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("blocks");
    let database = Database::open(folder.path().join("swarm.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let key = [[0].as_slice(), &hash(&MANIFEST).0].concat();
    let before = transaction
        .open_table(blocks)
        .unwrap()
        .insert(key.as_slice(), b"kind: Lie\n".as_slice())
        .unwrap()
        .map(|before| before.value().to_vec());
    assert_eq!(before.as_deref(), Some(&*MANIFEST), "it lay there");
    transaction.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_had_from_another_holder_when_its_author_is_gone() {
    let key = SwarmKey::generate();
    let author = Domain::start(&key, 1, None).await;
    let bidder = Domain::start(&key, 2, Some(&author)).await;
    let provider = Domain::start(&key, 3, Some(&bidder)).await;
    author.publish().await;
    assert_eq!(bidder.fetch(&author).await.unwrap(), MANIFEST);
    let name = author.swarm.name();
    author.leave().await;
    let fetched = provider.manifests.fetch(&hash(&MANIFEST), Some(name), SOON).await;
    assert_eq!(fetched.unwrap(), MANIFEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_not_believed_whoever_sends_them() {
    let key = SwarmKey::generate();
    let honest = Domain::start(&key, 1, None).await;
    let author = Domain::start(&key, 2, Some(&honest)).await;
    author.publish().await;
    honest.fetch(&author).await.unwrap();
    let folder = author.leave().await;
    tamper(&folder);
    let liar = Domain::start_in(&key, 2, Some(&honest), folder).await;
    assert_eq!(
        liar.manifests.kept(&hash(&MANIFEST)).await.unwrap(),
        None,
        "what is damaged on the own disk does not count either"
    );
    let reader = Domain::start(&key, 3, Some(&liar)).await;
    // Alone, before the honest one is known: all that it hears is a lie.
    honest
        .manifests
        .release(&hash(&MANIFEST), || Ok::<_, BlobError>(false))
        .await
        .unwrap();
    let within = Duration::from_secs(3);
    let error = reader
        .manifests
        .fetch(&hash(&MANIFEST), Some(liar.swarm.name()), within)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("did not arrive"), "{error}");
    assert_eq!(reader.manifests.kept(&hash(&MANIFEST)).await.unwrap(), None);

    // The author mends its disk by fetching from who has it; then others get it.
    honest.publish().await;
    assert_eq!(liar.fetch(&honest).await.unwrap(), MANIFEST);
    let other = Domain::start(&key, 4, Some(&honest)).await;
    assert_eq!(other.fetch(&liar).await.unwrap(), MANIFEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_on_the_disk_before_its_hash_is_told_and_given_up_when_nobody_needs_it() {
    let key = SwarmKey::generate();
    let author = Domain::start(&key, 1, None).await;
    let hash = author.publish().await;
    author
        .manifests
        .release(&hash, || Ok::<_, BlobError>(true))
        .await
        .unwrap();
    let author = Domain::start_in(&key, 1, None, author.leave().await).await;
    assert_eq!(
        author.manifests.kept(&hash).await.unwrap(),
        Some(MANIFEST),
        "another agreement needs it"
    );
    author
        .manifests
        .release(&hash, || Ok::<_, BlobError>(false))
        .await
        .unwrap();
    assert_eq!(author.manifests.kept(&hash).await.unwrap(), None);
}
