//! How long a blocking command waits, by the place of its timeout among its arguments.

use std::ops::Range;
use std::time::Duration;

/// How long a command may wait for something to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// It does not.
    Not,
    /// So long.
    For(Duration),
    /// For ever, or for a time that cannot be told.
    Forever,
}

/// That of a blocking command, by its name in the table.
pub(super) fn of(name: &str, request: &[u8], args: &[Range<usize>]) -> Blocks {
    let number = |at: Option<usize>| {
        let arg = args.get(at?)?;
        std::str::from_utf8(&request[arg.clone()])
            .ok()?
            .parse::<f64>()
            .ok()
    };
    let last = args.len().checked_sub(1);
    let seconds = match name {
        "BLPOP" | "BRPOP" | "BRPOPLPUSH" | "BLMOVE" | "BZPOPMIN" | "BZPOPMAX" => number(last),
        "BLMPOP" | "BZMPOP" => number(Some(1)),
        "WAIT" | "WAITAOF" => number(last).map(|ms| ms / 1000.0),
        "XREAD" | "XREADGROUP" => {
            let is_block = |arg: &Range<usize>| request[arg.clone()].eq_ignore_ascii_case(b"BLOCK");
            let Some(at) = args.iter().position(is_block) else {
                return Blocks::Not;
            };
            number(Some(at + 1)).map(|ms| ms / 1000.0)
        }
        _ => None,
    };
    // 0 is for ever; what is no number the server refuses at once.
    let time = seconds.filter(|&seconds| seconds > 0.0);
    time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or(Blocks::Forever, Blocks::For)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(words: &[&str]) -> Blocks {
        let (mut request, mut args) = (Vec::new(), Vec::new());
        for word in words {
            let from = request.len();
            request.extend_from_slice(word.as_bytes());
            args.push(from..request.len());
        }
        of(words[0], &request, &args)
    }

    #[test]
    fn by_the_place_of_the_timeout() {
        let secs = |seconds| Blocks::For(Duration::from_secs_f64(seconds));
        assert_eq!(blocks(&["BLPOP", "a", "b", "1.5"]), secs(1.5));
        assert_eq!(blocks(&["BLPOP", "a", "0"]), Blocks::Forever);
        assert_eq!(blocks(&["BLMPOP", "2", "1", "a", "LEFT"]), secs(2.0));
        assert_eq!(blocks(&["WAIT", "1", "250"]), secs(0.25));
        let read = ["XREAD", "COUNT", "1", "block", "3000", "STREAMS", "s", "$"];
        assert_eq!(blocks(&read), secs(3.0));
        assert_eq!(blocks(&["XREAD", "STREAMS", "s", "0"]), Blocks::Not);
        assert_eq!(blocks(&["BLPOP", "a", "soon"]), Blocks::Forever);
        assert_eq!(blocks(&["BLPOP", "a", "1e300"]), Blocks::Forever);
    }
}
