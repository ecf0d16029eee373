# SPDX-License-Identifier: Apache-2.0
# The language, the warnings, the sanitizers, and a short edit-test loop.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")

# The order and the rounding of every operation are part of the contract:
# nothing may contract a multiplication and an addition, or reorder a sum.
add_compile_options(-ffp-contract=off -fno-fast-math)
add_compile_options(-Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 mistakes an empty absl::InlinedVector for an uninitialised one.
  add_compile_options(-Wno-maybe-uninitialized)
endif()

if(LOSSD_SANITIZE)
  add_compile_options(-fsanitize=${LOSSD_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LOSSD_SANITIZE})
endif()

find_program(LOSSD_CCACHE ccache)
if(LOSSD_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache handles precompiled headers only with these allowances. Paths below
  # the repository are relative, so that two checkouts share what they compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime,locale
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} ${LOSSD_CCACHE})
  add_compile_options(-fpch-preprocess)
endif()
find_program(LOSSD_MOLD mold)
if(LOSSD_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
add_link_options(-Wl,--as-needed)
