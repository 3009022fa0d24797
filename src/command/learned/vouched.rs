//! A module's read that the operator vouches for: a row as the table has them, made of what the upstream says.

use super::{Known, Learned};
use crate::command::{Access, Begin, Cache, Class, Find, Flags, Row, Spec};
use crate::resp::downgrade::Shape;
use crate::telemetry::durations::Label;

impl Learned {
    /// The row of a command, named in upper case, whose replies may be kept. It lives as long as the process: few are
    /// named, and `before`, which was made of an earlier reply of the upstream's, stays where nothing has changed.
    ///
    /// # Errors
    /// Why there is none.
    pub fn vouched(
        &self,
        name: &str,
        before: Option<&'static Row>,
    ) -> Result<&'static Row, &'static str> {
        let lower = name.to_ascii_lowercase();
        let known = self.commands.get(lower.as_bytes());
        let known = known.ok_or("the upstream has no such command")?;
        if !known.readonly() || known.flags.has(Flags::BLOCKING) {
            return Err("the upstream says that it is no read, or that it may wait");
        }
        let specs = known
            .places()
            .ok_or("the upstream does not say where its keys are")?;
        if let Some(row) = before
            && row.arity == known.arity
            && row.specs == specs
        {
            return Ok(row);
        }
        Ok(Box::leak(Box::new(Row {
            name: String::from(name).leak(),
            arity: known.arity,
            flags: Flags::READONLY,
            specs: specs.leak(),
            class: Class::LaneRead,
            cache: Cache::Keyed,
            shape: Shape::Generic,
            shape_from: 0,
            subs: &[],
            word: None,
            label: Label::OTHER,
        })))
    }
}

impl Known {
    /// Where its keys are, all of which it only reads; `None` where that cannot be told of each.
    fn places(&self) -> Option<Vec<Spec>> {
        let of = |spec: &Spec<Box<str>>| {
            // A keyword would have to be kept for good too, and no module's command has one.
            let Begin::At(position) = spec.begin else {
                return None;
            };
            let known = spec.find != Find::Unknown;
            known.then_some(Spec {
                begin: Begin::At(position),
                find: spec.find,
                access: Access::Read,
            })
        };
        let keys = self.specs.iter();
        let keys = keys.filter(|spec| spec.access != Access::Channel);
        let specs: Option<Vec<Spec>> = keys.map(of).collect();
        specs.filter(|specs| !specs.is_empty())
    }
}
