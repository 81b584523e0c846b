//! Links into Lectern, as they stand in an exported conversation.

/// Every `lectern://` link in Markdown or HTML, in order.
pub fn links_in(text: &str) -> Vec<String> {
    text.match_indices("lectern://")
        .map(|(start, _)| {
            let link = text[start..]
                .split([')', '"', '>', ' ', '\n'])
                .next()
                .unwrap_or_default();
            link.replace("&amp;", "&")
        })
        .collect()
}
