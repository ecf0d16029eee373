// SPDX-License-Identifier: Apache-2.0
//
// What ctc_loss says about a mistake, word for word, and the forms of targets
// and lengths that it takes.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/losses/checking.h"

namespace lossd {
namespace {

// Five steps of two sequences over three classes, of which 0 is the blank.
TestArguments Ctc(const TestTensor& targets,
                  const std::vector<double>& input_lengths,
                  const std::vector<double>& target_lengths,
                  const Shape& log_probs = {5, 2, 3}) {
  TestArguments test("ctc_loss");
  const auto lengths = [](const std::vector<double>& values) {
    return Indices({static_cast<int64_t>(values.size())}, values);
  };
  test.Set("log_probs", Filled(Dtype::kFloat32, log_probs, -1));
  test.Set("targets", targets);
  test.Set("input_lengths", lengths(input_lengths));
  test.Set("target_lengths", lengths(target_lengths));
  return test;
}

TestTensor Padded() { return Indices({2, 3}, {1, 2, 1, 2, 1, 2}); }
TestArguments Good() { return Ctc(Padded(), {5, 4}, {3, 2}); }

// One sequence, [T, C].
TestArguments One(const TestTensor& targets, const TestTensor& input_length,
                  const TestTensor& target_length) {
  TestArguments test("ctc_loss");
  test.Set("log_probs", Filled(Dtype::kFloat32, {5, 3}, -1));
  test.Set("targets", targets);
  test.Set("input_lengths", input_length);
  test.Set("target_lengths", target_length);
  return test;
}

std::string BadShape(const TestArguments& test, const std::string& field) {
  return OnlyViolation(test, Reason::kShapeMismatch, field);
}
std::string BadIndex(const TestArguments& test, const std::string& field,
                     bool withhold = false) {
  return OnlyViolation(test, Reason::kTargetOutOfRange, field, withhold);
}

TEST(CtcChecksTest, LogProbsAreStepsOfSequencesOrOfOne) {
  for (const Shape& shape : {Shape{}, Shape{5}, Shape{5, 2, 3, 1}}) {
    EXPECT_EQ(BadShape(Ctc(Padded(), {5, 5}, {3, 3}, shape), "log_probs"),
              "log_probs has shape " + ShapeName(shape) +
                  ", but ctc_loss needs [T, N, C] or [T, C].");
  }
  for (const Shape& shape :
       {Shape{0, 2, 3}, Shape{5, 0, 3}, Shape{5, 2, 0}, Shape{0, 3}}) {
    EXPECT_EQ(BadShape(Ctc(Padded(), {5, 5}, {3, 3}, shape), "log_probs"),
              "log_probs has shape " + ShapeName(shape) +
                  ", but ctc_loss needs at least one time step, one sequence "
                  "and one class.");
  }
}

TEST(CtcChecksTest, ThereIsALengthForEachSequence) {
  for (const char* name : {"input_lengths", "target_lengths"}) {
    TestArguments test = Good();
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{3}, Shape{2, 1}}) {
      test.Set(name, Filled(Dtype::kInt64, shape, 2));
      EXPECT_EQ(BadShape(test, name),
                name + (" has shape " + ShapeName(shape)) +
                    ", but log_probs of shape [5, 2, 3] needs one length for "
                    "each sequence: [2].");
    }
    TestArguments one =
        One(Indices({2}, {1, 2}), Indices({}, {5}), Indices({}, {2}));
    one.Set(name, Indices({2}, {2, 2}));
    EXPECT_EQ(BadShape(one, name),
              std::string(name) +
                  " has shape [2], but log_probs of shape [5, 3] needs one "
                  "length for each sequence: [] or [1].");
  }
}

TEST(CtcChecksTest, TargetsArePaddedOrOneAfterTheOther) {
  for (const Shape& shape :
       {Shape{}, Shape{1, 3}, Shape{3, 3}, Shape{1, 2, 3}}) {
    EXPECT_EQ(BadShape(Ctc(Filled(Dtype::kInt64, shape, 1), {5, 5}, {3, 3}),
                       "targets"),
              "targets has shape " + ShapeName(shape) +
                  ", but log_probs of shape [5, 2, 3] needs [2, S], or [sum of "
                  "target_lengths].");
  }
  EXPECT_EQ(BadShape(One(Filled(Dtype::kInt64, {2, 3}, 1), Indices({}, {5}),
                         Indices({}, {3})),
                     "targets"),
            "targets has shape [2, 3], but log_probs of shape [5, 3] needs [1, "
            "S], or [sum of target_lengths].");
}

