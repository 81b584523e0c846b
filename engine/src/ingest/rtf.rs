//! RTF to blocks (Rich Text Format 1.9.1).
//!
//! The format is a stream of control words, groups and bytes in an old encoding that the words around them name. Read
//! are paragraphs with their outline level, lists, rows of tables, footnotes, bold and italics; left out are the
//! groups that hold no text (fonts, styles, pictures, fields' codes), headers and footers, and hidden text.
//!
//! Why our own: the reader on crates.io drops tables, footnotes and every encoding but the Western one. Control words
//! are looked at one after the other with a stack of states on the heap, so depth costs no stack.

use super::builder::{DocumentBuilder, canonical};
use super::office::{Flow, Line};
use super::{Extraction, IngestFault};
use crate::document::{BlockKind, Document, DocumentKind, MarkKind};
use encoding_rs::{Encoding, WINDOWS_1252};

/// Groups that may be open at once; more is no text a person wrote.
const DEEPEST: usize = 10_000;

/// Extracts an RTF file.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes = extraction.read_plain()?;
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut reader = Reader::new(Flow::new(&mut builder));
    for token in Tokens::new(&bytes) {
        reader.take(token)?;
    }
    let (title, author) = reader.finish()?;
    let title = title
        .or_else(|| builder.first_heading())
        .unwrap_or_else(|| extraction.file_title());
    let sections = builder.sections_from_headings("");
    builder.finish(DocumentKind::Word, title, author, sections, Vec::new())
}

/// A piece of the stream.
#[derive(Debug, PartialEq, Eq)]
enum Token<'b> {
    Open,
    Close,
    /// A control word with its number, or a control symbol.
    Control(&'b str, Option<i32>),
    /// `\'hh`: a byte in the current encoding.
    Byte(u8),
    /// Bytes as they stand.
    Text(&'b [u8]),
    /// `\binN`: so many bytes of data, passed over.
    Data,
}

struct Tokens<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Tokens<'b> {
    fn new(bytes: &'b [u8]) -> Tokens<'b> {
        Tokens { bytes, at: 0 }
    }

    fn control(&mut self) -> Option<Token<'b>> {
        let rest = &self.bytes[self.at..]; // behind the backslash
        let letters = rest
            .iter()
            .take_while(|b| b.is_ascii_alphabetic())
            .take(32)
            .count();
        if letters == 0 {
            let symbol = *rest.first()?;
            self.at += 1;
            if symbol == b'\'' {
                let hex = rest.get(1..3).and_then(|two| std::str::from_utf8(two).ok());
                let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
                self.at += 2 * usize::from(byte.is_some());
                return Some(byte.map_or(Token::Text(b""), Token::Byte));
            }
            return Some(match std::str::from_utf8(&rest[..1]) {
                Ok(symbol) => Token::Control(symbol, None),
                Err(_) => Token::Text(&rest[..1]),
            });
        }
        let sign = usize::from(rest.get(letters) == Some(&b'-'));
        let digits = rest[letters + sign..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .take(10)
            .count();
        let number = match digits {
            0 => None,
            _ => std::str::from_utf8(&rest[letters..letters + sign + digits]).ok(),
        };
        let number = number.and_then(|number| number.parse().ok());
        self.at += letters + if digits > 0 { sign + digits } else { 0 };
        self.at += usize::from(self.bytes.get(self.at) == Some(&b' '));
        let word = std::str::from_utf8(&rest[..letters]).unwrap_or_default();
        if word == "bin" {
            let length = usize::try_from(number.unwrap_or(0)).unwrap_or(0);
            self.at = self.bytes.len().min(self.at.saturating_add(length));
            return Some(Token::Data);
        }
        Some(Token::Control(word, number))
    }
}

impl<'b> Iterator for Tokens<'b> {
    type Item = Token<'b>;

    fn next(&mut self) -> Option<Token<'b>> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        match first {
            b'{' => Some(Token::Open),
            b'}' => Some(Token::Close),
            b'\\' => self.control(),
            b'\r' | b'\n' => self.next_after_line_ends(),
            _ => {
                let start = self.at - 1;
                let special = |b: &u8| matches!(b, b'{' | b'}' | b'\\' | b'\r' | b'\n');
                let length = self.bytes[start..].iter().position(special);
                self.at = length.map_or(self.bytes.len(), |length| start + length);
                Some(Token::Text(&self.bytes[start..self.at]))
            }
        }
    }
}

impl<'b> Tokens<'b> {
    /// Line ends only lay out the file.
    fn next_after_line_ends(&mut self) -> Option<Token<'b>> {
        let ends = self.bytes[self.at..]
            .iter()
            .take_while(|b| matches!(b, b'\r' | b'\n'));
        self.at += ends.count();
        self.next()
    }
}

/// Where words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Body,
    Note,
    Title,
    Author,
    Fonts,
    Nowhere,
}

/// What holds in a group, and ends with it.
#[derive(Debug, Clone)]
struct State {
    place: Place,
    bold: bool,
    italic: bool,
    hidden: bool,
    /// Characters that stand for a `\u` where it is not understood.
    substitutes: usize,
    encoding: &'static Encoding,
}

