// SPDX-License-Identifier: Apache-2.0
//
// What jemalloc, which this links, reads before main(): pages that are not used
// for five seconds go back to the system, by a thread of its own. glibc keeps
// up to its trim threshold in each arena for good, and with a small threshold
// every large message faults all of its pages in again. There is one arena for
// each CPU.

extern "C" {
// The name is jemalloc's.
extern const char* malloc_conf;
const char* malloc_conf =
    "background_thread:true,percpu_arena:percpu,dirty_decay_ms:5000,"
    "muzzy_decay_ms:0";
}
