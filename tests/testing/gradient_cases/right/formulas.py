"""Right gradients of linear algebra, solvers and transforms, which round by more than an ulp."""

from math import erf

import numpy as np

from gradient_cases.cases import elementwise, normal, right


def matrix(rng, condition, n=5):
    """Return a random matrix with singular values from 1 down to 1 / condition."""
    u, v = (np.linalg.qr(normal(rng, n, n))[0] for _ in range(2))
    return u * np.geomspace(1, 1 / condition, n) @ v


@right
def inverse_of_an_ill_conditioned_matrix(rng):
    def vjp(gy, x):
        inverse = np.linalg.inv(x)
        return (-inverse.T @ gy @ inverse.T,)

    return np.linalg.inv, vjp, matrix(rng, 1e4)


@right
def inverse_of_a_nearly_singular_matrix(rng):
    return *inverse_of_an_ill_conditioned_matrix(rng)[:2], matrix(rng, 1e8)


@right
def single_precision_inside(rng):
    return lambda x: np.sin(x.astype(np.float32)).astype(float), lambda gy, x: (gy * np.cos(x),), normal(rng, 20)


@right
def solution_of_an_ill_conditioned_system(rng):
    def vjp(gy, a, b):
        g = np.linalg.solve(a.T, gy)
        return -np.outer(g, np.linalg.solve(a, b)), g

    return np.linalg.solve, vjp, matrix(rng, 1e6), normal(rng, 5)


@right
def determinant(rng):
    return np.linalg.det, lambda gy, x: (gy * np.linalg.det(x) * np.linalg.inv(x).T,), matrix(rng, 1e3)


@right
def eigenvalues_of_a_symmetric_matrix(rng):
    def vjp(gy, x):
        vectors = np.linalg.eigh(x + x.T)[1]
        return (2 * vectors * gy @ vectors.T,)

    return lambda x: np.linalg.eigvalsh(x + x.T), vjp, normal(rng, 6, 6)


@right
def cholesky_factor(rng):
    def function(x):
        return np.linalg.cholesky(x @ x.T + np.eye(4))

    def vjp(gy, x):
        factor = function(x)
        phi = np.tril(factor.T @ np.tril(gy))
        phi[np.diag_indices(4)] /= 2
        inverse = np.linalg.inv(factor)
        s = inverse.T @ phi @ inverse
        return ((s + s.T) @ x,)

    return function, vjp, normal(rng, 4, 4)


@right
def singular_values(rng):
    def vjp(gy, x):
        u, _, v = np.linalg.svd(x, full_matrices=False)
        return (u * gy @ v,)

    return lambda x: np.linalg.svd(x, compute_uv=False), vjp, normal(rng, 4, 6)


@right
def newton_iteration_with_its_implicit_gradient(rng):
    def root(x):  # solve y + y³ = x
        y = np.zeros_like(x)
        for _ in range(60):
            y = y - (y + y**3 - x) / (1 + 3 * y**2)
        return y

    return root, lambda gy, x: (gy / (1 + 3 * root(x) ** 2),), 3 * normal(rng, 20)


@right
def bisection_to_a_billionth(rng):
    def root(x):  # solve y + y³ = x; the result is the middle of an interval, so the function is a fine staircase
        low, high = np.full_like(x, -8.0), np.full_like(x, 8.0)
        while (high - low).max() > 1e-9:
            middle = (low + high) / 2
            above = middle + middle**3 > x
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return (low + high) / 2

    return root, lambda gy, x: (gy / (1 + 3 * root(x) ** 2),), 3 * normal(rng, 20)


@right
def power_of_a_fourier_transform(rng):
    def vjp(gy, x):
        return ((2 * x.size * np.fft.ifft(gy * np.fft.fft(x))).real,)

    return lambda x: np.abs(np.fft.fft(x)) ** 2, vjp, normal(rng, 64)


@right
def gaussian_error_linear_unit(rng):
    def cumulative(x):
        return 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))

    def derivative(x):
        return cumulative(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)

    return *elementwise(lambda x: x * cumulative(x), derivative), 3 * normal(rng, 30)


@right
def product_of_all_but_with_a_zero(rng):
    x = normal(rng, 6)
    x[2] = 0

    def vjp(gy, x):
        return (gy * np.array([np.prod(np.delete(x, i)) for i in range(x.size)]),)

    return np.prod, vjp, x


@right
def rounding_to_ten_digits(rng):
    return lambda x: np.round(np.sin(x), 10), lambda gy, x: (gy * np.cos(x),), normal(rng, 20)


@right(deterministic=False)
def sum_in_an_order_that_changes(rng):
    orders = np.random.default_rng(0)

    def function(x):
        terms = np.sin(x)
        return np.cumsum(terms[orders.permutation(x.size)])[-1]

    return function, lambda gy, x: (gy * np.cos(x),), normal(rng, 1000)
