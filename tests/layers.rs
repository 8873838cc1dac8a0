//! The order of the crate: which layer and which room may use which, no cycles between files, and two doors
//! for `unsafe`.
//!
//! An arrow leads from a file to each file that it uses: by `use`, by a path in its code, or by a path in a
//! macro's arguments. A re-exported name leads to the file that defines it. A parent that only re-exports what
//! its children define does not use them. Tests are left out: modules of them in a file, files and folders.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// Which layers a layer may use besides its own.
const LAYERS: [(&str, &[&str]); 4] = [
    ("ffi", &["server", "net", "proto"]),
    ("server", &["net", "proto"]),
    ("net", &[]),
    ("proto", &[]),
];

/// The rooms, from the top down: a file uses those of its own room and of rooms further down. A file belongs
/// to the room with the longest name that its path begins with. Rooms of different layers are not compared.
const ROOMS: [&[&str]; 24] = [
    &["server/connect.rs"],
    &[
        "server/lifecycle.rs",
        "server/own_loop.rs",
        "server/sending.rs",
    ],
    &["server/host.rs"],
    &["server/registry.rs"],
    &["server/parked.rs"],
    &["server/event_loop/"],
    &["server/event_loop/core/"],
    &["server/shared.rs", "server/scrape.rs"],
    &[
        "server/admission.rs",
        "server/host_threads.rs",
        "server/memory_budget.rs",
    ],
    &["server/websocket/"],
    &["server/dispatch/"],
    &["server/event.rs"],
    &["server/handshake/"],
    &["net/poller.rs"],
    &["net/tls/"],
    &["net/connect/"],
    &["net/os/"],
    &["net/os/linux/"],
    &["net/os/linux/sys/"],
    &["net/"],
    &[
        "proto/session.rs",
        "proto/scratch.rs",
        "proto/partial.rs",
        "proto/pool.rs",
        "proto/handshake.rs",
        "proto/client_handshake.rs",
    ],
    &["proto/deflate/"],
    &["proto/extension.rs"],
    &["proto/"],
];

/// Folders within which no file may use itself by way of others.
const WITHOUT_CYCLES: [&str; 4] = ["ffi/", "server/", "net/", "proto/"];

/// Where `unsafe` may stand.
const UNSAFE_DOORS: [&str; 2] = ["ffi/", "net/os/linux/sys/"];

