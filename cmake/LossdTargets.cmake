# SPDX-License-Identifier: Apache-2.0
# How the folders declare what they build.

# lossd_library(NAME x SOURCES ... LIBS ...)
#
# A static library of one folder, whose headers are included from the root of
# the repository.
function(lossd_library)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;LIBS" ${ARGN})
  add_library(${ARG_NAME} STATIC ${ARG_SOURCES})
  target_include_directories(${ARG_NAME} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${ARG_NAME} PUBLIC ${ARG_LIBS})
endfunction()

# lossd_test(NAME x SOURCES ... LIBS ... [LABELS ...] [PROPERTIES ...])
#
# A GoogleTest executable, each of whose tests is a test of ctest.
function(lossd_test)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;LIBS;LABELS;PROPERTIES" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_include_directories(${ARG_NAME} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBS} GTest::gmock
                                            GTest::gtest GTest::gmock_main)
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                               "${PROJECT_BINARY_DIR}/tests")
  # gtest_discover_tests drops the quotes of an empty property.
  set(labels "")
  if(ARG_LABELS)
    set(labels LABELS "${ARG_LABELS}")
  endif()
  gtest_discover_tests(${ARG_NAME} DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 300 ${labels} ${ARG_PROPERTIES})
endfunction()
