//! The way to a Redis, through `fred`. See [`Way`] for what it promises.
//!
//! Functions are called where the server has them, and loaded where the library is not there: at first, and after FUNCTION
//! FLUSH. A server that does not know them, or does not let this user have them, gets scripts by their digests, sent whole
//! where it has none of that digest (SCRIPT FLUSH). Which of the two is found out anew on each connection.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientInterface, ClientLike, FunctionInterface, LuaInterface};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::library::{self, Function};
use super::way::{Answer, Cause, Trouble, Way};
use crate::upstream::client;
use crate::upstream::settings::Endpoint;

/// Calls that may wait on the connection.
const WAITING: usize = 4096;

/// How the functions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Functions,
    /// With the first line that servers from 7.0 on know, or without.
    Scripts {
        flags: bool,
    },
}

/// A connection and what is known of its server.
struct Connection {
    client: Client,
    form: Mutex<Form>,
    /// Of the scripts that were loaded.
    digests: Mutex<HashMap<Function, String>>,
    /// Whether it has ended.
    ended: watch::Sender<bool>,
}

/// See the module's header.
pub struct Redis {
    endpoint: Endpoint,
    keys: library::Keys,
    bound: Duration,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Redis {
    /// To the ledger of this name; nothing is opened yet. `bound` is for each call.
    #[must_use]
    pub fn new(endpoint: Endpoint, ledger: &str, bound: Duration) -> Self {
        Self {
            endpoint,
            keys: library::keys(ledger),
            bound,
            connection: Mutex::new(None),
        }
    }

    async fn open(&self) -> Result<(), Trouble> {
        self.give_up();
        let unreachable = |error: String| {
            let detail = format!("no connection to {}: {error}", self.endpoint.address);
            Trouble::new(Cause::Unreachable, detail)
        };
        let config = client::from_files(&self.endpoint).map_err(unreachable)?;
        let limits = client::connection(self.bound, self.bound, WAITING);
        let client = Client::new(config, None, Some(limits), None);
        let opening = async {
            let task = client.init().await?;
            // A courtesy, as for a lane.
            let _ = client.client_setname("nearside-ledger").await;
            Ok::<_, Error>(task)
        };
        let task = match timeout(self.bound * 2, opening).await {
            Ok(Ok(task)) => task,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => {
                drop(timeout(self.bound, client.quit()).await);
                return Err(unreachable("no answer in time".to_owned()));
            }
        };
        let (ended, mut given_up) = watch::channel(false);
        let watched = ended.clone();
        let quitting = client.clone();
        let bound = self.bound;
        tokio::spawn(async move {
            let mut task = task;
            tokio::select! {
                _ = &mut task => {}
                () = over(&mut given_up) => {
                    drop(timeout(bound, quitting.quit()).await);
                    task.abort();
                }
            }
            watched.send_replace(true);
        });
        *self.connection.lock() = Some(Arc::new(Connection {
            client,
            form: Mutex::new(Form::Functions),
            digests: Mutex::new(HashMap::new()),
            ended,
        }));
        Ok(())
    }

    async fn ask(&self, function: Function, argument: String) -> Result<String, Trouble> {
        let connection = self.connection.lock().clone();
        let connection = connection
            .filter(|one| !*one.ended.borrow())
            .ok_or_else(|| {
                let detail = format!("there is no connection to {}", self.endpoint.address);
                Trouble::new(Cause::Unreachable, detail)
            })?;
        let mut ended = connection.ended.subscribe();
        let asked = async {
            tokio::select! {
                answer = connection.ask(&self.keys, function, argument) => answer,
                () = over(&mut ended) => {
                    Err(Trouble::new(Cause::Lost, "the connection ended before the answer"))
                }
            }
        };
        let answer = timeout(self.bound, asked).await;
        answer.unwrap_or_else(|_| Err(Trouble::new(Cause::Timeout, "no answer in time")))
    }
}

impl Connection {
    async fn ask(
        &self,
        keys: &library::Keys,
        function: Function,
        argument: String,
    ) -> Result<String, Trouble> {
        // What is missing is loaded once; a second miss is the server's.
        let mut loads = 0;
        loop {
            let form = *self.form.lock();
            let keys = keys.to_vec();
            let error = match form {
                Form::Functions => {
                    let called = self.client.fcall(function.name(), keys, argument.clone());
                    match called.await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => error,
                    }
                }
                Form::Scripts { flags } => {
                    let digest = self.digest(function, flags).await?;
                    let Some(digest) = digest else { continue };
                    match self.client.evalsha(digest, keys, argument.clone()).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => error,
                    }
                }
            };
            let text = error.details();
            let missing = text.contains("Function not found") || text.starts_with("NOSCRIPT");
            if missing && loads < 2 {
                loads += 1;
                self.digests.lock().remove(&function);
                if form == Form::Functions {
                    self.load().await?;
                }
            } else if form == Form::Functions && has_no_functions(text) {
                self.fall_back();
            } else {
                return Err(trouble(&error));
            }
        }
    }

    fn fall_back(&self) {
        tracing::info!("the ledger's server has no functions for this user; scripts do the same");
        *self.form.lock() = Form::Scripts { flags: true };
    }

    /// Loads the library where the server has functions.
    async fn load(&self) -> Result<(), Trouble> {
        let loaded: Result<String, Error> = self.client.function_load(false, library::text()).await;
        match loaded {
            Ok(_) => {
                tracing::info!(library = library::NAME, "loaded into the ledger's server");
                Ok(())
            }
            // Another nearside was faster.
            Err(error) if error.details().contains("already exists") => Ok(()),
            Err(error) if has_no_functions(error.details()) => {
                self.fall_back();
                Ok(())
            }
            Err(error) => Err(trouble(&error)),
        }
    }

    /// The digest of a function's script, loaded where it is not known; `None` where its form was not understood and is
    /// another one now.
    async fn digest(&self, function: Function, flags: bool) -> Result<Option<String>, Trouble> {
        if let Some(digest) = self.digests.lock().get(&function) {
            return Ok(Some(digest.clone()));
        }
        let script = function.script(flags);
        match self.client.script_load::<String, _>(script).await {
            Ok(digest) => {
                self.digests.lock().insert(function, digest.clone());
                Ok(Some(digest))
            }
            // Lua has no comment that begins so; servers before 7.0 try to compile it.
            Err(error) if flags && error.details().contains("compiling") => {
                *self.form.lock() = Form::Scripts { flags: false };
                Ok(None)
            }
            Err(error) => Err(trouble(&error)),
        }
    }
}

