//! The splits of an input.

/// A stream and the lengths of the parts it arrives in, taken in turn; none for all of it at once.
pub struct Split<'a> {
    parts: &'a [u8],
    pub stream: &'a [u8],
}

impl<'a> Split<'a> {
    /// An input starts with a count of up to 15 lengths, then those, one byte each; the rest is the stream.
    pub fn of(input: &'a [u8]) -> Self {
        let Some((count, rest)) = input.split_first() else {
            return Self {
                parts: &[],
                stream: &[],
            };
        };
        let (parts, stream) = rest.split_at(usize::from(count % 16).min(rest.len()));
        Self { parts, stream }
    }

    /// How much of the stream has arrived after each part.
    pub fn arrivals(&self) -> impl Iterator<Item = usize> {
        let whole = self.stream.len();
        let mut arrived = 0;
        self.parts
            .iter()
            .cycle()
            .map(move |&part| {
                arrived = whole.min(arrived + usize::from(part) + 1);
                arrived
            })
            .take_while(move |&arrived| arrived < whole)
            .chain([whole])
    }
}
