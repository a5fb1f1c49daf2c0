//! The bytes of a record, many of which can be looked at at once from any place in it.

use std::ops::Range;

use wide::u8x32;

/// So many bytes can be looked at.
pub(super) const AHEAD: usize = 32;
const ZEROS: &str = match std::str::from_utf8(&[0; AHEAD]) {
    Ok(zeros) => zeros,
    Err(_) => "",
};

/// A record with [`AHEAD`] zeros behind it. No place is beyond them: what is read there is zeros too.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'t> {
    padded: &'t str,
}

impl<'t> Ahead<'t> {
    /// Copies a record into a buffer, in place of what that holds.
    pub fn copy(record: &str, padded: &'t mut String) -> Ahead<'t> {
        padded.clear();
        padded.reserve(record.len() + AHEAD);
        padded.push_str(record);
        padded.push_str(ZEROS);
        Ahead { padded }
    }

    /// Where the record ends.
    pub fn end(self) -> usize {
        self.padded.len().saturating_sub(AHEAD)
    }

    #[inline(always)]
    pub fn byte(self, at: usize) -> u8 {
        self.padded.as_bytes().get(at).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub fn bytes<const N: usize>(self, at: usize) -> Option<&'t [u8; N]> {
        self.padded.as_bytes().get(at..)?.first_chunk()
    }

    pub fn starts_with(self, at: usize, text: &[u8]) -> bool {
        self.padded.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(text))
    }

    #[inline(always)]
    pub fn text(self, part: Range<usize>) -> &'t str {
        self.padded.get(part).unwrap_or_default()
    }

    /// The first place from `at` on that is no white space; mostly there is none, or one.
    #[inline(always)]
    pub fn space(self, at: usize) -> usize {
        let at = at + usize::from(self.byte(at) == b' ');
        if self.byte(at) > b' ' { at } else { self.long_space(at) }
    }

    #[cold]
    fn long_space(self, mut at: usize) -> usize {
        while let b' ' | b'\t' | b'\r' | b'\n' = self.byte(at) {
            at += 1;
        }
        at
    }

    /// Where the text begins and ends that stands between quotes `at` a place, or behind one space from it. None: there
    /// is none, or it has an escape or what needs one.
    #[inline(always)]
    pub fn quoted(self, at: usize) -> Option<(usize, usize)> {
        let bytes = self.bytes(at)?;
        let before = usize::from(bytes[0] == b' ');
        if bytes[before] != b'"' {
            return None;
        }
        let start = at + before + 1;
        let end = match specials(bytes) >> (before + 1) {
            0 => self.long_text(at + AHEAD)?,
            special => start + special.trailing_zeros() as usize,
        };
        (self.byte(end) == b'"').then_some((start, end))
    }

    /// The first place from `at` on that cannot be inside a text.
    fn long_text(self, mut at: usize) -> Option<usize> {
        loop {
            match specials(self.bytes(at)?) {
                0 => at += AHEAD,
                special => return Some(at + special.trailing_zeros() as usize),
            }
        }
    }
}

/// Which bytes are quotes, backslashes or control characters; the first is the lowest bit.
#[inline(always)]
fn specials(bytes: &[u8; AHEAD]) -> u32 {
    let bytes = u8x32::new(*bytes);
    let control = bytes.min(u8x32::splat(0x1f)).simd_eq(bytes);
    let special = control | bytes.simd_eq(u8x32::splat(b'"')) | bytes.simd_eq(u8x32::splat(b'\\'));
    special.to_bitmask()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_ends_at_its_quote(text in "[a-z\u{80}-\u{ff}!#]{0,70}[\"\\\\\u{0}-\u{1f}][ -~]{0,9}") {
            let by_hand = text.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let end = by_hand.filter(|&at| text.as_bytes()[at] == b'"');
            for before in ["", " "] {
                let (record, mut padded) = (format!("{before}\"{text}"), String::new());
                let start = before.len() + 1;
                prop_assert_eq!(Ahead::copy(&record, &mut padded).quoted(0), end.map(|end| (start, start + end)));
            }
        }

        #[test]
        fn white_space_is_passed_over(space in "[ \t\r\n]{0,5}", behind in "[a-z\u{b}\u{0}]") {
            let (record, mut padded) = (format!("{space}{behind}"), String::new());
            prop_assert_eq!(Ahead::copy(&record, &mut padded).space(0), space.len());
        }
    }

    #[test]
    fn behind_the_end_are_zeros() {
        let mut padded = "what was there".to_owned();
        let record = Ahead::copy("ab", &mut padded);
        assert_eq!((record.end(), record.byte(1), record.byte(2), record.byte(500)), (2, b'b', 0, 0));
        assert!(record.bytes::<AHEAD>(2).is_some());
        assert_eq!((record.bytes::<AHEAD>(3), record.quoted(0), record.text(1..900)), (None, None, ""));
    }
}
