//! Numbers as page labels and lists print them.

/// Letters of the longest number in letters.
const MOST_LETTERS: usize = 40;

/// Roman, in capitals. Beyond what the letters are made for, digits.
pub(super) fn roman(mut number: usize) -> String {
    const DIGITS: [(usize, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if number > 10_000 {
        return number.to_string();
    }
    let mut roman = String::new();
    for (value, digit) in DIGITS {
        while number >= value {
            roman.push_str(digit);
            number -= value;
        }
    }
    roman
}

/// A to Z, then AA to ZZ, AAA to ZZZ and so on, as PDF (ISO 32000-1, 12.4.2) and Word count; nothing for 0.
pub(super) fn letters(number: usize) -> String {
    let Some(index) = number.checked_sub(1) else {
        return String::new();
    };
    let letter = char::from(b'A' + (index % 26) as u8);
    std::iter::repeat_n(letter, (index / 26).min(MOST_LETTERS - 1) + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_letters() {
        assert_eq!(
            ["IV", "MCMXCIV", ""],
            [roman(4), roman(1994), roman(0)]
                .each_ref()
                .map(String::as_str)
        );
        assert_eq!(roman(10_001), "10001");
        assert_eq!(
            ["A", "Z", "AA", "ZZ", ""],
            [1, 26, 27, 52, 0]
                .map(letters)
                .each_ref()
                .map(String::as_str)
        );
    }
}
