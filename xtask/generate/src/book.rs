//! The book of `docs/`.

use mdbook_driver::MDBook;
use pulldown_cmark::{Event, Options, Parser, Tag};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// Builds the book; a line about it, or what is wrong with it.
pub(crate) fn build(root: &Path) -> Result<Vec<u8>, String> {
    let warnings = Warnings::default();
    let heard = warnings.0.clone();
    let made = tracing::subscriber::with_default(warnings, || render(root))?;
    let mut wrong = std::mem::take(&mut *heard.lock().map_err(|e| e.to_string())?);
    let pages = pages(&made)?;
    wrong.extend(dead_links(&pages, &made));
    match wrong.len() {
        0 => Ok(format!("{} pages in target/book, no warnings, no dead links\n", pages.len()).into_bytes()),
        count => Err(format!("the book has {count} faults:\n{}", wrong.join("\n"))),
    }
}

/// Renders it; its folder.
fn render(root: &Path) -> Result<PathBuf, String> {
    let mut book = MDBook::load(root).map_err(|e| format!("{e:#}"))?;
    book.book.for_each_chapter_mut(|chapter| chapter.content = without_links_outside(&chapter.content));
    book.build().map_err(|e| format!("{e:#}"))?;
    Ok(book.build_dir_for("html"))
}

/// A page with the text alone of links to files that the book does not hold.
fn without_links_outside(page: &str) -> String {
    let mut text = page.to_owned();
    let events: Vec<_> = Parser::new_ext(page, Options::ENABLE_TABLES).into_offset_iter().collect();
    for (event, range) in events.into_iter().rev() {
        let Event::Start(Tag::Link { dest_url, .. }) = event else { continue };
        let link = &page[range.clone()];
        if dest_url.starts_with("../")
            && let Some(label) = link.strip_prefix('[').and_then(|rest| Some(rest.rsplit_once("](")?.0))
        {
            text.replace_range(range, label);
        }
    }
    text
}

/// Texts of the HTML files below a folder, by their paths in it.
fn pages(folder: &Path) -> Result<BTreeMap<PathBuf, String>, String> {
    let (mut pages, mut folders) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    let unreadable = |e: std::io::Error| format!("{}: {e}", folder.display());
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(inner).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                let text = std::fs::read_to_string(&path).map_err(unreadable)?;
                pages.insert(path.strip_prefix(folder).unwrap_or(&path).to_path_buf(), text);
            }
        }
    }
    Ok(pages)
}

/// Links of pages to files or headings that the book does not have. The page for wrong addresses is served from
/// anywhere, so its links are not judged.
fn dead_links(pages: &BTreeMap<PathBuf, String>, folder: &Path) -> Vec<String> {
    let ids: BTreeMap<&Path, BTreeSet<&str>> =
        pages.iter().map(|(path, text)| (path.as_path(), values(text, " id=\"").collect())).collect();
    let mut dead = Vec::new();
    for (path, text) in pages.iter().filter(|(path, _)| path.as_path() != Path::new("404.html")) {
        for link in values(text, " href=\"").chain(values(text, " src=\"")) {
            if link.contains("://") || link.starts_with("data:") {
                continue;
            }
            let (file, id) = link.split_once('#').map_or((link, None), |(file, id)| (file, Some(id)));
            let target = if file.is_empty() { path.clone() } else { resolve(path, file) };
            let known = |id: &str| ids.get(target.as_path()).is_some_and(|ids| id.is_empty() || ids.contains(id));
            if !folder.join(&target).exists() || !id.is_none_or(known) {
                dead.push(format!("{}: the link to {link} leads nowhere", path.display()));
            }
        }
    }
    dead
}

/// The values of an attribute.
fn values<'t>(html: &'t str, attribute: &'t str) -> impl Iterator<Item = &'t str> {
    html.split(attribute).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0))
}

/// `link` as seen from `page`.
fn resolve(page: &Path, link: &str) -> PathBuf {
    let mut target = PathBuf::new();
    for part in page.parent().unwrap_or(Path::new("")).join(link).components() {
        match part {
            Component::ParentDir => drop(target.pop()),
            Component::CurDir => {}
            part => target.push(part),
        }
    }
    target
}

/// Hears what mdBook warns of.
#[derive(Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if let Ok(mut list) = self.0.lock() {
            list.push(message.0);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of an event as text.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let name = if field.name() == "message" { String::new() } else { format!(" {}=", field.name()) };
        self.0 += &format!("{name}{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_outside_become_text() {
        let page = "a [`b`](../c/d.rs) [e](f.md#g)\n| [x](../y) |\n|---|\n";
        assert_eq!(without_links_outside(page), "a `b` [e](f.md#g)\n| x |\n|---|\n");
    }

    #[test]
    fn warnings_are_heard_and_remarks_are_not() {
        let warnings = Warnings::default();
        let heard = warnings.0.clone();
        tracing::subscriber::with_default(warnings, || {
            tracing::info!("built");
            tracing::warn!(line = 3, "unclosed tag");
        });
        assert_eq!(*heard.lock().unwrap(), ["unclosed tag line=3"]);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "<p id=\"a\"><a href=\"#a\"><a href=\"#b\"><a href=\"x.html\"><img src=\"https://x/y\">";
        let pages = BTreeMap::from([(PathBuf::from("p.html"), text.to_owned())]);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dead = |link: &str| format!("p.html: the link to {link} leads nowhere");
        // The page itself is no file here.
        assert_eq!(dead_links(&pages, folder), [dead("#a"), dead("#b"), dead("x.html")]);
        let pages = BTreeMap::from([(PathBuf::from("Cargo.toml"), text.to_owned())]);
        let dead = |link: &str| format!("Cargo.toml: the link to {link} leads nowhere");
        assert_eq!(dead_links(&pages, folder), [dead("#b"), dead("x.html")]);
    }
}