#[test]
fn no_arrow_points_up_or_across_between_layers() {
    let wrong = arrows_where(&sources(), |from, to| {
        let (Some(layer), Some(used)) = (layer_of(from), layer_of(to)) else {
            return false;
        };
        let (_, below) = LAYERS
            .iter()
            .find(|(name, _)| *name == layer)
            .expect("a layer with a rule");
        layer != used && !below.contains(&used)
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_arrow_points_up_between_rooms() {
    let wrong = arrows_where(&sources(), |from, to| {
        layer_of(from) == layer_of(to)
            && matches!((room_of(from), room_of(to)), (Some(from), Some(to)) if from > to)
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_uses_itself_by_way_of_others() {
    let sources = sources();
    let cycles: Vec<String> = WITHOUT_CYCLES
        .iter()
        .flat_map(|folder| cycles(&sources, folder))
        .collect();
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

#[test]
fn unsafe_stands_in_its_two_doors_alone() {
    let is_behind_a_door = |file: &str| UNSAFE_DOORS.iter().any(|door| file.starts_with(door));
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|(file, source)| !is_behind_a_door(file) && has_unsafe(source))
        .map(|(file, _)| file)
        .collect();
    assert!(wrong.is_empty(), "unsafe in {}", wrong.join(", "));
}

#[test]
fn an_arrow_is_seen_however_it_is_written() {
    let uses = |file: &str, source: &str| {
        let others = [
            ("lib.rs", "mod net; mod proto; mod server;"),
            (
                "net/mod.rs",
                "mod wake; mod os; pub use os::{Signal, process};",
            ),
            ("net/wake.rs", ""),
            ("net/error.rs", "pub use crate::server::Mail as Post;"),
            ("net/os/mod.rs", "mod signal; pub use signal::Signal;"),
            ("net/os/signal.rs", "pub struct Signal;"),
            ("net/os/process.rs", ""),
            ("proto/mod.rs", ""),
            ("server/mod.rs", ""),
        ];
        let mut sources: BTreeMap<String, String> = others
            .into_iter()
            .map(|(file, source)| (file.to_owned(), source.to_owned()))
            .collect();
        sources.insert(file.to_owned(), source.to_owned());
        let used = arrows(&sources).remove(file).unwrap_or_default();
        used.into_iter().collect::<Vec<_>>()
    };
    for source in [
        "use crate::server::Options;",
        "use crate::{\n    server::Options,\n};",
        "pub(crate) use crate::server;",
        "use super::super::server as other;",
        "use super::error::Post;",
        "fn port() -> u16 { crate::server::port(0) }",
        "fn port() -> u16 { super::super::server::port(0) }",
        "fn port(of: &super::super::server::Options) {}",
        "fn log() { log::warn!(\"{}\", [crate::server::port(0)]) }",
        "mod inner { use super::super::super::server; }",
    ] {
        assert_eq!(uses("net/wake.rs", source), ["server/mod.rs"], "{source}");
    }
    for source in [
        "// use crate::server;",
        "/// [`crate::server`]\nstruct Wake;",
        "use std::server::Options;",
        "#[cfg(test)] mod tests { use crate::server; }",
        "pub(in crate::net) struct Wake;",
        "mod inner { use super::Wake; }",
    ] {
        assert!(uses("net/wake.rs", source).is_empty(), "{source}");
    }
    let tests = "use crate::server; fn port() -> u16 { crate::server::port(0) }";
    for file in ["net/tests.rs", "net/tests/mod.rs", "net/os/tests/wake.rs"] {
        assert!(uses(file, tests).is_empty(), "{file}");
    }
    let renamed = "use super::Signal; use crate::net::process::is_forked;";
    assert_eq!(
        uses("net/wake.rs", renamed),
        ["net/os/process.rs", "net/os/signal.rs"]
    );
    let parent = "mod signal; pub use signal::Signal; fn wake() { signal::wake() }";
    assert_eq!(uses("net/os/mod.rs", parent), ["net/os/signal.rs"]);
}

#[test]
fn a_cycle_is_found_and_named() {
    let sources = BTreeMap::from(
        [
            ("net/a.rs", "use super::b::B;"),
            ("net/b.rs", "use super::c; use super::d;"),
            ("net/c.rs", "use crate::net::a::A;"),
            ("net/d.rs", "use super::b::B; use crate::ffi::f;"),
            ("net/mod.rs", "mod a; mod b; mod c; mod d; pub use a::A;"),
        ]
        .map(|(file, source)| (file.to_owned(), source.to_owned())),
    );
    assert_eq!(
        cycles(&sources, "net/"),
        [
            "net/a.rs > net/b.rs > net/c.rs > net/a.rs",
            "net/b.rs > net/d.rs > net/b.rs",
        ]
    );
}

// ---- what is asked of the arrows ----

fn arrows_where(
    sources: &BTreeMap<String, String>,
    is_wrong: impl Fn(&str, &str) -> bool,
) -> Vec<String> {
    let arrows = arrows(sources);
    let pairs = arrows
        .iter()
        .flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| is_wrong(from, to))
        .map(|(from, to)| format!("{from} uses {to}"))
        .collect()
}

/// The shortest cycle through each file below a folder, each cycle once.
fn cycles(sources: &BTreeMap<String, String>, folder: &str) -> Vec<String> {
    let mut arrows = arrows(sources);
    arrows.retain(|from, _| from.starts_with(folder));
    let mut cycles = BTreeMap::new();
    for start in arrows.keys() {
        let mut before: BTreeMap<&String, &String> = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(file) = next.pop_front() {
            for used in arrows.get(file).into_iter().flatten() {
                if !before.contains_key(used) {
                    before.insert(used, file);
                    next.push_back(used);
                }
            }
        }
        let mut cycle = vec![start.as_str()];
        let mut file = before.get(start);
        while let Some(user) = file {
            cycle.push(user);
            file = before.get(user).filter(|_| *user != start);
        }
        if cycle.len() > 1 {
            cycle.reverse();
            let members: BTreeSet<String> = cycle.iter().map(|&file| file.to_owned()).collect();
            cycles.entry(members).or_insert(cycle.join(" > "));
        }
    }
    let mut cycles: Vec<String> = cycles.into_values().collect();
    cycles.sort();
    cycles
}

/// The layer in whose folder a file lies.
fn layer_of(file: &str) -> Option<&str> {
    let (layer, _) = file.split_once('/')?;
    Some(layer)
}

/// How far from the top the room of a file is.
fn room_of(file: &str) -> Option<usize> {
    let names = ROOMS
        .iter()
        .enumerate()
        .flat_map(|(room, names)| names.iter().map(move |name| (room, name)));
    let (room, _) = names
        .filter(|(_, name)| file.starts_with(**name))
        .max_by_key(|(_, name)| name.len())?;
    Some(room)
}

fn has_unsafe(source: &str) -> bool {
    fn any(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(word) => word == "unsafe",
            TokenTree::Group(group) => any(group.stream()),
            _ => false,
        })
    }
    any(source.parse().expect("Rust"))
}

// ---- arrows ----

/// The segments of a path from the crate's root.
type ModulePath = Vec<String>;

/// Which files each file uses.
fn arrows(sources: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let files: BTreeMap<ModulePath, &String> = sources
        .keys()
        .filter(|file| !is_of_tests(file))
        .map(|file| (module_path(file), file))
        .collect();
    let modules: BTreeMap<&ModulePath, Module<'_>> = files
        .iter()
        .map(|(path, file)| (path, Module::read(path, &sources[*file], &files)))
        .collect();
    files
        .iter()
        .map(|(path, file)| {
            let used = modules[path].uses.iter();
            let mut used: BTreeSet<String> = used
                .flat_map(|path| defining(path, &modules))
                .map(|module| files[&module].clone())
                .collect();
            used.remove(*file);
            ((*file).clone(), used)
        })
        .collect()
}

/// Whether a file holds tests and nothing else: `tests.rs`, or one in a folder `tests`.
fn is_of_tests(file: &str) -> bool {
    file.split('/')
        .any(|name| name == "tests" || name == "tests.rs")
}

fn module_path(file: &str) -> ModulePath {
    let stem = file.strip_suffix(".rs").expect("a source");
    let stem = stem
        .strip_suffix("/mod")
        .unwrap_or(if stem == "lib" { "" } else { stem });
    stem.split('/')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The modules that define what a path names; more than one if features choose between them.
fn defining(path: &[String], modules: &BTreeMap<&ModulePath, Module<'_>>) -> Vec<ModulePath> {
    let mut module = ModulePath::new();
    for (at, name) in path.iter().enumerate() {
        let mut child = module.clone();
        child.push(name.clone());
        if modules.contains_key(&child) {
            module = child;
            continue;
        }
        let exports = modules
            .get(&module)
            .and_then(|module| module.exports.get(name));
        let Some(exports) = exports else {
            break;
        };
        let targets = exports
            .iter()
            .map(|target| [target, &path[at + 1..]].concat());
        return targets
            .filter(|target| target != path)
            .flat_map(|target| defining(&target, modules))
            .collect();
    }
    // Without a root among the sources there is nothing to be found in it.
    modules
        .contains_key(&module)
        .then_some(module)
        .into_iter()
        .collect()
}

/// What a file says about others.
struct Module<'a> {
    files: &'a BTreeMap<ModulePath, &'a String>,
    /// Where the visit is: the file's module, or one that stands inside it.
    current: ModulePath,
    uses: Vec<ModulePath>,
    /// Names under which it shows what others define.
    exports: BTreeMap<String, Vec<ModulePath>>,
}

impl<'a> Module<'a> {
    fn read(path: &[String], source: &str, files: &'a BTreeMap<ModulePath, &'a String>) -> Self {
        let mut module = Self {
            files,
            current: path.to_vec(),
            uses: Vec::new(),
            exports: BTreeMap::new(),
        };
        module.visit_file(&syn::parse_file(source).expect("Rust"));
        module
    }

    /// The whole path; None for one into another crate, or to what stands here.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let mut base = self.current.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => base.clear(),
            "self" | "super" => {
                while let Some(first @ ("self" | "super")) = rest.first().map(String::as_str) {
                    if first == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
                return Some([&base, rest].concat());
            }
            first => {
                base.push(first.to_owned());
                if !self.files.contains_key(&base) {
                    return None;
                }
            }
        }
        rest = &rest[1..];
        Some([&base, rest].concat())
    }

    fn note(&mut self, path: &[String]) {
        self.uses.extend(self.absolute(path));
    }

    /// Notes the paths in the arguments of a macro.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.note_whole(&mut path);
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.note_whole(&mut path);
                    self.note_tokens(group.stream());
                    colons = 0;
                }
                _ => {
                    self.note_whole(&mut path);
                    colons = 0;
                }
            }
        }
        self.note_whole(&mut path);
    }

    fn note_whole(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.note(path);
        }
        path.clear();
    }
}

