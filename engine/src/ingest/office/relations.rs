//! Which part of an OOXML package a relation id means.

use super::super::IngestFault;
use super::super::archive::Archive;
use super::super::xml::{Tag, Visitor, walk};
use std::collections::HashMap;

/// A relation's target inside the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// Last word of the relation's type: "slide", "notesSlide".
    pub kind: String,
    /// Name of the part.
    pub part: String,
}

/// The relations of a part, by id; none if it has none. Targets outside of the package are left out.
pub(super) fn relations(
    archive: &mut Archive,
    part: &str,
) -> Result<HashMap<String, Relation>, IngestFault> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let file = match folder {
        "" => format!("_rels/{name}.rels"),
        folder => format!("{folder}/_rels/{name}.rels"),
    };
    let mut found = Relations {
        folder,
        by_id: HashMap::new(),
    };
    if let Some(xml) = archive.text(&file)? {
        walk(&xml, archive.format(), &mut found)?;
    }
    Ok(found.by_id)
}

struct Relations<'f> {
    folder: &'f str,
    by_id: HashMap<String, Relation>,
}

impl Visitor for Relations<'_> {
    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        if tag.name != "Relationship"
            || tag.attribute("TargetMode").is_some_and(|m| m == "External")
        {
            return Ok(());
        }
        let (id, target) = (tag.attribute("Id"), tag.attribute("Target"));
        if let (Some(id), Some(target)) = (id, target) {
            let kind = tag.attribute("Type").unwrap_or_default();
            let relation = Relation {
                kind: kind.rsplit('/').next().unwrap_or_default().to_owned(),
                part: resolved(self.folder, &target),
            };
            self.by_id.insert(id, relation);
        }
        Ok(())
    }
}

/// `target` seen from `folder`.
fn resolved(folder: &str, target: &str) -> String {
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_seen_from_the_folder_of_their_part() {
        assert_eq!(
            resolved("ppt/slides", "../notesSlides/n1.xml"),
            "ppt/notesSlides/n1.xml"
        );
        assert_eq!(resolved("ppt", "slides/s1.xml"), "ppt/slides/s1.xml");
        assert_eq!(resolved("ppt", "/ppt/slides/s1.xml"), "ppt/slides/s1.xml");
        assert_eq!(resolved("", "../../../etc/passwd"), "etc/passwd");
    }
}
