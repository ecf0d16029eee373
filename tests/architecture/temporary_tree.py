# SPDX-License-Identifier: Apache-2.0
"""A tree made for one test, to show that a check finds what it looks for."""

import pathlib
import tempfile
import unittest


class TemporaryTreeTest(unittest.TestCase):
    def tree(self, files):
        """The root of a tree with these files: {path: text}."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = pathlib.Path(folder.name)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return root

    def assertFinds(self, check, files, *expected):
        self.assertEqual(list(expected), check(self.tree(files)))

    def assertClean(self, violations):
        """Fails with one violation a line."""
        if violations:
            self.fail("\n" + "\n".join(violations))
