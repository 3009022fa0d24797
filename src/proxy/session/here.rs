//! Commands about the connection itself that are answered here and cost no upstream connection.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::command::Class;
use crate::resp::encode;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Commands about the connection itself that need no upstream connection.
    pub(super) fn answer_here(
        &mut self,
        class: Class,
        request: &[u8],
        args: &[Range<usize>],
    ) -> bool {
        let arg = |at: usize| args.get(at).map(|range| &request[range.clone()]);
        match class {
            Class::Reset if args.len() == 1 => {
                self.resp2 = true;
                self.name = None;
                self.own = None;
                self.out.extend_from_slice(b"+RESET\r\n");
            }
            Class::Select
                if arg(1) == Some(self.lane.endpoint().db.to_string().as_bytes())
                    && args.len() == 2 =>
            {
                self.out.extend_from_slice(b"+OK\r\n");
            }
            Class::Client => {
                let sub = arg(1).map(<[u8]>::to_ascii_uppercase).unwrap_or_default();
                match (sub.as_slice(), args.len()) {
                    (b"REPLY", 3)
                        if arg(2).is_some_and(|mode| mode.eq_ignore_ascii_case(b"ON")) =>
                    {
                        self.out.extend_from_slice(b"+OK\r\n");
                    }
                    (b"SETINFO", 4) | (b"NO-EVICT" | b"NO-TOUCH", 3) => {
                        self.out.extend_from_slice(b"+OK\r\n");
                    }
                    (b"SETNAME", 3) => {
                        if self.remember_name(arg(2).unwrap_or_default()) {
                            self.own = None;
                            self.out.extend_from_slice(b"+OK\r\n");
                        } else {
                            let text = "ERR Client names cannot contain spaces, newlines or special characters.";
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
            }
            Class::Hello => return self.hello(request, args),
            _ => return false,
        }
        true
    }

    /// HELLO without AUTH, answered as the upstream would; anything unusual is the upstream's to answer.
    pub(super) fn hello(&mut self, request: &[u8], args: &[Range<usize>]) -> bool {
        let resp2 = match args.get(1).map(|range| &request[range.clone()]) {
            None => self.resp2,
            Some(b"2") => true,
            Some(b"3") => false,
            Some(_) => return false,
        };
        let server = self.lane.hello();
        if args.len() > 2 || server.version.is_empty() {
            return false;
        }
        if resp2 != self.resp2 {
            self.own = None;
        }
        self.resp2 = resp2;
        encode::header(
            &mut self.out,
            if resp2 { b'*' } else { b'%' },
            if resp2 { 14 } else { 7 },
        );
        for (field, value) in [("server", &server.server), ("version", &server.version)] {
            encode::bulk(&mut self.out, field.as_bytes());
            encode::bulk(&mut self.out, value.as_bytes());
        }
        encode::bulk(&mut self.out, b"proto");
        encode::header(&mut self.out, b':', if resp2 { 2 } else { 3 });
        encode::bulk(&mut self.out, b"id");
        encode::header(&mut self.out, b':', self.id);
        for (field, value) in [("mode", &server.mode), ("role", &server.role)] {
            encode::bulk(&mut self.out, field.as_bytes());
            encode::bulk(&mut self.out, value.as_bytes());
        }
        encode::bulk(&mut self.out, b"modules");
        encode::header(&mut self.out, b'*', 0);
        true
    }

    /// Takes a client name, empty for none; whether it is one that Redis takes.
    pub(super) fn remember_name(&mut self, name: &[u8]) -> bool {
        let valid = name.iter().all(|b| (b'!'..=b'~').contains(b));
        if valid {
            self.name = (!name.is_empty()).then(|| name.to_vec());
        }
        valid
    }
}
