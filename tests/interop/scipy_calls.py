"""SciPy: `special`, `stats`, and what else takes the arrays of any library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

os.environ["SCIPY_ARRAY_API"] = "1"  # read when SciPy is imported

import numpy as np
import pytest
from array_api_compat import array_namespace
from scipy import (
    constants,
    differentiate,
    fft,
    integrate,
    interpolate,
    linalg,
    ndimage,
    optimize,
    signal,
    special,
    stats,
)
from scipy.cluster import vq
from scipy.optimize import elementwise
from scipy.spatial import distance
from scipy.spatial.transform import RigidTransform, Rotation, Slerp

import gradlite as gl
from tests.interop.calls import (
    A_NUMBER,
    CONSTANT,
    MIXED,
    NO_RULE,
    TO_NUMPY,
    UFUNC,
    WRITTEN_OVER,
    Call,
    Reason,
    check,
    check_page,
    normal,
    positive,
    refuses,
    rows,
    works,
)

X, Y = normal(3, 8), normal(3, 8, seed=1)
P, Q = positive(3, 8), positive(3, 8, seed=1)
LONG = normal(2, 24)
ODDS = P / 3.0  # between 0 and 1
HOLED = np.where(np.eye(3, 8) > 0.0, np.nan, P)
C = np.asarray([0.7, 1.2])

# SciPy asks a dtype for its `ndim`, and a NumPy scalar type has one for its instances.
DTYPE_NDIM: Reason = (TypeError, "'getset_descriptor' and 'int'")
# The ends have the weight 0, and 1 / x^2 is infinite there.
INFINITE: Reason = (RuntimeWarning, "invalid value encountered in multiply")

Function = Callable[..., Any]


def along(name: str) -> Function:
    """Return a function of `scipy.stats` along the last axis."""
    return partial(getattr(stats, name), axis=-1)


def with_p(name: str, **options: Any) -> Function:
    """Return a hypothesis test as a function that gives its statistic and p."""

    def call(*samples: Any) -> tuple[Any, Any]:
        result = getattr(stats, name)(*samples, axis=-1, **options)
        return result.statistic, result.pvalue

    return call


def without_p(name: str, **options: Any) -> Function:
    """Return a hypothesis test as a function that gives its statistic."""
    return lambda *samples: getattr(stats, name)(*samples, axis=-1, **options).statistic


def special_rows() -> Iterator[Call]:
    for name in (
        "erf", "erfc", "erfcx", "expit", "i0", "i0e", "i1", "i1e", "log_ndtr", "ndtr"
    ):  # fmt: skip
        yield works(f"scipy.special.{name}", getattr(special, name), X)
    for name in ("digamma", "entr", "gammaln", "psi"):
        yield works(f"scipy.special.{name}", getattr(special, name), P)
    for name in ("erfinv", "logit", "ndtri"):
        yield works(f"scipy.special.{name}", getattr(special, name), ODDS)
    for name in ("betaln", "kl_div", "rel_entr", "xlog1py", "xlogy"):
        yield works(f"scipy.special.{name}", getattr(special, name), P, Q)
    for name in ("log_softmax", "logsumexp", "softmax"):
        function = partial(getattr(special, name), axis=1)
        yield works(f"scipy.special.{name}", function, X)
    yield works(
        "scipy.special.logsumexp, complex",
        partial(special.logsumexp, axis=1),
        X + 1j * Y,
    )
    yield works(
        "scipy.special.logsumexp, weights",
        lambda x, b: special.logsumexp(x, axis=1, b=b, return_sign=True)[0],
        X,
        Y,
    )
    yield works("scipy.special.polygamma", lambda x: special.polygamma(1, x), P)
    yield works("scipy.special.chdtrc", lambda x: special.chdtrc(3.0, x), P)
    yield works("scipy.special.stdtr", lambda t: special.stdtr(3.0, t), X)
    yield works("scipy.special.stdtrit", lambda p: special.stdtrit(3.0, p), ODDS)
    yield works("scipy.special.fdtrc", lambda x: special.fdtrc(3.0, 4.0, x), P)
    yield works("scipy.special.betainc", lambda x: special.betainc(1.5, 2.0, x), ODDS)

    yield refuses("scipy.special.chdtrc by v", NO_RULE, special.chdtrc, P, Q)
    yield refuses("scipy.special.stdtr by df", NO_RULE, special.stdtr, P, X)
    yield refuses("scipy.special.stdtrit by df", NO_RULE, special.stdtrit, P, ODDS)
    yield refuses("scipy.special.fdtrc by dfn", NO_RULE, special.fdtrc, P, Q, P)
    yield refuses("scipy.special.betainc by a", NO_RULE, special.betainc, P, Q, ODDS)
    for name in ("cbrt", "exp10", "gamma", "rgamma", "sinc"):
        yield refuses(f"scipy.special.{name}", TO_NUMPY, getattr(special, name), P)
    for name in ("gammainc", "gammaincc", "poch"):
        yield refuses(f"scipy.special.{name}", TO_NUMPY, getattr(special, name), P, Q)
    yield refuses(
        "scipy.special.multigammaln",
        TO_NUMPY,
        lambda x: special.multigammaln(x, 2),
        P + 2.0,
    )
    for name in ("expm1", "log1p", "log_expit"):
        yield refuses(f"scipy.special.{name}", UFUNC, getattr(special, name), P)


def mean(x: Any, axis: int) -> Any:
    """Return the mean along an axis."""
    return array_namespace(x).mean(x, axis=axis)


def bootstrap(x: Any) -> tuple[Any, ...]:
    """Return the standard error of the mean and its confidence interval."""
    found = stats.bootstrap((x,), mean, n_resamples=20, vectorized=True, axis=1, rng=0)
    return found.standard_error, *found.confidence_interval


def monte_carlo_test(x: Any) -> Any:
    """Return the mean, as the statistic of a test."""
    numbers = np.random.default_rng(0).normal
    options = {"n_resamples": 9, "vectorized": True, "axis": 1}
    return stats.monte_carlo_test(x, numbers, mean, **options).statistic


def permutation_test(x: Any, y: Any) -> Any:
    """Return a test of the difference of two means."""
    difference = lambda x, y, axis: mean(x, axis) - mean(y, axis)  # noqa: E731
    options = {"n_resamples": 9, "vectorized": True, "axis": 1, "rng": 0}
    return stats.permutation_test((x, y), difference, **options)


def stats_rows() -> Iterator[Call]:
    for name in (
        "boxcox_llf", "circmean", "circstd", "circvar", "differential_entropy",
        "entropy", "gmean", "gstd", "gzscore", "hmean", "iqr", "kstat", "kstatvar",
        "kurtosis", "lmoment", "median_abs_deviation", "sem", "skew", "tmax", "tmean",
        "tmin", "tsem", "tstd", "tvar", "variation", "zscore",
    ):  # fmt: skip
        function = along(name)
        if name == "boxcox_llf":
            function = partial(stats.boxcox_llf, 0.7, axis=-1)
        yield works(f"scipy.stats.{name}", function, P)
    yield works("scipy.stats.entropy, relative", along("entropy"), P, Q)
    yield works("scipy.stats.zmap", along("zmap"), X, Y)
    yield works("scipy.stats.moment", lambda x: stats.moment(x, 3, axis=-1), X)
    yield works("scipy.stats.pmean", lambda x: stats.pmean(x, 2.5, axis=-1), P)
    yield works("scipy.stats.trim_mean", lambda x: stats.trim_mean(x, 0.2, axis=-1), X)
    yield works(
        "scipy.stats.yeojohnson_llf", stats.yeojohnson_llf, np.asarray(0.7), X[0]
    )
    yield works("scipy.stats.sigmaclip", lambda x: stats.sigmaclip(x)[0], X[0])
    yield works("scipy.stats.describe", lambda x: stats.describe(x, axis=-1)[1:], X)
    for method in ("hazen", "interpolated_inverted_cdf", "linear", "weibull"):
        yield works(
            f"scipy.stats.quantile, {method}",
            partial(stats.quantile, method=method, axis=-1, keepdims=True),
            X,
            np.asarray([[0.2, 0.55, 0.8]]),
        )
    for method in (
        "averaged_inverted_cdf", "closest_observation", "harrell-davis",
        "inverted_cdf", "median_unbiased", "normal_unbiased", "round_nearest",
    ):  # fmt: skip
        function = partial(stats.quantile, p=0.3, method=method, axis=-1)
        yield works(f"scipy.stats.quantile, {method}", function, X)
    yield works(
        "scipy.stats.quantile, weights",
        lambda x: stats.quantile(
            x,
            0.3,
            method="inverted_cdf",
            axis=-1,
            weights=array_namespace(x).asarray(P),
        ),
        X,
    )
    yield works(
        "scipy.stats.directional_stats",
        lambda x: (
            stats.directional_stats(x).mean_direction,
            stats.directional_stats(x).mean_resultant_length,
        ),
        X,
    )
    yield works(
        "scipy.stats.false_discovery_control", along("false_discovery_control"), ODDS
    )

    for name in ("jarque_bera", "kurtosistest", "normaltest", "skewtest"):
        yield works(f"scipy.stats.{name}", with_p(name), LONG)
    for name in ("chisquare", "power_divergence"):
        yield works(f"scipy.stats.{name}", with_p(name), P)
    yield works("scipy.stats.combine_pvalues", with_p("combine_pvalues"), ODDS)
    yield works(
        "scipy.stats.combine_pvalues, stouffer",
        with_p("combine_pvalues", method="stouffer"),
        ODDS,
    )
    yield works("scipy.stats.ttest_1samp", with_p("ttest_1samp", popmean=0.1), X)
    for name in (
        "bartlett", "epps_singleton_2samp", "levene", "pearsonr", "ttest_ind",
        "ttest_rel",
    ):  # fmt: skip
        yield works(f"scipy.stats.{name}", with_p(name), X, Y)
    yield works(
        "scipy.stats.ttest_ind, Welch",
        without_p("ttest_ind", equal_var=False),
        X,
        Y,
    )
    yield works(
        "scipy.stats.ttest_ind_from_stats",
        lambda m1, s1, m2, s2: stats.ttest_ind_from_stats(m1, s1, 10, m2, s2, 12)[:],
        X[0],
        P[0],
        Y[0],
        Q[0],
    )
    yield works(
        "scipy.stats.pearsonr, confidence_interval",
        lambda x, y: stats.pearsonr(x, y, axis=-1).confidence_interval()[:],
        X,
        Y,
    )
    for name in ("alexandergovern", "f_oneway"):
        yield works(f"scipy.stats.{name}", with_p(name), X, Y, P)
    yield works(
        "scipy.stats.f_oneway, Welch",
        without_p("f_oneway", equal_var=False),
        X,
        Y,
        P,
    )

    yield works("scipy.stats.bootstrap", bootstrap, X)
    yield works("scipy.stats.monte_carlo_test, statistic", monte_carlo_test, X)
    yield works(
        "scipy.stats.permutation_test, statistic",
        lambda x, y: permutation_test(x, y).statistic,
        X,
        Y,
    )

    for name in ("f_oneway", "ttest_ind"):
        yield refuses(
            f"scipy.stats.{name}(equal_var=False).pvalue",
            NO_RULE,
            with_p(name, equal_var=False),
            X,
            Y,
        )
    yield refuses(
        "scipy.stats.boxcox_llf by lmb",
        A_NUMBER,
        lambda lmb: stats.boxcox_llf(lmb, array_namespace(lmb).asarray(P[0])),
        np.asarray(0.7),
    )
    yield refuses(
        "scipy.stats.permutation_test(...).pvalue",
        CONSTANT,
        lambda x, y: permutation_test(x, y).pvalue,
        X,
        Y,
    )
    for name in ("ansari", "cramervonmises_2samp", "fligner", "mannwhitneyu"):
        yield refuses(f"scipy.stats.{name}", CONSTANT, with_p(name), X, Y)
    yield refuses("scipy.stats.rankdata", CONSTANT, stats.rankdata, X)
    for name in ("energy_distance", "wasserstein_distance"):
        yield refuses(f"scipy.stats.{name}", TO_NUMPY, getattr(stats, name), X[0], Y[0])
    for name in ("kendalltau", "linregress", "spearmanr", "theilslopes"):
        yield refuses(
            f"scipy.stats.{name}",
            TO_NUMPY,
            lambda x, y, name=name: getattr(stats, name)(x, y)[0],
            X[0],
            Y[0],
        )
    yield refuses("scipy.stats.expectile", TO_NUMPY, stats.expectile, X[0])
    yield refuses("scipy.stats.shapiro", TO_NUMPY, lambda x: stats.shapiro(x)[0], X)
    yield refuses("scipy.stats.norm.logpdf", TO_NUMPY, stats.norm.logpdf, X)
    yield refuses("scipy.stats.gaussian_kde", TO_NUMPY, stats.gaussian_kde, X)
    yield refuses("scipy.stats.Normal", TO_NUMPY, lambda x: stats.Normal(mu=x), X)


def cubature(a: Any, b: Any, c: Any) -> Any:
    """Return the integral of exp(-c x) cos(y) over a rectangle."""
    xp = array_namespace(a)
    function = lambda x, c: xp.exp(-c * x[:, 0]) * xp.cos(x[:, 1])  # noqa: E731
    return integrate.cubature(function, a, b, args=(c,)).estimate


def tanhsinh(c: Any, *, preserve_shape: bool, end: float = 2.0) -> Any:
    """Return the integral of exp(-c x) from 0 to `end`."""
    xp = array_namespace(c)
    return integrate.tanhsinh(
        lambda x, c: xp.exp(-c * x),
        xp.asarray(0.0),
        xp.asarray(end),
        args=(c,),
        preserve_shape=preserve_shape,
    ).integral


def nsum(c: Any) -> Any:
    """Return a sum of 20 terms."""
    xp = array_namespace(c)
    return integrate.nsum(
        lambda k, c: 1.0 / (k**2 + c), xp.asarray(1.0), xp.asarray(20.0), args=(c,)
    ).sum


def find_root(c: Any) -> Any:
    """Return the root of x^3 + c x = 1."""
    xp = array_namespace(c)
    bracket = (xp.zeros_like(c), xp.full_like(c, 2.0))
    return elementwise.find_root(lambda x, c: x**3 + c * x - 1.0, bracket, args=(c,)).x


def bracket_root(c: Any) -> Any:
    """Return two points around the root of x^3 + c x = 1, and the values there."""
    xp = array_namespace(c)
    found = elementwise.bracket_root(
        lambda x, c: x**3 + c * x - 1.0, xp.zeros_like(c), args=(c,)
    )
    return found.f_bracket


def find_minimum(c: Any) -> Any:
    """Return the minimum of exp(x) - c x, which is c - c log(c)."""
    xp = array_namespace(c)
    bracket = (xp.full_like(c, -3.0), xp.zeros_like(c), xp.full_like(c, 3.0))
    function = lambda x, c: xp.exp(x) - c * x  # noqa: E731
    return elementwise.find_minimum(function, bracket, args=(c,)).f_x


def derivative(x: Any, c: Any, *, preserve_shape: bool) -> Any:
    """Return the derivative of a logistic curve, by differences."""
    return differentiate.derivative(
        lambda x, c: special.expit(c * x),
        x,
        args=(c,),
        preserve_shape=preserve_shape,
    ).df


def analysis_rows() -> Iterator[Call]:
    times, times_increasing = np.sort(Y, axis=1), np.cumsum(P, axis=1)
    yield works(
        "scipy.integrate.trapezoid",
        lambda y, x: integrate.trapezoid(y, x, axis=1),
        X,
        times,
    )
    yield works(
        "scipy.integrate.cumulative_trapezoid",
        lambda y, x: integrate.cumulative_trapezoid(y, x, axis=1, initial=0),
        X,
        times,
    )
    yield works(
        "scipy.integrate.cumulative_simpson",
        lambda y, x: integrate.cumulative_simpson(y, x=x, axis=1),
        X,
        times_increasing,
    )
    yield works(
        "scipy.integrate.cubature",
        cubature,
        np.asarray([0.0, 0.1]),
        np.asarray([1.0, 0.9]),
        np.asarray(0.7),
    )
    yield works(
        "scipy.integrate.cubature, limits",
        lambda a, b: integrate.cubature(lambda x: x[:, 0] ** 2, a, b).estimate,
        np.asarray([0.1]),
        np.asarray([1.3]),
    )
    yield works("scipy.integrate.nsum", nsum, C)
    yield works(
        "scipy.integrate.tanhsinh(preserve_shape=True)",
        partial(tanhsinh, preserve_shape=True),
        C,
    )
    yield refuses(
        "scipy.integrate.tanhsinh",
        DTYPE_NDIM,
        partial(tanhsinh, preserve_shape=False),
        C,
    )
    yield refuses(
        "scipy.integrate.tanhsinh to infinity",
        INFINITE,
        partial(tanhsinh, preserve_shape=True, end=np.inf),
        C,
    )
    yield refuses(
        "scipy.integrate.simpson", TO_NUMPY, lambda y: integrate.simpson(y, axis=1), X
    )
    yield refuses("scipy.integrate.romb", WRITTEN_OVER, integrate.romb, normal(2, 9))

    yield works("scipy.optimize.elementwise.find_root", find_root, C)
    yield works("scipy.optimize.elementwise.bracket_root", bracket_root, C)
    yield works("scipy.optimize.elementwise.find_minimum", find_minimum, C)
    for name in ("rosen", "rosen_der", "rosen_hess"):
        yield works(f"scipy.optimize.{name}", getattr(optimize, name), X[0])
    yield works("scipy.optimize.rosen_hess_prod", optimize.rosen_hess_prod, X[0], Y[0])
    yield refuses(
        "scipy.optimize.minimize",
        TO_NUMPY,
        lambda x: optimize.minimize(optimize.rosen, x, options={"maxiter": 2}),
        X[0],
    )

    yield works(
        "scipy.differentiate.derivative(preserve_shape=True)",
        partial(derivative, preserve_shape=True),
        C,
        P[0, :2],
    )
    yield refuses(
        "scipy.differentiate.derivative",
        DTYPE_NDIM,
        partial(derivative, preserve_shape=False),
        C,
        P[0, :2],
    )
    yield works(
        "scipy.differentiate.jacobian",
        lambda x: differentiate.jacobian(lambda x: x**3, x).df,
        C,
    )
    yield works(
        "scipy.differentiate.hessian",
        lambda x: differentiate.hessian(optimize.rosen, x).ddf,
        C,
    )


def signal_rows() -> Iterator[Call]:
    for name in (
        "fft", "fft2", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2",
        "ifftn", "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn",
        "rfft", "rfft2", "rfftn",
    ):  # fmt: skip
        yield works(f"scipy.fft.{name}", getattr(fft, name), X)
    yield works("scipy.fft.fft, complex", lambda z: fft.fft(z, 5), X + 1j * Y)
    for name in ("fht", "ifht"):
        function = partial(getattr(fft, name), dln=0.1, mu=0.3)
        yield works(f"scipy.fft.{name}", function, P)
    for name in ("dct", "dctn", "dst", "idct"):
        yield refuses(f"scipy.fft.{name}", TO_NUMPY, getattr(fft, name), X)

    kernel, poles = normal(4), np.asarray([1.0, 0.3])
    yield works("scipy.signal.fftconvolve", signal.fftconvolve, X[0], kernel)
    yield works("scipy.signal.oaconvolve", signal.oaconvolve, normal(40), normal(4))
    for name in ("convolve", "correlate"):
        function = partial(getattr(signal, name), method="fft")
        yield works(f'scipy.signal.{name}(method="fft")', function, X[0], kernel)
    for name in ("hilbert", "hilbert2"):
        yield works(f"scipy.signal.{name}", getattr(signal, name), X)
    yield works("scipy.signal.envelope", signal.envelope, LONG)
    yield works(
        "scipy.signal.freqz", lambda b, a: signal.freqz(b, a, 16)[1], kernel, poles
    )
    yield works(
        "scipy.signal.freqs",
        lambda b, a: signal.freqs(b, a, array_namespace(b).linspace(0.1, 2.0, 8))[1],
        kernel,
        poles,
    )
    zpk = normal(2), normal(3), np.asarray(1.5)
    yield works(
        "scipy.signal.freqz_zpk", lambda *zpk: signal.freqz_zpk(*zpk, 8)[1], *zpk
    )
    yield works(
        "scipy.signal.freqs_zpk",
        lambda z, p, k: signal.freqs_zpk(z, p, k, abs(p))[1],
        *zpk,
    )
    bilinear_zpk = partial(signal.bilinear_zpk, fs=2.0)
    yield works("scipy.signal.bilinear_zpk", bilinear_zpk, *zpk)
    for name in ("lp2bp_zpk", "lp2bs_zpk", "lp2hp_zpk", "lp2lp_zpk"):
        yield works(f"scipy.signal.{name}", getattr(signal, name), *zpk)
    ratio = np.asarray([1.0, 0.2, 1.5]), np.asarray([1.0, 0.5, 2.0])
    for name in ("lp2bp", "lp2bs", "lp2hp", "lp2lp", "normalize", "tf2zpk"):
        yield works(f"scipy.signal.{name}", getattr(signal, name), *ratio)
    yield works("scipy.signal.resample", lambda x: signal.resample(x, 11, axis=1), X)
    yield works("scipy.signal.firwin", lambda f: signal.firwin(7, f), np.asarray(0.3))
    yield works(
        "scipy.signal.vectorstrength", lambda x: signal.vectorstrength(x, 2.0), P[0]
    )
    yield refuses("scipy.signal.convolve", TO_NUMPY, signal.convolve, X, Y)
    for name in ("cspline1d", "detrend", "medfilt", "periodogram"):
        yield refuses(f"scipy.signal.{name}", TO_NUMPY, getattr(signal, name), X[0])
    yield refuses("scipy.signal.lfilter", TO_NUMPY, signal.lfilter, kernel, poles, X)
    yield refuses(
        "scipy.signal.savgol_filter",
        TO_NUMPY,
        lambda x: signal.savgol_filter(x, 5, 2),
        X,
    )
    yield refuses(
        "scipy.signal.windows.gaussian",
        UFUNC,
        lambda std: signal.windows.gaussian(8, std),
        np.asarray(1.3),
    )


def geometry_rows() -> Iterator[Call]:
    vectors, more = normal(2, 3), normal(2, 3, seed=1)
    quats, others = normal(2, 4), normal(2, 4, seed=1)
    named = "scipy.spatial.transform"
    turn, from_quat = Rotation.from_rotvec, Rotation.from_quat
    for name, function, inputs in (
        ("from_rotvec", lambda r, v: turn(r).apply(v), (vectors, more)),
        ("from_quat", lambda q: from_quat(q).as_matrix(), (quats,)),
        ("from_euler", lambda a: Rotation.from_euler("xyz", a).as_quat(), (vectors,)),
        (
            "from_matrix",
            lambda r: Rotation.from_matrix(turn(r).as_matrix()).as_rotvec(),
            (vectors,),
        ),
        ("as_euler", lambda q: from_quat(q).as_euler("xyz"), (quats,)),
        (
            "__mul__",
            lambda p, q: (from_quat(p) * from_quat(q)).as_mrp(),
            (quats, others),
        ),
        ("__pow__", lambda q: (from_quat(q) ** 1.5).as_rotvec(), (quats,)),
        ("inv", lambda q: from_quat(q).inv().as_rotvec(), (quats,)),
        ("magnitude", lambda q: from_quat(q).magnitude(), (quats,)),
        ("mean", lambda q: from_quat(q).mean().as_quat(), (quats,)),
        (
            "align_vectors",
            lambda a, b: Rotation.align_vectors(a, b)[0].as_quat(),
            (normal(4, 3), normal(4, 3, seed=1)),
        ),
    ):
        yield works(f"{named}.Rotation.{name}", function, *inputs)
    yield works(
        f"{named}.RigidTransform",
        lambda t, r: RigidTransform.from_components(t, turn(r)).as_exp_coords(),
        vectors,
        more,
    )
    yield works(
        f"{named}.Slerp",
        lambda q: Slerp([0.0, 1.0], from_quat(q))(0.3).as_quat(),
        quats,
    )
    yield works("scipy.cluster.vq.whiten", vq.whiten, X)
    for name in ("lambda2nu", "nu2lambda"):
        yield works(f"scipy.constants.{name}", getattr(constants, name), P)
    yield works(
        "scipy.constants.convert_temperature",
        lambda x: constants.convert_temperature(x, "Celsius", "Fahrenheit"),
        X,
    )

    yield refuses("scipy.spatial.distance.cdist", TO_NUMPY, distance.cdist, X, Y)
    yield refuses("scipy.spatial.distance.pdist", TO_NUMPY, distance.pdist, X)
    yield refuses("scipy.cluster.vq.vq", TO_NUMPY, vq.vq, X, Y)
    yield works("scipy.linalg.block_diag", linalg.block_diag, X, P)
    square = normal(3, 3)
    for name in ("det", "expm", "inv", "svdvals"):
        yield refuses(f"scipy.linalg.{name}", TO_NUMPY, getattr(linalg, name), square)
    knots = np.arange(8.0)
    for name in ("CubicSpline", "PchipInterpolator"):
        interpolator = partial(getattr(interpolate, name), knots)
        yield refuses(f"scipy.interpolate.{name}", MIXED, interpolator, X[0])
    yield refuses(
        "scipy.ndimage.gaussian_filter",
        TO_NUMPY,
        lambda x: ndimage.gaussian_filter(x, 1.0),
        X,
    )


TABLE = [
    *special_rows(),
    *stats_rows(),
    *analysis_rows(),
    *signal_rows(),
    *geometry_rows(),
]


@rows(TABLE)
def test_call(call: Call) -> None:
    check(call)


def test_page() -> None:
    check_page("scipy", TABLE)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"limits": (0.6, 1.8)}) for name in ("tsem", "tstd", "tvar")),
        *((name, {"nan_policy": "omit"}) for name in ("gstd", "gzscore", "zscore")),
    ],
)
def test_gradient_of_nan(name: str, options: dict[str, Any]) -> None:
    """These mask NaN, which the page says, and no warning tells of it."""
    values = P[0] if "limits" in options else HOLED[0]
    x = gl.tensor(values, requires_grad=True)
    result = getattr(stats, name)(x, **options)
    (grad,) = gl.autograd.grad(gl.sum(result[gl.isfinite(result)]), x)
    assert gl.any(gl.isfinite(result))
    assert gl.any(gl.isnan(grad))


@pytest.mark.parametrize("name", ["gmean", "sem", "skew"])
def test_nan_is_not_omitted(name: str) -> None:
    """SciPy leaves NaN out of NumPy's arrays, and of others of one dimension."""
    omit = partial(getattr(stats, name), axis=-1, nan_policy="omit")
    assert np.all(np.isfinite(omit(HOLED)))
    assert gl.isfinite(omit(gl.tensor(HOLED[0])))
    assert gl.isnan(omit(gl.tensor(HOLED))[0])


def test_place_of_a_minimum() -> None:
    """The place is found to 1e-8 only, and its gradient is as good as that allows."""
    c = gl.tensor(C, requires_grad=True)
    bracket = (gl.full(2, -3.0), gl.zeros(2), gl.full(2, 3.0))
    found = elementwise.find_minimum(lambda x, c: gl.exp(x) - c * x, bracket, args=(c,))
    (slope,) = gl.autograd.grad(found.x.sum(), c)
    np.testing.assert_allclose(slope.numpy(), 1.0 / C, rtol=1e-3)
