//! The down-conversion against a model that has the whole reply as a tree: any reply, any shape, any split.

use nearside::resp::downgrade::{Downgrade, Shape};
use nearside::resp::frame::FrameWalker;
use proptest::prelude::*;

/// A RESP3 value.
#[derive(Debug, Clone)]
enum Tree {
    /// `+`, `-` or `:`, with its text.
    Line(char, String),
    Bulk(Vec<u8>),
    Verbatim(Vec<u8>),
    BulkError(String),
    Null,
    Bool(bool),
    /// `,` or `(`.
    Number(char, String),
    /// `*` or `~`.
    List(char, Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Described(Vec<(Tree, Tree)>, Box<Tree>),
}

impl Tree {
    fn resp3(&self, out: &mut Vec<u8>) {
        let mut text = |text: String| out.extend_from_slice(text.as_bytes());
        match self {
            Self::Line(kind, line) | Self::Number(kind, line) => text(format!("{kind}{line}\r\n")),
            Self::Null => text("_\r\n".into()),
            Self::Bool(value) => text(format!("#{}\r\n", if *value { 't' } else { 'f' })),
            Self::Bulk(body) => {
                text(format!("${}\r\n", body.len()));
                out.extend_from_slice(body);
                out.extend_from_slice(b"\r\n");
            }
            Self::Verbatim(body) => {
                text(format!("={}\r\ntxt:", body.len() + 4));
                out.extend_from_slice(body);
                out.extend_from_slice(b"\r\n");
            }
            Self::BulkError(line) => text(format!("!{}\r\n{line}\r\n", line.len())),
            Self::List(kind, items) => {
                text(format!("{kind}{}\r\n", items.len()));
                for item in items {
                    item.resp3(out);
                }
            }
            Self::Map(pairs) => {
                text(format!("%{}\r\n", pairs.len()));
                for (key, value) in pairs {
                    key.resp3(out);
                    value.resp3(out);
                }
            }
            Self::Described(pairs, value) => {
                text(format!("|{}\r\n", pairs.len()));
                for (key, value) in pairs {
                    key.resp3(out);
                    value.resp3(out);
                }
                value.resp3(out);
            }
        }
    }

    fn bare(&self) -> &Tree {
        match self {
            Self::Described(_, value) => value.bare(),
            other => other,
        }
    }

    fn is_aggregate(&self) -> bool {
        matches!(self, Self::List(..) | Self::Map(_))
    }

    /// An aggregate's elements, a map's keys and values in turn.
    fn elements(&self) -> Vec<&Tree> {
        match self {
            Self::List(_, items) => items.iter().collect(),
            Self::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => Vec::new(),
        }
    }

    fn nested(&self) -> &[Tree] {
        match self.bare() {
            Self::List(_, items) => items,
            _ => &[],
        }
    }

    /// By the generic rules, with the nulls of an array's form or not.
    fn resp2(&self, null: &str, out: &mut Vec<u8>) {
        let bulk = |body: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(format!("${}\r\n", body.len()).as_bytes());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        };
        match self.bare() {
            Self::Null => out.extend_from_slice(null.as_bytes()),
            Self::Bool(value) => out.extend_from_slice(if *value { b":1\r\n" } else { b":0\r\n" }),
            Self::Number(_, text) => bulk(text.as_bytes(), out),
            Self::Bulk(body) | Self::Verbatim(body) => bulk(body, out),
            Self::BulkError(line) => {
                let line = line.replace(['\r', '\n'], " ");
                out.extend_from_slice(format!("-{line}\r\n").as_bytes());
            }
            Self::List(_, items) => list(items, null, out),
            Self::Map(pairs) => {
                out.extend_from_slice(format!("*{}\r\n", pairs.len() * 2).as_bytes());
                for (key, value) in pairs {
                    key.resp2(null, out);
                    value.resp2(null, out);
                }
            }
            line @ Self::Line(..) => line.resp3(out),
            Self::Described(..) => unreachable!("bare"),
        }
    }

    fn shaped(&self, shape: Shape, out: &mut Vec<u8>) {
        const BULK: &str = "$-1\r\n";
        const ARRAY: &str = "*-1\r\n";
        match (shape, self.bare()) {
            (Shape::NullArray, Self::Null) => out.extend_from_slice(ARRAY.as_bytes()),
            (Shape::NullElements | Shape::NullFourth, aggregate) if aggregate.is_aggregate() => {
                let items = aggregate.elements();
                out.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
                for (at, item) in items.iter().enumerate() {
                    let null = matches!(item.bare(), Self::Null)
                        && (shape == Shape::NullElements || at == 3);
                    item.resp2(if null { ARRAY } else { BULK }, out);
                }
            }
            (Shape::Pairs, Self::List('*', items))
                if items.first().is_some_and(
                    |item| matches!(item.bare(), Self::List('*', pair) if pair.len() == 2),
                ) =>
            {
                out.extend_from_slice(format!("*{}\r\n", items.len() * 2).as_bytes());
                for item in items.iter().flat_map(Tree::nested) {
                    item.resp2(BULK, out);
                }
            }
            (Shape::Streams, Self::Map(pairs)) => {
                out.extend_from_slice(format!("*{}\r\n", pairs.len()).as_bytes());
                for (key, value) in pairs {
                    out.extend_from_slice(b"*2\r\n");
                    key.resp2(ARRAY, out);
                    value.resp2(ARRAY, out);
                }
            }
            (Shape::Streams, _) => self.resp2(ARRAY, out),
            _ => self.resp2(BULK, out),
        }
    }
}

