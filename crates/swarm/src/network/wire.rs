//! One question and one answer on a stream of their own, each as long as the stream and no longer than it may be.

use std::io;
use std::marker::PhantomData;

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

/// A message.
pub(crate) trait Wire: Sized + Send + 'static {
    /// Its largest size in bytes.
    const MOST: usize;

    fn to_bytes(&self) -> Vec<u8>;

    /// # Errors
    /// `InvalidData` if it is none.
    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self>;
}

/// Reads and writes messages.
pub(crate) struct WireCodec<Q, A>(PhantomData<fn() -> (Q, A)>);

impl<Q, A> Default for WireCodec<Q, A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q, A> Clone for WireCodec<Q, A> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[async_trait]
impl<Q: Wire, A: Wire> Codec for WireCodec<Q, A> {
    type Protocol = StreamProtocol;
    type Request = Q;
    type Response = A;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Q> {
        read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<A> {
        read(io).await
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

async fn read<M: Wire>(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<M> {
    let mut bytes = Vec::new();
    io.take(M::MOST as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > M::MOST {
        return Err(invalid("the message is too long"));
    }
    M::from_bytes(bytes)
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
