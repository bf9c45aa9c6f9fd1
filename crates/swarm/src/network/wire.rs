//! One question and one answer on a stream of their own, each as long as the stream and no longer than it may be.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use tokio::sync::Semaphore;

/// A message.
pub(crate) trait Wire: Sized + Send + 'static {
    /// Its largest size in bytes.
    const MOST: usize;

    fn to_bytes(&self) -> Vec<u8>;

    /// # Errors
    /// `InvalidData` if it is none.
    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self>;
}

/// How much memory the messages of one protocol may take while they arrive, all connections together. Who sends slowly on many
/// streams gets no more.
const ARRIVING: usize = 48 << 20;
/// So much of it is taken at a time.
const STEP: usize = 16 << 10;

/// Reads and writes messages. Clones share their room.
pub(crate) struct WireCodec<Q, A> {
    room: Arc<Semaphore>,
    messages: PhantomData<fn() -> (Q, A)>,
}

impl<Q, A> Default for WireCodec<Q, A> {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(ARRIVING / STEP)),
            messages: PhantomData,
        }
    }
}

impl<Q, A> Clone for WireCodec<Q, A> {
    fn clone(&self) -> Self {
        Self {
            room: self.room.clone(),
            messages: PhantomData,
        }
    }
}

#[async_trait]
impl<Q: Wire, A: Wire> Codec for WireCodec<Q, A> {
    type Protocol = StreamProtocol;
    type Request = Q;
    type Response = A;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Q> {
        read(io, &self.room).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<A> {
        read(io, &self.room).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Q,
    ) -> io::Result<()> {
        write(io, question.to_bytes()).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: A,
    ) -> io::Result<()> {
        write(io, answer.to_bytes()).await
    }
}

async fn read<M: Wire>(io: &mut (impl AsyncRead + Unpin + Send), room: &Semaphore) -> io::Result<M> {
    let mut bytes = Vec::new();
    // Given back when the message is there, or its sender has given up.
    let mut taken = Vec::new();
    loop {
        let step = room.try_acquire().map_err(|_| no_room())?;
        taken.push(step);
        let before = bytes.len();
        let most = STEP.min(M::MOST + 1 - before);
        (&mut *io).take(most as u64).read_to_end(&mut bytes).await?;
        if bytes.len() > M::MOST {
            return Err(invalid("the message is too long"));
        }
        if bytes.len() < before + most {
            return M::from_bytes(bytes);
        }
    }
}

fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, "too many messages are arriving")
}

async fn write(io: &mut (impl AsyncWrite + Unpin + Send), bytes: Vec<u8>) -> io::Result<()> {
    io.write_all(&bytes).await?;
    io.close().await
}

pub(super) fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Any bytes, for nodes that lie.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(crate) struct Raw(pub Vec<u8>);

#[cfg(test)]
impl Wire for Raw {
    const MOST: usize = 2 << 20;

    fn to_bytes(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::TryStreamExt;
    use futures::io::Cursor;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Text(Vec<u8>);

    impl Wire for Text {
        const MOST: usize = 100_000;

        fn to_bytes(&self) -> Vec<u8> {
            self.0.clone()
        }

        fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
            Ok(Self(bytes))
        }
    }

    #[tokio::test]
    async fn messages_are_read_to_their_longest_and_no_further() {
        let room = Semaphore::new(100);
        for length in [0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP, Text::MOST] {
            let sent = vec![7; length];
            let read: Text = read(&mut Cursor::new(&sent), &room).await.unwrap();
            assert_eq!(read.0.len(), length);
        }
        let error = read::<Text>(&mut Cursor::new(vec![7; Text::MOST + 1]), &room)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the message is too long");
        assert_eq!(room.available_permits(), 100);
    }

    #[tokio::test]
    async fn who_sends_slowly_on_many_streams_takes_no_more_than_there_is() {
        let room = Arc::new(Semaphore::new(8));
        let mut slow = Vec::new();
        for _ in 0..8 {
            let room = room.clone();
            slow.push(tokio::spawn(async move {
                let mut silent = futures::stream::pending::<io::Result<Vec<u8>>>().into_async_read();
                read::<Text>(&mut silent, &room).await
            }));
        }
        while room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let error = read::<Text>(&mut Cursor::new(vec![7; 10]), &room).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        // One gives up.
        let one = slow.pop().unwrap();
        one.abort();
        assert!(one.await.unwrap_err().is_cancelled());
        assert!(read::<Text>(&mut Cursor::new(vec![7; 10]), &room).await.is_ok());
    }
}
