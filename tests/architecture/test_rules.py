# SPDX-License-Identifier: Apache-2.0
"""The other rules of the tree, and that each finds what breaks it."""

import unittest

import rules
import temporary_tree
import tree

LICENCE = "SPDX-License-Identifier: Apache-2.0\n"


class TheRepository(temporary_tree.TemporaryTreeTest):
    def test_keeps_every_rule(self):
        for rule in rules.ALL:
            with self.subTest(rule.__name__):
                self.assertClean(rule(tree.REPOSITORY))


class TheRules(temporary_tree.TemporaryTreeTest):
    def assertOnlyIn(self, rule, header, allowed, elsewhere):
        line = f"#include <{header}>\n"
        self.assertFinds(rule, {path: line for path in allowed})
        for path in elsewhere:
            (found,) = rule(self.tree({path: line}))
            self.assertIn(f"{path} includes {header}: only", found)

    def test_find_gRPC_outside_the_wire_layer(self):
        for header in ("grpcpp/grpcpp.h", "lossd/v1/tensor.pb.h"):
            self.assertOnlyIn(
                rules.grpc_headers,
                header,
                ["server/rpc/a.cc", "client/cpp/a.cc", "tests/a.cc", "benchmarks/a.cc"],
                ["server/main.cc", "server/engine/a.h"],
            )

    def test_find_CUDA_outside_its_kernels(self):
        self.assertOnlyIn(
            rules.cuda_headers,
            "cuda_runtime.h",
            ["server/kernels/cuda/a.cu"],
            ["server/engine/a.h", "server/kernels/cpu/a.cc"],
        )

    def test_find_Highway_outside_the_kernels(self):
        self.assertOnlyIn(
            rules.highway_headers,
            "hwy/highway.h",
            ["server/kernels/cpu/a.cc", "tests/unit/a.cc"],
            ["server/losses/a.cc", "server/engine/a.h"],
        )

    def test_find_a_loss_whose_mathematics_includes_something(self):
        self.assertFinds(
            rules.loss_mathematics,
            {"server/losses/a-inl.h": "#include <cmath>\n", "server/losses/a.cc": "#include <cmath>\n"},
            "server/losses/a-inl.h includes cmath: the mathematics includes nothing",
        )

    def test_find_an_include_that_is_relative_to_its_file(self):
        self.assertFinds(
            rules.include_paths,
            {"server/base/a.cc": '#include "b.h"\n', "server/base/b.h": ""},
            "server/base/a.cc includes b.h: write its path",
        )

    def test_find_a_source_without_licence(self):
        files = {
            "dev": "#!/bin/sh\n# " + LICENCE,
            "docker/Dockerfile": "# " + LICENCE,
            "server/a.cc": "int a;\n",
            "README.md": "",
        }
        self.assertFinds(
            rules.licences,
            files,
            "server/a.cc has no SPDX-License-Identifier: Apache-2.0",
        )

    def test_find_a_vague_name(self):
        self.assertFinds(
            rules.names,
            {"server/utils/a.cc": "", "tests/common.py": "", "server/uncommon.h": ""},
            "server/utils/a.cc is named utils",
            "tests/common.py is named common.py",
        )

    def test_find_a_glob(self):
        self.assertFinds(
            rules.cmake_globs,
            {"server/CMakeLists.txt": "file (GLOB_RECURSE x *.cc)\n"},
            "server/CMakeLists.txt uses file(GLOB): list the sources",
        )

    def test_find_a_folder_without_a_target_of_its_own(self):
        files = {
            "server/a/CMakeLists.txt": "lossd_library(NAME a)\n",
            "server/a/a.cc": "",
            "server/b/CMakeLists.txt": "lossd_library(NAME b)\nadd_library(c)\n",
            "server/b/b.cc": "",
            "server/c/c.cc": "",
        }
        self.assertFinds(
            rules.cmake_targets,
            files,
            "server/b declares 2 CMake targets, not one",
            "server/c declares 0 CMake targets, not one",
        )


if __name__ == "__main__":
    unittest.main()
