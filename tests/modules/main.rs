//! No circle among the modules of a crate: each can be read after those that it uses, and without those that use it. A re-export is a
//! use, so that a child imports from its siblings, not from its parent; declaring a child is none. `#[cfg(test)]` and comments do not
//! count.
//!
//! Not `cargo modules dependencies --acyclic` (0.26): it looks for circles among items, so that a type and its method are one.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod circles;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use circles::{parse, read, uses};
use petgraph::algo::tarjan_scc;
use serde_json::Value;
use tests::repository;

fn modules(root: &Path) -> BTreeMap<String, Vec<String>> {
    let mut modules = BTreeMap::new();
    read("crate", parse(root), root.parent().unwrap(), &mut modules);
    modules
}

/// Every set of modules of which each uses all others, if through others.
fn circles(root: &Path) -> Vec<String> {
    let modules = modules(root);
    let mut circles = tarjan_scc(&uses(&modules));
    circles.iter_mut().for_each(|circle| circle.sort_unstable());
    circles.into_iter().filter(|circle| circle.len() > 1).map(|circle| circle.join(", ")).collect()
}

#[test]
fn no_crate_has_a_circle() {
    let metadata = Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--format-version=1"]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let targets = metadata["packages"].as_array().unwrap().iter().flat_map(|package| package["targets"].as_array());
    let mut found = Vec::new();
    for target in targets.flatten() {
        let circles = circles(target["src_path"].as_str().unwrap().as_ref());
        found.extend(circles.into_iter().map(|circle| format!("{}: {circle}", target["name"])));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_room_imports_only_rooms_below_it() {
    let root = repository("shared/src/lib.rs");
    let text = fs::read_to_string(&root).unwrap();
    // As they are drawn there: a line for each storey, its rooms before what is said of them.
    let drawing = text
        .split("```")
        .nth(1)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .filter(|line| !line.is_empty());
    let storey =
        |line: &str| line.split("   ").next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let storeys: Vec<Vec<String>> = drawing.map(storey).collect();
    let level = |module: &str| {
        let room = module.split("::").nth(1).unwrap_or_default();
        storeys
            .iter()
            .position(|rooms| rooms.iter().any(|name| name == room))
            .unwrap_or_else(|| panic!("no room {room}"))
    };
    let modules = modules(&root);
    let uses = uses(&modules);
    assert!(uses.edge_count() > 100, "{uses:?}");
    for (from, to, ()) in uses.all_edges().filter(|(from, to, ())| *from != "crate" && *to != "crate") {
        let same = from.split("::").nth(1) == to.split("::").nth(1);
        // What stands on the ground may use each other; it is no room.
        assert!(same || level(from) < level(to) || level(to) == storeys.len() - 1, "{from} uses {to}");
    }
}

/// The circles of a crate that is one file.
fn circles_of(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lib.rs");
    fs::write(&root, text).unwrap();
    circles(&root)
}

#[test]
fn a_circle_is_found_however_a_path_is_written() {
    let b = "pub mod b { pub const Y: u8 = 1; fn f() { crate::a::X; } }";
    for a in [
        "use crate::b::Y;",
        "use super::{b::{Y as Z}};",
        "use crate::b;",
        "use crate::b as c;",
        "use crate::b::*;",
        "pub use crate::b::Y;",
        "use crate::*;",
        "use crate::Y;",
        "use crate::named::Y;",
        "fn f() -> u8 { 0..crate::b::Y }",
        "fn f() { println!(\"{}\", super::b::Y) }",
        "fn f() { use crate::b::{Y}; }",
        "#[serde(default = \"crate::b::y\")] struct S;",
        "struct S { field: Vec<crate::b::T> }",
    ] {
        let text = format!("pub use b::Y; pub use b as named; pub mod a {{ pub const X: u8 = 0; {a} }} {b}");
        let circles = circles_of(&text);
        assert!(circles.len() == 1 && circles[0].contains("crate::a, crate::b"), "{a}: {circles:?}");
    }
}

#[test]
fn a_parent_and_its_child_can_be_a_circle() {
    for text in [
        "mod a { mod b { use super::X; } const X: u8 = b::Y; }",
        "mod a { mod b { use super::*; } use b::Y; }",
        "mod a { mod b { fn f() -> super::X {} } pub(crate) use b::Y; struct X(Y); }",
        "mod a { pub use b::Y; mod b { use super::X; } const X: u8 = 0; }",
    ] {
        assert_eq!(circles_of(text), ["crate::a, crate::a::b"], "{text}");
    }
    let three = "mod a { use crate::b::B; } mod b { use crate::c::C; } mod c { use crate::a::A; }";
    assert_eq!(circles_of(three), ["crate::a, crate::b, crate::c"]);
}

#[test]
fn what_is_no_use_is_no_circle() {
    for text in [
        "mod a { mod b { use super::X; } const X: u8 = 0; }",
        "mod a { use crate::b::B; } mod b { #[cfg(test)] mod tests { use crate::a::A; } \n/// [`crate::a::A`]\nfn f() {} }",
        "mod a { use crate::b::Y; fn f() { self.b(); } } mod b { use a::X; fn f(a: A) { a.b } }",
        "pub use a::A; mod a {} mod b { use crate::A; }",
    ] {
        assert_eq!(circles_of(text), [""; 0], "{text}");
    }
}
