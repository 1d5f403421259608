//! Links between the project's documents.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The book's table of contents, which names every page in its folder.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Links of Markdown files to files or headings that do not exist, and pages that the book leaves out.
pub(super) fn check(texts: &[(PathBuf, String)], root: &Path) -> Vec<String> {
    let documents = || texts.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "md"));
    let anchors: BTreeMap<&Path, BTreeSet<String>> =
        documents().map(|(path, text)| (path.as_path(), anchors(text))).collect();
    let mut broken = Vec::new();
    for (path, text) in documents() {
        for link in links(text) {
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, name)| (file, Some(name)));
            let target = if file.is_empty() { path.clone() } else { resolve(path, file) };
            let found = file.is_empty() || root.join(&target).exists();
            let known = |name: &str| anchors.get(target.as_path()).is_none_or(|anchors| anchors.contains(name));
            if !found || !anchor.is_none_or(known) {
                broken.push(format!("{}: the link to {link} leads nowhere", path.display()));
            }
        }
    }
    if let Some((_, summary)) = texts.iter().find(|(path, _)| path == Path::new(SUMMARY)) {
        let listed: BTreeSet<PathBuf> = links(summary).iter().map(|link| resolve(Path::new(SUMMARY), link)).collect();
        let pages = documents().filter(|(path, _)| path.parent() == Path::new(SUMMARY).parent());
        let left_out = pages.filter(|(path, _)| path != Path::new(SUMMARY) && !listed.contains(path));
        broken.extend(left_out.map(|(path, _)| format!("{}: {SUMMARY} does not list it", path.display())));
    }
    broken
}

/// Where links to files of the project lead.
fn links(text: &str) -> Vec<String> {
    let links = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
        _ => None,
    });
    links.filter(|link| !link.contains("://") && !link.starts_with("mailto:")).collect()
}

/// The names of a document's headings in links: lower case, words joined by hyphens, without punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut names, mut heading) = (BTreeSet::new(), None::<String>);
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::End(TagEnd::Heading(_)) => names.extend(heading.take().map(|heading| slug(&heading))),
            _ => {}
        }
    }
    names
}

fn slug(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|&c| c.is_alphanumeric() || c == '-' || c == '_' || c == ' ')
        .collect::<String>();
    kept.replace(' ', "-")
}

/// `link` as seen from the document at `from`, without `.` and `..`.
fn resolve(from: &Path, link: &str) -> PathBuf {
    let mut target = PathBuf::new();
    for part in from.parent().unwrap_or(Path::new("")).join(link).components() {
        match part {
            Component::ParentDir => drop(target.pop()),
            Component::CurDir => {}
            part => target.push(part),
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found_and_good_ones_are_not() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = "# A `B`: c-d, e\n[x](#a-b-c-d-e) [x](../src/main.rs) [x](https://a.b/c) ![x](absent.svg)\n\
                    [x](#nothing)\n```\n[x](in-code.md)\n```\n";
        let page = (PathBuf::from("docs/page.md"), text.to_owned());
        let broken = check(std::slice::from_ref(&page), folder);
        let link = |to: &str| format!("docs/page.md: the link to {to} leads nowhere");
        assert_eq!(broken, [link("absent.svg"), link("#nothing")]);
        let summary = (PathBuf::from(SUMMARY), "[x](../Cargo.toml)".to_owned());
        assert!(check(&[page, summary], folder).contains(&format!("docs/page.md: {SUMMARY} does not list it")));
    }
}
