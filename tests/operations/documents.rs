//! The documents: what they name is there, and what an operator has to know is in them. `.ci/readme` runs their commands.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_norway::Value;
use tests::repository;

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Every document of the project.
fn documents() -> Vec<PathBuf> {
    let folders = [".", "docs"].into_iter().flat_map(|folder| fs::read_dir(repository(folder)).expect("a folder"));
    let files = folders.map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect()
}

/// What the document links to; addresses of the web are left out.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://"))
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#'))).collect()
}

/// The names in code marks of the first cell of each row.
fn first_cells(text: &str) -> BTreeSet<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_link_leads_to_a_file_and_its_heading() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        for link in links(&text) {
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target =
                if file.is_empty() { document.clone() } else { document.parent().expect("a folder").join(file) };
            assert!(target.exists(), "{} links to {link}", document.display());
            if let Some(heading) = heading {
                assert!(anchors(&read(target)).contains(heading), "{} links to {link}", document.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} links were found");
}

#[test]
fn the_readme_is_read_in_ten_minutes() {
    let lines = read(repository("README.md")).lines().count();
    assert!(lines <= 170, "{lines} lines");
}

#[test]
fn the_readme_shows_a_small_picture_of_the_console() {
    const PICTURE: &str = "docs/console.png";
    assert!(links(&read(repository("README.md"))).any(|link| link == PICTURE), "README.md does not show it");
    let bytes = fs::read(repository(PICTURE)).expect("`npm run screenshot --prefix tests/browser` makes it");
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "it is no PNG");
    assert!(bytes.len() < 150_000, "it has {} bytes", bytes.len());
}

#[test]
fn every_alarm_of_the_template_is_explained() {
    let template: Value = serde_norway::from_str(&read(repository("template.yaml"))).expect("YAML");
    let resources = template["Resources"].as_mapping().expect("resources").iter();
    let alarms = resources.filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
    let alarms: BTreeSet<_> = alarms.map(|(name, _)| name.as_str().expect("a name").to_owned()).collect();
    let explained = first_cells(&read(repository("docs/operate.md")));
    let explained = explained.into_iter().filter(|name| name.ends_with("Alarm")).collect::<BTreeSet<_>>();
    assert_eq!(explained, alarms);
}

#[test]
fn every_command_of_the_administrator_is_explained() {
    let events = fs::read_dir(repository("events")).expect("events").map(|entry| entry.expect("an entry").path());
    let commands =
        events.filter_map(|path| Some(path.file_stem()?.to_str()?.strip_prefix("admin-")?.replace('-', "_")));
    let told = first_cells(&read(repository("docs/operate.md")));
    let missing: Vec<_> = commands.filter(|command| !told.contains(command)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// All that Rust files below the folder say.
fn source(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let texts = entries.map(|path| match path.extension() {
        _ if path.is_dir() => source(&path),
        Some(kind) if kind == "rs" => read(path),
        _ => String::new(),
    });
    texts.collect()
}

#[test]
fn the_texts_of_errors_are_those_of_the_code() {
    let contract = read(repository("docs/contract.md"));
    let (_, section) = contract.split_once("\n## Errors\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("the next section");
    let source = source(&repository("shared/src")) + &source(&repository("functions"));
    // What stands for an id or a name is `…`.
    let texts = section.split('`').skip(1).step_by(2).filter(|text| text.contains(' ') && !text.starts_with('{'));
    let texts: Vec<_> = texts.collect();
    assert!(texts.len() > 12, "{texts:?}");
    for text in texts {
        for piece in text.split('…').filter(|piece| piece.contains(' ')) {
            assert!(source.contains(piece), "no code says {piece:?}");
        }
    }
}
