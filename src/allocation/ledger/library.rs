//! The ledger's library: its text, as Redis takes it.
//!
//! Its name carries its version, and so do its functions' names, so that the libraries of old and new nearsides stand side by
//! side while a rollout is under way. A library of a name is therefore never changed once it has been released, and loading
//! it never replaces one that is there.

/// The library's name.
pub const NAME: &str = "nearside_alloc_v1";

macro_rules! part {
    ($name:literal) => {
        include_str!(concat!("nearside_alloc_v1", $name, ".lua"))
    };
}

const BODY: &str = concat!(
    part!(""),
    part!(".preemption"),
    part!(".leases"),
    part!(".pools"),
    part!(".whole")
);

/// One of its functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// A lease, at once or as soon as it is its turn.
    Acquire,
    /// A lease lives on.
    Renew,
    /// A lease or a request ends.
    Release,
    /// Other amounts.
    Resize,
    /// One lease.
    Get,
    /// Leases and pools of an epoch before.
    Reassert,
    /// A pool's capacity.
    PutPool,
    /// A pool goes.
    DeletePool,
    /// All pools.
    Pools,
    /// The server and the ledger.
    Hello,
    /// Everything counted again.
    Audit,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Acquire,
        Self::Renew,
        Self::Release,
        Self::Resize,
        Self::Get,
        Self::Reassert,
        Self::PutPool,
        Self::DeletePool,
        Self::Pools,
        Self::Hello,
        Self::Audit,
    ];

    /// Its name without the library's.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Resize => "resize",
            Self::Get => "get",
            Self::Reassert => "reassert",
            Self::PutPool => "put_pool",
            Self::DeletePool => "delete_pool",
            Self::Pools => "pools",
            Self::Hello => "hello",
            Self::Audit => "audit",
        }
    }

    /// As `FCALL` has it.
    #[must_use]
    pub fn name(self) -> String {
        format!("{NAME}_{}", self.word())
    }

    /// Whether it goes on where the server has no memory left: all that frees, and all that only keeps what is there.
    fn allows_oom(self) -> bool {
        !matches!(self, Self::Acquire | Self::Resize | Self::PutPool)
    }

    /// The same as a script of its own, where there are no functions. The first line says what the server may run without
    /// memory; servers before 7.0 do not know it and have it left out.
    ///
    /// # Panics
    /// Never: the library has a first line.
    #[must_use]
    pub fn script(self, knows_flags: bool) -> String {
        let flags = match (knows_flags, self.allows_oom()) {
            (false, _) => "",
            (true, false) => "#!lua",
            (true, true) => "#!lua flags=allow-oom",
        };
        let (_, body) = BODY.split_once('\n').expect("a first line");
        let word = self.word();
        format!("{flags}\n{body}\nreturn api.{word}(KEYS, cjson.decode(ARGV[1]))\n")
    }
}

/// What `FUNCTION LOAD` takes.
#[must_use]
pub fn text() -> String {
    format!("{BODY}{}", part!(".register"))
}

/// The keys of a ledger, as every function takes them.
pub type Keys = [String; 11];

/// Those of the ledger of this name.
#[must_use]
pub fn keys(ledger: &str) -> Keys {
    [
        "meta",
        "pools",
        "used",
        "leases",
        "waiting",
        "queue",
        "deadlines",
        "named",
        "ended",
        "preemptible",
        "leaving",
    ]
    .map(|part| format!("{{nearside:{ledger}}}:{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_memory_is_registered_so() {
        for function in Function::ALL {
            let flags = if function.allows_oom() {
                "{ 'allow-oom' }"
            } else {
                "{}"
            };
            let line = format!("register('{}', {flags})\n", function.word());
            assert!(text().contains(&line), "{line}");
            assert!(BODY.contains(&format!("function api.{}(keys, q)", function.word())));
        }
    }

    #[test]
    fn a_scripts_first_line_says_what_it_needs() {
        let first = |function: Function, flags| {
            let script = function.script(flags);
            script.lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(first(Function::Acquire, true), "#!lua");
        assert_eq!(first(Function::Release, true), "#!lua flags=allow-oom");
        assert_eq!(first(Function::Release, false), "");
        assert!(!Function::Get.script(false).contains("register_function"));
    }
}