fn list(items: &[Tree], null: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
    for item in items {
        item.resp2(null, out);
    }
}

fn leaf() -> impl Strategy<Value = Tree> {
    prop_oneof![
        "[a-z *$%:-]{0,9}".prop_map(|text| Tree::Line('+', text)),
        "[A-Z]{1,5} [a-z]{0,9}".prop_map(|text| Tree::Line('-', text)),
        any::<i64>().prop_map(|n| Tree::Line(':', n.to_string())),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Tree::Bulk),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Tree::Verbatim),
        "[A-Z]{1,5}[a-z\r\n ]{0,9}".prop_map(Tree::BulkError),
        Just(Tree::Null),
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        any::<f64>().prop_map(|n| Tree::Number(',', n.to_string())),
        any::<u128>().prop_map(|n| Tree::Number('(', n.to_string())),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    leaf().prop_recursive(4, 40, 5, |inner| {
        let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        let items = prop::collection::vec(inner.clone(), 0..5);
        let pair = prop::collection::vec(inner.clone(), 2);
        // Arrays of pairs, as WITHSCORES gives them.
        let of_pairs = prop::collection::vec(pair.prop_map(|pair| Tree::List('*', pair)), 1..4);
        prop_oneof![
            items.clone().prop_map(|items| Tree::List('*', items)),
            items.prop_map(|items| Tree::List('~', items)),
            of_pairs.prop_map(|items| Tree::List('*', items)),
            pairs.clone().prop_map(Tree::Map),
            (pairs, inner).prop_map(|(pairs, value)| Tree::Described(pairs, Box::new(value))),
        ]
    })
}

/// Whether an array is one of pairs throughout, or not at all: servers give no other.
fn uniform(tree: &Tree) -> bool {
    let is_pair = |item: &Tree| matches!(item.bare(), Tree::List('*', pair) if pair.len() == 2);
    let items = tree.nested();
    let pairs = items.iter().filter(|item| is_pair(item)).count();
    pairs == 0 || pairs == items.len()
}

fn shape() -> impl Strategy<Value = Shape> {
    prop::sample::select(vec![
        Shape::Generic,
        Shape::NullArray,
        Shape::NullElements,
        Shape::NullFourth,
        Shape::Pairs,
        Shape::Streams,
    ])
}

/// Feeds a reply in pieces of these lengths; what was not used comes again.
fn convert(mut downgrade: Downgrade, reply: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut walker = FrameWalker::default();
    let (mut out, mut waiting, mut rest, mut done) = (Vec::new(), Vec::new(), reply, false);
    for cut in cuts.iter().cycle() {
        let (piece, behind) = rest.split_at((*cut).min(rest.len()));
        rest = behind;
        waiting.extend_from_slice(piece);
        let step = walker
            .walk(&waiting, &mut downgrade.into_buffer(&mut out))
            .expect("a sound reply");
        waiting.drain(..step.consumed);
        done |= step.done;
        if rest.is_empty() {
            break;
        }
    }
    assert!(done && waiting.is_empty(), "the reply did not end");
    out
}

proptest! {
    #[test]
    fn any_reply_of_any_shape_is_what_the_model_says(
        tree in tree().prop_filter("pairs or none", uniform),
        shape in shape(),
        cuts in prop::collection::vec(1usize..12, 1..40),
    ) {
        let (mut reply, mut expected) = (Vec::new(), Vec::new());
        tree.resp3(&mut reply);
        tree.shaped(shape, &mut expected);
        let whole = convert(Downgrade::new(shape), &reply, &[reply.len()]);
        prop_assert_eq!(whole.escape_ascii().to_string(), expected.escape_ascii().to_string());
        prop_assert_eq!(convert(Downgrade::new(shape), &reply, &cuts), expected);
    }

    /// Where the reply as a whole is null, its shape says what that is.
    #[test]
    fn a_null_is_what_its_shape_says(shape in shape()) {
        prop_assert_eq!(convert(Downgrade::new(shape), b"_\r\n", &[3]), shape.null());
    }

    #[test]
    fn the_elements_of_exec_have_a_shape_each(
        elements in prop::collection::vec((tree().prop_filter("pairs or none", uniform), shape()), 0..6),
        cuts in prop::collection::vec(1usize..12, 1..40),
    ) {
        let mut reply = format!("*{}\r\n", elements.len()).into_bytes();
        let mut expected = reply.clone();
        for (tree, shape) in &elements {
            tree.resp3(&mut reply);
            tree.shaped(*shape, &mut expected);
        }
        let shapes: Vec<Shape> = elements.iter().map(|(_, shape)| *shape).collect();
        let got = convert(Downgrade::exec(shapes), &reply, &cuts);
        prop_assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