/// What holds in a paragraph, until `\pard`.
#[derive(Debug, Clone, Default)]
struct Paragraph {
    outline: Option<u8>,
    list_level: Option<u8>,
    in_table: bool,
}

struct Reader<'b> {
    flow: Flow<'b>,
    stack: Vec<State>,
    state: State,
    /// `\*` was read: a group that begins with an unknown word is passed over.
    optional: bool,
    paragraph: Paragraph,
    line: Line,
    notes: Vec<Line>,
    note: Line,
    title: String,
    author: String,
    /// Bytes in the current encoding that are not decoded yet: a character may have two.
    pending: Vec<u8>,
    /// Characters still to be passed over after a `\u`.
    skip: usize,
    /// First half of a character beyond the basic plane.
    high: Option<u16>,
    /// The font being described, and the encodings of the fonts by number.
    font: i32,
    fonts: std::collections::HashMap<i32, &'static Encoding>,
    /// The file's own encoding.
    usual: &'static Encoding,
    row_open: bool,
    cell_open: bool,
}

impl<'b> Reader<'b> {
    fn new(flow: Flow<'b>) -> Reader<'b> {
        Reader {
            flow,
            stack: Vec::new(),
            state: State {
                place: Place::Body,
                bold: false,
                italic: false,
                hidden: false,
                substitutes: 1,
                encoding: WINDOWS_1252,
            },
            optional: false,
            paragraph: Paragraph::default(),
            line: Line::default(),
            notes: Vec::new(),
            note: Line::default(),
            title: String::new(),
            author: String::new(),
            pending: Vec::new(),
            skip: 0,
            high: None,
            font: 0,
            fonts: std::collections::HashMap::new(),
            usual: WINDOWS_1252,
            row_open: false,
            cell_open: false,
        }
    }

    fn take(&mut self, token: Token) -> Result<(), IngestFault> {
        if !matches!(token, Token::Byte(_) | Token::Text(_)) {
            self.decode();
        }
        match token {
            Token::Open => {
                if self.stack.len() >= DEEPEST {
                    return Err(IngestFault::Damaged {
                        format: "RTF".into(),
                        reason: format!("more than {DEEPEST} groups are open at once"),
                    });
                }
                self.stack.push(self.state.clone());
                self.skip = 0;
            }
            Token::Close => self.close(),
            Token::Byte(_) if self.skip > 0 => self.skip -= 1,
            Token::Byte(byte) => self.pending.push(byte),
            Token::Text(bytes) => {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                self.pending.extend(&bytes[skipped..]);
            }
            Token::Data => {}
            Token::Control(word, number) => self.control(word, number)?,
        }
        Ok(())
    }

    fn close(&mut self) {
        let before = self.state.place;
        let Some(state) = self.stack.pop() else {
            return;
        };
        self.state = state;
        self.skip = 0;
        if before == Place::Note && self.state.place != Place::Note {
            self.notes.push(std::mem::take(&mut self.note));
        }
    }

    /// Words out of the bytes that have gathered.
    fn decode(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.pending);
        let (words, _) = self.state.encoding.decode_without_bom_handling(&bytes);
        self.push(&words);
    }

    fn push(&mut self, words: &str) {
        if self.state.hidden {
            return;
        }
        let mut marks = Vec::new();
        marks.extend(self.state.bold.then_some(MarkKind::Strong));
        marks.extend(self.state.italic.then_some(MarkKind::Emphasis));
        match self.state.place {
            Place::Body => self.line.push(words, &marks),
            Place::Note => self.note.push(words, &marks),
            Place::Title => self.title.push_str(words),
            Place::Author => self.author.push_str(words),
            Place::Fonts | Place::Nowhere => {}
        }
    }

