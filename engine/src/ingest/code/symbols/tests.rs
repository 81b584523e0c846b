#![allow(clippy::unwrap_used)]
use super::*;
use std::time::Duration;

fn parsed(path: &str, text: &str) -> Vec<Symbol> {
    match symbols(path, text, Instant::now() + Duration::from_secs(60)) {
        Parsed::Symbols(found) => found,
        Parsed::TimedOut => panic!("timed out"),
    }
}

/// Titles, indented by depth.
fn outline(path: &str, text: &str) -> Vec<String> {
    parsed(path, text)
        .iter()
        .map(|symbol| format!("{}{}", "  ".repeat(symbol.depth.into()), symbol.title))
        .collect()
}

#[test]
fn rust_symbols_bring_their_comments_and_attributes() {
    let text = "//! A file.\n\nmod other;\nuse x;\n\n/// Opens.\n#[inline]\npub fn open() {\n    fn not_listed() {}\n}\n\n\
        impl Drop for Cache<'_> {\n    /// Ends.\n    fn drop(&mut self) {}\n}\nstruct A; struct B;\n\
        #[cfg(test)]\nmod tests {\n    #[test]\n    fn works() {}\n}\n";
    let found = parsed("a/b.rs", text);
    let all: Vec<(&str, u16, &str)> = found
        .iter()
        .map(|symbol| {
            (
                symbol.title.as_str(),
                symbol.depth,
                text[symbol.bytes.clone()].lines().next().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        all,
        [
            ("fn open", 0, "/// Opens."),
            ("impl Drop for Cache<'_>", 0, "impl Drop for Cache<'_> {"),
            ("fn drop", 1, "/// Ends."),
            ("struct A", 0, "struct A;"),
            ("struct B", 0, "struct B;"),
            ("mod tests", 0, "#[cfg(test)]"),
            ("fn works", 1, "#[test]"),
        ]
    );
    assert!(text[found[0].bytes.clone()].ends_with("fn not_listed() {}\n}"));
}

#[test]
fn each_language_is_parsed_by_its_own_grammar() {
    for (path, text, expected) in [
        (
            "a.py",
            "class A(B):\n    @property\n    def x(self):\n        def y(): pass\n        return 1\n\ndef z():\n    pass\n",
            vec!["class A", "  def x", "def z"],
        ),
        (
            "a.js",
            "export class A { m() {} f = () => 1 }\nfunction g() {}\nconst h = async () => { function n() {} }, k = 1\n",
            vec!["class A", "  m()", "  f()", "function g", "h()"],
        ),
        (
            "a.ts",
            "export interface I { a: string }\nnamespace N { export function g(): void {} }\ntype T = I\nenum E { A }\nabstract class C<T> { private m(x: T): void {} }\n",
            vec![
                "interface I",
                "namespace N",
                "  function g",
                "type T",
                "enum E",
                "class C",
                "  m()",
            ],
        ),
        (
            "a.tsx",
            "export const App = () => <div>{1}</div>\n",
            vec!["App()"],
        ),
        (
            "a.go",
            "package a\n\ntype T struct { x int }\n\nfunc (t *T) Get() int { return t.x }\n\nfunc New() *T { return nil }\n",
            vec!["type T", "func (t *T) Get", "func New"],
        ),
        (
            "A.java",
            "public class A {\n  A() {}\n  @Override public int b() { return 1; }\n  enum E { X }\n}\nrecord R(int x) {}\n",
            vec!["class A", "  A()", "  b()", "  enum E", "record R"],
        ),
        (
            "a.c",
            "#include <x.h>\nstruct s { int a; };\nstruct s *used;\ntypedef struct { int b; } t;\nstatic char *f(int x) { return 0; }\nint g(void);\n",
            vec!["struct s", "typedef t", "f()"],
        ),
        (
            "a.cpp",
            "namespace n {\ntemplate <class T>\nclass A : B { public: void m() {} int d; };\nvoid A::o() const {}\n}\n",
            vec!["namespace n", "  class A", "    m()", "  A::o()"],
        ),
        (
            "a.h",
            "class A { void m() {} };\n",
            vec!["class A", "  m()"],
        ),
        ("b.h", "struct s { int a; };\n", vec!["struct s"]),
        (
            "a.cs",
            "namespace N { public class A { public A() {} int M() { return 1; } } interface I { } }\n",
            vec![
                "namespace N",
                "  class A",
                "    A()",
                "    M()",
                "  interface I",
            ],
        ),
        (
            "a.rb",
            "module M\n  class A < B\n    def m; end\n    def self.n\n    end\n  end\nend\n",
            vec!["module M", "  class A", "    def m", "    def self.n"],
        ),
        (
            "a.php",
            "<h1>x</h1><?php\nclass A { public function m() {} }\nfunction f() {}\n",
            vec!["class A", "  function m", "function f"],
        ),
        ("a.sh", "x=1\nrun() {\n  echo hi\n}\n", vec!["run()"]),
    ] {
        assert_eq!(outline(path, text), expected, "{path}");
    }
}

#[test]
fn other_files_have_no_symbols_and_broken_ones_have_what_can_be_found() {
    assert!(outline("a.zig", "pub fn main() void {}").is_empty());
    assert!(outline("Makefile", "all:\n\techo").is_empty());
    assert!(outline("empty.rs", "").is_empty());
    assert_eq!(
        outline("cut.rs", "fn whole() {}\n\nfn cut( {{{ \"ü"),
        ["fn whole"]
    );
    // Brackets without end neither hang nor overflow the stack.
    for path in ["a.c", "a.js", "a.rs", "a.py"] {
        let _ = symbols(
            path,
            &"([{".repeat(10_000),
            Instant::now() + Duration::from_secs(2),
        );
    }
    let _ = symbols(
        "a.rs",
        &"mod a{".repeat(10_000),
        Instant::now() + Duration::from_secs(2),
    );
}

#[test]
fn parsing_ends_at_its_deadline() {
    let text = "fn f() { g(1, 2, 3); }\n".repeat(40_000);
    assert_eq!(symbols("a.rs", &text, Instant::now()), Parsed::TimedOut);
}
