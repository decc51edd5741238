//! Lists and counts that partitions tell, as bytes. What they say of a query has a form of its own
//! (`quorate_search::wire`).
//!
//! ```text
//! number   8 bytes, little-endian       text   length: 4 bytes | bytes
//! list     length: 4 bytes | items
//! ```

/// Writes what a reader reads.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

/// Reads what another node may have said; every read may find that it is not whole.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("invariant: lists are bounded");
        self.0.extend_from_slice(&length.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.0.extend_from_slice(text);
    }
}

impl<'a> Reader<'a> {
    pub(super) fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    pub(super) fn length(&mut self) -> Option<usize> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.length()?;
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_were_or_not_at_all() {
        let mut out = Writer::default();
        out.number(7);
        out.length(2);
        out.text(b"one");
        out.text(b"");
        let read = |bytes: &[u8]| {
            let mut input = Reader(bytes);
            let number = input.number()?;
            let texts = input.list(|input| input.bytes().map(<[u8]>::to_vec))?;
            Some((number, texts, input.0.len()))
        };
        assert_eq!(read(&out.0), Some((7, vec![b"one".to_vec(), Vec::new()], 0)));
        for length in 0..out.0.len() {
            assert_eq!(read(&out.0[..length]), None);
        }
        assert_eq!(Reader(&[255; 8]).list(Reader::number), None, "a count is not believed");
    }
}
