use lectern_protocol::AnchorView;

/// In words, where an anchor points: "p. 12", "Chapter One", "src/main.rs › fn main, lines 3–7".
pub fn place(anchor: &AnchorView) -> String {
    match anchor {
        AnchorView::Pages { pages } => match pages.as_slice() {
            [] => String::new(),
            [page] => format!("p. {}", page.label),
            [first, .., last] => format!("pp. {}\u{2013}{}", first.label, last.label),
        },
        AnchorView::Element { item, section, .. } => match section.as_str() {
            "" => item.clone(),
            section => section.to_owned(),
        },
        AnchorView::Lines {
            file,
            symbol,
            first_line,
            last_line,
            ..
        } => {
            let lines = match first_line == last_line {
                true => format!("line {first_line}"),
                false => format!("lines {first_line}\u{2013}{last_line}"),
            };
            match symbol.as_str() {
                "" => format!("{file}, {lines}"),
                symbol => format!("{file} \u{203A} {symbol}, {lines}"),
            }
        }
        AnchorView::Flow { section, line, .. } => match section.as_str() {
            "" => format!("line {line}"),
            section => format!("{section}, line {line}"),
        },
    }
}
