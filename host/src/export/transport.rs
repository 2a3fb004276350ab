//! How an OTLP receiver is spoken to.

use bytes::Bytes;

use super::retry::{Accepted, Refused};
use super::settings::{Otlp, Protocol, Signal};
use super::{grpc, http};

/// Sends requests of one signal to one receiver.
pub struct Transport {
    name: String,
    sender: Sender,
}

enum Sender {
    Grpc(Box<grpc::Sender>),
    Http(Box<http::Sender>),
}

impl Transport {
    /// Prepares; connects later.
    pub fn new(otlp: &Otlp, signal: Signal) -> anyhow::Result<Self> {
        // Another room may have installed the same one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            name: format!("{} ({})", otlp.endpoint, otlp.protocol),
            sender: match otlp.protocol {
                Protocol::Grpc => Sender::Grpc(Box::new(grpc::Sender::new(otlp, signal)?)),
                Protocol::HttpProtobuf => Sender::Http(Box::new(http::Sender::new(otlp)?)),
            },
        })
    }

    /// For logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends an encoded request once.
    pub async fn send(&mut self, body: Bytes) -> Result<Accepted, Refused> {
        match &mut self.sender {
            Sender::Grpc(sender) => sender.send(body).await,
            Sender::Http(sender) => sender.send(body).await,
        }
    }
}
