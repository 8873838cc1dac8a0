//! The committed description of the interface is the generated one, leaves nothing of the header out,
//! and says of each number, layout and type what the C compiler says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const GENERATED: &str = include_str!(concat!(env!("OUT_DIR"), "/portal.json"));
const HEADER: &str = include_str!(concat!(env!("OUT_DIR"), "/portal.h"));

fn description() -> Value {
    serde_json::from_str(GENERATED).expect("the description is JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no {key}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}"))
}

fn names(values: &[Value]) -> BTreeSet<&str> {
    values.iter().map(|value| text(value, "name")).collect()
}

#[test]
fn the_committed_description_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/portal.json");
    let committed = fs::read_to_string(path).expect("include/portal.json");
    assert!(
        committed == GENERATED,
        "include/portal.json is out of date; run `make header`"
    );
}

#[test]
fn whatever_the_header_declares_is_described() {
    let description = description();
    let word = |sign: char| !sign.is_alphanumeric() && sign != '_';

    let symbols = include_str!("../include/portal.symbols");
    let functions: BTreeSet<&str> = symbols.lines().collect();
    assert_eq!(names(list(&description, "functions")), functions);

    let types: BTreeSet<&str> = HEADER
        .split("\ntypedef ")
        .skip(1)
        .map(|after| {
            // The name stands last, or first in brackets when it is a function's type.
            let end = after.find("\n}").map_or(0, |brace| brace + 2);
            let begins_body = after.lines().next().is_some_and(|line| line.ends_with('{'));
            let declaration = if begins_body { &after[end..] } else { after };
            let declaration = declaration.split_once(';').expect("its end").0;
            match declaration.split_once("(*") {
                Some((_, named)) => named.split_once(')').expect("its end").0,
                None => declaration.rsplit(word).next().expect("a name"),
            }
        })
        .collect();
    let mut described = BTreeSet::new();
    for kind in [
        "typedefs",
        "opaque_types",
        "enumerations",
        "structs",
        "callbacks",
    ] {
        described.extend(names(list(&description, kind)));
    }
    assert_eq!(described, types);

    let enumerators: BTreeSet<&str> = HEADER
        .lines()
        .filter_map(|line| Some(line.strip_prefix("  PORTAL_")?.split_once(" = ")?.0))
        .collect();
    let mut described = BTreeSet::new();
    for enumeration in list(&description, "enumerations") {
        described.extend(
            names(list(enumeration, "values"))
                .iter()
                .map(|name| &name["PORTAL_".len()..]),
        );
    }
    assert_eq!(described, enumerators);
}

#[test]
fn functions_say_which_statuses_they_answer_and_where_they_may_be_called() {
    let description = description();
    let statuses = list(&description, "enumerations")
        .iter()
        .find(|enumeration| text(enumeration, "name") == "portal_status_value")
        .map(|enumeration| names(list(enumeration, "values")))
        .expect("the statuses");
    for function in list(&description, "functions") {
        let name = text(function, "name");
        let answers = list(function, "statuses");
        assert!(names(answers).is_subset(&statuses), "{name}");
        let is_status = text(&function["returns"], "type") == "portal_status";
        assert!(!is_status || !answers.is_empty(), "{name} has no status");
        assert!(text(function, "threads").ends_with('.'), "{name}");
        for told in list(function, "parameters").iter().chain([function]) {
            let comment = text(told, "comment");
            assert!(comment.ends_with('.'), "{name}: {comment:?}");
        }
    }

    let send = list(&description, "functions")
        .iter()
        .find(|function| text(function, "name") == "portal_send")
        .expect("portal_send");
    assert_eq!(
        text(send, "threads"),
        "Any thread, and inside any callback."
    );
    assert_eq!(
        text(&send["returns"], "comment"),
        "On failure, nothing was queued."
    );
    let full = &list(send, "statuses")[2];
    assert_eq!(text(full, "name"), "PORTAL_STATUS_FULL");
    assert_eq!(
        text(full, "comment"),
        "The peer reads too slowly; continue in `drain`."
    );
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_compiler_says_what_the_description_says() {
    let description = description();
    assert_eq!(description["pointer_size"], size_of::<usize>());
    assert_eq!(text(&description, "version"), env!("CARGO_PKG_VERSION"));

    let mut program = String::from("#include <portal.h>\n");
    for assertion in assertions(&description) {
        let told = assertion.replace('"', "");
        program += &format!("_Static_assert({assertion}, \"{told}\");\n");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("description");
    fs::create_dir_all(&folder).expect("the test's folder can be made");
    let source = folder.join("description.c");
    fs::write(&source, program).expect("the program can be written");
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    let output = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"])
        .args(["-I", include])
        .arg(&source)
        .output()
        .expect("a C compiler, called cc");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What must hold in C if the description is true.
fn assertions(description: &Value) -> Vec<String> {
    let mut assertions = Vec::new();
    let enumerators = list(description, "enumerations")
        .iter()
        .flat_map(|enumeration| list(enumeration, "values"));
    for number in list(description, "constants").iter().chain(enumerators) {
        assertions.push(format!("{} == {}", text(number, "name"), number["value"]));
    }
    for kind in ["typedefs", "callbacks"] {
        for named in list(description, kind) {
            let name = text(named, "name");
            assertions.push(has_type(&format!("({name} *)0"), text(named, "type")));
        }
    }
    for described in list(description, "structs") {
        let name = text(described, "name");
        assertions.push(format!("sizeof({name}) == {}", described["size"]));
        assertions.push(format!("_Alignof({name}) == {}", described["alignment"]));
        for field in list(described, "fields") {
            let field_name = text(field, "name");
            let place = format!("&(({name} *)0)->{field_name}");
            assertions.push(format!(
                "offsetof({name}, {field_name}) == {}",
                field["offset"]
            ));
            assertions.push(format!("sizeof(*{place}) == {}", field["size"]));
            assertions.push(has_type(&place, text(field, "type")));
            if !field["function"].is_null() {
                assertions.push(has_type(&place, &pointer_to_function(&field["function"])));
            }
        }
    }
    for callback in list(description, "callbacks") {
        let place = format!("({} *)0", text(callback, "name"));
        assertions.push(has_type(
            &place,
            &pointer_to_function(&callback["function"]),
        ));
    }
    for function in list(description, "functions") {
        let signature = serde_json::json!({
            "returns": function["returns"]["type"],
            "parameters": function["parameters"],
        });
        assertions.push(format!(
            "_Generic(&{}, {}: 1, default: 0)",
            text(function, "name"),
            pointer_to_function(&signature)
        ));
    }
    assertions
}

/// That what `place` points to has exactly this type.
fn has_type(place: &str, r#type: &str) -> String {
    format!("_Generic({place}, __typeof__({type}) *: 1, default: 0)")
}

fn pointer_to_function(signature: &Value) -> String {
    let parameters: Vec<&str> = list(signature, "parameters")
        .iter()
        .map(|parameter| text(parameter, "type"))
        .collect();
    let parameters = if parameters.is_empty() {
        "void".to_owned()
    } else {
        parameters.join(", ")
    };
    format!("{} (*)({parameters})", text(signature, "returns"))
}
