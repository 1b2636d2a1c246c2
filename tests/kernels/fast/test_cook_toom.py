from fractions import Fraction

import numpy as np
import pytest

from minires.kernels.fast.cook_toom import F43, cook_toom

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
CASES = [(2, 3, (0.0, 1.0, -1.0)), (4, 3, (0.0, 1.0, -1.0, 2.0, -2.0)), (3, 2, (0.0, 1.0, -1.0)), (4, 3, POINTS)]


def test_f43_has_the_points_of_the_smaller_error():
    assert all(np.array_equal(a, b) for a, b in zip(F43, cook_toom(4, 3, POINTS), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_matrices_give_each_output_of_each_unit_filter_and_window(case):
    short = cook_toom(*case)
    # The trilinear form Σ_i A[y, i] · G[i, k] · B[i, j] must be 1 where j = y + k and 0 elsewhere.
    form = np.einsum("yi,ik,ij->ykj", short.A, short.G, short.B)
    expected = np.zeros_like(form)
    for y, k in np.ndindex(expected.shape[:2]):
        expected[y, k, y + k] = 1
    # At most window = 6 terms below 8 each, two roundings a product and those of G.
    assert np.abs(form - expected).max() <= 6 * 8 * 10 * 2.0**-53


def test_a_and_b_of_f43_are_exact_in_float32():
    single = F43.astype(np.float32)
    assert np.array_equal(single.A, F43.A)
    assert np.array_equal(single.B, F43.B)


def test_f43_solves_for_fractions_exactly_but_for_the_filter_transform():
    # With G as the exact solution of the linear equations that A and B leave for it, nothing is rounded.
    points = [Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)]
    for i, p in enumerate(points):
        divisor = Fraction(1)
        for q in points[:i] + points[i + 1 :]:
            divisor *= p - q
        scale = Fraction(F43.B[i, 4])  # the leading coefficient is 1 before scaling
        for k in range(3):
            assert abs(Fraction(F43.G[i, k]) * divisor * scale - p**k) < Fraction(1, 2**48)


def test_growth_is_half_of_the_usual_points():
    assert F43.growth() < 0.5 * cook_toom(4, 3, (0.0, 1.0, -1.0, 2.0, -2.0)).growth()


@pytest.mark.parametrize("case", CASES)
def test_growth_is_the_largest_sum_of_all_ways_from_the_window_to_an_output(case):
    short = cook_toom(*case)
    ways = np.einsum("yi,ik,ij->yk", *(np.abs(matrix) for matrix in short))
    # Sums of at most 36 positive terms, in another order.
    assert abs(short.growth() - ways.max()) <= 36 * 2.0**-52 * ways.max()


def test_the_flipped_form_takes_the_filter_in_reverse():
    form = np.einsum("yi,ik,ij->ykj", *F43.flipped())
    assert np.array_equal(form, np.einsum("yi,ik,ij->ykj", *F43)[:, ::-1])
