//! Which modules of a crate use each other. Text that rustfmt has formatted is enough for it: no types are resolved.

use std::{collections::BTreeSet, fs, path::Path};

use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};
use quote::ToTokens;
use syn::{Item, UseTree, Visibility};

/// A crate; every name and path starts at its root, as `crate::module::Item`.
#[derive(Default)]
struct Crate {
    modules: BTreeSet<String>,
    /// What a `use` names, what it stands for, and whether others may have it from there.
    imports: Vec<(String, String, bool)>,
    /// The module that a path is written in, and the path.
    paths: Vec<(String, String)>,
}

impl Crate {
    fn read(&mut self, at: &str, file: &Path, children: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        self.add(at, syn::parse_file(&code.join("\n")).unwrap().items, children);
    }

    fn add(&mut self, at: &str, items: Vec<Item>, folder: &Path) {
        self.modules.insert(at.to_owned());
        for item in items {
            let text = item.to_token_stream().to_string().replace(" :: ", "::");
            match item {
                _ if text.starts_with("# [cfg (test)]") => {}
                Item::Mod(child) => {
                    let (at, folder) = (format!("{at}::{}", child.ident), folder.join(child.ident.to_string()));
                    let (file, nested) = (folder.with_extension("rs"), folder.join("mod.rs"));
                    match child.content {
                        Some((_, items)) => self.add(&at, items, &folder),
                        None => self.read(&at, if nested.exists() { &nested } else { &file }, &folder),
                    }
                }
                Item::Use(item) => self.import(at, "", &item.tree, !matches!(item.vis, Visibility::Inherited)),
                _ => {
                    let words = text.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
                    let words = words.filter(|word| !["crate", "self", "super"].contains(word));
                    self.paths.extend(words.map(|word| (at.to_owned(), absolute(at, word))));
                }
            }
        }
    }

    fn import(&mut self, at: &str, prefix: &str, tree: &UseTree, public: bool) {
        let (name, path) = match tree {
            UseTree::Path(path) => return self.import(at, &format!("{prefix}{}::", path.ident), &path.tree, public),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(at, prefix, tree, public)),
            UseTree::Name(name) if name.ident == "self" => {
                let path = prefix.trim_end_matches("::");
                (path.rsplit("::").next().unwrap_or(path).to_owned(), path.to_owned())
            }
            UseTree::Name(name) => (name.ident.to_string(), format!("{prefix}{}", name.ident)),
            UseTree::Rename(name) => (name.rename.to_string(), format!("{prefix}{}", name.ident)),
            UseTree::Glob(_) => ("*".to_owned(), format!("{prefix}*")),
        };
        let path = absolute(at, &path);
        if !public || !path.starts_with(&format!("{at}::")) {
            self.paths.push((at.to_owned(), path.clone()));
        }
        self.imports.push((format!("{at}::{name}"), path, public));
    }

    /// The modules that a path leads to: that of what it names, and through a glob all that may have it.
    fn homes(&self, path: &str, steps: u8) -> Vec<&str> {
        let Some(steps) = steps.checked_sub(1) else { return Vec::new() };
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        let named = |end| self.imports.iter().find(|(name, ..)| !name.ends_with('*') && *name == path[..end]);
        let module =
            ends.clone().filter_map(|end| self.modules.get(&path[..end])).last().map_or("crate", String::as_str);
        let import = ends.filter(|end| *end > module.len()).find_map(|end| Some((end, named(end)?)));
        if let Some((end, (_, target, _))) = import {
            return self.homes(&format!("{target}{}", &path[end..]), steps);
        }
        let rest = &path[module.len()..];
        let inside = self.imports.iter().filter_map(|(name, target, public)| {
            let name = name.strip_prefix(module)?.strip_prefix("::")?;
            match (name, rest) {
                ("*", _) => Some(format!("{}{rest}", target.trim_end_matches("::*"))),
                (name, "::*") if *public && !name.contains("::") => Some(target.clone()),
                _ => None,
            }
        });
        let inside = inside.flat_map(|path| self.homes(&path, steps));
        [module].into_iter().chain(inside).collect()
    }
}

/// A path that is written in module `at`, from the root. One into another crate stays where it is written.
fn absolute(at: &str, path: &str) -> String {
    match path.split_once("::").unwrap_or((path, "")) {
        ("crate", _) => path.to_owned(),
        ("self", rest) => format!("{at}::{rest}"),
        ("super", rest) => absolute(at.rsplit_once("::").map_or(at, |(parent, _)| parent), rest),
        _ => format!("{at}::{path}"),
    }
}

/// Every set of modules of which each uses all others, if through others: who uses whom in it.
pub(crate) fn circles(root: &Path) -> Vec<String> {
    let mut found = Crate::default();
    found.read("crate", root, root.parent().unwrap());
    let mut graph = DiGraphMap::<&str, ()>::new();
    for (at, path) in &found.paths {
        // A single word may be anything, unless it is re-exported here.
        let single = path.strip_prefix(&format!("{at}::")).is_some_and(|path| !path.contains("::"));
        if single && !found.imports.iter().any(|(name, _, public)| *public && name == path) {
            continue;
        }
        for home in found.homes(path, 8).into_iter().filter(|home| home != at) {
            graph.add_edge(at, home, ());
        }
    }
    let circles = tarjan_scc(&graph).into_iter().filter(|circle| circle.len() > 1);
    let edges = circles.map(|circle| {
        let inside = graph.all_edges().filter(|(from, to, ())| circle.contains(from) && circle.contains(to));
        inside.map(|(from, to, ())| format!("{from} → {to}")).collect::<BTreeSet<_>>()
    });
    edges.map(|edges| edges.into_iter().collect::<Vec<_>>().join(", ")).collect()
}
