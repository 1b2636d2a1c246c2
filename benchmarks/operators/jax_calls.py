"""Calls of JAX's functions that need more than arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_rng = np.random.default_rng(0)
_row, _x, _square = _rng.normal(size=5), _rng.normal(size=(3, 4)), _rng.normal(size=(3, 3))
_image, _filters = _rng.normal(size=(2, 2, 5, 6)), _rng.normal(size=(4, 2, 3, 2))
_places, _twice = jnp.array([2, 0]), jnp.array([1, 1])
_symmetric = _square @ _square.T + np.eye(3)

CALLS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "lax.conv_general_dilated": (
        lambda x, w: lax.conv_general_dilated(x, w, (2, 1), ((1, 0), (2, 1)), rhs_dilation=(1, 2)),
        (_image, _filters),
    ),
    "lax.conv_transpose": (
        lambda x, w: lax.conv_transpose(x, w, (2, 1), "SAME"),
        (_image.transpose(0, 2, 3, 1), _rng.normal(size=(3, 2, 2, 3))),
    ),
    "lax.dot_general": (
        lambda a, b: lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,)))),
        (_rng.normal(size=(2, 3, 4)), _rng.normal(size=(2, 4, 2))),
    ),
    "lax.reduce_window max": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 2), (1, 1, 2, 1), "SAME"),
        (_image,),
    ),
    "lax.reduce_window sum": (
        lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 1, 3, 2), (1, 1, 2, 1), "VALID"),
        (_image,),
    ),
    "lax.dynamic_slice": (lambda x: lax.dynamic_slice(x, (1, 2), (2, 2)), (_x,)),
    "lax.dynamic_update_slice": (lambda x, y: lax.dynamic_update_slice(x, y, (1, 2)), (_x, _x[:2, :2] + 1)),
    "lax.pad": (lambda x, y: lax.pad(x, y, ((1, -1, 0), (0, 2, 1))), (_x, np.array(0.5))),
    "lax.rev": (lambda x: lax.rev(x, (1,)), (_x,)),
    "lax.transpose": (lambda x: lax.transpose(x, (1, 0)), (_x,)),
    "lax.clamp": (lax.clamp, (_x / 8 - 0.5, _x, _x[::-1] / 8 + 0.5)),
    "lax.reshape": (lambda x: lax.reshape(x, (2, 6)), (_x,)),
    "lax.cumsum": (lambda x: lax.cumsum(x, axis=1, reverse=True), (_x,)),
    "lax.cumprod": (lambda x: lax.cumprod(x, axis=1), (_x,)),
    "lax.cummax": (lambda x: lax.cummax(x, axis=1), (_x,)),
    "lax.cumlogsumexp": (lambda x: lax.cumlogsumexp(x, axis=1), (_x,)),
    "lax.associative_scan": (lambda x: lax.associative_scan(jnp.multiply, x), (_x,)),
    "lax.scan": (lambda c, x: lax.scan(lambda c, x: (jnp.tanh(c + x), c * x), c, x), (_x[0], _x)),
    "lax.fori_loop": (lambda x: lax.fori_loop(0, 4, lambda _, y: jnp.sin(y) * x, x), (_x,)),
    "lax.cond": (lambda x: lax.cond(True, jnp.sin, jnp.cos, x), (_x,)),
    "lax.map": (lambda x: lax.map(jnp.sinh, x), (_x,)),
    "lax.custom_root": (
        lambda a: lax.custom_root(
            lambda x: x**3 + x - a,
            jnp.zeros_like(a),
            lambda f, x: lax.fori_loop(0, 60, lambda _, y: y - f(y) / (3 * y**2 + 1), x),
            lambda g, y: y / g(jnp.ones_like(y)),
        ),
        (_x,),
    ),
    "lax.custom_linear_solve": (
        lambda a, b: lax.custom_linear_solve(
            lambda x: a @ x,
            b,
            lambda _, y: jnp.linalg.solve(a, y),
            transpose_solve=lambda _, y: jnp.linalg.solve(a.T, y),
        ),
        (_square + 3 * np.eye(3), _row[:3]),
    ),
    "lax.top_k": (lambda x: lax.top_k(x, 2), (_x,)),
    "lax.sort_key_val": (lambda x, y: lax.sort_key_val(x, y), (_x, _x + 1)),
    "lax.linalg.triangular_solve": (
        lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True, lower=True),
        (_square + 3 * np.eye(3), _square),
    ),
    "lax.linalg.tridiagonal_solve": (
        lax.linalg.tridiagonal_solve,
        (_row, _row + 4, _row + 1, _rng.normal(size=(5, 2))),
    ),
    "numpy.take": (lambda x: jnp.take(x, _places, axis=1), (_x,)),
    "numpy.take_along_axis": (lambda x: jnp.take_along_axis(x, jnp.array([[0], [3], [3]]), 1), (_x,)),
    "indexing": (lambda x: x[_twice, 1:], (_x,)),
    "x.at[].set": (lambda x, y: x.at[_places].set(y), (_x, _x[:2] + 1)),
    "x.at[].set, an index twice": (lambda x, y: x.at[_twice].set(y), (_x, _x[:2] + 1)),
    "x.at[].add, an index twice": (lambda x, y: x.at[_twice].add(y), (_x, _x[:2] + 1)),
    "x.at[].multiply": (lambda x, y: x.at[_places].multiply(y, unique_indices=True), (_x, _x[:2] + 1)),
    "x.at[].max": (lambda x, y: x.at[_places].max(y), (_x, _x[:2] + 1)),
    "x.at[].max, an index twice": (lambda x, y: x.at[_twice].max(y), (_x, _x[:2] + 1)),
    "x.at[].divide": (lambda x, y: x.at[_places].divide(y, unique_indices=True), (_x, _x[:2] + 3)),
    "x.at[].power": (lambda x, y: x.at[_places].power(y, unique_indices=True), (_x + 5, _x[:2])),
    "numpy.einsum": (lambda a, b: jnp.einsum("ij,kj->ik", a, b), (_x, _x[:2])),
    "numpy.einsum, a diagonal": (lambda a: jnp.einsum("ii->i", a), (_square,)),
    "numpy.roll": (lambda x: jnp.roll(x, 2, 1), (_x,)),
    "numpy.repeat": (lambda x: jnp.repeat(x, 3, 1), (_x,)),
    "numpy.tile": (lambda x: jnp.tile(x, (2, 3)), (_x,)),
    "numpy.pad": (lambda x: jnp.pad(x, 2, mode="reflect"), (_x,)),
    "numpy.percentile": (lambda x: jnp.percentile(x, 37.5, axis=1), (_x,)),
    "numpy.quantile": (lambda x: jnp.quantile(x, jnp.array([0.1, 0.77])), (_x,)),
    "numpy.partition": (lambda x: jnp.partition(x, 2), (_x,)),
    "numpy.select": (lambda a, b: jnp.select([a > 0, b > 0], [a * b, a]), (_x, _x[::-1])),
    "numpy.piecewise": (lambda x: jnp.piecewise(x, [x < 0, x >= 0], [jnp.sin, jnp.exp]), (_x,)),
    "numpy.linalg.matrix_power": (lambda x: jnp.linalg.matrix_power(x, 5), (_square,)),
    "numpy.linalg.matrix_power, negative": (lambda x: jnp.linalg.matrix_power(x, -3), (_square,)),
    "numpy.linalg.norm, nuclear": (lambda x: jnp.linalg.norm(x, "nuc"), (_x,)),
    "numpy.linalg.norm, 3": (lambda x: jnp.linalg.norm(x, 3, axis=1), (_x,)),
    "numpy.linalg.qr": (lambda x: jnp.linalg.qr(x.T), (_x,)),
    "numpy.linalg.svd": (lambda x: jnp.linalg.svd(x, compute_uv=False), (_x,)),
    "numpy.linalg.eigh": (lambda x: jnp.linalg.eigh(x + x.T)[0], (_square,)),
    "scipy.linalg.expm": (jax.scipy.linalg.expm, (_square,)),
    "scipy.linalg.expm, large": (jax.scipy.linalg.expm, (20 * _square,)),
    "scipy.linalg.sqrtm": (lambda x: jax.scipy.linalg.sqrtm(x @ x.T).real, (_square + 2 * np.eye(3),)),
    "scipy.linalg.cho_solve": (lambda a, b: jax.scipy.linalg.cho_solve((a, True), b), (_symmetric, _square)),
    "scipy.ndimage.map_coordinates": (
        lambda x, y: jax.scipy.ndimage.map_coordinates(x, y, order=1),
        (_x, np.array([[0.3, 1.6], [1.7, 2.2]])),
    ),
    "scipy.special.polygamma": (lambda x: jax.scipy.special.polygamma(2, x), (np.abs(_x) + 0.5,)),
    "scipy.special.logsumexp": (lambda x: jax.scipy.special.logsumexp(x, axis=1), (_x,)),
    "scipy.special.betainc": (
        lambda x: jax.scipy.special.betainc(jnp.array([1.5, 3.0]), jnp.array([2.5, 0.7]), x),
        (np.array([0.3, 0.6]),),
    ),
    "scipy.special.gammainc": (jax.scipy.special.gammainc, (np.array([1.5, 3.0, 9.0]), np.array([2.5, 0.7, 8.0]))),
    "scipy.special.gammaincc": (jax.scipy.special.gammaincc, (np.array([1.5, 3.0, 9.0]), np.array([2.5, 0.7, 8.0]))),
    "scipy.special.hyp1f1": (
        jax.scipy.special.hyp1f1,
        (np.array([1.5, 3.0]), np.array([2.5, 1.7]), np.array([0.3, 1.6])),
    ),
    "scipy.special.sph_harm_y": (
        lambda theta, phi: jax.scipy.special.sph_harm_y(jnp.array([2]), jnp.array([1]), theta, phi, n_max=2),
        (np.array([0.7]), np.array([0.4])),
    ),
    "scipy.stats.dirichlet.logpdf": (
        jax.scipy.stats.dirichlet.logpdf,
        (np.array([0.2, 0.3, 0.5]), np.array([1.5, 2.0, 3.0])),
    ),
    "scipy.stats.multivariate_normal.logpdf": (
        lambda x, m, c: jax.scipy.stats.multivariate_normal.logpdf(x, m, c @ c.T),
        (_row[:3], _row[2:], _symmetric),
    ),
    "nn.gelu, exact": (lambda x: jax.nn.gelu(x, approximate=False), (_x,)),
    "nn.logsumexp, a mask": (lambda x: jax.nn.logsumexp(x, where=x < 0.5, axis=1), (_x,)),
    "nn.dot_product_attention": (
        jax.nn.dot_product_attention,
        tuple(_rng.normal(size=(2, 4, 2, 3)) for _ in range(3)),
    ),
    "nn.standardize": (lambda x: jax.nn.standardize(x), (_x,)),
    "image.resize": (lambda x: jax.image.resize(x, (5, 3), "bicubic"), (_x,)),
    "image.scale_and_translate": (
        lambda x, s, t: jax.image.scale_and_translate(x, (5, 5), (0, 1), s, t, "linear"),
        (_x, np.array([1.3, 1.2]), np.array([0.11, 0.23])),
    ),
    "experimental.ode.odeint": (
        lambda y, t, a: __import__("jax.experimental.ode", fromlist=["odeint"]).odeint(
            lambda y, t, a: -a * y + jnp.sin(t), y, t, a, rtol=1e-12, atol=1e-12
        ),
        (_row[:2], np.array([0.0, 0.4, 1.0]), np.array(0.8)),
    ),
}
