//! Texts written for the tests, so that what the model must find in them stands in no model's memory.

/// A keeper's log, as paragraphs. Facts asked for: the lamp was lit on 3 May 1874; the keeper is Marta Olsen; the
/// boat is called *Petrel*.
pub const LIGHTHOUSE: &[&str] = &[
    "The lighthouse on Skarn rock was built of grey granite, and its lamp was first lit on 3 May 1874.",
    "Its first keeper was Marta Olsen, a fisherman's daughter who had taught herself to grind lenses. She lived in \
     the tower with two goats and a barometer that had belonged to her grandfather.",
    "Twice a week the supply boat Petrel brought oil, flour and letters. In winter the Petrel could not land for \
     weeks, and the keeper lowered a basket on a rope from the gallery.",
    "In the storm of November 1881 the sea broke the windows of the lamp room. Marta Olsen kept the light burning \
     for three nights behind a sail that she had nailed over the empty frames.",
    "The council of Harrow gave her a silver watch, which she sold the same week to buy new glass.",
    "After her death the tower stood empty until the harbour school took it over. Today forty pupils learn there how \
     to read the weather, and the goats are back.",
];

/// [`LIGHTHOUSE`] as plain text.
pub fn lighthouse_text() -> String {
    LIGHTHOUSE.join("\n\n") + "\n"
}

/// [`LIGHTHOUSE`] as Markdown with headings, emphasis and a list.
pub fn lighthouse_markdown() -> String {
    format!(
        "# The light on Skarn\n\n{}\n\n## The keeper\n\n{}\n\n- one barometer\n- two *goats*\n\n## Supplies\n\n{}\n",
        LIGHTHOUSE[0],
        LIGHTHOUSE[1],
        LIGHTHOUSE[2..].join("\n\n")
    )
}

/// [`LIGHTHOUSE`] as HTML with a script that must never be seen or run.
pub fn lighthouse_html() -> String {
    let paragraphs: Vec<String> = LIGHTHOUSE
        .iter()
        .map(|text| format!("<p>{text}</p>"))
        .collect();
    format!(
        "<!doctype html><html><head><title>The light on Skarn</title><script>alert('never')</script></head>\
         <body><nav><a href='/'>Home</a></nav><h1>The light on Skarn</h1>{}</body></html>",
        paragraphs.join("\n")
    )
}

/// [`LIGHTHOUSE`] as a PDF: a page for every two paragraphs, lines of at most 80 characters.
pub fn lighthouse_pdf() -> Vec<u8> {
    let pages: Vec<Vec<String>> = LIGHTHOUSE
        .chunks(2)
        .map(|paragraphs| {
            let mut lines = Vec::new();
            for paragraph in paragraphs {
                let mut line = String::new();
                for word in paragraph.split_whitespace() {
                    if line.len() + word.len() > 80 {
                        lines.push(std::mem::take(&mut line));
                    }
                    if !line.is_empty() {
                        line.push(' ');
                    }
                    line += word;
                }
                lines.push(line);
                lines.push(String::new());
            }
            lines
        })
        .collect();
    let pages: Vec<Vec<&str>> = pages
        .iter()
        .map(|lines| lines.iter().map(String::as_str).collect())
        .collect();
    let pages: Vec<&[&str]> = pages.iter().map(Vec::as_slice).collect();
    crate::pdf::with_text(&pages)
}

/// A Python package of two files, a binary file and a `.gitignore` that hides a third.
pub fn code_folder() -> Vec<(&'static str, &'static [u8])> {
    vec![
        (
            "tide/table.py",
            b"\"\"\"Tide tables.\"\"\"\n\nHARMONICS = 37\n\n\ndef high_water(day, port):\n    \"\"\"Minutes after \
              midnight of the first high water.\"\"\"\n    phase = (day * 50 + port.offset) % 745\n    return phase\n",
        ),
        (
            "tide/port.py",
            b"class Port:\n    \"\"\"A harbour and its delay against the reference port.\"\"\"\n\n    def \
              __init__(self, name, offset):\n        self.name = name\n        self.offset = offset\n",
        ),
        ("tide/chart.bin", b"\x00\x01\x02\xff\xfe\x00binary\x00"),
        (".gitignore", b"secret/\n"),
        ("secret/key.py", b"PASSWORD = 'swordfish'\n"),
    ]
}

/// Many distinct paragraphs of filler, about `words` words in all, every one numbered: for lengths, not for sense.
pub fn filler(words: usize) -> String {
    let mut text = String::new();
    let mut written = 0;
    let mut paragraph = 0;
    while written < words {
        paragraph += 1;
        let sentence = format!(
            "Entry {paragraph}: on day {} the crew counted {} seals near buoy {} and wrote the number in the blue \
             book before the evening watch began.\n\n",
            paragraph * 3 % 365 + 1,
            paragraph * 7 % 41,
            paragraph % 12 + 1
        );
        written += sentence.split_whitespace().count();
        text += &sentence;
    }
    text
}
