//! One name per function in six places: package, library, event, template, tests, README.

use std::{collections::BTreeSet, fs};

use tests::{Function, functions, repository};

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(repository(folder)).expect(folder);
    let name = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| name(entry.unwrap())).collect()
}

fn packages() -> BTreeSet<String> {
    functions().into_iter().map(|function| function.package).collect()
}

#[test]
fn the_template_names_a_function_after_its_package() {
    for Function { id, package, .. } in functions() {
        let words = package.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
        assert_eq!(id, words.collect::<String>() + "Function");
    }
}

#[test]
fn every_folder_of_functions_is_a_function_and_the_package_of_its_name() {
    assert_eq!(names("functions"), packages());
    for package in packages() {
        let manifest = read(&format!("functions/{package}/Cargo.toml"));
        assert!(manifest.starts_with(&format!("[package]\nname = \"{package}\"\n")), "{package}");
        let lib = package.replace('-', "_");
        // Cargo names the library so unless the manifest says otherwise.
        assert!(!manifest.contains("[lib]\nname"), "{package}");
        assert!(read(&format!("functions/{package}/src/lib.rs")).contains("pub async fn handle("), "{package}");
        assert!(read(&format!("functions/{package}/src/main.rs")).contains(&format!("{lib}::handle")), "{package}");
    }
}

#[test]
fn a_library_and_its_wiring_say_their_route_first() {
    for Function { package, routes, .. } in functions() {
        let routes: Vec<_> = routes.iter().map(|(method, path)| format!("`{method} {path}")).collect();
        let Some(first) = routes.first() else { continue };
        for (file, start) in [("lib", "//! "), ("main", "//! Lambda entry point of ")] {
            let text = read(&format!("functions/{package}/src/{file}.rs"));
            assert!(text.starts_with(&format!("{start}{first}")), "{package}: {file}.rs is not of {first}");
        }
        let lib = read(&format!("functions/{package}/src/lib.rs"));
        for route in routes {
            assert!(lib.contains(&route), "{package}: lib.rs does not name {route}");
        }
    }
}

#[test]
fn every_function_has_an_event() {
    // The administrator's function has one for each of its commands.
    let package = |event: String| if event.starts_with("admin-") { "admin".to_owned() } else { event };
    assert_eq!(names("events").into_iter().map(package).collect::<BTreeSet<_>>(), packages());
}

#[test]
fn every_function_has_a_module_of_tests() {
    let files = names("tests/api");
    for package in packages() {
        let module = package.replace('-', "_");
        assert!(files.contains(&module), "tests/api/{module}.rs is missing");
    }
}

#[test]
fn the_readmes_table_has_every_route_once() {
    let readme = read("README.md");
    let row = |line: &str| {
        let (route, rest) = line.strip_prefix("| ")?.split_once(" | [")?;
        let (name, rest) = rest.split_once("](")?;
        (rest.split_once(')')?.0 == format!("functions/{name}")).then(|| (name.to_owned(), route.to_owned()))
    };
    let mut told: Vec<_> = readme.lines().filter_map(row).collect();
    let mut deployed = Vec::new();
    for Function { package, routes, .. } in functions() {
        deployed.extend(routes.iter().map(|(method, path)| (package.clone(), format!("`{method} {path}`"))));
        if routes.is_empty() {
            // Its row says who invokes it instead.
            let mut rows = told.iter_mut().filter(|(name, _)| *name == package);
            let (_, route) = rows.next().unwrap_or_else(|| panic!("README.md does not name {package}"));
            assert!(route.starts_with("none: "), "{package}: {route}");
            deployed.push((package, route.clone()));
        }
    }
    told.sort();
    deployed.sort();
    assert_eq!(told, deployed);
}