TEST(CtcChecksTest, TheBlankIsAClass) {
  TestArguments test = Good();
  for (const double blank : {3.0, 4.0, 0x1p53}) {
    test.Set("blank", blank);
    EXPECT_EQ(OnlyViolation(test, Reason::kParameterOutOfRange, "blank"),
              "blank = " + Violations::NumberName(blank) +
                  " is outside [0, 3): log_probs of shape [5, 2, 3] has C = 3 "
                  "classes.");
  }
  TestArguments one_class =
      Ctc(Indices({0}, {}), {5, 5}, {0, 0}, Shape{5, 2, 1});
  one_class.Set("blank", 1);
  EXPECT_EQ(OnlyViolation(one_class, Reason::kParameterOutOfRange, "blank"),
            "blank = 1 is outside [0, 1): log_probs of shape [5, 2, 1] has C = "
            "1 class.");
}

TEST(CtcChecksTest, AnInputLengthIsAtMostTheTimeSteps) {
  EXPECT_EQ(BadIndex(Ctc(Padded(), {5, 6}, {3, 2}), "input_lengths"),
            "input_lengths[1] = 6 is outside [0, 5]: log_probs of shape [5, 2, "
            "3] has T = 5 time steps. 1 of 2 lengths is out of range.");
  EXPECT_EQ(BadIndex(Ctc(Padded(), {-1, 6}, {3, 2}), "input_lengths"),
            "input_lengths[0] = -1 is outside [0, 5]: log_probs of shape [5, "
            "2, 3] has T = 5 time steps. 2 of 2 lengths are out of range.");
  EXPECT_EQ(BadIndex(One(Indices({1}, {1}), Indices({}, {6}), Indices({}, {1})),
                     "input_lengths"),
            "input_lengths = 6 is outside [0, 5]: log_probs of shape [5, 3] "
            "has T = 5 time steps. 1 of 1 lengths is out of range.");
  EXPECT_EQ(BadIndex(Ctc(Indices({2, 1}, {1, 1}), {1, 2}, {1, 1}, {1, 2, 3}),
                     "input_lengths"),
            "input_lengths[1] = 2 is outside [0, 1]: log_probs of shape [1, 2, "
            "3] has T = 1 time step. 1 of 2 lengths is out of range.");
}

TEST(CtcChecksTest, ATargetLengthIsAtMostTheLabels) {
  EXPECT_EQ(BadIndex(Ctc(Padded(), {5, 5}, {3, 4}), "target_lengths"),
            "target_lengths[1] = 4 is outside [0, 3]: targets of shape [2, 3] "
            "has 3 labels for each sequence. 1 of 2 lengths is out of range.");
  EXPECT_EQ(
      BadIndex(Ctc(Indices({2, 1}, {1, 1}), {5, 5}, {2, -3}), "target_lengths"),
      "target_lengths[0] = 2 is outside [0, 1]: targets of shape [2, 1] "
      "has 1 label for each sequence. 2 of 2 lengths are out of range.");
  EXPECT_EQ(BadIndex(Ctc(Indices({4}, {1, 1, 1, 1}), {5, 5}, {5, -1}),
                     "target_lengths"),
            "target_lengths[0] = 5 is outside [0, 4]: targets of shape [4] has "
            "4 labels for all sequences. 2 of 2 lengths are out of range.");
}

TEST(CtcChecksTest, BothKindsOfLengthsAreToldTogether) {
  const Violations violations = Check(Ctc(Padded(), {5, 6}, {4, 2}));
  ASSERT_EQ(violations.count(), 2);
  EXPECT_EQ(violations.kept()[0].field, "input_lengths");
  EXPECT_EQ(violations.kept()[1].field, "target_lengths");
}

TEST(CtcChecksTest, LabelsOneAfterTheOtherAreAsManyAsTheLengthsSay) {
  for (const auto& [second, sum] :
       {std::pair{1.0, "3"}, {4.0, "6"}, {0.0, "2"}}) {
    EXPECT_EQ(BadShape(Ctc(Indices({5}, {1, 2, 1, 2, 1}), {5, 5}, {2, second}),
                       "targets"),
              std::string("targets has 5 labels, but target_lengths add up "
                          "to ") +
                  sum +
                  ": send the labels of all sequences one after the other, or "
                  "pad them to [N, S].");
  }
}

