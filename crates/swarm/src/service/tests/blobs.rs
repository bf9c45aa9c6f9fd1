//! A blob travels from several holders, one of whom lies.

use bytes::Bytes;

use super::*;
use crate::blob::LARGEST_BLOCK;
use crate::simulation::write_lies;

/// The figure of the acceptance table.
const SIZE: usize = 10_000_000;

fn content() -> Bytes {
    (0..SIZE)
        .map(|index| u8::try_from((index * 7 + (index >> 13)) & 0xff).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_comes_from_three_holders_and_the_liar_is_banned() {
    let swarm_key = SwarmKey::generate();
    let blob = content();
    let layout = Layout::of(&blob).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_lies(folder.path(), &blob).unwrap();
    let liar = Domain::start_in(&swarm_key, 1, &[], folder).await;
    let bootstrap = [liar.address().await];
    let holders = [
        Domain::start(&swarm_key, 2, &bootstrap).await,
        Domain::start(&swarm_key, 3, &bootstrap).await,
    ];
    for holder in &holders {
        assert_eq!(holder.swarm.add_blob(blob.clone()).await.unwrap(), layout.root());
    }
    let reader = Domain::start(&swarm_key, 4, &bootstrap).await;
    for (tag, domain) in (1..).zip([&liar, &holders[0], &holders[1]]) {
        domain.swarm.publish(statement(tag, "I have blobs")).await.unwrap();
    }
    for domain in [&liar, &holders[0], &holders[1]] {
        reader.until_online(domain.swarm.name()).await;
    }
    let fetched = reader.swarm.blob(layout.root(), SIZE as u64, SOON).await.unwrap();
    assert!(fetched == blob);
    let cut_off = |peer: Option<&PeerView>| peer.is_none_or(|peer| !peer.connected());
    reader.until(liar.swarm.name(), "the liar is cut off", cut_off).await;

    // Now it is a holder itself, and needs nobody.
    for holder in holders {
        holder.swarm.stop().await;
    }
    assert!(reader.swarm.blob(layout.root(), SIZE as u64, SOON).await.unwrap() == blob);
    const { assert!(SIZE > 9 * LARGEST_BLOCK, "several blocks were asked for") };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_nobody_has_or_that_is_too_large_is_an_error_in_time() {
    let swarm_key = SwarmKey::generate();
    let holder = Domain::start(&swarm_key, 1, &[]).await;
    let reader = Domain::start(&swarm_key, 2, &[holder.address().await]).await;
    holder.swarm.publish(statement(1, "I have blobs")).await.unwrap();
    reader.until_online(holder.swarm.name()).await;
    let nobody_has = BlockId::from_sha256([7; 32]);
    let error = reader
        .swarm
        .blob(nobody_has, 100, Duration::from_secs(3))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nobody who was asked has it"), "{error}");
    let root = holder
        .swarm
        .add_blob(content().slice(..2 * LARGEST_BLOCK))
        .await
        .unwrap();
    let error = reader.swarm.blob(root, LARGEST_BLOCK as u64, SOON).await.unwrap_err();
    assert!(error.to_string().contains("at most 1048576"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_holder_is_asked_first_and_what_was_forgotten_is_gone() {
    let swarm_key = SwarmKey::generate();
    let author = Domain::start(&swarm_key, 1, &[]).await;
    let reader = Domain::start(&swarm_key, 2, &[author.address().await]).await;
    let blob = Bytes::from_static(b"a manifest");
    let root = author.swarm.add_blob(blob.clone()).await.unwrap();
    // Neither has published a record: who is in the swarm can hold blobs all the same.
    let fetched = reader.swarm.blob_from(root, &[author.swarm.name()], 100, SOON).await;
    assert_eq!(fetched.unwrap(), blob);
    assert_eq!(reader.swarm.kept(root).await.unwrap(), Some(blob.clone()));

    author.swarm.forget(root).await.unwrap();
    assert_eq!(author.swarm.kept(root).await.unwrap(), None);
    assert_eq!(
        author.swarm.blob(root, 100, SOON).await.unwrap(),
        blob,
        "the reader holds it now"
    );

    for domain in [&author, &reader] {
        domain.swarm.forget(root).await.unwrap();
        domain.swarm.forget(root).await.unwrap();
    }
    let error = reader.swarm.blob(root, 100, Duration::from_secs(2)).await.unwrap_err();
    assert!(error.to_string().contains("nobody who was asked has it"), "{error}");
}
