//! What is wrong is found, counted, logged and dropped.

use nearside::l1::{Rule, RuleSet};

use super::{hit, rig, verdicts};
use crate::coherence::promise::Checked;
use crate::coherence::rig::Rig;
use crate::coherence::scenarios as s;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::logged::Program;
use crate::support::redis::RedisServer;

const READS: [&[&str]; 9] = [
    &["GET", "k"],
    &["GET", "none"],
    // Of several keys one is audited.
    &["MGET", "k"],
    &["STRLEN", "k"],
    &["HGET", "h", "f"],
    &["HGETALL", "h"],
    &["HKEYS", "h"],
    &["SMEMBERS", "s"],
    &["SUNION", "s", "s2"],
];

/// Everything that [`READS`] read; another time around all of it is something else.
fn write(client: &mut Client, n: &str) {
    for command in [
        &["SET", "k", n][..],
        &["SET", "k2", n],
        &["HSET", "h", "f", n, n, n],
        &["SADD", "s", n, "x", "y"],
        &["SADD", "s2", n, "z"],
        &["APPEND", "k", n],
    ] {
        client.must(command);
    }
}

/// A push that was thrown away leaves all that was held, and the server tracks nothing any more.
#[test]
fn a_planted_error_is_found_and_dropped() {
    for workers in [1, 2] {
        for read in READS {
            let rig = rig(|settings| {
                settings.l1.knocked_out = RuleSet::only(Rule::NullPush);
                settings.downstream.workers = workers;
            });
            let mut direct = rig.server.client();
            write(&mut direct, "1");
            let (mut session, mut other) = (rig.near.session(), rig.near.session());
            let held = hit(&rig, &mut session, read);
            let [same, ..] = verdicts(&rig.near);
            assert!(same > 0, "{read:?}");
            direct.must(&["FLUSHALL"]);
            if read != ["STRLEN", "k"] {
                write(&mut direct, "02");
            }
            if read == ["GET", "none"] {
                direct.must(&["SET", "none", "02"]);
            }
            let wrong = hit(&rig, &mut other, read);
            assert_eq!(wrong, held, "{read:?}: a planted error");
            let [_, explained, incoherent, unanswered] = verdicts(&rig.near);
            assert!(incoherent > 0, "{read:?}");
            assert_eq!((explained, unanswered), (0, 0), "{read:?}");
            for session in [&mut session, &mut other] {
                assert_ne!(session.must(read), held, "{read:?} is dropped");
            }
            let before = verdicts(&rig.near)[2];
            hit(&rig, &mut session, read);
            assert_eq!(verdicts(&rig.near)[2], before, "{read:?} is right again");
        }
    }
}

/// Rules of coherence without which something wrong stays in L1.
#[test]
fn what_a_missing_rule_leaves_behind_is_found() {
    type Scenario = fn(&Rig) -> Checked;
    let cases: [(Rule, Scenario); 6] = [
        (Rule::NullPush, s::flush_elsewhere),
        (Rule::FillInReader, s::push_behind_fill),
        (Rule::PushInFill, s::push_inside_fill),
        (Rule::Held, s::dropped_under_a_plain_read),
        (Rule::LaneLoss, s::lane_lost),
        (Rule::Pttl, s::key_ends_unsaid),
    ];
    for workers in [1, 2] {
        for (rule, scenario) in cases {
            for knocked_out in [RuleSet::none(), RuleSet::only(rule)] {
                let rig = rig(|settings| {
                    settings.l1.max_staleness = s::BOUND;
                    settings.l1.knocked_out = knocked_out;
                    settings.downstream.workers = workers;
                });
                let broken = scenario(&rig).is_err();
                let [same, explained, incoherent, unanswered] = verdicts(&rig.near);
                println!(
                    "{rule:?}, {knocked_out:?}, {workers} workers: {same} same, {explained} explained, \
                     {incoherent} incoherent, {unanswered} unanswered"
                );
                let missing = knocked_out != RuleSet::none();
                // Where it is found early enough, the scenario meets it no more.
                assert!(missing || !broken, "{rule:?}");
                assert_eq!(incoherent > 0, missing, "{rule:?}, {workers} workers");
            }
        }
    }
}

/// A SWAPDB from elsewhere is pushed to nobody, so it plants an error in the program as it is.
#[test]
fn the_log_and_the_metrics_tell_of_it_without_key_or_value() {
    let server = RedisServer::start(&[]);
    let mut program = Program::start(
        &server,
        "[l1]\nadmit = 'always'\nmax_staleness = '300ms'\n[[keyspace]]\nname = 'prompts'\nmatch = 'pro*'\n",
    );
    let mut direct = server.client();
    direct.must(&["HSET", "prompt", "field", "worth"]);
    let mut client = Client::connect(program.listen);
    let read = ["HGET", "prompt", "field"];
    for _ in 0..4 {
        client.must(&read);
    }
    let row = |metrics: &str, name: &str| -> u64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    };
    let same = "nearside_audited_reads_total{outcome=\"same\"}";
    assert_eq!(row(&program.get("/metrics"), same), 0, "it is off");
    program.write(
        &server,
        "[l1]\nadmit = 'always'\nmax_staleness = '300ms'\n[[keyspace]]\nname = 'prompts'\nmatch = 'pro*'\n\
         [audit_reads]\nsample = 1\nmax_per_second = 1000\n",
    );
    program.reload();
    program.await_line("the configuration was read again");
    let config = program.get("/config");
    assert!(config.contains("audit_reads.sample = 1\n"), "{config}");
    eventually("an audit", || {
        client.must(&read);
        (row(&program.get("/metrics"), same) > 0).then_some(())
    });
    direct.must(&["SWAPDB", "0", "1"]);
    eventually("a miss", || {
        client.must(&read).text().is_none().then_some(())
    });
    let line = program.await_line("an incoherent read");
    for part in [
        "key_hash=",
        "command=\"HGET\"",
        "cache_type=prompts",
        "ms_since_hit=",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    for secret in ["prompt ", "\"prompt\"", "field", "worth"] {
        assert!(!line.contains(secret), "{secret}: {line}");
    }
    let by_keyspace = |metrics: &str, name: &str| {
        let name = format!("nearside_incoherent_reads_total{{cache_type=\"{name}\"}}");
        row(metrics, &name)
    };
    let metrics = eventually("the counts", || {
        let metrics = program.get("/metrics");
        let outcome = "nearside_audited_reads_total{outcome=\"incoherent\"}";
        let incoherent = by_keyspace(&metrics, "prompts");
        (incoherent > 0 && row(&metrics, outcome) == incoherent).then_some(metrics)
    });
    assert_eq!(by_keyspace(&metrics, "default"), 0);
}
