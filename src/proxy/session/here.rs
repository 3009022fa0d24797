//! Commands about the connection itself that are answered here and cost no upstream connection.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::command::Class;
use crate::resp::encode;
use crate::resp::frame::parse_integer;
use crate::upstream::identity::Identity;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Answers what concerns the connection alone; whether this was such a command.
    pub(super) fn answer_here(
        &mut self,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) -> bool {
        match class {
            Class::Reset if args.len() == 1 => self.reset_here(),
            Class::Select => return self.select_here(request, args),
            Class::Auth => return self.auth_here(request, args),
            Class::Hello => return self.hello_here(request, args),
            Class::Client => return self.client_here(request, args),
            _ => return false,
        }
        true
    }

    fn client_here(&mut self, request: &[u8], args: &[Range<usize>]) -> bool {
        let arg = |at: usize| args.get(at).map(|range| &request[range.clone()]);
        let sub = arg(1).map(<[u8]>::to_ascii_uppercase).unwrap_or_default();
        match (sub.as_slice(), args.len()) {
            // Commands of newer servers than the upstream, which libraries send at each connect; and the offer to be
            // told of another address, which would lead a client past nearside.
            (b"SETINFO" | b"NO-TOUCH" | b"NO-EVICT" | b"MAINT_NOTIFICATIONS", _)
                if sub == b"MAINT_NOTIFICATIONS" || !self.upstream_has(request, args) =>
            {
                let sub = String::from_utf8_lossy(arg(1).unwrap_or_default());
                let text = format!("ERR unknown subcommand '{sub}'. Try CLIENT HELP.");
                encode::error(&mut self.out, &text);
            }
            (b"SETINFO", 4) => {
                let known = [&b"lib-name"[..], b"lib-ver"];
                let attribute = arg(2).unwrap_or_default().to_ascii_lowercase();
                if !known.contains(&attribute.as_slice()) {
                    return false;
                }
                self.out.extend_from_slice(b"+OK\r\n");
            }
            (b"NO-EVICT" | b"NO-TOUCH", 3) => {
                let switch = arg(2).unwrap_or_default().to_ascii_lowercase();
                if !matches!(switch.as_slice(), b"on" | b"off") {
                    return false;
                }
                self.out.extend_from_slice(b"+OK\r\n");
            }
            (b"SETNAME", 3) => {
                if self.remember_name(arg(2).unwrap_or_default()) {
                    self.out.extend_from_slice(b"+OK\r\n");
                } else {
                    let text =
                        "ERR Client names cannot contain spaces, newlines or special characters.";
                    encode::error(&mut self.out, text);
                }
            }
            (b"GETNAME", 2) => match &self.name {
                Some(name) => encode::bulk(&mut self.out, name),
                None => encode::nil(&mut self.out, self.resp2),
            },
            (b"KILL", 4) if arg(2).is_some_and(|filter| filter.eq_ignore_ascii_case(b"ID")) => {
                let id = arg(3).and_then(parse_integer);
                let id = id.and_then(|id| u64::try_from(id).ok());
                if !id.is_some_and(|id| self.sessions.kill(id)) {
                    return false;
                }
                self.out.extend_from_slice(b":1\r\n");
            }
            (b"INFO", 2) => {
                let line = self.info(request.len());
                encode::verbatim(&mut self.out, line.as_bytes(), self.resp2);
            }
            _ => return false,
        }
        true
    }

    /// Whether the upstream knows a command; nothing is known of one that does not let us ask.
    fn upstream_has(&self, request: &[u8], args: &[Range<usize>]) -> bool {
        let learned = self.lanes.learned();
        learned.is_empty() || learned.has(request, args)
    }

    /// What CLIENT INFO says of this client, in the server's own form; what only a server knows is 0.
    fn info(&self, request: usize) -> String {
        let user = match &self.place.identity {
            Identity::User(user) => user.to_string(),
            Identity::Ours => {
                let ours = self.lanes.credentials(&self.place.identity);
                ours.and_then(|ours| ours.user)
                    .unwrap_or_else(|| "default".to_owned())
            }
        };
        let name = String::from_utf8_lossy(self.name.as_deref().unwrap_or_default());
        format!(
            "id={} addr={} laddr={} fd=-1 name={name} age={} idle=0 flags=N db={} sub=0 psub=0 ssub=0 multi=-1 \
             qbuf={request} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
             cmd=client|info user={user} redir=-1 resp={}\n",
            self.id,
            self.peer.remote,
            self.peer.local,
            self.now.saturating_sub(self.opened) / 1000,
            self.place.db,
            if self.resp2 { 2 } else { 3 },
        )
    }
}
