//! Commands about the connection itself that are answered here and cost no upstream connection.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::command::Class;
use crate::resp::encode;

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
            (b"ID", 2) => encode::header(&mut self.out, b':', self.id),
            _ => return false,
        }
        true
    }
}
