# SPDX-License-Identifier: Apache-2.0
"""Files and functions keep their sizes."""

import unittest

import functions
import sizes
import temporary_tree
import tree


def body(lines):
    return "  x();\n" * lines


class TheRepository(temporary_tree.TemporaryTreeTest):
    def test_has_no_long_files(self):
        self.assertClean(sizes.long_files(tree.REPOSITORY))

    def test_has_no_long_functions(self):
        self.assertClean(sizes.long_functions(tree.REPOSITORY))


class TheCheckOfFiles(temporary_tree.TemporaryTreeTest):
    def test_finds_a_file_one_line_too_long(self):
        for path in ("server/a.cc", "client/a.py", "dev", "proto/a.proto"):
            self.assertFinds(sizes.long_files, {path: "\n" * 600})
            self.assertFinds(
                sizes.long_files, {path: "\n" * 601}, f"{path} has 601 lines of 600"
            )


class TheCheckOfFunctions(temporary_tree.TemporaryTreeTest):
    def test_finds_a_function_one_line_too_long(self):
        for path, head, last, indented in (
            ("a.cc", "void F() {\n", "}\n", "  x();\n"),
            ("a.py", "def F():\n", "", "    x()\n"),
            ("a.sh", "F() {\n", "}\n", "  x\n"),
        ):
            room = 60 - (head + last).count("\n")
            fits = head + indented * room + last
            self.assertFinds(sizes.long_functions, {path: fits})
            long = head + indented * (room + 1) + last
            self.assertFinds(
                sizes.long_functions, {path: long}, f"{path}:1: F has 61 lines of 60"
            )

    def test_gives_a_kernel_loop_with_a_reason_twenty_lines_more(self):
        loop = "void Sum() {\n" + body(78) + "}\n"
        found = "server/a.cc:2: Sum has 80 lines of 60"
        reason = "// Kernel loop: the four accumulators are written out.\n"
        self.assertFinds(sizes.long_functions, {"server/a.cc": reason + loop})
        self.assertFinds(
            sizes.long_functions, {"server/a.cc": "// Kernel loop:\n" + loop}, found
        )
        longer = reason + "void Sum() {\n" + body(79) + "}\n"
        self.assertFinds(
            sizes.long_functions,
            {"server/a.cc": longer},
            "server/a.cc:2: Sum has 81 lines of 80",
        )


class TheMatcher(unittest.TestCase):
    def functions(self, text):
        found = functions.of_cxx(text)
        return sorted((each.first, each.last, each.name) for each in found)

    def test_knows_a_function_from_what_else_has_braces(self):
        text = """\
namespace a::b {
struct alignas(64) S : Base<int> {
  int x = 1, y{2};
  explicit S(int a) noexcept : x{a}, y(a) {
    x = 3;
  }
 private:
  int Get() const ABSL_LOCKS_EXCLUDED(mu_) { return x; }
};
enum class E : int { kA = sizeof(int), kB };
constexpr int kTable[] = {1, 2, (3)};
template <typename T, typename = std::enable_if_t<(sizeof(T) > 2)>>
auto F(T t) -> std::vector<T> {
  auto g = [&](int a) { if (a) { return 1; } return 2; };
  return {g(1)};
}
const auto kLambda = [](int a) {
  return a;
};
}  // namespace a::b
"""
        self.assertEqual(
            [(4, 6, "S"), (8, 8, "Get"), (12, 16, "F"), (17, 19, "")],
            self.named(text, ("S", "Get", "F")),
        )

    def named(self, text, names):
        return [
            (first, last, name if name in names else "")
            for first, last, name in self.functions(text)
        ]

    def test_is_not_confused_by_braces_in_literals_comments_and_macros(self):
        text = """\
#define OPEN {
#define LOOP(x) \\
  while (x) {
void F() {
  // {
  /* { */
  const char* a = "{\\"{", b = '{', c = '\\'';
  const char* d = R"({ " })";
  int e = 1'000'000;
}
TEST(Suite, SaysWhatItDoes) {
  F();
}
"""
        self.assertEqual(
            [(4, 10, "F"), (11, 13, "Suite.SaysWhatItDoes")], self.functions(text)
        )

    def test_measures_both_branches_of_a_conditional(self):
        text = """\
#if defined(A)
void F(int a) {
#else
void F() {
#endif
  x();
}
void G() {}
"""
        self.assertEqual([(4, 7, "F"), (8, 8, "G")], self.functions(text))


if __name__ == "__main__":
    unittest.main()
