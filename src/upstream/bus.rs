//! A channel of the upstream's pub/sub that all nearsides of a fleet listen on: what one says all of them hear, itself
//! included. Not on the data path: it runs wherever [`Bus::run`] is spawned, over one connection of its own.
//!
//! The connection is `fred`'s, which speaks the protocol; when it lives and when it is given up is decided here. `fred`
//! may not notice that a connection is gone, so a PING is due once a second; and it would reconnect by itself and not
//! say what was missed, so each connection is a client of its own, made with the credentials and certificates of that
//! moment. Pub/sub keeps nothing for who is away: whenever the channel is listened on again, [`Heard::Back`] says that
//! something may have been missed. The same where messages came faster than they were taken.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::interfaces::{ClientInterface, ClientLike, EventInterface, PubsubInterface};
use fred::types::config::PerformanceConfig;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::client;
use super::identity::Identity;
use super::lanes::Lanes;

/// Messages that may wait to be taken.
const WAITING: usize = 256;
/// How often the connection is tried.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long it is waited before the next connection, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The channel is listened on from here on; what was said before may have been missed.
    Back,
    /// A message.
    Message(Vec<u8>),
}

/// See the module's header.
#[derive(Debug)]
pub struct Bus {
    channel: String,
    lanes: Arc<Lanes>,
    /// While there is a connection that listens.
    client: Mutex<Option<SubscriberClient>>,
}

impl Bus {
    /// On this channel of the lanes' upstream; nothing is opened yet.
    #[must_use]
    pub fn new(channel: String, lanes: &Arc<Lanes>) -> Arc<Self> {
        Arc::new(Self {
            channel,
            lanes: Arc::clone(lanes),
            client: Mutex::new(None),
        })
    }

    /// Says `message`; how many heard it. Within `request_timeout`.
    ///
    /// # Errors
    /// One line on why it could not be said; it may have been.
    pub async fn say(&self, message: Vec<u8>) -> Result<u64, String> {
        let channel = &self.channel;
        let client = self.client.lock().clone();
        let client = client.ok_or_else(|| {
            format!("there is no connection to the upstream for {channel}; try again")
        })?;
        let said = client.publish::<u64, _, _>(channel.clone(), message.as_slice());
        match timeout(self.lanes.settings().request_timeout, said).await {
            Ok(Ok(heard)) => Ok(heard),
            Ok(Err(error)) => Err(format!("PUBLISH to {channel}: {error}")),
            Err(_) => Err(format!("PUBLISH to {channel}: no answer in time")),
        }
    }

    /// Listens for as long as somebody wants to hear.
    pub async fn run(self: Arc<Self>, heard: mpsc::Sender<Heard>) {
        let mut pause = PAUSE.0;
        while !heard.is_closed() {
            let client = self.client();
            let (ended, listened) = self.listen(&client, &heard).await;
            let channel = &self.channel;
            tracing::warn!(channel, error = ended, "the fleet is not heard");
            pause = if listened {
                PAUSE.0
            } else {
                (pause * 2).min(PAUSE.1)
            };
            sleep(pause).await;
        }
    }

    /// Listens until the connection has ended: why, and whether it did listen.
    async fn listen(
        &self,
        client: &SubscriberClient,
        heard: &mpsc::Sender<Heard>,
    ) -> (String, bool) {
        let settings = self.lanes.settings();
        let mut messages = client.message_rx();
        let opening = async {
            let connection = client.init().await?;
            // A courtesy, as for a lane.
            let _ = client.client_setname("nearside-fleet").await;
            client.subscribe(self.channel.clone()).await?;
            Ok::<_, fred::error::Error>(connection)
        };
        let patience = settings.connect_timeout + settings.handshake_timeout;
        let mut connection = match timeout(patience, opening).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return (error.to_string(), false),
            Err(_) => {
                // It may come to be connected yet, and would then stay.
                let _ = timeout(HEARTBEAT, client.quit()).await;
                return ("no answer in time".into(), false);
            }
        };
        if heard.send(Heard::Back).await.is_err() {
            return ("nobody listens".into(), true);
        }
        *self.client.lock() = Some(client.clone());
        tracing::info!(channel = self.channel, "the fleet is heard");
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beats = async {
            loop {
                heartbeat.tick().await;
                let ping = client.ping::<fred::types::Value>(None);
                match timeout(settings.handshake_timeout, ping).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "no answer in time".to_owned(),
                }
            }
        };
        let takes = async {
            loop {
                let news = match messages.recv().await {
                    Ok(message) => match message.value.into_bytes() {
                        Some(bytes) => Heard::Message(bytes.to_vec()),
                        None => Heard::Back,
                    },
                    Err(RecvError::Lagged(_)) => Heard::Back,
                    Err(RecvError::Closed) => return "the connection has ended".to_owned(),
                };
                if heard.send(news).await.is_err() {
                    return "nobody listens".to_owned();
                }
            }
        };
        let ended = tokio::select! {
            ended = beats => ended,
            ended = takes => ended,
            ended = &mut connection => match ended {
                Ok(Err(error)) => error.to_string(),
                _ => "the connection has ended".to_owned(),
            },
        };
        *self.client.lock() = None;
        // Asked for before the rest is cut off, and for no longer: it may be the upstream that does not answer.
        let _ = timeout(HEARTBEAT, client.quit()).await;
        connection.abort();
        (ended, true)
    }

    /// A client that connects once.
    fn client(&self) -> SubscriberClient {
        self.lanes.read_files();
        let (endpoint, settings) = (self.lanes.endpoint(), self.lanes.settings());
        let tls = self.lanes.tls();
        let credentials = self.lanes.credentials(&Identity::Ours);
        let config = client::config(endpoint, tls.as_deref(), credentials);
        let (connect, handshake) = (settings.connect_timeout, settings.handshake_timeout);
        let connection = client::connection(connect, handshake, WAITING);
        let performance = PerformanceConfig {
            broadcast_channel_capacity: WAITING,
            ..PerformanceConfig::default()
        };
        SubscriberClient::new(config, Some(performance), Some(connection), None)
    }
}
