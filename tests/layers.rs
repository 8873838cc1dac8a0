//! The layers of the crate: a module uses its own layer and those below it, and `unsafe` has two doors.

use std::fs;
use std::path::{Path, PathBuf};

/// Which layers a layer may use besides its own.
const BELOW: [(&str, &[&str]); 4] = [
    ("ffi", &["server", "net", "proto"]),
    ("server", &["net", "proto"]),
    ("net", &[]),
    ("proto", &[]),
];

/// Where `unsafe` may stand.
const UNSAFE_DOORS: [&str; 2] = ["ffi/", "net/os/linux/sys"];

#[test]
fn no_arrow_points_up_or_across() {
    let mut wrong = Vec::new();
    for (file, source) in sources() {
        let Some(layer) = layer_of(&file) else {
            continue;
        };
        let (_, below) = BELOW
            .iter()
            .find(|(name, _)| *name == layer)
            .expect("a layer with a rule");
        for used in layers_used(&file, &source) {
            if used != layer && !below.contains(&used.as_str()) {
                wrong.push(format!("{}: {layer} uses {used}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_in_its_two_doors_alone() {
    let wrong: Vec<String> = sources()
        .filter(|(file, _)| {
            !UNSAFE_DOORS
                .iter()
                .any(|door| file.to_string_lossy().starts_with(door))
        })
        .filter(|(_, source)| words(source).any(|word| word == "unsafe"))
        .map(|(file, _)| file.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "unsafe in {}", wrong.join(", "));
}

#[test]
fn an_arrow_is_seen_however_it_is_written() {
    let uses = |file: &str, source: &str| layers_used(Path::new(file), &code_of(source));
    for source in [
        "use crate::server::Options;",
        "use crate::{server::Options, proto};",
        "use crate::{\n    proto,\n    server,\n};",
        "pub(crate) use crate::server;",
        "use super::super::server;",
        "fn port() -> u16 { crate::server::port(0) }",
        "fn port() -> u16 { super::super::server::port(0) }",
    ] {
        let found = uses("net/wake.rs", source);
        assert!(
            found.iter().any(|layer| layer == "server"),
            "{source} gave {found:?}"
        );
    }
    for source in [
        "// use crate::server;",
        "/// [`crate::server`]",
        "use super::server;",
        "use crate::error;",
    ] {
        assert!(uses("net/wake.rs", source).is_empty(), "{source}");
    }
    assert_eq!(uses("net/mod.rs", "use super::server;"), ["server"]);
    assert_eq!(
        uses("net/os/mod.rs", "use super::super::server;"),
        ["server"]
    );
}

/// Each source file, by its path below `src`, without its comments.
fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 10, "too few sources in {}", root.display());
    files.into_iter().map(move |file| {
        let source = fs::read_to_string(&file).expect("a source");
        (
            file.strip_prefix(&root)
                .expect("a file below the root")
                .to_owned(),
            code_of(&source),
        )
    })
}

fn code_of(source: &str) -> String {
    source
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn words(source: &str) -> impl Iterator<Item = &str> {
    source.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

/// The layer in whose folder a file lies.
fn layer_of(file: &Path) -> Option<String> {
    let first = file.components().next()?.as_os_str().to_str()?;
    let layer = first.strip_suffix(".rs").unwrap_or(first);
    BELOW
        .iter()
        .any(|(name, _)| *name == layer)
        .then(|| layer.to_owned())
}

/// The layers named behind a path that begins at the crate's root.
fn layers_used(file: &Path, code: &str) -> Vec<String> {
    let mut layers = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth(file))] {
        for (at, _) in code.match_indices(&root) {
            // A longer chain of `super` than leads to the root does not compile; a shorter one is another
            // module's.
            let is_whole =
                !code[..at].ends_with("super::") && !code[at + root.len()..].starts_with("super::");
            if is_whole {
                layers.extend(first_names(&code[at + root.len()..]));
            }
        }
    }
    layers.retain(|name| BELOW.iter().any(|(layer, _)| layer == name));
    layers
}

/// How many `super` lead from a file's module to the crate's root.
fn depth(file: &Path) -> usize {
    let is_folder = file.file_name().is_some_and(|name| name == "mod.rs");
    file.components().count() - usize::from(is_folder)
}

/// The first name of each path that stands here: `a::b` has one, `{a::b, c}` has two.
fn first_names(code: &str) -> Vec<String> {
    let Some(braced) = code.strip_prefix('{') else {
        return words(code).next().map(str::to_owned).into_iter().collect();
    };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut item = String::new();
    for letter in braced.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(letter),
            _ => {}
        }
    }
    names.push(item);
    names
        .iter()
        .filter_map(|item| words(item.trim()).next())
        .map(str::to_owned)
        .collect()
}
