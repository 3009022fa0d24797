//! Writes that must not be carried out twice: each client counts in a counter of its own, and puts numbers that occur
//! once into a list of its own.
//!
//! What is there at the end is held against what the client was told: an acknowledged number is there once, one in
//! doubt at most once, a refused one not at all, and the counter is between what was acknowledged and that with what is in
//! doubt. Where the server has lost all in between, what was written before that may be gone.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use super::report::{Answer, Phase, Route, Sample};
use crate::support::client::Client;
use crate::support::resp::Value;

/// A write, and in which lives of the server it began and ended.
#[derive(Debug)]
struct Entry {
    answer: Answer,
    begun: u64,
    ended: u64,
}

/// One client's book.
#[derive(Debug)]
pub struct Ledger {
    counter: String,
    list: String,
    route: Route,
    /// By their numbers.
    pushes: Vec<Entry>,
    counts: Vec<Entry>,
    /// What a reply said that cannot be.
    wrong: Vec<String>,
}

const SCRIPT: &str = "redis.call('RPUSH', KEYS[2], ARGV[1]) return redis.call('INCR', KEYS[1])";

impl Ledger {
    pub fn new(name: &str, route: Route) -> Self {
        Self {
            counter: format!("count:{name}"),
            list: format!("list:{name}"),
            route,
            pushes: Vec::new(),
            counts: Vec::new(),
            wrong: Vec::new(),
        }
    }

    pub fn route(&self) -> Route {
        self.route
    }

    /// Counts one, and writes one number. The connection is to be given up where an answer is
    /// [`Closed`](Answer::Closed). `life` tells the server's.
    pub fn write(
        &mut self,
        client: &mut Client,
        phase: Phase,
        life: impl Fn() -> u64,
    ) -> Vec<Sample> {
        let (begun, born) = (Instant::now(), life());
        let replies = self.exchange(client);
        let (took, died) = (begun.elapsed(), life());
        let mut told: Vec<Answer> = replies.iter().map(Answer::of).collect();
        if self.route == Route::Transaction {
            told = vec![self.transaction(&replies, &told)];
        } else {
            self.check_count(&replies[0], died);
        }
        let entry = |answer: &Answer| Entry {
            answer: answer.clone(),
            begun: born,
            ended: died,
        };
        // What goes by one command has one answer, and so have two where the connection has ended with the first.
        self.counts.push(entry(&told[0]));
        self.pushes.push(entry(told.last().expect("an answer")));
        let sample = |answer| Sample {
            route: self.route,
            begun,
            took,
            phase,
            answer,
        };
        told.into_iter().map(sample).collect()
    }

    /// Sends what is to be written next; the replies up to the connection's end.
    fn exchange(&self, client: &mut Client) -> Vec<io::Result<Value>> {
        let number = self.pushes.len().to_string();
        let (counter, list, number) = (&*self.counter, &*self.list, &*number);
        let (count, push) = (["INCR", counter], ["RPUSH", list, number]);
        let script = ["EVAL", SCRIPT, "2", counter, list, number];
        let commands: Vec<&[&str]> = match self.route {
            Route::Read | Route::Lane => vec![&count, &push],
            Route::Script => vec![&script],
            Route::Transaction => {
                vec![
                    &["WATCH", "unrelated"],
                    &["MULTI"],
                    &count,
                    &push,
                    &["EXEC"],
                ]
            }
        };
        for command in &commands {
            client.send(command);
        }
        // Where they could not be sent whole, there may be replies all the same, and the connection ends behind those.
        drop(client.try_flush());
        let mut replies = Vec::new();
        while replies.len() < commands.len() && replies.last().is_none_or(io::Result::is_ok) {
            replies.push(client.try_read());
        }
        replies
    }

    /// The answer to a transaction as a whole.
    fn transaction(&mut self, replies: &[io::Result<Value>], told: &[Answer]) -> Answer {
        for reply in replies.iter().skip(2).take(2).flatten() {
            // A command that was to be queued, and is carried out because its MULTI got lost.
            if matches!(reply, Value::Int(_)) {
                self.wrong
                    .push(format!("outside of its transaction: {replies:?}"));
            }
        }
        match replies.get(4) {
            Some(Ok(Value::Array(items))) if items.iter().any(Value::is_error) => {
                let text = format!("{:?}", items.iter().find(|item| item.is_error()));
                // Such as OOM; none of our two commands fails alone but for that.
                if items.iter().all(Value::is_error) {
                    Answer::Refused(text)
                } else {
                    Answer::InDoubt(text)
                }
            }
            Some(Ok(Value::Nil)) => Answer::Refused("the watched key has changed".into()),
            _ => told.last().expect("an answer").clone(),
        }
    }

    /// A count is more than all that was acknowledged in this life, and no more than all that may have been carried out.
    fn check_count(&mut self, reply: &io::Result<Value>, life: u64) {
        let Ok(Value::Int(count)) = reply else {
            return;
        };
        let least = self.counts.iter().filter(|e| e.is_there(life)).count();
        let most = self.counts.iter().filter(|e| e.may_be_there(life)).count();
        let fits = usize::try_from(*count).is_ok_and(|count| count > least && count <= most + 1);
        // A write of an earlier life, answered in this one, was counted in the earlier.
        if !fits && self.counts.last().is_none_or(|e| e.ended == life) {
            self.wrong.push(format!(
                "{} is {count}, {least} acknowledged, {most} possible",
                self.counter
            ));
        }
    }

    /// What is wrong with what the server has at the end, in its `life`.
    pub fn audit(mut self, direct: &mut Client, life: u64) -> Vec<String> {
        let mut there: HashMap<usize, usize> = HashMap::new();
        for item in direct.must(&["LRANGE", &self.list, "0", "-1"]).elements() {
            let number = item.text().and_then(|text| text.parse().ok());
            *there.entry(number.expect("a number")).or_insert(0) += 1;
        }
        for (number, entry) in self.pushes.iter().enumerate() {
            let times = there.remove(&number).unwrap_or(0);
            let least = usize::from(entry.is_there(life));
            let most = usize::from(entry.may_be_there(life));
            if times < least || times > most {
                self.wrong.push(format!(
                    "{} has {number} {times} times: {entry:?}",
                    self.list
                ));
            }
        }
        if !there.is_empty() {
            self.wrong.push(format!("never written: {there:?}"));
        }
        let count = direct.must(&["INCRBY", &self.counter, "0"]);
        let least = self.counts.iter().filter(|e| e.is_there(life)).count();
        let most = self.counts.iter().filter(|e| e.may_be_there(life)).count();
        let fits = matches!(count, Value::Int(n)
            if usize::try_from(n).is_ok_and(|n| n >= least && n <= most));
        if !fits {
            let counter = &self.counter;
            self.wrong.push(format!(
                "{counter} is {count:?}, {least} acknowledged, {most} possible"
            ));
        }
        self.wrong
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let right = |entry: &&Entry| entry.answer == Answer::Right;
        self.pushes.iter().filter(right).count()
    }
}

impl Entry {
    /// Whether what was written has to be there in that life.
    fn is_there(&self, life: u64) -> bool {
        self.answer == Answer::Right && self.begun == life
    }

    /// Whether it may be.
    fn may_be_there(&self, life: u64) -> bool {
        !self.answer.is_refused() && self.ended == life
    }
}
