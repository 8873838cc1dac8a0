//! What `include/portal.json` says: the C interface, described for programs that make bindings.
//!
//! It is read from the same sources as the header. A type is spelled as in C; sizes and offsets are
//! those of systems with 64-bit pointers.

mod documentation;

use std::path::Path;

use serde::Serialize;
use syn::ext::IdentExt;
use syn::{Attribute, Expr, Fields, Item, Lit, ReturnType, Type, Visibility};

use crate::Outcome;
use documentation::{Documentation, comment};

/// The whole file.
#[derive(Serialize)]
pub(crate) struct Description {
    pub version: String,
    pub soname: String,
    pub pointer_size: usize,
    pub constants: Vec<Constant>,
    pub typedefs: Vec<Typedef>,
    pub opaque_types: Vec<Opaque>,
    pub enumerations: Vec<Enumeration>,
    pub structs: Vec<Struct>,
    pub callbacks: Vec<Callback>,
    pub functions: Vec<Function>,
}

/// A macro that stands for a number.
#[derive(Serialize)]
pub(crate) struct Constant {
    name: String,
    value: i64,
    comment: String,
}

/// Another name of a number's type.
#[derive(Serialize)]
pub(crate) struct Typedef {
    name: String,
    r#type: String,
    comment: String,
}

/// A type that C sees by pointer alone.
#[derive(Serialize)]
pub(crate) struct Opaque {
    name: String,
    comment: String,
}

#[derive(Serialize)]
pub(crate) struct Enumeration {
    name: String,
    comment: String,
    values: Vec<Constant>,
}

#[derive(Serialize)]
pub(crate) struct Struct {
    name: String,
    comment: String,
    size: usize,
    alignment: usize,
    fields: Vec<Field>,
}

#[derive(Serialize)]
struct Field {
    name: String,
    r#type: String,
    offset: usize,
    size: usize,
    comment: String,
    /// If it is a pointer to a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<Signature>,
}

/// A named type of functions that the program gives to the library.
#[derive(Serialize)]
pub(crate) struct Callback {
    name: String,
    r#type: String,
    comment: String,
    function: Signature,
}

#[derive(Serialize)]
struct Signature {
    returns: String,
    parameters: Vec<Parameter>,
}

#[derive(Serialize)]
pub(crate) struct Function {
    name: String,
    comment: String,
    parameters: Vec<Parameter>,
    returns: Returns,
    statuses: Vec<Status>,
    threads: String,
    since: String,
}

#[derive(Serialize)]
struct Parameter {
    name: String,
    r#type: String,
    /// What `@param` says; only functions of the library have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
struct Returns {
    r#type: String,
    comment: String,
}

/// A status that a function answers, and what it means there.
#[derive(Serialize)]
struct Status {
    name: String,
    comment: String,
}

const POINTER_SIZE: usize = 8;

impl Description {
    pub(crate) fn new(version: String, soname: &str) -> Self {
        Self {
            version,
            soname: soname.to_owned(),
            pointer_size: POINTER_SIZE,
            constants: Vec::new(),
            typedefs: Vec::new(),
            opaque_types: Vec::new(),
            enumerations: Vec::new(),
            structs: Vec::new(),
            callbacks: Vec::new(),
            functions: Vec::new(),
        }
    }

    /// Adds what a source declares for C: whatever is public and has one of our names.
    pub(crate) fn add_source(&mut self, source: &Path) -> Outcome<()> {
        for item in syn::parse_file(&std::fs::read_to_string(source)?)?.items {
            self.add(&item)
                .map_err(|error| format!("{}: {error}", source.display()))?;
        }
        Ok(())
    }