    fn control(&mut self, word: &str, number: Option<i32>) -> Result<(), IngestFault> {
        let on = number != Some(0);
        let optional = std::mem::take(&mut self.optional);
        match word {
            "*" => self.optional = true,
            "b" => self.state.bold = on,
            "i" => self.state.italic = on,
            "plain" => {
                (self.state.bold, self.state.italic, self.state.hidden) = (false, false, false);
            }
            "v" => self.state.hidden = on,
            "uc" => {
                self.state.substitutes = usize::try_from(number.unwrap_or(1)).unwrap_or(1).min(8)
            }
            "u" => self.unicode(number.unwrap_or(0)),
            "ansicpg" => {
                let page = number.and_then(|page| u16::try_from(page).ok());
                self.usual = page.map_or(WINDOWS_1252, code_page);
                self.state.encoding = self.usual;
            }
            "f" if self.state.place == Place::Fonts => self.font = number.unwrap_or(0),
            "f" => {
                let font = self.fonts.get(&number.unwrap_or(0));
                self.state.encoding = font.copied().unwrap_or(self.usual);
            }
            "fcharset" => {
                if let Some(encoding) = charset(number.unwrap_or(0)) {
                    self.fonts.insert(self.font, encoding);
                }
            }
            "\\" | "{" | "}" => self.push(word),
            "~" => self.push(" "),
            "_" => self.push("-"),
            "tab" => self.push("\t"),
            "line" => self.push("\n"),
            "emdash" => self.push("\u{2014}"),
            "endash" => self.push("\u{2013}"),
            "lquote" => self.push("\u{2018}"),
            "rquote" => self.push("\u{2019}"),
            "ldblquote" => self.push("\u{201c}"),
            "rdblquote" => self.push("\u{201d}"),
            "bullet" => self.push("\u{2022}"),
            "par" | "sect" | "page" | "\r" | "\n" => self.end_paragraph()?,
            "pard" => self.paragraph = Paragraph::default(),
            "outlinelevel" => self.paragraph.outline = number.and_then(|n| u8::try_from(n).ok()),
            "ls" => self.paragraph.list_level = self.paragraph.list_level.or(Some(0)),
            "ilvl" => self.paragraph.list_level = number.and_then(|n| u8::try_from(n).ok()),
            "intbl" => self.paragraph.in_table = true,
            "cell" | "nestcell" => self.end_cell()?,
            "row" | "nestrow" if std::mem::take(&mut self.row_open) => {
                self.flow.close_row()?;
                self.cell_open = false;
                self.note_down()?;
            }
            "footnote" | "annotation" => self.state.place = Place::Note,
            "title" if self.state.place == Place::Nowhere => self.state.place = Place::Title,
            "author" if self.state.place == Place::Nowhere => self.state.place = Place::Author,
            "fonttbl" => self.state.place = Place::Fonts,
            "info" | "stylesheet" | "colortbl" | "pict" | "header" | "headerl" | "headerr"
            | "headerf" | "footer" | "footerl" | "footerr" | "footerf" | "fldinst" | "object"
            | "objdata" | "listtext" | "pntext" | "xe" | "tc" | "nonesttables" => {
                self.state.place = Place::Nowhere
            }
            "shptxt" | "fldrslt" => {}
            _ if optional => self.state.place = Place::Nowhere,
            _ => {}
        }
        Ok(())
    }

    fn unicode(&mut self, number: i32) {
        self.skip = self.state.substitutes;
        // Signed 16 bits, as the specification has it; some writers give them unsigned.
        let unit = number as u16;
        let high = self.high.take();
        if (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return;
        }
        let units: Vec<u16> = high.into_iter().chain([unit]).collect();
        self.push(&String::from_utf16_lossy(&units));
    }

    fn end_paragraph(&mut self) -> Result<(), IngestFault> {
        if self.state.place == Place::Note {
            self.note.push(" ", &[]);
            return Ok(());
        }
        if self.state.place != Place::Body {
            return Ok(());
        }
        if self.paragraph.in_table {
            self.open_cell();
        } else if std::mem::take(&mut self.row_open) {
            self.flow.close_row()?;
            self.cell_open = false;
        }
        let line = std::mem::take(&mut self.line);
        let kind = match (self.paragraph.outline, self.paragraph.list_level) {
            (Some(level), _) if level < 9 => BlockKind::Heading((level + 1).min(6)),
            (_, Some(depth)) => BlockKind::ListItem {
                depth,
                number: None,
            },
            _ => BlockKind::Paragraph,
        };
        self.flow.block(kind, line)?;
        self.note_down()
    }

    fn open_cell(&mut self) {
        if !std::mem::replace(&mut self.row_open, true) {
            self.flow.open_row();
        }
        if !std::mem::replace(&mut self.cell_open, true) {
            self.flow.open_cell();
        }
    }

    fn end_cell(&mut self) -> Result<(), IngestFault> {
        self.open_cell();
        self.flow
            .block(BlockKind::Paragraph, std::mem::take(&mut self.line))?;
        self.cell_open = false;
        Ok(())
    }

    fn note_down(&mut self) -> Result<(), IngestFault> {
        for note in std::mem::take(&mut self.notes) {
            self.flow.note(note)?;
        }
        Ok(())
    }

    /// Title and author, as the file says.
    fn finish(mut self) -> Result<(Option<String>, Option<String>), IngestFault> {
        self.decode();
        self.state.place = Place::Body;
        self.end_paragraph()?;
        self.flow.finish()?;
        let plain = |words: String| {
            let words: String = words.chars().filter_map(canonical).collect();
            super::html::one_line(&words)
        };
        Ok((plain(self.title), plain(self.author)))
    }
}

/// The encoding of a Windows code page.
fn code_page(page: u16) -> &'static Encoding {
    let label = match page {
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        10000 => "macintosh".to_owned(),
        65001 => "utf-8".to_owned(),
        page => format!("windows-{page}"),
    };
    Encoding::for_label(label.as_bytes()).unwrap_or(WINDOWS_1252)
}

/// The encoding of a font's character set; `None` where the file's own holds.
fn charset(number: i32) -> Option<&'static Encoding> {
    let page = match number {
        77 => 10000,
        128 => 932,
        129 => 949,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        _ => return None,
    };
    Some(code_page(page))
}
