//! Writing requests and replies.

/// Appends `n` in decimal.
pub fn decimal(out: &mut Vec<u8>, n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a header line such as `*3` or `$5`.
pub fn header(out: &mut Vec<u8>, kind: u8, n: u64) {
    out.push(kind);
    decimal(out, n);
    out.extend_from_slice(b"\r\n");
}

/// Appends one bulk string.
pub fn bulk(out: &mut Vec<u8>, body: &[u8]) {
    header(out, b'$', body.len() as u64);
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// Appends a verbatim text, which RESP2 clients get as a bulk string.
pub fn verbatim(out: &mut Vec<u8>, text: &[u8], resp2: bool) {
    if resp2 {
        bulk(out, text);
    } else {
        header(out, b'=', text.len() as u64 + 4);
        out.extend_from_slice(b"txt:");
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a request: an array of bulk strings.
pub fn request(out: &mut Vec<u8>, args: &[&[u8]]) {
    header(out, b'*', args.len() as u64);
    for arg in args {
        bulk(out, arg);
    }
}

/// Appends an error reply; `text` starts with its prefix (`ERR ...`) and holds no line break.
pub fn error(out: &mut Vec<u8>, text: &str) {
    out.push(b'-');
    out.extend(
        text.bytes()
            .map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }),
    );
    out.extend_from_slice(b"\r\n");
}

/// Appends a nil bulk as the client's protocol has it.
pub fn nil(out: &mut Vec<u8>, resp2: bool) {
    out.extend_from_slice(if resp2 { b"$-1\r\n" } else { b"_\r\n" });
}