    fn add(&mut self, item: &Item) -> Outcome<()> {
        match item {
            Item::Const(item) if is_public(&item.vis) => self.constants.push(Constant {
                name: item.ident.to_string(),
                value: number(&item.expr)?,
                comment: comment(&item.attrs)?,
            }),
            Item::Type(item) if is_public(&item.vis) => {
                let (name, comment) = (item.ident.to_string(), comment(&item.attrs)?);
                let CType { spelling, function } = c_type(&item.ty)?;
                match function {
                    Some(function) => self.callbacks.push(Callback {
                        name,
                        r#type: spelling,
                        comment,
                        function,
                    }),
                    None => self.typedefs.push(Typedef {
                        name,
                        r#type: spelling,
                        comment,
                    }),
                }
            }
            Item::Enum(item) if is_public(&item.vis) => {
                let mut values = Vec::new();
                for variant in &item.variants {
                    let (_, value) = variant.discriminant.as_ref().ok_or("no number")?;
                    values.push(Constant {
                        name: variant.ident.to_string(),
                        value: number(value)?,
                        comment: comment(&variant.attrs)?,
                    });
                }
                self.enumerations.push(Enumeration {
                    name: item.ident.to_string(),
                    comment: comment(&item.attrs)?,
                    values,
                });
            }
            Item::Struct(item) if is_public(&item.vis) => {
                let (name, comment) = (item.ident.to_string(), comment(&item.attrs)?);
                if is_laid_out(&item.attrs) {
                    let described = self.describe_struct(name, comment, &item.fields)?;
                    self.structs.push(described);
                } else {
                    self.opaque_types.push(Opaque { name, comment });
                }
            }
            Item::Fn(item) if is_public(&item.vis) => {
                self.functions.push(describe_function(item)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Lays the fields out as C does: each at the next multiple of its size.
    fn describe_struct(&self, name: String, comment: String, fields: &Fields) -> Outcome<Struct> {
        let mut end = 0_usize;
        let mut alignment = 1;
        let mut described = Vec::new();
        for field in fields {
            let field_name = field.ident.as_ref().ok_or("a field without a name")?;
            let CType { spelling, function } = c_type(&field.ty)?;
            let size = self.size(&spelling)?;
            let offset = end.next_multiple_of(size);
            end = offset + size;
            alignment = alignment.max(size);
            described.push(Field {
                name: field_name.unraw().to_string(),
                r#type: spelling,
                offset,
                size,
                comment: documentation::comment(&field.attrs)?,
                function,
            });
        }
        Ok(Struct {
            name,
            comment,
            size: end.next_multiple_of(alignment),
            alignment,
            fields: described,
        })
    }

    /// The size of a number or pointer, which is its alignment as well.
    fn size(&self, spelling: &str) -> Outcome<usize> {
        match spelling {
            "int32_t" | "uint32_t" => Ok(4),
            "int64_t" | "uint64_t" => Ok(8),
            "size_t" => Ok(POINTER_SIZE),
            pointer if pointer.contains('*') => Ok(POINTER_SIZE),
            name => match self.typedefs.iter().find(|typedef| typedef.name == name) {
                Some(typedef) => self.size(&typedef.r#type),
                None => Err(format!("{name} has no size").into()),
            },
        }
    }
}

fn describe_function(item: &syn::ItemFn) -> Outcome<Function> {
    let name = item.sig.ident.to_string();
    let mut documentation = Documentation::parse(&item.attrs)?;
    let mut parameters = Vec::new();
    for input in &item.sig.inputs {
        let syn::FnArg::Typed(input) = input else {
            return Err(format!("{name} takes self").into());
        };
        let syn::Pat::Ident(parameter) = &*input.pat else {
            return Err(format!("a parameter of {name} has no name").into());
        };
        let parameter = parameter.ident.unraw().to_string();
        let comment = documentation.parameters.remove(&parameter);
        if comment.is_none() {
            return Err(format!("{name} does not document {parameter}").into());
        }
        parameters.push(Parameter {
            name: parameter,
            r#type: c_type(&input.ty)?.spelling,
            comment,
        });
    }
    if let Some(parameter) = documentation.parameters.keys().next() {
        return Err(format!("{name} has no parameter {parameter}").into());
    }
    if documentation.threads.is_empty() || documentation.since.is_empty() {
        return Err(format!("{name} lacks @threads or @since").into());
    }
    Ok(Function {
        name,
        comment: documentation.text,
        parameters,
        returns: Returns {
            r#type: return_type(&item.sig.output)?,
            comment: documentation.returns,
        },
        statuses: documentation.statuses,
        threads: documentation.threads,
        since: documentation.since,
    })
}

/// A type as C spells it, and what stands behind it if it is a pointer to a function.
struct CType {
    spelling: String,
    function: Option<Signature>,
}

fn c_type(r#type: &Type) -> Outcome<CType> {
    let spelling = match r#type {
        Type::Path(path) => {
            let last = path.path.segments.last().ok_or("an empty path")?;
            match last.ident.to_string().as_str() {
                "Option" => return optional_function(&last.arguments),
                "i32" => "int32_t".to_owned(),
                "u32" => "uint32_t".to_owned(),
                "i64" => "int64_t".to_owned(),
                "u64" => "uint64_t".to_owned(),
                "usize" => "size_t".to_owned(),
                "c_char" => "char".to_owned(),
                "c_void" => "void".to_owned(),
                ours if ours.starts_with("portal_") => ours.to_owned(),
                other => return Err(format!("{other} is no type of C's").into()),
            }
        }
        Type::Ptr(pointer) => {
            let target = c_type(&pointer.elem)?.spelling;
            match (pointer.mutability.is_some(), target.ends_with('*')) {
                (true, true) => format!("{target}*"),
                (true, false) => format!("{target} *"),
                (false, true) => format!("{target}const *"),
                (false, false) => format!("const {target} *"),
            }
        }
        _ => return Err("neither a name nor a pointer".into()),
    };
    Ok(CType {
        spelling,
        function: None,
    })
}

/// A pointer to a function, which C may leave NULL.
fn optional_function(arguments: &syn::PathArguments) -> Outcome<CType> {
    let syn::PathArguments::AngleBracketed(arguments) = arguments else {
        return Err("an Option of nothing".into());
    };
    let Some(syn::GenericArgument::Type(Type::BareFn(function))) = arguments.args.first() else {
        return Err("an Option of something else than a function".into());
    };
    let mut parameters = Vec::new();
    for input in &function.inputs {
        let (name, _) = input.name.as_ref().ok_or("a parameter without a name")?;
        parameters.push(Parameter {
            name: name.unraw().to_string(),
            r#type: c_type(&input.ty)?.spelling,
            comment: None,
        });
    }
    let returns = return_type(&function.output)?;
    let types: Vec<&str> = parameters.iter().map(|of| of.r#type.as_str()).collect();
    Ok(CType {
        spelling: format!("{returns} (*)({})", types.join(", ")),
        function: Some(Signature {
            returns,
            parameters,
        }),
    })
}

fn return_type(output: &ReturnType) -> Outcome<String> {
    match output {
        ReturnType::Default => Ok("void".to_owned()),
        ReturnType::Type(_, r#type) => Ok(c_type(r#type)?.spelling),
    }
}

/// The value of a literal.
fn number(expression: &Expr) -> Outcome<i64> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(digits) => Ok(digits.base10_parse()?),
            _ => Err("not a number".into()),
        },
        Expr::Unary(negative) if matches!(negative.op, syn::UnOp::Neg(_)) => {
            Ok(-number(&negative.expr)?)
        }
        _ => Err("not a literal".into()),
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Whether the fields are C's to see.
fn is_laid_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("repr")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|layout| layout == "C")
    })
}
