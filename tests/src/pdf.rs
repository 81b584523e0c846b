//! Writes small PDF files: one font, one text layer, nothing else.

/// What a scanned page draws: one grey pixel over most of it, and no text.
const SCAN: &str = "q 468 0 0 648 72 72 cm BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q";

/// A PDF with these pages, each with these lines from the top. Characters beyond ASCII are not supported.
pub fn with_text(pages: &[&[&str]]) -> Vec<u8> {
    partly_scanned(pages, 0)
}

/// A PDF whose pages are pictures and hold no text.
pub fn without_text(pages: usize) -> Vec<u8> {
    partly_scanned(&[], pages)
}

/// A PDF with pages of text, as [`with_text`], and then pages that are pictures.
pub fn partly_scanned(text: &[&[&str]], scans: usize) -> Vec<u8> {
    let text = text.iter().map(|lines| {
        let mut stream = String::from("BT /F1 12 Tf 72 720 Td 16 TL\n");
        for line in *lines {
            let escaped = line
                .replace('\\', "\\\\")
                .replace('(', "\\(")
                .replace(')', "\\)");
            stream += &format!("({escaped}) Tj T*\n");
        }
        stream + "ET"
    });
    let scans = std::iter::repeat_n(SCAN.to_owned(), scans);
    document(&text.chain(scans).collect::<Vec<_>>())
}

/// Objects: 1 catalogue, 2 page tree, 3 font, then for each page itself and its content.
fn document(contents: &[String]) -> Vec<u8> {
    let kids: Vec<String> = (0..contents.len())
        .map(|page| format!("{} 0 R", 4 + 2 * page))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} >>",
            kids.join(" "),
            contents.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    for (page, content) in contents.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] \
             /Resources << /Font << /F1 3 0 R >> >> /Contents {} 0 R >>",
            5 + 2 * page
        ));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        ));
    }
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).bytes());
    }
    let table = file.len();
    file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for offset in offsets {
        file.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    file.extend(
        format!(
            "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
            objects.len() + 1
        )
        .bytes(),
    );
    file
}
