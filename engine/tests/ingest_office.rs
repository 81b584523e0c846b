//! Office files, tables and mail: small ones of our own for what must become of each construct, real ones of others for
//! nothing being lost.
#![allow(clippy::unwrap_used)]

mod ingest_support;

use ingest_support::*;
use lectern_engine::document::{BlockKind, DocumentKind, MarkKind};
use lectern_engine::ingest::{IngestFault, Limits};
use std::io::Read;
use std::path::{Path, PathBuf};

fn item(depth: u8, number: Option<u32>) -> BlockKind {
    BlockKind::ListItem { depth, number }
}

/// A DOCX of this body, with styles for headings, a list of two levels and notes.
fn docx(body: &str) -> Vec<u8> {
    let document =
        format!("<w:document xmlns:w='w' xmlns:m='m'><w:body>{body}</w:body></w:document>");
    let relation = |id: &str, kind: &str, target: &str| {
        format!("<Relationship Id='{id}' Type='http://x/{kind}' Target='{target}'/>")
    };
    let package = format!(
        "<Relationships>{}</Relationships>",
        relation("r1", "officeDocument", "word/document.xml")
    );
    let parts = format!(
        "<Relationships>{}{}{}{}{}</Relationships>",
        relation("r1", "styles", "styles.xml"),
        relation("r2", "numbering", "/word/numbering.xml"),
        relation("r3", "footnotes", "footnotes.xml"),
        relation("r4", "comments", "comments.xml"),
        "<Relationship Id='r5' Type='http://x/image' TargetMode='External' Target='http://x/y.png'/>"
    );
    let styles = "<w:styles xmlns:w='w'>\
        <w:style w:styleId='H2'><w:name w:val='heading 2'/></w:style>\
        <w:style w:styleId='Mine'><w:basedOn w:val='H2'/><w:pPr><w:numPr><w:numId w:val='2'/></w:numPr></w:pPr></w:style>\
        <w:style w:styleId='Toc'><w:name w:val='toc 1'/></w:style>\
        <w:style w:styleId='Src'><w:name w:val='Source Code'/></w:style>\
        <w:style w:styleId='Loop'><w:basedOn w:val='Loop'/></w:style>\
        <w:style w:styleId='Firm'><w:name w:val='Strong'/><w:rPr><w:b/></w:rPr></w:style></w:styles>";
    let numbering = "<w:numbering xmlns:w='w'>\
        <w:abstractNum w:abstractNumId='0'><w:lvl w:ilvl='0'><w:numFmt w:val='decimal'/><w:lvlText w:val='%1)'/></w:lvl>\
        <w:lvl w:ilvl='1'><w:numFmt w:val='bullet'/></w:lvl></w:abstractNum>\
        <w:abstractNum w:abstractNumId='1'><w:lvl w:ilvl='0'><w:numFmt w:val='upperRoman'/><w:lvlText w:val='%1.'/></w:lvl></w:abstractNum>\
        <w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num>\
        <w:num w:numId='2'><w:abstractNumId w:val='1'/></w:num></w:numbering>";
    let footnotes = "<w:footnotes xmlns:w='w'><w:footnote w:id='2'><w:p><w:r><w:t>See the</w:t></w:r></w:p>\
        <w:p><w:r><w:t>log.</w:t></w:r></w:p></w:footnote></w:footnotes>";
    let comments = "<w:comments xmlns:w='w'><w:comment w:id='0' w:author='Ann'><w:p><w:r><w:t>Really?</w:t></w:r></w:p>\
        </w:comment></w:comments>";
    let core = "<cp:coreProperties xmlns:cp='c' xmlns:dc='d'><dc:title>The Log</dc:title><dc:creator>B. Writer</dc:creator>\
        </cp:coreProperties>";
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("_rels/.rels", package.as_bytes()),
        ("word/document.xml", document.as_bytes()),
        ("word/_rels/document.xml.rels", parts.as_bytes()),
        ("word/styles.xml", styles.as_bytes()),
        ("word/numbering.xml", numbering.as_bytes()),
        ("word/footnotes.xml", footnotes.as_bytes()),
        ("word/comments.xml", comments.as_bytes()),
        ("docProps/core.xml", core.as_bytes()),
    ])
}

