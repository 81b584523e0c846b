//! GPT-2's spelling of bytes as characters, in which byte-level vocabularies are written.
//!
//! Printable bytes of Latin-1 stand for themselves; the other 68 are spelled with the characters from U+0100 on, in
//! order (Radford et al. 2019, `bytes_to_unicode` of the released code). A space is `Ġ`, a newline `Ċ`.

use std::sync::LazyLock;

static SPELLING: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if is_printable(byte) {
            char::from(byte)
        } else {
            let spelled = char::from_u32(next).unwrap_or(char::REPLACEMENT_CHARACTER);
            next += 1;
            spelled
        }
    })
});

fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// Spells `bytes` into `out`, which is emptied first.
pub(super) fn spell(bytes: &[u8], out: &mut String) {
    out.clear();
    out.extend(bytes.iter().map(|&byte| SPELLING[usize::from(byte)]));
}

/// The bytes that a token's spelling stands for; `None` if a character of it spells no byte.
pub(super) fn unspell(token: &str) -> Option<Vec<u8>> {
    token
        .chars()
        .map(|spelled| match u32::from(spelled) {
            code @ 0..=0xff if is_printable(code as u8) => Some(code as u8),
            0x100..=0x143 => SPELLING
                .iter()
                .position(|&known| known == spelled)
                .map(|byte| byte as u8),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_spelling() {
        let all: Vec<u8> = (0..=255).collect();
        let mut spelled = String::new();
        spell(&all, &mut spelled);
        assert_eq!(spelled.chars().count(), 256);
        assert_eq!(unspell(&spelled), Some(all));
        spell(b" a\n", &mut spelled);
        assert_eq!(spelled, "ĠaĊ");
        assert_eq!(unspell("a b"), None);
    }
}
