//! The network between a process and a receiver, which can be broken in several ways.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All passes.
    Open,
    /// Nobody listens: connections are refused.
    Refused,
    /// All passes so much later, in both directions.
    Delayed(Duration),
    /// Connections are made, and what is sent is never seen again.
    Lost,
    /// What is sent arrives, and instead of an answer the connection is closed from the other side.
    HalfClosed,
}

/// Passes connections on. Gone when it is dropped.
#[derive(Debug)]
pub struct Link {
    way: watch::Sender<Way>,
    address: SocketAddr,
    task: AbortHandle,
    /// Keeps the address while nobody listens.
    _holder: TcpSocket,
}

impl Link {
    /// To a receiver at this address; open.
    ///
    /// # Errors
    /// If there is no free address.
    pub fn to(receiver: SocketAddr) -> Result<Self> {
        let holder = socket(([127, 0, 0, 1], 0).into())?;
        let address = holder.local_addr()?;
        let (way, ways) = watch::channel(Way::Open);
        let task = tokio::spawn(async move {
            if let Err(error) = serve(address, receiver, ways).await {
                eprintln!("the link to the receiver has ended: {error}");
            }
        });
        Ok(Self {
            way,
            address,
            task: task.abort_handle(),
            _holder: holder,
        })
    }

    /// What to send to by gRPC.
    #[must_use]
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Is so from now on. All connections are cut.
    pub fn become_(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Several may have the same address, of which only who listens is connected to.
fn socket(address: SocketAddr) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn serve(
    address: SocketAddr,
    receiver: SocketAddr,
    mut ways: watch::Receiver<Way>,
) -> Result<()> {
    loop {
        let way = *ways.borrow_and_update();
        if way == Way::Refused {
            ways.changed().await?;
            continue;
        }
        let listener = socket(address)?.listen(64)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                changed = ways.changed() => {
                    changed?;
                    break;
                }
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    connections.spawn(pass(stream, receiver, way));
                }
            }
        }
    }
}

/// One connection. It ends when either side is tired of it.
async fn pass(mut near: TcpStream, receiver: SocketAddr, way: Way) -> Result<()> {
    match way {
        Way::Refused => {}
        Way::Lost => {
            copy(&mut near, &mut sink()).await?;
        }
        Way::Open => {
            let mut far = TcpStream::connect(receiver).await?;
            copy_bidirectional(&mut near, &mut far).await?;
        }
        Way::HalfClosed => {
            let far = TcpStream::connect(receiver).await?;
            let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
                (near.into_split(), far.into_split());
            let (mut nowhere, mut first) = (sink(), [0]);
            // As a proxy does that is told to end: it takes what has begun.
            near_read.peek(&mut first).await?;
            near_write.shutdown().await?;
            tokio::try_join!(
                copy(&mut near_read, &mut far_write),
                copy(&mut far_read, &mut nowhere)
            )?;
        }
        Way::Delayed(delay) => {
            let far = TcpStream::connect(receiver).await?;
            let ((near_read, near_write), (far_read, far_write)) =
                (near.into_split(), far.into_split());
            tokio::try_join!(
                late(near_read, far_write, delay),
                late(far_read, near_write, delay)
            )?;
        }
    }
    Ok(())
}

async fn late(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) -> Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1_024);
    let reading = async move {
        loop {
            let mut bytes = Vec::with_capacity(16 << 10);
            if from.read_buf(&mut bytes).await? == 0 {
                return anyhow::Ok(());
            }
            sender.send((Instant::now() + delay, bytes)).await?;
        }
    };
    let writing = async move {
        while let Some((at, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(at).await;
            to.write_all(&bytes).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(reading, writing)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use lighthouse_telemetry::receiver::Receiver;

    use super::*;

    /// What comes of a connection and a request.
    async fn met(link: &Link) -> Option<&'static str> {
        let mut stream = TcpStream::connect(link.address).await.ok()?;
        let request = b"GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut text = String::new();
        let reading = stream.read_to_string(&mut text);
        match tokio::time::timeout(Duration::from_millis(300), reading).await {
            Ok(_) if text.starts_with("HTTP/") => Some("an answer"),
            Ok(_) => Some("an end"),
            Err(_) => Some("silence"),
        }
    }

    #[tokio::test]
    async fn each_way_is_as_it_says() {
        let receiver = Receiver::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let link = Link::to(receiver.address()).unwrap();
        let hour = Duration::from_secs(3_600);
        for (way, wished) in [
            (Way::Open, Some("an answer")),
            (Way::Refused, None),
            (Way::Delayed(hour), Some("silence")),
            (Way::HalfClosed, Some("an end")),
            (Way::Lost, Some("silence")),
            (Way::Delayed(Duration::ZERO), Some("an answer")),
        ] {
            link.become_(way);
            // It is told, but may not have heard.
            let becoming = async { while met(&link).await != wished {} };
            let became = tokio::time::timeout(Duration::from_secs(60), becoming).await;
            assert!(became.is_ok(), "{way:?} is not {wished:?}");
        }
    }
}
