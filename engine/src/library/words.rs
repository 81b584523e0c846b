//! Words as the full-text indexes hold them.
//!
//! SQLite's `unicode61` tokenizer splits at blanks and punctuation, folds case and drops diacritics. Chinese and
//! Japanese are written without blanks, so a whole sentence would be one word: a blank is put between their
//! characters, both in what is indexed and in what is looked for.

/// Whether `c` belongs to a script written without blanks: Han, Hiragana, Katakana, and their extensions. (Korean is
/// written with blanks; Thai, Lao, Khmer and Burmese are not, and are split the same way.)
pub(crate) fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
        // Combining vowel signs and tone marks stay with their consonant.
        && !matches!(c, '\u{0E31}' | '\u{0E34}'..='\u{0E3A}' | '\u{0E47}'..='\u{0E4E}'
            | '\u{0EB1}' | '\u{0EB4}'..='\u{0EBC}' | '\u{0EC8}'..='\u{0ECE}'
            | '\u{102B}'..='\u{103E}' | '\u{17B4}'..='\u{17D3}')
}

/// `text` as it goes into a full-text index.
pub fn indexed_words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for c in text.chars() {
        if stands_alone(c) {
            words.push(' ');
            words.push(c);
            words.push(' ');
        } else {
            words.push(c);
        }
    }
    words
}

/// As [`indexed_words`], of source code: behind a name of several words written as one stand those words
/// ("parseConfigFile parse Config File"), for questions say "the configuration file is parsed".
pub(super) fn indexed_code(code: &str) -> String {
    let mut words = String::with_capacity(code.len() + code.len() / 4);
    let mut rest = code;
    while let Some(begin) = rest.find(char::is_alphanumeric) {
        let (before, from) = rest.split_at(begin);
        let end = from.find(|c: char| !c.is_alphanumeric());
        let (name, behind) = from.split_at(end.unwrap_or(from.len()));
        words.push_str(before);
        words.push_str(name);
        for hump in humps(name) {
            words.push(' ');
            words.push_str(hump);
        }
        rest = behind;
    }
    words.push_str(rest);
    indexed_words(&words)
}

/// The words of a name that are told apart by capitals: "parse", "Config" and "File" of "parseConfigFile", "HTTP" and
/// "Adapter" of "HTTPAdapter". None of a name of one word.
fn humps(name: &str) -> Vec<&str> {
    let mut humps = Vec::new();
    let mut begin = 0;
    let mut characters = name.char_indices().peekable();
    let mut before: Option<char> = None;
    while let Some((at, c)) = characters.next() {
        let next = characters.peek().map(|&(_, next)| next);
        let begins = before.is_some_and(|before| {
            // The last capital of a run belongs to the word behind it.
            let ends_run = before.is_uppercase() && next.is_some_and(char::is_lowercase);
            c.is_uppercase() && (!before.is_uppercase() || ends_run)
        });
        if begins {
            humps.push(&name[begin..at]);
            begin = at;
        }
        before = Some(c);
    }
    if !humps.is_empty() {
        humps.push(&name[begin..]);
    }
    humps
}

/// What the names in a question on code are looked up by beside their [`query_words`]: `snake_case` as a phrase, since its words
/// stand everywhere, and the words of `camelCase`.
pub fn query_names(query: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| {
        let quoted = format!("\"{}\"", words.join(" ").to_lowercase());
        if !names.contains(&quoted) {
            names.push(quoted);
        }
    };
    for name in query.split(|c: char| !c.is_alphanumeric() && c != '_') {
        let parts: Vec<&str> = name.split('_').filter(|part| !part.is_empty()).collect();
        if parts.len() > 1 {
            add(&parts);
        }
        for hump in parts.iter().flat_map(|part| humps(part)) {
            add(&[hump]);
        }
    }
    names
}

