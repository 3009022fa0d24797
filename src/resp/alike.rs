//! Whether two replies say the same. A set's elements and a map's pairs come in whatever order the server's tables have
//! them, which may change while nothing is written: so they are compared as what they are, without an order.

/// Aggregates inside each other that are looked into.
const DEEPEST: usize = 64;

/// Whether the elements of an array have an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrays {
    /// They have.
    Ordered,
    /// They are a set's or a map's, as those of HKEYS, or it is not known.
    Unordered,
}

/// Whether two whole RESP3 replies say the same. Replies that are not alike byte by byte, and that are nested more deeply
/// than anything Redis sends or have attributes, are taken for different ones.
#[must_use]
pub fn are_alike(one: &[u8], other: &[u8], arrays: Arrays) -> bool {
    if one == other {
        return true;
    }
    // The elements are the same ones, so their bytes are as many.
    if one.len() != other.len() || one.first() != other.first() {
        return false;
    }
    match (sorted(one, arrays), sorted(other, arrays)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// A reply with everything that has no order in the order of its bytes.
fn sorted(reply: &[u8], arrays: Arrays) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(reply.len());
    let rest = element(reply, arrays, 0, &mut out)?;
    rest.is_empty().then_some(out)
}

/// Appends the element that `buf` begins with; what is behind it.
fn element<'a>(buf: &'a [u8], arrays: Arrays, depth: usize, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let line = buf.iter().position(|&b| b == b'\n')? + 1;
    let (head, rest) = buf.split_at(line);
    let count = || {
        let text = std::str::from_utf8(head.get(1..line.checked_sub(2)?)?).ok()?;
        text.parse::<i64>().ok()
    };
    out.extend_from_slice(head);
    let (parts, ordered) = match head[0] {
        b'$' | b'!' | b'=' => {
            let Ok(body) = usize::try_from(count()?) else {
                return Some(rest);
            };
            let (body, rest) = rest.split_at_checked(body.checked_add(2)?)?;
            out.extend_from_slice(body);
            return Some(rest);
        }
        b'*' => (1, arrays == Arrays::Ordered),
        b'~' => (1, false),
        b'%' => (2, false),
        b'|' | b'>' => return None,
        _ => return Some(rest),
    };
    if depth == DEEPEST {
        return None;
    }
    let mut rest = rest;
    if ordered {
        for _ in 0..count()? {
            rest = element(rest, arrays, depth + 1, out)?;
        }
        return Some(rest);
    }
    let mut all = Vec::new();
    for _ in 0..count()? {
        let mut one = Vec::new();
        for _ in 0..parts {
            rest = element(rest, arrays, depth + 1, &mut one)?;
        }
        all.push(one);
    }
    all.sort_unstable();
    out.extend(all.into_iter().flatten());
    Some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_and_maps_have_no_order_and_arrays_have_one_unless_they_are_such() {
        let alike = |one: &str, other: &str, arrays| {
            let text = |s: &str| s.replace(' ', "\r\n") + "\r\n";
            are_alike(text(one).as_bytes(), text(other).as_bytes(), arrays)
        };
        for (one, other, ordered, unordered) in [
            ("$1 a", "$1 a", true, true),
            ("$1 a", "$1 b", false, false),
            ("$1 a", "_", false, false),
            ("~2 $1 a $1 b", "~2 $1 b $1 a", true, true),
            ("~2 $1 a $1 b", "~2 $1 b $1 b", false, false),
            ("~2 $1 a $1 a", "~2 $1 a $1 b", false, false),
            ("%2 $1 a :1 $1 b :2", "%2 $1 b :2 $1 a :1", true, true),
            ("%2 $1 a :1 $1 b :2", "%2 $1 b :1 $1 a :2", false, false),
            ("*2 $1 a $1 b", "*2 $1 b $1 a", false, true),
            ("*2 $1 a $1 b", "~2 $1 b $1 a", false, false),
            ("*2 $1 a ,1.5", "*2 $1 a ,2.5", false, false),
            ("*1 ~2 :1 :2", "*1 ~2 :2 :1", true, true),
            ("*2 *2 :1 :2 *2 :3 :4", "*2 *2 :4 :3 *2 :2 :1", false, true),
            ("*-1", "*-1", true, true),
            ("$-1", "$-1", true, true),
        ] {
            assert_eq!(
                alike(one, other, Arrays::Ordered),
                ordered,
                "{one} and {other}"
            );
            assert_eq!(
                alike(one, other, Arrays::Unordered),
                unordered,
                "{one} and {other}"
            );
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_different_and_harmless() {
        let deep = |end: &str| "*1\r\n".repeat(100_000) + end;
        let (one, other) = (deep(":1\r\n"), deep(":2\r\n"));
        assert!(!are_alike(
            one.as_bytes(),
            other.as_bytes(),
            Arrays::Unordered
        ));
    }

    proptest! {
        /// Bytes that are no reply do no harm.
        #[test]
        fn anything_is_compared(mut one in proptest::collection::vec(any::<u8>(), 0..64), at in 0..64usize) {
            let mut other = one.clone();
            one.insert(0, b'~');
            other.insert(0, b'~');
            if let Some(byte) = other.get_mut(at) {
                *byte ^= 1;
            }
            let _ = are_alike(&one, &other, Arrays::Unordered);
        }

        /// A shuffled set is the same set.
        #[test]
        fn a_shuffled_set_is_the_same(
            (members, shuffled) in proptest::collection::vec("[a-z]{0,6}", 0..20)
                .prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
        ) {
            let encode = |members: &[String]| {
                let each = members.iter().map(|one| format!("${}\r\n{one}\r\n", one.len()));
                let each: Vec<String> = each.collect();
                format!("~{}\r\n{}", members.len(), each.concat())
            };
            let (one, other) = (encode(&members), encode(&shuffled));
            prop_assert!(are_alike(one.as_bytes(), other.as_bytes(), Arrays::Ordered));
        }
    }
}
