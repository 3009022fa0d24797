//! The fleet: nearsides of the same name tell each other what was dropped by hand. A message is an array of bulk strings,
//! as requests are: who says it, then what, as in NEARSIDE INVALIDATE. Whoever was away, or hears what it does not
//! understand, drops everything: it may have been for anything.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::control::{Control, Fleet, Target};
use crate::resp::encode;
use crate::resp::request::{RequestScanner, Scanned};
use crate::upstream::bus::{Bus, Heard};
use crate::upstream::lanes::Lanes;

/// Messages that may wait.
const WAITING: usize = 64;

/// This nearside as one of a fleet.
#[derive(Debug, Clone)]
pub struct Member {
    bus: Arc<Bus>,
    /// What tells its own messages from those of the others.
    id: String,
}

impl Member {
    /// Of the fleet called `name`, that meets at the lanes' upstream.
    #[must_use]
    pub fn new(name: &str, lanes: &Arc<Lanes>) -> Self {
        let random = || RandomState::new().hash_one(std::process::id());
        Self {
            bus: Bus::new(format!("nearside:fleet:{name}"), lanes),
            id: format!("{:016x}{:016x}", random(), random()),
        }
    }

    /// Carries out what the others say.
    pub async fn follow(self, control: Arc<Control>) {
        let (heard, mut news) = mpsc::channel(WAITING);
        let listening = tokio::spawn(Arc::clone(&self.bus).run(heard));
        while let Some(news) = news.recv().await {
            match news {
                Heard::Back => {
                    control.drop_here(&Target::All).await;
                }
                Heard::Message(message) => match read(&message) {
                    Some((from, _)) if from == self.id.as_bytes() => {}
                    Some((_, target)) => {
                        control.drop_here(&target).await;
                    }
                    None => {
                        tracing::warn!("a message of the fleet is not understood: all is dropped");
                        control.drop_here(&Target::All).await;
                    }
                },
            }
        }
        listening.abort();
    }
}

impl Fleet for Member {
    fn tell<'a>(
        &'a self,
        target: &'a Target,
    ) -> Pin<Box<dyn Future<Output = Result<u64, String>> + Send + 'a>> {
        Box::pin(self.bus.say(written(&self.id, target)))
    }
}

fn written(from: &str, target: &Target) -> Vec<u8> {
    let (what, names): (&[u8], &[Vec<u8>]) = match target {
        Target::Keys(keys) => (b"KEY", keys),
        Target::Patterns(patterns) => (b"PATTERN", patterns),
        Target::All => (b"ALL", &[]),
    };
    let mut words = vec![from.as_bytes(), what];
    words.extend(names.iter().map(Vec::as_slice));
    let mut message = Vec::new();
    encode::request(&mut message, &words);
    message
}

/// Who says it and what, if it is understood.
fn read(message: &[u8]) -> Option<(&[u8], Target)> {
    let mut scanner = RequestScanner::default();
    match scanner.scan(message) {
        Ok(Scanned::Request { end }) if end == message.len() => {}
        _ => return None,
    }
    let words: Vec<&[u8]> = scanner
        .args()
        .iter()
        .map(|at| &message[at.clone()])
        .collect();
    let [from, what, names @ ..] = words.as_slice() else {
        return None;
    };
    let names = || names.iter().map(|name| name.to_vec()).collect();
    let target = match *what {
        b"KEY" => Target::Keys(names()),
        b"PATTERN" => Target::Patterns(names()),
        b"ALL" => Target::All,
        _ => return None,
    };
    Some((from, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for target in [
            Target::Keys(vec![b"a\r\n".to_vec(), Vec::new()]),
            Target::Patterns(vec![b"u:*".to_vec()]),
            Target::All,
        ] {
            let message = written("me", &target);
            assert_eq!(read(&message), Some((&b"me"[..], target)));
            assert_eq!(read(&message[..message.len() - 1]), None);
        }
        assert_eq!(read(b"*2\r\n$2\r\nme\r\n$3\r\nNEW\r\n"), None);
        assert_eq!(read(b"anything"), None);
    }
}
