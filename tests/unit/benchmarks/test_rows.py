# SPDX-License-Identifier: Apache-2.0
"""The rows of "What to reach" say what was measured."""

import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

import against_torch  # noqa: E402
import calls  # noqa: E402
import latency  # noqa: E402
import load  # noqa: E402
import memory  # noqa: E402
import report  # noqa: E402
import row  # noqa: E402
import shared_memory  # noqa: E402
import streamed_rows  # noqa: E402

MIB = 2**20


def rounds(name, *rates):
    return load.Rounds(name, [{"calls_per_s": rate} for rate in rates])


def case(shape, ours, echoes, others):
    return {"shape": shape, "in_flight": 16, "lossd": ours, "echoes": echoes,
            "others": others}  # fmt: skip


def tail(*pairs):
    return load.Rounds("lossd", [{"p50_us": p50, "p99_us": p99} for p50, p99 in pairs])


class RowsTest(unittest.TestCase):
    def test_a_ratio_is_to_the_fastest_echo_and_of_each_round(self):
        slow, fast = rounds("slow", 40, 50, 60), rounds("fast", 100, 200, 100)
        ours = rounds("lossd", 90, 190, 95)
        (row, *_) = calls.rows([case("4x10", ours, [slow, fast], {})])
        self.assertIn("0.95 (0.90–0.95)", row.measured)
        self.assertTrue(row.reached)
        ours.reports[1]["calls_per_s"] = 10
        ours.reports[2]["calls_per_s"] = 89
        (row, *_) = calls.rows([case("4x10", ours, [slow, fast], {})])
        self.assertFalse(row.reached)

    def test_the_better_peer_counts(self):
        others = {
            "Python server": rounds("Python server", 10, 10),
            "Triton": rounds("Triton", 20, 20),
        }
        ours = rounds("lossd", 119, 119)
        echo = [rounds("echo", 100, 100)]
        _, peer = calls.rows([case("32x1000", ours, echo, others)])
        self.assertFalse(peer.reached, peer)
        ours = rounds("lossd", 120, 120)
        _, peer = calls.rows([case("32x1000", ours, echo, others)])
        self.assertTrue(peer.reached, peer)

    def test_without_peers_their_rows_are_there_and_not_measured(self):
        echo, *peers = calls.rows(
            [case("4x10", rounds("lossd", 1), [rounds("echo", 1)], {})]
        )
        self.assertTrue(echo.reached)
        self.assertEqual([row.reached for row in peers], [None, None])
        self.assertIn("--peers", peers[0].measured)

    def test_the_tail_must_stay_under_three_medians(self):
        (row,) = latency.rows(
            [("4x10", tail((100, 299), (100, 250), (100, 900)), tail((1, 9)))]
        )
        self.assertTrue(row.reached, row)
        (row,) = latency.rows(
            [("4x10", tail((100, 300), (100, 250), (100, 900)), tail((1, 1)))]
        )
        self.assertFalse(row.reached, row)

    def test_memory_is_bounded_idle_under_load_and_after_it(self):
        good = memory.Memory(
            idle=60 * MIB, idle_heap=9 * MIB, peak=284 * MIB, after=66 * MIB,
            after_heap=9 * MIB, admitted=100 * MIB, calls=1, errors=0,
        )  # fmt: skip
        self.assertEqual([row.reached for row in memory.rows(good)], [True] * 3)
        bad = memory.Memory(
            idle=64 * MIB, idle_heap=9 * MIB, peak=285 * MIB, after=71 * MIB,
            after_heap=9 * MIB, admitted=100 * MIB, calls=1, errors=0,
        )  # fmt: skip
        self.assertEqual([row.reached for row in memory.rows(bad)], [False] * 3)

    def test_the_best_chunks_of_rows_are_beside_the_fastest_calls(self):
        def results(peak):
            return streamed_rows.Results(
                unary={
                    ("loss", 1): [10, 10], ("loss", 2): [20, 40],
                    ("gradient", 1): [10, 10], ("gradient", 2): [1, 1],
                },
                streamed={
                    ("loss", 8): [18, 36], ("loss", 16): [17, 40],
                    ("gradient", 8): [8.9, 8.9], ("gradient", 16): [1, 1],
                },
                idle=20 * MIB, peak=peak,
            )  # fmt: skip

        loss, gradient, resident = streamed_rows.rows(results(84 * MIB - 1))
        self.assertIn("16 rows", loss.work)
        self.assertIn("0.93 (0.85–1.00)", loss.measured)
        self.assertTrue(loss.reached)
        self.assertIn("0.89", gradient.measured)
        self.assertFalse(gradient.reached)
        self.assertTrue(resident.reached)
        *_, resident = streamed_rows.rows(results(84 * MIB))
        self.assertFalse(resident.reached)

    def test_the_best_calls_through_shared_memory_are_beside_the_engine(self):
        def found(best):
            return shared_memory.rows(
                shared_memory.Results(
                    engine=[1000, 2000], kernel=[3000, 3000],
                    shared={
                        ("calls", 1): [700, 1400], ("calls", 2): [best, 2 * best],
                        ("stream", 1): [900, 1800], ("stream", 2): [1, 1],
                    },
                )
            )  # fmt: skip

        called, streamed = found(800)
        self.assertIn("calls, 2 in flight", called.work)
        self.assertTrue(called.reached)
        self.assertIn("stream, 1 in flight", streamed.work)
        self.assertIn("0.90", streamed.measured)
        called, _ = found(799)
        self.assertFalse(called.reached)

    def test_of_the_other_losses_the_worst_is_named(self):
        def times(call):
            return {"call": [call] * 3, "eager": [12.0] * 3}

        cases = [
            ("mse_loss", "1048576", "gradient", times(3.0)),
            ("l1_loss", "1048576", "gradient", times(6.0)),
            ("l1_loss", "1048576", "forward", times(60.0)),
        ]
        row = against_torch.rows(({}, cases))[-1]
        self.assertFalse(row.reached)
        self.assertIn("worst, l1_loss: 2.00", row.measured)
        self.assertIn("1 of 2 reach it", row.measured)
        row = against_torch.rows(({}, cases[:1]))[-1]
        self.assertTrue(row.reached)

    def test_the_table_counts_what_is_reached_and_what_is_not_measured(self):
        rows = [row.missing("work", "target", "why")]
        rows += latency.rows(
            [("4x10", tail((1, 2)), tail((1, 2))), ("32x1000", tail((1, 4)), tail((1, 2)))]
        )
        text = report.reach_section(rows)
        self.assertIn("1 of the 2 rows measured are reached; 1 are not", text)
        self.assertEqual(text.count("not measured:"), 1)
        self.assertIn("**no**", text)


if __name__ == "__main__":
    unittest.main()
