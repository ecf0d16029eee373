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

# lossd_suite(NAME x SOURCES ... LIBS ...)
#
# Tests of whatever backend they are linked with
# (tests/unit/engine/backend_under_test.h), compiled once: a lossd_test without
# sources of its own has SUITE x.
function(lossd_suite)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;LIBS" ${ARGN})
  add_library(${ARG_NAME} OBJECT ${ARG_SOURCES})
  target_include_directories(${ARG_NAME} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${ARG_NAME} PUBLIC ${ARG_LIBS} GTest::gmock GTest::gtest)
endfunction()

# lossd_test(NAME x SOURCES ... LIBS ... [SUITE ...] [PREFIX ...] [FILTER ...]
#            [LABELS ...] [PROPERTIES ...])
#
# A GoogleTest executable, each of whose tests that FILTER leaves is a test of
# ctest, whose name begins with PREFIX.
function(lossd_test)
  cmake_parse_arguments(ARG "" "NAME;SUITE;PREFIX;FILTER"
                        "SOURCES;LIBS;LABELS;PROPERTIES" ${ARGN})
  if(ARG_SUITE)
    list(APPEND ARG_SOURCES $<TARGET_OBJECTS:${ARG_SUITE}>)
    # What the suite is linked with, but not its objects again.
    list(PREPEND ARG_LIBS
         $<TARGET_PROPERTY:${ARG_SUITE},INTERFACE_LINK_LIBRARIES>)
  endif()
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
                       TEST_PREFIX "${ARG_PREFIX}" TEST_FILTER "${ARG_FILTER}"
                       PROPERTIES TIMEOUT 300 ${labels} ${ARG_PROPERTIES})
endfunction()
