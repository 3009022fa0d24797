//! RESP2 and RESP3 values, parsed whole. Independent of the product's own scanner on purpose.

/// One value of either protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`.
    Nil,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// As spelled on the wire.
    Double(String),
    Bool(bool),
    Big(String),
    /// With its format prefix.
    Verbatim(Vec<u8>),
}

impl Value {
    pub fn is_push(&self) -> bool {
        matches!(self, Self::Push(_))
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The text of a bulk or simple string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    pub fn elements(&self) -> &[Value] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items,
            _ => &[],
        }
    }
}

/// The first whole value in `input` and its length; `None` where more bytes are needed.
pub fn parse(input: &[u8]) -> Option<(Value, usize)> {
    let mut parser = Parser { input, at: 0 };
    let value = parser.value()?;
    Some((value, parser.at))
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn line(&mut self) -> Option<&'a str> {
        let rest = &self.input[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        Some(std::str::from_utf8(&rest[..end]).expect("a header line is text"))
    }

    fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let body = self.input.get(self.at..self.at + length)?;
        let end = self.input.get(self.at + length..self.at + length + 2)?;
        assert_eq!(end, b"\r\n", "a bulk ends with CRLF");
        self.at += length + 2;
        Some(body.to_vec())
    }

    fn items(&mut self, count: usize) -> Option<Vec<Value>> {
        (0..count).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Option<Value> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).expect("a type byte in {line:?}");
        let number = || -> i64 {
            let parsed = rest.parse();
            parsed.unwrap_or_else(|_| panic!("not a number in the header {line:?}"))
        };
        let length = || usize::try_from(number()).ok();
        Some(match kind {
            "+" => Value::Simple(rest.to_owned()),
            "-" => Value::Error(rest.to_owned()),
            ":" => Value::Int(number()),
            "," => Value::Double(rest.to_owned()),
            "(" => Value::Big(rest.to_owned()),
            "#" => Value::Bool(rest == "t"),
            "_" => Value::Nil,
            "$" => match length() {
                Some(length) => Value::Bulk(self.bytes(length)?),
                None => Value::Nil,
            },
            "!" => {
                let body = self.bytes(length().expect("a length"))?;
                Value::Error(String::from_utf8_lossy(&body).into_owned())
            }
            "=" => Value::Verbatim(self.bytes(length().expect("a length"))?),
            "*" => match length() {
                Some(count) => Value::Array(self.items(count)?),
                None => Value::Nil,
            },
            "~" => Value::Set(self.items(length().expect("a count"))?),
            ">" => Value::Push(self.items(length().expect("a count"))?),
            "%" => {
                let count = length().expect("a count");
                let mut pairs = Vec::with_capacity(count);
                for _ in 0..count {
                    pairs.push((self.value()?, self.value()?));
                }
                Value::Map(pairs)
            }
            _ => panic!("not RESP: {line:?}"),
        })
    }
}

/// Appends one command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(out: &mut Vec<u8>, command: &[A]) {
    out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for argument in command {
        let argument = argument.as_ref();
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}
