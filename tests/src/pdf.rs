//! Writes small PDF files: one font, one text layer, nothing else.

/// A PDF with these pages, each with these lines from the top. Characters beyond ASCII are not supported.
pub fn with_text(pages: &[&[&str]]) -> Vec<u8> {
    let content = pages
        .iter()
        .map(|lines| {
            let mut stream = String::from("BT /F1 12 Tf 72 720 Td 16 TL\n");
            for line in *lines {
                let escaped = line
                    .replace('\\', "\\\\")
                    .replace('(', "\\(")
                    .replace(')', "\\)");
                stream += &format!("({escaped}) Tj T*\n");
            }
            stream + "ET"
        })
        .collect::<Vec<_>>();
    document(&content)
}

/// A PDF whose pages show a grey box and hold no text, like a scan.
pub fn without_text(pages: usize) -> Vec<u8> {
    document(&vec!["0.5 g 72 72 468 648 re f".to_owned(); pages])
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
