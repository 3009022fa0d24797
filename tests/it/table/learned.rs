//! What is learned from a running server's `COMMAND`, against the table.

use nearside::command::learned::{Known, Learned};
use nearside::command::{Flags, Row};

use super::against_command::at;
use super::samples::{LANE, OWN};
use super::wire::{Request, Sample, Wire, shown, steady_server, words};

/// What is learned of a command must agree with its row, as far as a server can tell it.
fn agrees(sample: &Sample, request: &Request, row: &Row, known: &Known) {
    let line = &sample.line;
    let may_change = row.flags.has(Flags::WRITE) || row.flags.has(Flags::MAY_REPLICATE);
    assert!(!(known.readonly() && may_change), "{line}");
    let (ours, theirs) = (
        row.written(&request.bytes, &request.args),
        known.written(&request.bytes, &request.args),
    );
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        let (ours, theirs) = (at(sample, ours), at(sample, theirs));
        assert!(
            ours.iter().all(|key| theirs.contains(key)),
            "{line}: {ours:?} {theirs:?}"
        );
    }
}

#[test]
fn a_servers_command_reply_is_learned_in_both_protocols() {
    let server = steady_server();
    let replies = [false, true].map(|resp3| Wire::connect(&server, resp3).call(&words("COMMAND")));
    assert_ne!(replies[0], replies[1]);
    let [resp2, resp3] = replies
        .clone()
        .map(|reply| Learned::parse(&reply).expect("COMMAND"));
    assert!(resp2.len() > 350, "{}", resp2.len());
    assert_eq!(resp2.len(), resp3.len());
    for line in LANE.iter().chain(OWN) {
        let sample = Sample::parse(line);
        let request = sample.request();
        let row = request.row().expect(line);
        let known = resp2.of(&request.bytes, &request.args);
        assert_eq!(known, resp3.of(&request.bytes, &request.args), "{line}");
        if let Some(known) = known {
            agrees(&sample, &request, row, known);
        }
    }
    for reply in &replies {
        // Cut anywhere it is refused, and with any byte changed it does no harm.
        for cut in (0..reply.len()).step_by(997) {
            assert!(
                Learned::parse(&reply[..cut]).is_none(),
                "{}",
                shown(&reply[..cut])
            );
            let mut bent = reply.clone();
            for byte in [b'*', b'9', b'-', b'%', b'\n', 0] {
                bent[cut] = byte;
                if let Some(learned) = Learned::parse(&bent) {
                    let request = Sample::parse("XREADGROUP GROUP g c STREAMS a b > >").request();
                    let known = learned.of(&request.bytes, &request.args);
                    let keys = known.and_then(|known| known.keys(&request.bytes, &request.args));
                    assert!(keys.into_iter().flatten().all(|at| at < request.args.len()));
                }
            }
        }
    }
}
