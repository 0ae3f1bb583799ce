//! Which modules of a crate use each other: a path is a use of the innermost module that it names. Tests and comments apart.

use std::{collections::BTreeMap, fs, path::Path};

use petgraph::graphmap::DiGraphMap;
use quote::ToTokens;
use syn::{Item, UseTree};

/// The paths in each module's code, from the crate's root. The text that rustfmt has formatted is enough for it.
pub(crate) fn read(at: &str, items: Vec<Item>, folder: &Path, modules: &mut BTreeMap<String, Vec<String>>) {
    let mut paths = Vec::new();
    for item in items {
        let text = item.to_token_stream().to_string().replace(" :: ", "::");
        let words = text.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c)).map(str::to_owned);
        match item {
            _ if text.starts_with("# [cfg (test)]") => {}
            Item::Mod(child) => {
                let (at, folder) = (format!("{at}::{}", child.ident), folder.join(child.ident.to_string()));
                let file = if folder.is_dir() { folder.join("mod.rs") } else { folder.with_extension("rs") };
                read(&at, child.content.map_or_else(|| parse(&file), |(_, items)| items), &folder, modules);
            }
            Item::Use(item) => flatten("", &item.tree, &mut paths),
            _ => paths.extend(words.filter(|word| word.contains("::"))),
        }
    }
    modules.insert(at.to_owned(), paths.iter().map(|path| absolute(at, path)).collect());
}

pub(crate) fn parse(file: &Path) -> Vec<Item> {
    let code = fs::read_to_string(file).unwrap().replace("///", "//").replace("//!", "//");
    syn::parse_file(&code).unwrap().items
}

fn flatten(prefix: &str, tree: &UseTree, paths: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => flatten(&format!("{prefix}{}::", path.ident), &path.tree, paths),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(prefix, tree, paths)),
        name => paths.push(format!("{prefix}{}", name.to_token_stream().to_string().replace(" as ", "::"))),
    }
}

fn absolute(at: &str, path: &str) -> String {
    match path.split_once("::").unwrap_or((path, "")) {
        ("crate", _) => path.to_owned(),
        ("self", rest) => format!("{at}::{rest}"),
        ("super", rest) => absolute(at.rsplit_once("::").map_or(at, |(parent, _)| parent), rest),
        _ => format!("{at}::{path}"),
    }
}

/// Which module uses which other one.
pub(crate) fn uses(modules: &BTreeMap<String, Vec<String>>) -> DiGraphMap<&str, ()> {
    let mut uses = DiGraphMap::new();
    for (at, path) in modules.iter().flat_map(|(at, paths)| paths.iter().map(move |path| (at.as_str(), path))) {
        let ends = path.match_indices("::").map(|(end, _)| end).chain([path.len()]);
        let home = ends.filter_map(|end| modules.get_key_value(&path[..end])).last();
        home.filter(|(home, _)| *home != at).map(|(home, _)| uses.add_edge(at, home.as_str(), ()));
    }
    uses
}
