"""scikit-learn with array API dispatch: kernels, scalers, estimators, metrics."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

os.environ["SCIPY_ARRAY_API"] = "1"  # read when SciPy is imported

import numpy as np
import pytest
import sklearn
from sklearn import (
    cluster,
    covariance,
    cross_decomposition,
    decomposition,
    feature_selection,
    gaussian_process,
    impute,
    metrics,
    model_selection,
    neighbors,
    preprocessing,
    utils,
)
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    ridge_regression,
)
from sklearn.metrics import pairwise
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.utils import extmath

from tests.interop.calls import (
    A_NUMBER,
    MIXED,
    PAGE,
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

X, Y, P = normal(12, 4), normal(6, 4, seed=1), positive(12, 4)
T, TS, W = normal(12), normal(12, 2), positive(12, seed=3)
LABELS = np.asarray([0, 1, 2] * 4)

METHOD: Reason = (TypeError, "got an unexpected keyword argument")
DTYPE: Reason = (AttributeError, "type object 'numpy.float64' has no attribute")
SOLVER: Reason = (ValueError, "only supports solver 'svd'")
NOT_A_NUMBER: Reason = (RuntimeWarning, "invalid value encountered in divide")
ROOT_OF_ZERO: Reason = (RuntimeWarning, "divide by zero encountered in divide")

Function = Callable[..., Any]


@pytest.fixture(autouse=True, scope="module")
def _dispatch() -> Iterator[None]:
    with sklearn.config_context(array_api_dispatch=True):
        yield


def transform(estimator: Any) -> Function:
    """Return a transformer as a function of the data."""
    return lambda x: sklearn.clone(estimator).fit_transform(x)


def fitted(estimator: Any, *names: str) -> Function:
    """Return an estimator as a function that gives attributes of the fit."""

    def call(*data: Any) -> list[Any]:
        fit = sklearn.clone(estimator).fit(*data)
        return [getattr(fit, name) for name in names]

    return call


def evaluated(estimator: Any, method: str) -> Function:
    """Return an estimator as a function that fits and evaluates at the same data."""
    return lambda x, *y: getattr(sklearn.clone(estimator).fit(x, *y), method)(x)


def pairwise_rows() -> Iterator[Call]:
    for name in (
        "cosine_distances", "cosine_similarity", "euclidean_distances",
        "laplacian_kernel", "linear_kernel", "manhattan_distances",
        "polynomial_kernel", "rbf_kernel", "sigmoid_kernel",
    ):  # fmt: skip
        yield works(f"sklearn.metrics.pairwise.{name}", getattr(pairwise, name), X, Y)
    for name in ("additive_chi2_kernel", "chi2_kernel"):
        function = getattr(pairwise, name)
        yield works(f"sklearn.metrics.pairwise.{name}", function, P, positive(6, 4))
    for distance in ("cosine", "euclidean", "manhattan"):
        name = f"paired_{distance}_distances"
        yield works(f"sklearn.metrics.pairwise.{name}", getattr(pairwise, name), X, P)
        function = partial(pairwise.paired_distances, metric=distance)
        name = f"sklearn.metrics.pairwise.paired_distances, {distance}"
        yield works(name, function, X, P)
    for metric in ("cosine", "euclidean", "manhattan"):
        function = partial(pairwise.pairwise_distances, metric=metric)
        name = f"sklearn.metrics.pairwise.pairwise_distances, {metric}"
        yield works(name, function, X, Y)
    for metric in ("cosine", "laplacian", "linear", "poly", "rbf", "sigmoid"):
        function = partial(pairwise.pairwise_kernels, metric=metric)
        yield works(
            f"sklearn.metrics.pairwise.pairwise_kernels, {metric}", function, X, Y
        )
    yield refuses(
        "sklearn.metrics.pairwise.euclidean_distances of one set",
        ROOT_OF_ZERO,
        pairwise.euclidean_distances,
        X,
    )
    yield works(
        "sklearn.metrics.pairwise.euclidean_distances(squared=True)",
        partial(pairwise.euclidean_distances, squared=True),
        X,
    )
    yield refuses(
        "sklearn.metrics.pairwise.haversine_distances",
        TO_NUMPY,
        pairwise.haversine_distances,
        X[:, :2],
        Y[:, :2],
    )
    yield refuses(
        "sklearn.metrics.pairwise.nan_euclidean_distances",
        DTYPE,
        pairwise.nan_euclidean_distances,
        X,
        Y,
    )


def preprocessing_rows() -> Iterator[Call]:
    named = "sklearn.preprocessing"
    for estimator in (
        preprocessing.FunctionTransformer(lambda x: x**3),
        preprocessing.MaxAbsScaler(),
        preprocessing.MinMaxScaler(),
        preprocessing.Normalizer(),
        preprocessing.PolynomialFeatures(2),
    ):
        yield works(f"{named}.{type(estimator).__name__}", transform(estimator), X)
    for norm in ("l1", "max"):
        function = transform(preprocessing.Normalizer(norm))
        yield works(f"{named}.Normalizer, {norm}", function, X)
    for name in ("maxabs_scale", "minmax_scale", "normalize"):
        yield works(f"{named}.{name}", getattr(preprocessing, name), X)
    centerer = transform(preprocessing.KernelCenterer())
    yield works(f"{named}.KernelCenterer", lambda x: centerer(x @ x.T), X)
    yield works(
        f"{named}.StandardScaler(with_std=False)",
        transform(preprocessing.StandardScaler(with_std=False)),
        X,
    )

    yield refuses(
        f"{named}.StandardScaler",
        NOT_A_NUMBER,
        transform(preprocessing.StandardScaler()),
        X,
    )
    yield refuses(f"{named}.scale", TO_NUMPY, preprocessing.scale, X)
    for estimator, reason in (
        (preprocessing.PowerTransformer(), METHOD),
        (preprocessing.RobustScaler(), TO_NUMPY),
        (preprocessing.SplineTransformer(), UFUNC),
    ):
        name = f"{named}.{type(estimator).__name__}"
        yield refuses(name, reason, transform(estimator), X)


def use_pca(estimator: decomposition.PCA, x: Any) -> list[Any]:
    """Return what the methods of PCA give."""
    fit = sklearn.clone(estimator).fit(x)
    scores = fit.transform(x)
    return [
        scores,
        fit.inverse_transform(scores[:, ::-1]),
        fit.score_samples(x),
        fit.get_covariance(),
        fit.get_precision(),
    ]


def decomposition_rows() -> Iterator[Call]:
    named = "sklearn.decomposition"
    pca = decomposition.PCA
    for option, value in (
        ("svd_solver", "auto"),
        ("svd_solver", "covariance_eigh"),
        ("svd_solver", "full"),
        ("whiten", True),
    ):
        estimator = pca(2, **{option: value})
        name = f"{named}.PCA, {option}={value}"
        yield works(name, partial(use_pca, estimator), X)
        attributes = fitted(
            estimator,
            "components_",
            "explained_variance_",
            "explained_variance_ratio_",
            "mean_",
            "noise_variance_",
            "singular_values_",
        )
        yield works(f"{name}, attributes", attributes, X)
    yield works(f"{named}.PCA, share", transform(pca(0.7, svd_solver="full")), X)
    yield refuses(
        f"{named}.IncrementalPCA",
        NOT_A_NUMBER,
        transform(decomposition.IncrementalPCA(2)),
        X,
    )
    yield refuses(
        f"{named}.KernelPCA", TO_NUMPY, transform(decomposition.KernelPCA(2)), X
    )


def estimator_rows() -> Iterator[Call]:
    ridge = Ridge(0.5, solver="svd")
    named = "sklearn.linear_model"
    coefficients = "coef_", "intercept_"
    yield works(f"{named}.Ridge", fitted(ridge, *coefficients), X, T)
    yield works(f"{named}.Ridge, targets", fitted(ridge, *coefficients), X, TS)
    yield works(f"{named}.Ridge, weights", fitted(ridge, *coefficients), X, T, W)
    yield works(
        f"{named}.Ridge, predict", lambda x, t, y: ridge.fit(x, t).predict(y), X, T, Y
    )
    yield works(f"{named}.RidgeCV", fitted(RidgeCV(), *coefficients), X, T)
    for estimator in (RidgeClassifier(solver="svd"), RidgeClassifierCV()):
        name = f"{named}.{type(estimator).__name__}"
        yield works(name, evaluated(estimator, "decision_function"), X, LABELS)
    regression = partial(ridge_regression, alpha=0.5, solver="svd")
    yield works(f"{named}.ridge_regression", regression, X, T)
    yield works(
        f"{named}.ridge_regression, weights",
        lambda x, t, w: regression(x, t, sample_weight=w),
        X,
        T,
        W,
    )
    yield refuses(
        f'{named}.Ridge(solver="cholesky")',
        SOLVER,
        fitted(Ridge(solver="cholesky"), *coefficients),
        X,
        T,
    )
    yield refuses(f"{named}.Lasso", DTYPE, fitted(Lasso(0.01), *coefficients), X, T)
    yield refuses(
        f"{named}.LinearRegression",
        TO_NUMPY,
        fitted(LinearRegression(), *coefficients),
        X,
        T,
    )
    yield refuses(
        f"{named}.LogisticRegression",
        A_NUMBER,
        fitted(LogisticRegression(), *coefficients),
        X,
        LABELS,
    )

    named = "sklearn.discriminant_analysis"
    analysis = LinearDiscriminantAnalysis()
    for method in ("decision_function", "predict_log_proba", "transform"):
        name = f"{named}.LinearDiscriminantAnalysis, {method}"
        yield works(name, evaluated(analysis, method), X, LABELS)
    for solver in ("eigen", "lsqr"):
        yield refuses(
            f"{named}.LinearDiscriminantAnalysis(solver={solver})",
            TO_NUMPY,
            fitted(LinearDiscriminantAnalysis(solver=solver), "coef_"),
            X,
            LABELS,
        )
    yield refuses(
        f"{named}.QuadraticDiscriminantAnalysis",
        TO_NUMPY,
        evaluated(QuadraticDiscriminantAnalysis(), "decision_function"),
        normal(24, 2),
        np.asarray([0, 1, 2] * 8),
    )

    named = "sklearn.naive_bayes"
    for method in ("predict_joint_log_proba", "predict_log_proba", "predict_proba"):
        function = evaluated(GaussianNB(), method)
        yield works(f"{named}.GaussianNB, {method}", function, X, LABELS)
    yield works(
        f"{named}.GaussianNB, attributes",
        fitted(GaussianNB(), "theta_", "var_"),
        X,
        LABELS,
    )

    named = "sklearn.kernel_approximation"
    nystroem = Nystroem(n_components=4, random_state=0)
    yield works(f"{named}.Nystroem", transform(nystroem), X)
    yield refuses(
        f"{named}.RBFSampler", MIXED, transform(RBFSampler(random_state=0)), X
    )


def other_rows() -> Iterator[Call]:
    for name, function, inputs in (
        ("fast_logdet", lambda x: extmath.fast_logdet(x.T @ x), (X,)),
        (
            "randomized_svd",
            partial(
                extmath.randomized_svd,
                n_components=2,
                power_iteration_normalizer="QR",
                random_state=0,
            ),
            (X,),
        ),
        ("row_norms", extmath.row_norms, (X,)),
        ("safe_sparse_dot", extmath.safe_sparse_dot, (X, Y.T)),
        ("softmax", extmath.softmax, (X,)),
    ):
        yield works(f"sklearn.utils.extmath.{name}", function, *inputs)
    for name in ("resample", "shuffle"):
        function = partial(getattr(utils, name), random_state=0)
        yield works(f"sklearn.utils.{name}", function, X)
    yield works(
        "sklearn.model_selection.train_test_split",
        partial(model_selection.train_test_split, random_state=0),
        X,
    )
    yield works(
        "sklearn.pipeline.make_pipeline",
        lambda x, t: (
            make_pipeline(
                preprocessing.MinMaxScaler(),
                decomposition.PCA(2),
                Ridge(0.5, solver="svd"),
            )
            .fit(x, t)
            .predict(x)
        ),
        X,
        T,
    )
    yield refuses(
        "sklearn.mixture.GaussianMixture",
        WRITTEN_OVER,
        fitted(GaussianMixture(2, init_params="random", random_state=0), "means_"),
        X,
    )
    for name, reason, function, inputs in (
        ("cluster.KMeans", METHOD, fitted(cluster.KMeans(2), "cluster_centers_"), (X,)),
        (
            "covariance.empirical_covariance",
            TO_NUMPY,
            covariance.empirical_covariance,
            (X,),
        ),
        (
            "cross_decomposition.PLSRegression",
            METHOD,
            fitted(cross_decomposition.PLSRegression(1), "coef_"),
            (X, T),
        ),
        (
            "feature_selection.r_regression",
            METHOD,
            feature_selection.r_regression,
            (X, T),
        ),
        (
            "gaussian_process.GaussianProcessRegressor",
            TO_NUMPY,
            evaluated(
                gaussian_process.GaussianProcessRegressor(optimizer=None), "predict"
            ),
            (X, T),
        ),
        ("impute.SimpleImputer", DTYPE, transform(impute.SimpleImputer()), (X,)),
        (
            "neighbors.KNeighborsRegressor",
            (TypeError, "a bytes-like object is required"),
            evaluated(neighbors.KNeighborsRegressor(), "predict"),
            (X, T),
        ),
    ):
        yield refuses(f"sklearn.{name}", reason, function, *inputs)


def metric_rows() -> Iterator[Call]:
    truth, guess = positive(12, 2), positive(12, 2, seed=1)
    for name in (
        "d2_absolute_error_score", "d2_pinball_score", "explained_variance_score",
        "mean_absolute_error", "mean_absolute_percentage_error", "mean_pinball_loss",
        "mean_squared_error", "mean_squared_log_error", "r2_score",
        "root_mean_squared_error", "root_mean_squared_log_error",
    ):  # fmt: skip
        function = getattr(metrics, name)
        raw = partial(function, multioutput="raw_values")
        full_name = f"sklearn.metrics.{name}"
        yield works(f'{full_name}(multioutput="raw_values")', raw, truth, guess)
        yield refuses(f"{full_name}", A_NUMBER, function, truth, guess)
    for name in (
        "max_error", "mean_gamma_deviance", "mean_poisson_deviance",
        "mean_tweedie_deviance",
    ):  # fmt: skip
        function = getattr(metrics, name)
        name = f"sklearn.metrics.{name}"
        yield refuses(name, A_NUMBER, function, truth[:, 0], guess[:, 0])
    yield refuses(
        "sklearn.metrics.median_absolute_error",
        TO_NUMPY,
        metrics.median_absolute_error,
        truth,
        guess,
    )
    for name in ("calinski_harabasz_score", "davies_bouldin_score"):
        function = getattr(metrics, name)
        yield refuses(f"sklearn.metrics.{name}", A_NUMBER, function, X, LABELS)


TABLE = [
    *pairwise_rows(),
    *preprocessing_rows(),
    *decomposition_rows(),
    *estimator_rows(),
    *metric_rows(),
    *other_rows(),
]


@rows(TABLE)
def test_call(call: Call) -> None:
    check(call)


def test_page() -> None:
    check_page("sklearn", TABLE)


def test_graph_of_the_page() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    check(works("quantile", names["quantile"], names["x"], names["y"]))
