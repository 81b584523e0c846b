//! Statements of source code, without knowing its language.

use super::Span;

/// Lines that one statement (an open bracket, a run of comment lines) may hold before it is cut.
const MOST_LINES: usize = 12;

/// Comment lines kept together.
const MOST_COMMENT_LINES: usize = 6;

/// How lines of comment begin.
const COMMENTS: &[&str] = &["///", "//!", "//", "--", "#", ";;", "/*", "*", "%"];

/// Words that a line of code opens with.
const KEYWORDS: &[&str] = &[
    "def ",
    "fn ",
    "pub ",
    "class ",
    "import ",
    "from ",
    "return ",
    "const ",
    "let ",
    "var ",
    "func ",
    "function ",
    "public ",
    "private ",
    "static ",
    "struct ",
    "enum ",
    "impl ",
    "use ",
    "#include",
    "namespace ",
    "async ",
    "package ",
    "type ",
    "interface ",
    "elif ",
    "else:",
    "try:",
    "raise ",
    "throw ",
    "using ",
    "mod ",
    "$ ",
];

/// Whether a paragraph is code rather than prose: most of its lines end or begin as only code does.
pub(super) fn looks_like_code(paragraph: &str) -> bool {
    let (mut lines, mut coded) = (0usize, 0usize);
    for line in paragraph.lines() {
        if line.trim().is_empty() || is_comment(line.trim()) {
            continue; // a comment is code only among code
        }
        lines += 1;
        coded += usize::from(is_coded(line));
    }
    coded > 0 && coded * 3 >= lines * 2
}

/// Whether one line looks like code.
fn is_coded(line: &str) -> bool {
    let body = line.trim();
    let ends = [
        ";", "{", "}", "};", ");", "),", "],", "):", "->", "=>", "({", "})", "(", "[", ":",
    ];
    let holds = [
        "==", "!=", "+=", "-=", "->", "=>", "::", "&&", "||", "();", " = ", ":=",
    ];
    let attribute = body.starts_with('@') || body.starts_with("#[");
    let keyword = KEYWORDS.iter().any(|word| body.starts_with(word));
    let ending = ends.iter().any(|end| body.ends_with(end));
    let holding = holds.iter().any(|mark| body.contains(mark));
    let call = body.contains('(') && body.ends_with(')') && !body.contains(". ");
    let symbol = body.contains(['(', ')', '{', '}', '=', ';', '<', '[']);
    // prose may end in ";" or open with "from": two signs, or one that prose never shows
    let signs = [keyword, ending, holding, call]
        .iter()
        .filter(|sign| **sign)
        .count();
    signs >= 2
        || (attribute && !body.contains(' '))
        || (keyword && symbol)
        || (ending && symbol && !body.ends_with([';', ':']))
        || (body.ends_with(':') && body.contains('(') && body.contains(')') && !body.contains(". "))
        || (body.ends_with(';') && body.contains(['(', '=', '{', '<']))
}

/// The statements of a piece of code, relative to it and not yet trimmed: a line, or the lines of an open round or
/// square bracket, with a closing brace after them and attributes and decorators before them; a run of comment
/// lines; never more than twelve lines, never across a blank one.
pub(super) fn statements(code: &str) -> Vec<Span> {
    let mut found: Vec<Span> = Vec::new();
    let mut open = Open::default();
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let span = Span::new(at, at + line.len());
        at = span.end;
        let body = line.trim();
        if body.is_empty() {
            found.extend(open.close());
            continue;
        }
        let comment = is_comment(body);
        let closes = closes_only(body);
        match open.span {
            // a closing brace belongs to what it closes, also when that was one line and is already complete
            Some(_) if closes && open.lines < MOST_LINES => open.extend(span, body),
            None if closes && found.last().is_some_and(|last| last.end == span.start) => {
                if let Some(last) = found.last_mut() {
                    last.end = span.end;
                }
                continue;
            }
            Some(_) if open.goes_on(comment) => open.extend(span, body),
            _ => {
                found.extend(open.close());
                open.begin(span, body, comment);
            }
        }
        if !open.waits() {
            found.extend(open.close());
        }
    }
    found.extend(open.close());
    found
}

/// A statement that is being put together.
#[derive(Default)]
struct Open {
    span: Option<Span>,
    lines: usize,
    depth: i32,
    comment: bool,
    attribute: bool,
}

impl Open {
    fn begin(&mut self, span: Span, body: &str, comment: bool) {
        let attribute = body.starts_with('@') || body.starts_with("#[");
        *self = Open {
            span: Some(span),
            lines: 1,
            depth: bracket_depth(body),
            comment,
            attribute,
        };
    }

    fn extend(&mut self, span: Span, body: &str) {
        if let Some(open) = &mut self.span {
            open.end = span.end;
        }
        self.lines += 1;
        self.depth += bracket_depth(body);
        self.attribute = body.starts_with('@') || body.starts_with("#[");
    }

    fn close(&mut self) -> Option<Span> {
        std::mem::take(self).span
    }

    /// Whether the next line, a comment or not, belongs to this statement.
    fn goes_on(&self, comment: bool) -> bool {
        if self.comment {
            return comment && self.lines < MOST_COMMENT_LINES;
        }
        (self.depth > 0 || self.attribute) && self.lines < MOST_LINES
    }

    /// Whether the statement can take more lines.
    fn waits(&self) -> bool {
        self.comment || self.depth > 0 || self.attribute
    }
}

fn is_comment(body: &str) -> bool {
    let attribute =
        body.starts_with("#[") || body.starts_with("#!") || body.starts_with("#include");
    !attribute && COMMENTS.iter().any(|mark| body.starts_with(mark))
}

/// Whether a line holds nothing but closing brackets and punctuation.
fn closes_only(body: &str) -> bool {
    body.starts_with(['}', ')', ']'])
        && body
            .chars()
            .all(|c| matches!(c, '}' | ')' | ']' | ';' | ','))
}

/// Round and square brackets opened less those closed; strings are not told apart, the bound on lines limits what
/// a bracket in a string can do.
fn bracket_depth(body: &str) -> i32 {
    body.chars()
        .map(|c| match c {
            '(' | '[' => 1,
            ')' | ']' => -1,
            _ => 0,
        })
        .sum()
}