/// Ends when the connection is over.
async fn over(ended: &mut watch::Receiver<bool>) {
    // Where the sender is gone, so is the connection.
    let _ = ended.wait_for(|ended| *ended).await;
}

fn has_no_functions(text: &str) -> bool {
    text.contains("unknown command") || text.starts_with("NOPERM")
}

fn trouble(error: &Error) -> Trouble {
    let text = error.details();
    let cause = match error.kind() {
        ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Tls => Cause::Lost,
        ErrorKind::Timeout => Cause::Timeout,
        ErrorKind::Backpressure => Cause::Unreachable,
        _ => Cause::of_reply(text),
    };
    Trouble::new(cause, text)
}

impl Way for Redis {
    fn connect(&self) -> Answer<'_, ()> {
        Box::pin(self.open())
    }

    fn ended(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let connection = self.connection.lock().clone();
        Box::pin(async move {
            if let Some(connection) = connection {
                let mut ended = connection.ended.subscribe();
                over(&mut ended).await;
            }
        })
    }

    fn give_up(&self) {
        if let Some(connection) = self.connection.lock().take() {
            connection.ended.send_replace(true);
        }
    }

    fn call(&self, function: Function, argument: String) -> Answer<'_, String> {
        Box::pin(self.ask(function, argument))
    }
}
