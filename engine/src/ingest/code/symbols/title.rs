//! What a symbol is called in an outline.

use super::languages::Rule;
use tree_sitter::Node;

/// Characters of a title.
const LONGEST: usize = 120;
/// Declarators around the name of a C function: pointers, references, functions that return functions.
const MOST_DECLARATORS: usize = 16;

/// The title of a node, or `None` if it defines nothing: a `struct` that is only mentioned, a variable that holds no
/// function.
pub(super) fn title(rule: &Rule, text: &str, node: Node<'_>) -> Option<String> {
    let field = |name: &str| words(text, node.child_by_field_name(name)?);
    let name = match rule.kind {
        "impl_item" => match (field("trait"), field("type")?) {
            (Some(of), on) => format!("{of} for {on}"),
            (None, on) => on,
        },
        "struct_specifier" | "union_specifier" | "enum_specifier" | "class_specifier" => {
            node.child_by_field_name("body")?;
            field("name")?
        }
        // `mod name;` only says that there is a file.
        "mod_item" => {
            node.child_by_field_name("body")?;
            field("name")?
        }
        "variable_declarator" | "field_definition" | "public_field_definition" => {
            let value = node.child_by_field_name("value")?;
            if !matches!(
                value.kind(),
                "arrow_function" | "function_expression" | "generator_function"
            ) {
                return None;
            }
            field("name").or_else(|| field("property"))?
        }
        // Go's methods name what they are of; a Ruby method of the class itself, too.
        "method_declaration" if rule.word == "func" => {
            format!("{} {}", field("receiver")?, field("name")?)
        }
        "singleton_method" => format!("{}.{}", field("object")?, field("name")?),
        "type_definition" => declared(text, node)?,
        "function_definition" if node.child_by_field_name("declarator").is_some() => {
            declared(text, node)?
        }
        "namespace_definition" => field("name").unwrap_or_default(),
        _ => field("name")?,
    };
    let title = match rule.word {
        "()" => format!("{name}()"),
        word => format!("{word} {name}"),
    };
    Some(title.trim_end().to_owned())
}

/// The name inside of a C declarator.
fn declared(text: &str, node: Node<'_>) -> Option<String> {
    let mut declarator = node.child_by_field_name("declarator")?;
    for _ in 0..MOST_DECLARATORS {
        declarator = match declarator.child_by_field_name("declarator") {
            Some(within) => within,
            // References and parentheses have no field for what they hold.
            None if matches!(
                declarator.kind(),
                "reference_declarator" | "parenthesized_declarator"
            ) =>
            {
                declarator.named_child(0)?
            }
            None => break,
        };
    }
    words(text, declarator)
}

/// A node's text in one line.
fn words(text: &str, node: Node<'_>) -> Option<String> {
    let words = text.get(node.byte_range())?;
    let mut line = String::new();
    for word in words.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > LONGEST {
            break;
        }
    }
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST - 1).collect();
        line.push('…');
    }
    (!line.is_empty()).then_some(line)
}
