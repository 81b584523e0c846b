//! The languages with a grammar, and which of their nodes are symbols.

use tree_sitter_language::LanguageFn;

/// A kind of node that is a symbol.
#[derive(Debug)]
pub(super) struct Rule {
    /// As the grammar calls it.
    pub kind: &'static str,
    /// Before the name in the title; `()` puts parentheses behind it instead.
    pub word: &'static str,
    /// Whether symbols in it are listed too. Those inside of functions are not.
    pub holds_symbols: bool,
}

/// Holds symbols.
const fn outer(kind: &'static str, word: &'static str) -> Rule {
    Rule {
        kind,
        word,
        holds_symbols: true,
    }
}

/// Holds none that are listed.
const fn inner(kind: &'static str, word: &'static str) -> Rule {
    Rule {
        kind,
        word,
        holds_symbols: false,
    }
}

const RUST: &[Rule] = &[
    outer("mod_item", "mod"),
    outer("impl_item", "impl"),
    outer("trait_item", "trait"),
    inner("function_item", "fn"),
    inner("function_signature_item", "fn"),
    inner("struct_item", "struct"),
    inner("enum_item", "enum"),
    inner("union_item", "union"),
    inner("macro_definition", "macro_rules!"),
];
const PYTHON: &[Rule] = &[
    outer("class_definition", "class"),
    inner("function_definition", "def"),
];
const JAVASCRIPT: &[Rule] = &[
    outer("class_declaration", "class"),
    outer("abstract_class_declaration", "class"),
    outer("internal_module", "namespace"),
    inner("interface_declaration", "interface"),
    inner("enum_declaration", "enum"),
    inner("type_alias_declaration", "type"),
    inner("function_declaration", "function"),
    inner("generator_function_declaration", "function"),
    inner("method_definition", "()"),
    inner("variable_declarator", "()"),
    inner("field_definition", "()"),
    inner("public_field_definition", "()"),
];
const GO: &[Rule] = &[
    inner("function_declaration", "func"),
    inner("method_declaration", "func"),
    inner("type_spec", "type"),
    inner("type_alias", "type"),
];
const JAVA: &[Rule] = &[
    outer("class_declaration", "class"),
    outer("interface_declaration", "interface"),
    outer("enum_declaration", "enum"),
    outer("record_declaration", "record"),
    outer("annotation_type_declaration", "@interface"),
    inner("method_declaration", "()"),
    inner("constructor_declaration", "()"),
    inner("compact_constructor_declaration", "()"),
];
/// C and C++, and what CUDA adds parses well enough.
const C: &[Rule] = &[
    outer("namespace_definition", "namespace"),
    outer("class_specifier", "class"),
    outer("struct_specifier", "struct"),
    outer("union_specifier", "union"),
    inner("enum_specifier", "enum"),
    inner("concept_definition", "concept"),
    inner("type_definition", "typedef"),
    inner("function_definition", "()"),
];
const C_SHARP: &[Rule] = &[
    outer("namespace_declaration", "namespace"),
    outer("class_declaration", "class"),
    outer("interface_declaration", "interface"),
    outer("struct_declaration", "struct"),
    outer("record_declaration", "record"),
    inner("enum_declaration", "enum"),
    inner("delegate_declaration", "delegate"),
    inner("method_declaration", "()"),
    inner("constructor_declaration", "()"),
    inner("local_function_statement", "()"),
];
const RUBY: &[Rule] = &[
    outer("module", "module"),
    outer("class", "class"),
    inner("method", "def"),
    inner("singleton_method", "def"),
];
const PHP: &[Rule] = &[
    outer("class_declaration", "class"),
    outer("interface_declaration", "interface"),
    outer("trait_declaration", "trait"),
    outer("enum_declaration", "enum"),
    inner("function_definition", "function"),
    inner("method_declaration", "function"),
];
const SHELL: &[Rule] = &[inner("function_definition", "()")];

/// A language with a grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    Tsx,
    Go,
    Java,
    C,
    Cpp,
    CSharp,
    Ruby,
    Php,
    Shell,
}

