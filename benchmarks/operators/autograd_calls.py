"""Calls of autograd's primitives that need more than arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.builtins import dict as make_dict
from autograd.builtins import tuple as make_tuple
from autograd.scipy import integrate, linalg, special, stats

_rng = np.random.default_rng(0)
_row, _x, _square, _cube = (_rng.normal(size=shape) for shape in ((5,), (3, 4), (3, 3), (4, 4, 2)))
_spd = _square @ _square.T + np.eye(3)
_unit, _more, _counts = np.array([0.2, 0.3, 0.5]), np.array([1.5, 3.0, 0.7]), np.array([2, 0, 3])
_twice = np.array([1, 0, 1])

CALLS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "tuple": (lambda x, y: make_tuple((x, x * y))[1], (_row, _row + 1)),
    "dict": (lambda x, y: make_dict({"a": x, "b": x * y})["b"], (_row, _row + 1)),
    "numpy.angle": (lambda x, y: anp.angle(x + 1j * y), (_x, _x + 1)),
    "numpy.imag": (lambda x, y: anp.imag((x + 1j * y) ** 2), (_x, _x + 1)),
    "numpy.array": (lambda x, y: anp.array([[x[0], y[1]], [y[2], x[0]]]), (_row, _row + 1)),
    "numpy.array_split": (lambda x: anp.concatenate([p**2 for p in anp.array_split(x, 2, 1)]), (_x,)),
    "numpy.astype": (lambda x: x.astype(np.float64), (_x,)),
    "numpy.broadcast_to": (lambda x: anp.broadcast_to(x, (3, 4)), (_x[:, :1],)),
    "numpy.concatenate": (lambda x, y: anp.concatenate([x, y], axis=1), (_x, _x[:, :2] + 1)),
    "numpy.diagonal": (lambda x: anp.diagonal(x, 0, -1, -2), (_cube.T,)),
    "numpy.einsum": (lambda a, b: anp.einsum("ij,kj->ik", a, b), (_x, _x[:2])),
    "numpy.einsum, an index summed alone": (lambda a, b: anp.einsum("ij,kl->ik", a, b), (_x, _x[:2])),
    "numpy.expand_dims": (lambda x: anp.expand_dims(x, 1), (_x,)),
    "numpy.full": (lambda x: anp.full((2, 4), x), (_x[0],)),
    "numpy.linspace": (lambda x, y: anp.linspace(x, y, 7), (np.array(0.3), np.array(2.1))),
    "numpy.moveaxis": (lambda x: anp.moveaxis(x, 0, 2), (_cube,)),
    "numpy.rollaxis": (lambda x: anp.rollaxis(x, 2), (_cube,)),
    "numpy.swapaxes": (lambda x: anp.swapaxes(x, 0, 2), (_cube,)),
    "numpy.pad": (lambda x: anp.pad(x, ((1, 2), (0, 1)), "constant"), (_x,)),
    "numpy.partition": (lambda x: anp.partition(x, 2), (_row,)),
    "numpy.repeat": (lambda x: anp.repeat(x, 3, axis=1), (_x,)),
    "numpy.reshape": (lambda x: anp.reshape(x, (2, 6)), (_x,)),
    "numpy.reshape, order F": (lambda x: anp.reshape(x, (2, 6), order="F"), (_x,)),
    "numpy.ravel, order F": (lambda x: anp.ravel(x, order="F"), (_x,)),
    "numpy.split": (lambda x: anp.concatenate([p**2 for p in anp.split(x, 2, 1)]), (_x,)),
    "numpy.hsplit": (lambda x: anp.concatenate([p**2 for p in anp.hsplit(x, 2)]), (_x,)),
    "numpy.vsplit": (lambda x: anp.concatenate([p**2 for p in anp.vsplit(x, 3)]), (_x,)),
    "numpy.dsplit": (lambda x: anp.concatenate([p**2 for p in anp.dsplit(x, 2)]), (_cube,)),
    "numpy.tile": (lambda x: anp.tile(x, (2, 3)), (_x,)),
    "indexing": (lambda x: x[:, 1:3], (_x,)),
    "indexing, an index twice": (lambda x: x[_twice], (_x,)),
    "numpy.make_diagonal": (lambda x: anp.make_diagonal(x, axis1=-1, axis2=-2), (_x,)),
    "numpy.cumsum, axis": (lambda x: anp.cumsum(x, axis=1), (_x,)),
    "numpy.prod, axis": (lambda x: anp.prod(x, axis=1), (_x,)),
    "numpy.prod, a zero": (lambda x: anp.prod(x, axis=0), (np.array([[0.0, 1.0], [2.0, 3.0]]),)),
    "numpy.var, axis and ddof": (lambda x: anp.var(x, axis=1, ddof=1), (_x,)),
    "numpy.std, two axes": (lambda x: anp.std(x, axis=(0, 2), ddof=1), (_cube,)),
    "numpy.max, axis": (lambda x: anp.max(x, axis=1), (_x,)),
    "numpy.tensordot, axes": (lambda a, b: anp.tensordot(a, b, axes=([1], [1])), (_x, _x[:2])),
    "numpy.gradient, axis": (lambda x: anp.gradient(x, axis=1), (_x,)),
    "numpy.power, base 0": (lambda x: x**2, (np.array([0.0, 1.0]),)),
    "numpy.fft.fft, padded": (lambda x: anp.fft.fft(x, 7), (_x,)),
    "numpy.fft.fft, cut": (lambda x: anp.fft.fft(x, 3), (_x,)),
    "numpy.fft.irfft, a length": (lambda x: anp.fft.irfft(x + 1j * x[::-1], 4), (_row[:3],)),
    "numpy.linalg.norm, nuclear": (lambda x: anp.linalg.norm(x, "nuc"), (_x,)),
    "numpy.linalg.norm, 3": (lambda x: anp.linalg.norm(x, 3, axis=1), (_x,)),
    "numpy.linalg.svd, values": (lambda x: anp.linalg.svd(x, compute_uv=False), (_x,)),
    "numpy.linalg.svd": (lambda x: anp.abs(anp.linalg.svd(x, full_matrices=False)[0]), (_x,)),
    "numpy.linalg.cholesky": (
        lambda x: anp.linalg.cholesky(x + x.T),
        (_spd,),
    ),  # gradient for symmetric matrices
    "numpy.linalg.eig": (lambda x: anp.abs(anp.linalg.eig(x)[0]), (_square,)),
    "numpy.linalg.eigh, U": (lambda x: anp.linalg.eigh(x, UPLO="U")[0], (_spd,)),
    "scipy.integrate.odeint": (
        lambda y, t, a: integrate.odeint(
            lambda y, t, a: -a * y + anp.sin(t), y, t, make_tuple((a,)), rtol=1e-12, atol=1e-12
        ),
        (_row[:2], np.array([0.0, 0.4, 1.0]), np.array(0.8)),
    ),
    "scipy.linalg._matfuncs.sqrtm": (lambda x: anp.real(linalg.sqrtm(x)), (_spd,)),
    "scipy.linalg.solve_banded": (
        lambda a, b: linalg.solve_banded((1, 1), a, b),
        (_rng.normal(size=(3, 5)) + np.array([[0.0], [5.0], [0.0]]), _row),
    ),
    "scipy.linalg.solve_sylvester": (linalg.solve_sylvester, (_spd, _spd + np.eye(3), _square)),
    "scipy.linalg.solve_triangular": (
        lambda a, b: linalg.solve_triangular(a, b, trans="T", lower=True),
        (_square + 3 * np.eye(3), _square),
    ),
    "numpy.yn": (lambda x: special.yn(2, x), (_more,)),  # the order is an integer
    "scipy.special.polygamma": (lambda x: special.polygamma(2, x), (_more,)),
    "scipy.special.multigammaln": (lambda a: special.multigammaln(a, 3), (np.array(2.7),)),
    "scipy.special.logsumexp, axis": (lambda x: special.logsumexp(x, axis=1), (_x,)),
    "scipy.stats.chi2.logpdf": (lambda x: stats.chi2.logpdf(x, 4.5), (_more,)),
    "scipy.stats.chi2.pdf": (lambda x: stats.chi2.pdf(x, 4.5), (_more,)),
    "scipy.stats.poisson.logpmf": (lambda m: stats.poisson.logpmf(_counts, m), (_more,)),
    "scipy.stats.poisson.pmf": (lambda m: stats.poisson.pmf(_counts, m), (_more,)),
    # As for cholesky, the gradient with respect to a covariance is for symmetric matrices.
    "scipy.stats.multivariate_normal.logpdf": (
        lambda x, m, c: stats.multivariate_normal.logpdf(x, m, c + c.T),
        (_row[:3], _row[2:], _spd),
    ),
    "scipy.stats.multivariate_normal.pdf": (
        lambda x, m, c: stats.multivariate_normal.pdf(x, m, c + c.T),
        (_row[:3], _row[2:], _spd),
    ),
    "scipy.stats.multivariate_normal.entropy": (
        lambda c: stats.multivariate_normal.entropy(_row[:3], c + c.T),
        (_spd,),
    ),
    "scipy.stats.dirichlet.logpdf": (lambda a: stats.dirichlet.logpdf(_unit, a), (_more,)),
    "scipy.stats.dirichlet.pdf": (lambda a: stats.dirichlet.pdf(_unit, a), (_more,)),
}