impl Visit<'_> for Module<'_> {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        if item.content.is_none() || item.attrs.iter().any(is_cfg_test) {
            return;
        }
        self.current.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.current.pop();
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        if item.leading_colon.is_some() {
            return;
        }
        let mut imports = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut imports);
        let is_export = !matches!(item.vis, Visibility::Inherited);
        for (path, name) in imports {
            let Some(target) = self.absolute(&path) else {
                continue;
            };
            let is_childs = target.len() > self.current.len() && target.starts_with(&self.current);
            if is_export {
                self.exports.entry(name).or_default().push(target.clone());
            }
            if !(is_export && is_childs) {
                self.uses.push(target);
            }
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let names: Vec<String> = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            self.note(&names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &Macro) {
        self.note_tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    // Who may see it, not what it uses.
    fn visit_visibility(&mut self, _: &Visibility) {}
}

fn is_cfg_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|path| path.is_ident("test"))
}

/// The paths that a tree of imports names, and under which name each is known.
fn flatten(tree: &UseTree, before: &mut Vec<String>, into: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, into);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            let name = before.last().cloned().unwrap_or_default();
            into.push((before.clone(), name));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            let mut path = before.clone();
            path.push(name.clone());
            into.push((path, name));
        }
        UseTree::Rename(rename) => {
            let path = [&before[..], &[rename.ident.to_string()]].concat();
            into.push((path, rename.rename.to_string()));
        }
        UseTree::Glob(_) => into.push((before.clone(), "*".to_owned())),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, into);
            }
        }
    }
}

// ---- sources ----

/// Each source file, by its path below `src`.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).expect("a source");
                let file = path.strip_prefix(&root).expect("a file below the root");
                sources.insert(file.to_string_lossy().into_owned(), source);
            }
        }
    }
    assert!(sources.len() > 10, "too few sources in {}", root.display());
    sources
}
