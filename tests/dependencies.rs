//! Cargo.toml says of each dependency in which places below `src` it is used, and is right.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn each_dependency_is_used_where_cargo_toml_says_and_nowhere_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let places = places_of_dependencies(&manifest);
    assert!(places.len() > 10, "too few dependencies: {places:?}");
    let sources = sources(&root.join("src"));
    assert!(sources.len() > 10, "too few sources");

    let mut wrong = Vec::new();
    for (dependency, places) in &places {
        let users: Vec<&String> = sources
            .iter()
            .filter(|(_, code)| uses(code, dependency))
            .map(|(file, _)| file)
            .collect();
        let is_in = |file: &str, place: &str| {
            file.strip_prefix(place)
                .is_some_and(|rest| rest.starts_with(['/', '.']))
        };
        for file in &users {
            if !places.iter().any(|place| is_in(file, place)) {
                wrong.push(format!("src/{file} uses {dependency}"));
            }
        }
        for place in places {
            if !users.iter().any(|file| is_in(file, place)) {
                wrong.push(format!("nothing in src/{place} uses {dependency}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "Cargo.toml says otherwise:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_use_is_seen_however_it_is_written() {
    for code in [
        "use libc::EMFILE;",
        "use libc;",
        "use {libc::EMFILE, std::io};",
        "fn f() { let a = libc::EMFILE; }",
        "fn f() -> ::libc::c_int { 0 }",
        "extern crate libc;",
    ] {
        assert!(uses(code, "libc"), "{code}");
    }
    for code in [
        "use crate::libc::EMFILE;",
        "use super::libc;",
        "use std::libc::EMFILE;",
        "fn f() { mylibc::g() }",
        "let libc = 3;",
    ] {
        assert!(!uses(code, "libc"), "{code}");
    }
}

/// What stands in the comment behind each line of `[dependencies]`, before the colon.
fn places_of_dependencies(manifest: &str) -> BTreeMap<String, Vec<String>> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (name, rest) = line.split_once(" = ").expect("a dependency");
            let (places, _) = rest
                .split_once("# ")
                .and_then(|(_, comment)| comment.split_once(": "))
                .unwrap_or_else(|| panic!("no places in a comment behind {name}"));
            (
                name.replace('-', "_"),
                places.split(", ").map(str::to_owned).collect(),
            )
        })
        .collect()
}

/// Each source file's path below `root`, and its code without comments.
fn sources(root: &Path) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut folders = vec![PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).expect("a source");
                let code: Vec<&str> = source
                    .lines()
                    .map(|line| line.split("//").next().unwrap_or(line))
                    .collect();
                let below = path.strip_prefix(root).expect("a file below the root");
                sources.push((below.to_string_lossy().into_owned(), code.join("\n")));
            }
        }
    }
    sources
}

/// Whether a path begins with the name of this crate.
fn uses(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, behind) = (&code[..at], &code[at + name.len()..]);
        let begins_a_word =
            !before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let path_before = before.strip_suffix("::").unwrap_or("");
        let begins_a_path =
            !path_before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let is_imported = (before.ends_with("use ") || before.ends_with("extern crate "))
            && behind.starts_with(';');
        begins_a_word && begins_a_path && (behind.starts_with("::") || is_imported)
    })
}
