// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_FLOAT16_H_
#define LOSSD_FLOAT16_H_

#include <cstdint>

namespace lossd {

// The bits of an IEEE 754 binary16 number (torch.float16).
enum class Float16 : uint16_t {};

// The upper half of the bits of an IEEE 754 binary32 number (torch.bfloat16).
enum class BFloat16 : uint16_t {};

// The nearest 16-bit number, ties to even: one rounding, straight from the
// double. Beyond the largest finite number the result is infinite; a NaN stays
// a (quiet) NaN; the sign of zero is kept.
Float16 ToFloat16(double value);
BFloat16 ToBFloat16(double value);

// The same number as a float. Exact.
float ToFloat(Float16 value);
float ToFloat(BFloat16 value);

}  // namespace lossd

#endif  // LOSSD_FLOAT16_H_