impl Language {
    /// By the extension of the name; a `.h` may be C or C++, and its words tell.
    pub fn of(path: &str, text: &str) -> Option<Language> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (_, extension) = name.rsplit_once('.')?;
        Some(match extension.to_ascii_lowercase().as_str() {
            "rs" => Language::Rust,
            "py" | "pyi" => Language::Python,
            "js" | "mjs" | "cjs" | "jsx" => Language::JavaScript,
            "ts" | "mts" | "cts" => Language::TypeScript,
            "tsx" => Language::Tsx,
            "go" => Language::Go,
            "java" => Language::Java,
            "c" => Language::C,
            "h" if !["class ", "namespace ", "template"]
                .iter()
                .any(|word| text.lines().any(|line| line.trim_start().starts_with(word))) =>
            {
                Language::C
            }
            "h" | "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" | "inl" | "cu" | "cuh" => {
                Language::Cpp
            }
            "cs" => Language::CSharp,
            "rb" | "rake" => Language::Ruby,
            "php" => Language::Php,
            "sh" | "bash" => Language::Shell,
            _ => return None,
        })
    }

    /// Its parser's tables.
    pub fn grammar(self) -> tree_sitter::Language {
        let tables: LanguageFn = match self {
            Language::Rust => tree_sitter_rust::LANGUAGE,
            Language::Python => tree_sitter_python::LANGUAGE,
            Language::JavaScript => tree_sitter_javascript::LANGUAGE,
            Language::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
            Language::Tsx => tree_sitter_typescript::LANGUAGE_TSX,
            Language::Go => tree_sitter_go::LANGUAGE,
            Language::Java => tree_sitter_java::LANGUAGE,
            Language::C => tree_sitter_c::LANGUAGE,
            Language::Cpp => tree_sitter_cpp::LANGUAGE,
            Language::CSharp => tree_sitter_c_sharp::LANGUAGE,
            Language::Ruby => tree_sitter_ruby::LANGUAGE,
            Language::Php => tree_sitter_php::LANGUAGE_PHP,
            Language::Shell => tree_sitter_bash::LANGUAGE,
        };
        tables.into()
    }

    /// What makes nodes of this kind a symbol.
    pub fn rule(self, kind: &str) -> Option<&'static Rule> {
        let rules = match self {
            Language::Rust => RUST,
            Language::Python => PYTHON,
            Language::JavaScript | Language::TypeScript | Language::Tsx => JAVASCRIPT,
            Language::Go => GO,
            Language::Java => JAVA,
            Language::C | Language::Cpp => C,
            Language::CSharp => C_SHARP,
            Language::Ruby => RUBY,
            Language::Php => PHP,
            Language::Shell => SHELL,
        };
        rules.iter().find(|rule| rule.kind == kind)
    }

    /// Whether what stands in nodes of this kind is nobody's outline: bodies of functions without a name.
    pub fn is_opaque(self, kind: &str) -> bool {
        match self {
            Language::Rust => matches!(kind, "block" | "closure_expression" | "token_tree"),
            Language::JavaScript | Language::TypeScript | Language::Tsx => {
                matches!(kind, "arrow_function" | "function_expression" | "object")
            }
            Language::Go => kind == "func_literal",
            Language::C | Language::Cpp => {
                matches!(kind, "lambda_expression" | "initializer_list")
            }
            _ => matches!(kind, "lambda" | "lambda_expression" | "anonymous_function"),
        }
    }

    /// Whether a line (without white space around it) belongs to the symbol that begins in the next one.
    pub fn leads(self, line: &str) -> bool {
        let marks: &[&str] = match self {
            Language::Rust => &["//", "#[", "/*", "*"],
            Language::Python => &["#", "@"],
            Language::Ruby | Language::Shell => &["#"],
            Language::C | Language::Cpp => &["//", "/*", "*", "template", "[["],
            Language::CSharp => &["//", "/*", "*", "["],
            Language::Php => &["//", "/*", "*", "#["],
            _ => &["//", "/*", "*", "@"],
        };
        marks.iter().any(|mark| line.starts_with(mark))
    }
}