/// Words of `text`: runs without white space, and each character that is written without blanks.
pub(crate) fn count_words(text: &str) -> usize {
    let mut words = 0;
    let mut inside = false;
    for c in text.chars() {
        let alone = stands_alone(c);
        if alone || (!inside && !c.is_whitespace()) {
            words += 1;
        }
        inside = !alone && !c.is_whitespace();
    }
    words
}

/// The distinct words of a query, each quoted for an FTS5 `MATCH`, so that nothing in it is an operator. A run of
/// characters that are indexed one by one becomes its overlapping pairs as phrases ("東京都" is "東 京" and "京 都"):
/// single characters are far too common to rank by.
pub fn query_words(query: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |word: String| {
        let quoted = format!("\"{word}\"");
        if !words.contains(&quoted) {
            words.push(quoted);
        }
    };
    let is_word = |c: char| c.is_alphanumeric() || stands_alone(c) || is_combining(c);
    for run in query.split(|c: char| !is_word(c)) {
        let mut alone: Vec<char> = Vec::new();
        let mut word = String::new();
        // The blank at the end flushes the last piece.
        for c in run.chars().chain([' ']) {
            if stands_alone(c) {
                if !word.is_empty() {
                    add(std::mem::take(&mut word).to_lowercase());
                }
                alone.push(c);
                continue;
            }
            match alone.as_slice() {
                [] => {}
                [only] => add(only.to_string()),
                several => {
                    for pair in several.windows(2) {
                        add(format!("{} {}", pair[0], pair[1]));
                    }
                }
            }
            alone.clear();
            if c != ' ' {
                word.push(c);
            }
        }
        if !word.is_empty() {
            add(word.to_lowercase());
        }
    }
    words
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{0591}'..='\u{05C7}' | '\u{064B}'..='\u{065F}'
        | '\u{0900}'..='\u{0DFF}' | '\u{0E31}'..='\u{0E4E}' | '\u{102B}'..='\u{103E}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_become_quoted_words() {
        for (query, expected) in [
            ("", vec![]),
            ("Who came?", vec!["\"who\"", "\"came\""]),
            ("the the THE", vec!["\"the\""]),
            (
                "a\" OR b NEAR(c) -d *",
                vec!["\"a\"", "\"or\"", "\"b\"", "\"near\"", "\"c\"", "\"d\""],
            ),
            ("snake_case(x)", vec!["\"snake\"", "\"case\"", "\"x\""]),
            (
                "東京都はどこ",
                vec![
                    "\"東 京\"",
                    "\"京 都\"",
                    "\"都 は\"",
                    "\"は ど\"",
                    "\"ど こ\"",
                ],
            ),
            ("山 peak", vec!["\"山\"", "\"peak\""]),
            ("Straße naïve", vec!["\"straße\"", "\"naïve\""]),
        ] {
            assert_eq!(query_words(query), expected, "{query}");
        }
    }

    #[test]
    fn names_in_code_are_words_too() {
        for (code, expected) in [
            (
                "let parseConfigFile = 1;",
                "let parseConfigFile parse Config File = 1;",
            ),
            (
                "class HTTPAdapter(BaseAdapter)",
                "class HTTPAdapter HTTP Adapter(BaseAdapter Base Adapter)",
            ),
            (
                "snake_case, SHOUTED, x2y, été",
                "snake_case, SHOUTED, x2y, été",
            ),
            ("É😀aB東", "É😀aB 東  a B 東 "),
            ("", ""),
        ] {
            assert_eq!(indexed_code(code), expected, "{code}");
        }
        for (query, expected) in [
            (
                "What does `to_native_string` do?",
                vec!["\"to native string\""],
            ),
            ("Is parseURL in _private?", vec!["\"parse\"", "\"url\""]),
            (
                "a_HTTPServer __init__ _",
                vec!["\"a httpserver\"", "\"http\"", "\"server\""],
            ),
        ] {
            assert_eq!(query_names(query), expected, "{query}");
        }
    }

    #[test]
    fn han_characters_are_indexed_one_by_one() {
        assert_eq!(indexed_words("ab東京c"), "ab 東  京 c");
    }
}