TEST(CtcChecksTest, ALabelIsAClassAndNotTheBlank) {
  EXPECT_EQ(
      BadIndex(Ctc(Indices({2, 3}, {1, 3, 1, 0, -1, 2}), {5, 5}, {3, 2}),
               "targets"),
      "targets[0, 1] = 3 is outside [0, 3) or is the blank: log_probs of shape "
      "[5, 2, 3] has C = 3 classes and blank = 0. 3 of 5 labels are out of "
      "range.");
  EXPECT_EQ(BadIndex(Ctc(Indices({3}, {1, 2, 0}), {5, 5}, {1, 2}), "targets"),
            "targets[2] = 0 is outside [0, 3) or is the blank: log_probs of "
            "shape [5, 2, 3] has C = 3 classes and blank = 0. 1 of 3 labels is "
            "out of range.");
  TestArguments test = Ctc(Indices({3}, {1, 0, 2}), {5, 5}, {1, 2});
  test.Set("blank", 2);
  EXPECT_EQ(BadIndex(test, "targets", true),
            "targets[2] = (withheld) is outside [0, 3) or is the blank: "
            "log_probs of shape [5, 2, 3] has C = 3 classes and blank = 2. 1 "
            "of 3 labels is out of range.");
  EXPECT_EQ(
      BadIndex(Ctc(Indices({1}, {0}), {5, 5}, {1, 0}, {5, 2, 1}), "targets"),
      "targets[0] = 0 is outside [0, 1) or is the blank: log_probs of "
      "shape [5, 2, 1] has C = 1 class and blank = 0. 1 of 1 labels is "
      "out of range.");
}

TEST(CtcChecksTest, LengthsAndBlankAreToldTogether) {
  TestArguments test = Good();
  test.Set("input_lengths", Indices({3}, {5, 5, 5})).Set("blank", 3);
  test.Set("target_lengths", Indices({}, {3}));
  test.Set("targets", Indices({1, 3}, {1, 1, 1}));
  const Violations violations = Check(test);
  ASSERT_EQ(violations.count(), 4);
  EXPECT_EQ(violations.kept()[0].field, "input_lengths");
  EXPECT_EQ(violations.kept()[1].field, "target_lengths");
  EXPECT_EQ(violations.kept()[2].field, "targets");
  EXPECT_EQ(violations.kept()[3].field, "blank");
}

TEST(CtcChecksTest, TheFormsOfABatch) {
  const Geometry geometry = GeometryOf(Good());
  EXPECT_EQ(geometry.loss_shape, Shape{2});
  EXPECT_EQ(geometry.rows, 2);
  EXPECT_EQ(geometry.row_length, 3);
  EXPECT_EQ(geometry.steps, 5);
  EXPECT_EQ(geometry.mean_denominator, 2);
  for (const TestArguments& test : {
           Ctc(Indices({5}, {1, 2, 1, 2, 1}), {5, 4}, {3, 2}),
           Ctc(Indices({0}, {}), {5, 4}, {0, 0}),
           Ctc(Indices({2, 0}, {}), {5, 4}, {0, 0}),
           Ctc(Padded(), {0, 0}, {0, 0}),
           Ctc(Padded(), {1, 0}, {3, 3}),  // no alignment: infinite
           // What pads is not looked at.
           Ctc(Indices({2, 3}, {1, 99, -7, 0, 0, 0}), {5, 5}, {1, 0}),
       }) {
    EXPECT_EQ(GeometryOf(test).rows, 2);
  }
}

TEST(CtcChecksTest, TheFormsOfOneSequence) {
  const TestTensor scalar = Indices({}, {2});
  const TestTensor vector = Indices({1}, {2});
  for (const TestTensor& targets :
       {Indices({2}, {1, 2}), Indices({1, 2}, {1, 2}),
        Indices({4}, {1, 2, 0, 99}), Indices({1, 4}, {1, 2, 0, 99})}) {
    for (const TestTensor& input : {scalar, vector}) {
      for (const TestTensor& target : {scalar, vector}) {
        const Geometry geometry = GeometryOf(One(targets, input, target));
        EXPECT_EQ(geometry.loss_shape, Shape());
        EXPECT_EQ(geometry.rows, 1);
      }
    }
  }
}

TEST(CtcChecksTest, EveryIndexDtypeIsRead) {
  for (const Dtype dtype : {Dtype::kInt64, Dtype::kInt32, Dtype::kUint8}) {
    TestArguments test = Good();
    test.Set("targets", TestTensor(dtype, {2, 3}, {1, 2, 1, 2, 1, 2}));
    test.Set("input_lengths", TestTensor(dtype, {2}, {5, 4}));
    test.Set("target_lengths", TestTensor(dtype, {2}, {3, 2}));
    EXPECT_TRUE(Check(test).empty()) << DtypeName(dtype);
    test.Set("input_lengths", TestTensor(dtype, {2}, {5, 200}));
    EXPECT_EQ(Check(test).count(), 1) << DtypeName(dtype);
  }
}

}  // namespace
}  // namespace lossd
