# SPDX-License-Identifier: Apache-2.0
"""The include graph and docs/architecture.md agree."""

import unittest

import layers
import temporary_tree
import tree


def page(block):
    return {layers.PAGE: f"## Layers\n\n```layers\n{block}\n```\n"}


class TheRepository(temporary_tree.TemporaryTreeTest):
    def test_has_the_edges_of_its_page_and_no_others(self):
        self.assertClean(layers.violations(tree.REPOSITORY))

    def test_has_no_files_that_include_one_another(self):
        self.assertClean(layers.file_cycles(tree.REPOSITORY))


class TheCheck(temporary_tree.TemporaryTreeTest):
    sound = {
        **page("main -> rpc\nrpc -> base\nbase ->\nclient/cli -> client/cpp\nclient/cpp ->"),
        "server/main.cc": '#include "server/rpc/a.h"\n',
        "server/rpc/a.h": '#include "server/base/b.h"\n',
        "server/base/b.h": "#include <vector>\n",
        "client/cli/main.cc": '#include "lossd/client.h"\n',
        "client/cpp/include/lossd/client.h": "",
    }

    def test_accepts_a_tree_that_agrees_with_its_page(self):
        self.assertFinds(layers.violations, self.sound)

    def test_finds_an_edge_that_the_page_lacks(self):
        files = {**self.sound, "server/base/c.cc": '#include "server/rpc/a.h"\n'}
        self.assertFinds(
            layers.violations,
            files,
            "server/base/c.cc includes server/rpc/a.h: base -> rpc is not an "
            "edge of docs/architecture.md",
        )

    def test_finds_a_client_that_includes_the_server(self):
        files = {**self.sound, "client/cpp/c.cc": '#include "server/base/b.h"\n'}
        self.assertFinds(
            layers.violations,
            files,
            "client/cpp/c.cc includes server/base/b.h: client/cpp -> base is "
            "not an edge of docs/architecture.md",
        )

    def test_finds_an_allowed_edge_that_nothing_uses(self):
        files = {**self.sound, "server/rpc/a.h": '// #include "server/base/b.h"\n'}
        self.assertFinds(
            layers.violations,
            files,
            "docs/architecture.md allows rpc -> base, which nothing uses",
        )

    def test_finds_a_room_that_the_page_lacks_and_one_that_the_tree_lacks(self):
        files = {**self.sound, "server/attic/a.cc": ""}
        self.assertFinds(
            layers.violations, files, "attic is not a room of docs/architecture.md"
        )
        files = {**self.sound}
        del files["client/cli/main.cc"]
        self.assertFinds(
            layers.violations,
            files,
            "docs/architecture.md names client/cli, which has no source",
            "docs/architecture.md allows client/cli -> client/cpp, which nothing uses",
        )

    def test_finds_a_source_outside_every_room(self):
        files = {**self.sound, "server/stray.cc": ""}
        self.assertFinds(
            layers.violations,
            files,
            "server/stray.cc is not a room of docs/architecture.md",
        )

    def test_finds_rooms_in_a_circle(self):
        files = {
            **page("a -> b\nb -> a"),
            "server/a/a.h": '#include "server/b/b.h"\n',
            "server/b/b.h": '#include "server/a/a.h"\n',
        }
        self.assertFinds(
            layers.violations,
            files,
            "docs/architecture.md allows the cycle a -> b -> a",
        )

    def test_finds_files_in_a_circle(self):
        files = {
            "server/a/x.h": '#include "server/a/y.h"\n',
            "server/a/y.h": '#include "server/a/z.h"\n',
            "server/a/z.h": '#include "server/a/x.h"\n',
        }
        self.assertFinds(
            layers.file_cycles,
            files,
            "server/a/x.h -> server/a/y.h -> server/a/z.h -> server/a/x.h",
        )

    def test_refuses_a_page_that_it_cannot_read(self):
        for text in ("", "```layers\nmain => rpc\n```\n", "```layers\na -> b\na ->\n```\n"):
            with self.subTest(text), self.assertRaises(ValueError):
                layers.parse(text)


if __name__ == "__main__":
    unittest.main()