fn styled(style: &str, words: &str) -> String {
    format!("<w:p><w:pPr><w:pStyle w:val='{style}'/></w:pPr><w:r><w:t>{words}</w:t></w:r></w:p>")
}

fn listed(list: u8, level: u8, words: &str) -> String {
    format!(
        "<w:p><w:pPr><w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='{list}'/></w:numPr></w:pPr>\
         <w:r><w:t>{words}</w:t></w:r></w:p>"
    )
}

#[test]
fn a_word_text_keeps_its_structure_and_drops_what_is_deleted() {
    let body = [
        styled("Toc", "The voyage 1"),
        styled("Mine", "The voyage"),
        "<w:p><w:r><w:t xml:space='preserve'>She sailed </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t>at dawn</w:t></w:r>\
         <w:del><w:r><w:delText> at noon</w:delText><w:t> gone</w:t></w:r></w:del><w:ins><w:r><w:t>, &lt;unseen&gt;</w:t></w:r></w:ins>\
         <w:r><w:footnoteReference w:id='2'/></w:r><w:r><w:commentReference w:id='0'/></w:r>\
         <w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r><w:r><w:instrText>PAGE</w:instrText></w:r><w:r><w:t>.</w:t></w:r></w:p>"
            .into(),
        listed(1, 0, "rope"),
        listed(1, 1, "thin"),
        listed(1, 0, "tar"),
        styled("Src", "let a = 1;"),
        styled("Src", "let b = 2;"),
        styled("Loop", "Round."),
        "<w:tbl><w:tr><w:trPr><w:tblHeader/></w:trPr><w:tc><w:p><w:r><w:t>Port</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Day</w:t></w:r></w:p></w:tc></w:tr>\
         <w:tr><w:tc><w:p><w:r><w:t>Oban</w:t><w:br/><w:t>pier</w:t></w:r></w:p></w:tc><w:tc><w:p/><w:p><w:r><w:t>3</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
            .into(),
        "<w:p><w:r><w:drawing><wp:docPr xmlns:wp='p' descr='A chart of the sound'/><w:txbxContent><w:p><w:r><w:t>In a box.</w:t></w:r></w:p>\
         </w:txbxContent></w:drawing></w:r><w:r><w:t>After it.</w:t></w:r></w:p>"
            .into(),
        "<w:p><w:r><w:rPr><w:rStyle w:val='Firm'/></w:rPr><w:t>Force</w:t></w:r><m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f>\
         <m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:oMath></w:p>"
            .into(),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let document = ingest(&write(folder.path(), "log.docx", docx(&body))).unwrap();
    assert_eq!(document.kind, DocumentKind::Word);
    assert_eq!(document.title, "The Log");
    assert_eq!(document.authors.as_deref(), Some("B. Writer"));
    use BlockKind::*;
    assert_eq!(
        blocks(&document),
        [
            (Heading(2), "I. The voyage"),
            (Paragraph, "She sailed at dawn, <unseen>."),
            (Note, "See the log."),
            (Note, "Ann: Really?"),
            (item(0, Some(1)), "rope"),
            (item(1, None), "thin"),
            (item(0, Some(2)), "tar"),
            (Preformatted { first_line: 1 }, "let a = 1;\nlet b = 2;"),
            (Paragraph, "Round."),
            (TableRow { header: true }, "Port\tDay"),
            (TableRow { header: false }, "Oban pier\t3"),
            (Paragraph, "After it."),
            (Caption, "A chart of the sound"),
            (Paragraph, "In a box."),
            (Paragraph, "Force a/bx^2"),
        ]
    );
    let bold = &document.blocks[1].marks;
    assert_eq!(bold[0].kind, MarkKind::Strong);
    assert_eq!(bold[0].span.of(&document.text), Some("at dawn"));
    assert_eq!(document.sections[0].title, "I. The voyage");
}

#[test]
fn slides_come_in_the_order_of_the_show_with_their_notes() {
    let shape = |place: &str, paragraphs: &str| {
        format!(
            "<p:sp><p:nvSpPr><p:nvPr>{place}</p:nvPr></p:nvSpPr><p:txBody>{paragraphs}</p:txBody></p:sp>"
        )
    };
    let paragraph = |words: &str| format!("<a:p><a:r><a:rPr i='1'/><a:t>{words}</a:t></a:r></a:p>");
    let slide = |shapes: &[String]| {
        format!(
            "<p:sld xmlns:p='p' xmlns:a='a'><p:spTree>{}</p:spTree></p:sld>",
            shapes.concat()
        )
    };
    let first = slide(&[
        shape("<p:ph type='title'/>", &paragraph("Costs")),
        shape(
            "<p:ph idx='1'/>",
            &format!("{}<a:p><a:pPr lvl='1'/><a:r><a:t>coal</a:t></a:r></a:p>", paragraph("Fuel")),
        ),
        shape("<p:ph type='sldNum'/>", &paragraph("1")),
        "<p:graphicFrame><a:tbl><a:tr><a:tc><a:txBody><a:p><a:r><a:t>Year</a:t></a:r></a:p></a:txBody></a:tc>\
         <a:tc><a:txBody><a:p><a:r><a:t>1881</a:t></a:r></a:p></a:txBody></a:tc></a:tr></a:tbl></p:graphicFrame>"
            .into(),
    ]);
    let second = slide(&[shape("", &paragraph("No title here"))]);
    let notes = slide(&[
        shape("<p:ph type='sldImg'/>", ""),
        shape("<p:ph type='body' idx='1'/>", &paragraph("Say it slowly.")),
    ]);
    let file = zip(&[
        (
            "ppt/presentation.xml",
            b"<p:presentation xmlns:p='p' xmlns:r='r'><p:sldIdLst><p:sldId id='256' r:id='b'/><p:sldId id='257' r:id='a'/>\
              <p:sldId id='258' r:id='lost'/></p:sldIdLst></p:presentation>",
        ),
        (
            "ppt/_rels/presentation.xml.rels",
            b"<Relationships><Relationship Id='a' Type='t/slide' Target='slides/slide1.xml'/>\
              <Relationship Id='b' Type='t/slide' Target='slides/slide2.xml'/></Relationships>",
        ),
        ("ppt/slides/slide1.xml", second.as_bytes()),
        ("ppt/slides/slide2.xml", first.as_bytes()),
        (
            "ppt/slides/_rels/slide2.xml.rels",
            b"<Relationships><Relationship Id='n' Type='t/notesSlide' Target='../notesSlides/n1.xml'/></Relationships>",
        ),
        ("ppt/notesSlides/n1.xml", notes.as_bytes()),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let document = ingest(&write(folder.path(), "talk.pptx", file)).unwrap();
    use BlockKind::*;
    assert_eq!(
        blocks(&document),
        [
            (Heading(1), "Costs"),
            (item(0, None), "Fuel"),
            (item(1, None), "coal"),
            (TableRow { header: false }, "Year\t1881"),
            (Note, "Say it slowly."),
            (Heading(1), "Slide 2"),
            (Paragraph, "No title here"),
        ]
    );
    assert_eq!(document.title, "Costs");
    assert_eq!(document.notices, ["One slide is missing from the file."]);
}

#[test]
fn an_opendocument_text_keeps_lists_notes_and_tables() {
    let content = "<office:document-content xmlns:office='o' xmlns:text='t' xmlns:table='b' xmlns:style='s' xmlns:fo='f'>\
        <office:automatic-styles><style:style style:name='T1'><style:text-properties fo:font-weight='bold'/></style:style>\
        <text:list-style style:name='L1'><text:list-level-style-number text:level='1' style:num-format='1'/></text:list-style>\
        <style:style style:name='P1' style:parent-style-name='Quotations'/></office:automatic-styles>\
        <office:body><office:text><text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>\
        <text:h text:outline-level='1'>Rules</text:h>\n  <text:p>Two<text:s text:c='2'/><text:span text:style-name='T1'>bold</text:span>\n words\
        <text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>A note.</text:p></text:note-body></text:note>.</text:p>\
        <text:list text:style-name='L1'><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>inner</text:p></text:list-item></text:list>\
        </text:list-item><text:list-item><text:p>two</text:p><text:p>goes on</text:p></text:list-item></text:list>\
        <text:p text:style-name='P1'>Quoted.</text:p>\
        <table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>\
        <table:table-cell table:number-columns-repeated='2'/><table:table-cell><text:p>d</text:p></table:table-cell></table:table-row>\
        </table:table-header-rows></table:table></office:text></office:body></office:document-content>";
    let meta = "<m xmlns:dc='d' xmlns:meta='e'><dc:title>House</dc:title><meta:initial-creator>C. Keeper</meta:initial-creator></m>";
    let file = zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("content.xml", content.as_bytes()),
        ("meta.xml", meta.as_bytes()),
    ]);
    let folder = tempfile::tempdir().unwrap();
    // told by its first part where the name says nothing
    let document = ingest(&write(folder.path(), "house", file)).unwrap();
    use BlockKind::*;
    assert_eq!(
        blocks(&document),
        [
            (Heading(1), "Rules"),
            (Paragraph, "Two  bold words."),
            (Note, "A note."),
            (item(0, Some(1)), "one"),
            (item(1, None), "inner"),
            (item(0, Some(2)), "two"),
            (Paragraph, "goes on"),
            (Quote, "Quoted."),
            (TableRow { header: true }, "a\t\t\td"),
        ]
    );
    assert_eq!(
        (document.title.as_str(), document.authors.as_deref()),
        ("House", Some("C. Keeper"))
    );
}

#[test]
fn tables_and_messages() {
    let folder = tempfile::tempdir().unwrap();
    let table = "Name;Size\n\"Olsen; Marta\";\"1,5\"\n\nShort\n";
    let document = ingest(&write(folder.path(), "t.csv", table)).unwrap();
    let row = |header| BlockKind::TableRow { header };
    assert_eq!(
        blocks(&document),
        [
            (row(true), "Name\tSize"),
            (row(false), "Olsen; Marta\t1,5"),
            (row(false), "Short"),
        ]
    );

    let message = "From: =?utf-8?q?M=C3=A4rta?= <m@example.org>\r\nTo: Ann <a@example.org>\r\nSubject: The light\r\n\
        Date: Tue, 1 Nov 1881 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        It burns again.=20\r\nSend oil.\r\n\r\n> Is it out?\r\n> Since when?\r\n\r\n--b\r\n\
        Content-Type: text/html\r\n\r\n<p>It burns <b>again</b>.</p>\r\n--b--\r\n";
    let document = ingest(&write(folder.path(), "light.eml", message)).unwrap();
    let words: Vec<&str> = blocks(&document).iter().map(|(_, words)| *words).collect();
    assert_eq!(words[0], "The light");
    assert!(words[1].starts_with(
        "From: Märta <m@example.org>\nTo: Ann <a@example.org>\nDate: Tue, 1 Nov 1881"
    ));
    assert_eq!(
        words[2..],
        ["It burns again.\nSend oil.", "Is it out?\nSince when?"]
    );
    assert_eq!(document.blocks[3].kind, BlockKind::Quote);

    let page = "From: a@example.org\r\nSubject: Page\r\nContent-Type: text/html\r\n\r\n<p>Only <script>x()</script>markup.</p>";
    let mailbox = format!(
        "From a@x Tue Nov  1 10:00:00 1881\n{}\n\nFrom b@x Tue Nov  1 11:00:00 1881\n{}\n",
        message.replace('\r', ""),
        page.replace('\r', "")
    );
    let document = ingest(&write(folder.path(), "all.mbox", mailbox)).unwrap();
    let titles: Vec<&str> = document.sections.iter().map(|s| s.title.as_str()).collect();
    assert_eq!(titles, ["The light", "Page"]);
    assert!(document.text.contains("Only markup."));
    assert_eq!(document.title, "all");
}

#[test]
fn rich_text_in_any_encoding() {
    let text = br"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Times;}{\f1\fcharset204 Arial;}{\f2\fcharset128 Mincho;}}
{\stylesheet{\s1 heading 1;}}{\info{\title The L\'f6g}{\author Ann}}{\*\generator Writer;}
{\header Page {\field{\*\fldinst PAGE}{\fldrslt 1}}}
\pard\outlinelevel0 Voyage\par
\pard She {\b sailed\b0  {\i far}} \'96 \u8220?north\u8221?{\footnote\pard See \'abx\'bb.\par} of {\v hidden}here.\line
Braces \{ \} and \\ stay.\par
{\f1 \'cf\'f0\'e8\'e2\'e5\'f2} {\f2\'93\'fa\'96\'7b}{\pict\pngblip 0123abcd}{\uc2\u-10179??\u-8704??}\par
\pard\ls1\ilvl1{\listtext\'b7\tab}item\par
\trowd\pard\intbl a\par b\cell c\cell\row\trowd\intbl d\cell\cell e\cell\row
\pard End.{\bin5 }{{\}\par}";
    let folder = tempfile::tempdir().unwrap();
    let document = ingest(&write(folder.path(), "log.rtf", text)).unwrap();
    use BlockKind::*;
    assert_eq!(
        blocks(&document),
        [
            (Heading(1), "Voyage"),
            (
                Paragraph,
                "She sailed far \u{2013} \u{201c}north\u{201d} of here.\nBraces { } and \\ stay."
            ),
            (Note, "See «x»."),
            (Paragraph, "Привет 日本😀"),
            (item(1, None), "item"),
            (TableRow { header: false }, "a b\tc"),
            (TableRow { header: false }, "d\t\te"),
            (Paragraph, "End."),
        ]
    );
    assert_eq!(
        (document.title.as_str(), document.authors.as_deref()),
        ("The Lög", Some("Ann"))
    );
    let deep = "{".repeat(50_000);
    let fault = fault_of(&write(
        folder.path(),
        "deep.rtf",
        format!("{{\\rtf1 {deep}"),
    ));
    assert!(matches!(fault, IngestFault::Damaged { .. }));
}

/// Every file of that kind in a folder of the shared data.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    files
}

/// The runs of words of a part, by cutting at tags and nothing else.
fn runs(part: &str, open: &str) -> Vec<String> {
    let pieces = part.split(open).skip(1);
    pieces
        .filter(|piece| piece.starts_with(['>', ' ']))
        .filter_map(|piece| {
            let words = &piece[piece.find('>')? + 1..];
            let words = words[..words.find('<')?].trim();
            let plain = words
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&apos;", "'")
                .replace("&amp;", "&")
                .replace('\u{a0}', " ")
                .replace(['\u{200b}', '\u{ad}', '\u{feff}'], ""); // no words, and not in canonical text
            Some(plain).filter(|words| !words.trim().is_empty())
        })
        .collect()
}

#[test]
fn no_run_of_words_of_a_real_file_is_lost() {
    let Some(data) = data() else { return };
    let formats = data.join("formats");
    let mut seen = 0;
    let folders = [
        ("docling/docx/sources", "docx", "<w:t"),
        ("python-docx", "docx", "<w:t"),
        ("docling/pptx/sources", "pptx", "<a:t"),
    ];
    for (folder, extension, open) in folders {
        for path in files(&formats.join(folder), extension) {
            let file = std::fs::File::open(&path).unwrap();
            let mut archive = zip::ZipArchive::new(file).unwrap();
            let mut wanted = Vec::new();
            for index in 0..archive.len() {
                let mut part = archive.by_index(index).unwrap();
                let name = part.name().unwrap().to_string();
                let is_slide = name.starts_with("ppt/slides/slide");
                if name != "word/document.xml" && name != "word/footnotes.xml" && !is_slide {
                    continue;
                }
                let mut xml = String::new();
                part.read_to_string(&mut xml).unwrap();
                while let (Some(start), Some(end)) =
                    (xml.find("<mc:Fallback"), xml.find("</mc:Fallback>"))
                {
                    xml.replace_range(start..end + 14, "");
                }
                wanted.extend(runs(&xml, open));
            }
            match ingest(&path) {
                Ok(document) => {
                    let flat = document.text.replace(['\t', '\n'], " ");
                    for words in &wanted {
                        let words = words.replace(['\t', '\n'], " ");
                        assert!(flat.contains(words.trim()), "{}: {words:?}", path.display());
                    }
                }
                Err(error) => {
                    assert_eq!(error.fault, IngestFault::Empty, "{}", path.display());
                    assert!(wanted.is_empty(), "{}: {wanted:?}", path.display());
                }
            }
            seen += wanted.len();
        }
    }
    assert!(seen > 1000, "{seen} runs");
}

#[test]
fn real_sheets_show_their_cells() {
    let Some(data) = data() else { return };
    let formats = data.join("formats/docling");
    let sales = ingest(&formats.join("xlsx/sources/xlsx_02_sample_sales_data.xlsm")).unwrap();
    assert_eq!(sales.kind, DocumentKind::Sheets);
    assert!(
        sales.text.contains("Widget B\t2024-01-02\t10\t12000"),
        "{}",
        sales.text
    );
    for path in files(&formats.join("xlsx/sources"), "xlsx") {
        let document = ingest(&path).unwrap();
        assert!(!document.sections.is_empty(), "{}", path.display());
    }
    let sheet = ingest(&formats.join("odf/sources/odf_table_with_title_01.ods")).unwrap();
    assert!(
        sheet
            .blocks
            .iter()
            .any(|b| matches!(b.kind, BlockKind::TableRow { .. }))
    );
    for name in [
        "odf/sources/text_document_03.odt",
        "odf/sources/odf_presentation_01.odp",
    ] {
        ingest(&formats.join(name)).unwrap();
    }
}

#[test]
fn hostile_and_broken_office_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: Vec<u8>| write(folder.path(), name, bytes);

    let whole = docx(&styled("H2", "A text that is whole."));
    let cut = whole[..whole.len() / 2].to_vec();
    assert!(matches!(
        fault_of(&file("cut.docx", cut)),
        IngestFault::Damaged { .. }
    ));
    let other = zip(&[("hello.txt", b"hello")]);
    assert!(matches!(
        fault_of(&file("other.docx", other.clone())),
        IngestFault::Damaged { .. }
    ));
    assert!(matches!(
        fault_of(&file("other.pptx", other.clone())),
        IngestFault::Damaged { .. }
    ));
    assert!(matches!(
        fault_of(&file("other.odt", other.clone())),
        IngestFault::Damaged { .. }
    ));
    assert!(matches!(
        fault_of(&file("other.xlsx", other)),
        IngestFault::Damaged { .. }
    ));
    let broken = docx("<w:p><w:r></w:p>");
    assert!(matches!(
        fault_of(&file("broken.docx", broken)),
        IngestFault::Damaged { .. }
    ));

    let locked = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), &[0; 600]].concat();
    assert!(matches!(
        fault_of(&file("locked.docx", locked)),
        IngestFault::Locked { .. }
    ));
    let locked = zip(&[
        ("META-INF/manifest.xml", b"<manifest:encryption-data/>"),
        ("content.xml", b"junk"),
    ]);
    assert!(matches!(
        fault_of(&file("locked.odt", locked)),
        IngestFault::Locked { .. }
    ));

    // a part that unpacks to far more than its archive
    let bomb = docx(&format!(
        "<w:p><w:r><w:t>{}</w:t></w:r></w:p>",
        "a".repeat(4 << 20)
    ));
    let limits = Limits {
        part_bytes: 1 << 20,
        ..Limits::default()
    };
    let error = ingest_with(&file("bomb.docx", bomb), None, limits).unwrap_err();
    assert!(matches!(error.fault, IngestFault::Bomb { .. }), "{error}");

    // depth costs neither stack nor time
    let deep = docx(&format!(
        "{}<w:p><w:r><w:t>deep</w:t></w:r></w:p>{}",
        "<w:sdt>".repeat(200_000),
        "</w:sdt>".repeat(200_000)
    ));
    assert_eq!(ingest(&file("deep.docx", deep)).unwrap().text, "deep\n");
    let nested = docx(&format!(
        "{}<w:p><w:r><w:t>in</w:t></w:r></w:p>{}",
        "<w:tbl><w:tr><w:tc>".repeat(20_000),
        "</w:tc></w:tr></w:tbl>".repeat(20_000)
    ));
    assert_eq!(ingest(&file("nested.docx", nested)).unwrap().text, "in\n");

    // entities do not expand, and name no file
    let content = "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'><!ENTITY b '&a;&a;'>]>\
        <d><body><text><p>x&b;&a;&#65;y</p></text></body></d>";
    let entities = zip(&[("content.xml", content.as_bytes())]);
    assert_eq!(
        ingest(&file("entities.odt", entities)).unwrap().text,
        "xAy\n"
    );
}
